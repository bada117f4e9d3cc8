-- name: lock_member
UPDATE member SET seq = seq + 1 WHERE member_ref = $1 RETURNING *

-- name: read_member
SELECT * FROM member WHERE member_ref = $1

-- name: read_parts
SELECT
  (SELECT coalesce(jsonb_agg(jsonb_build_object('service', service, 'role', role, 'items', items) ORDER BY service), '[]')
     FROM profile WHERE member_ref = $1) AS profiles,
  (SELECT coalesce(jsonb_agg(jsonb_build_object('purpose', purpose, 'party', party, 'channel', channel,
            'notice_version', notice_version, 'given_at', given_at) ORDER BY consent_id), '[]')
     FROM consent WHERE member_ref = $1 AND ended_at IS NULL) AS consents,
  (SELECT coalesce(jsonb_agg(jsonb_build_object('recipient', recipient, 'prev', prev, 'epoch', epoch,
            'roles', roles, 'marketing', marketing)), '[]')
     FROM held WHERE member_ref = $1) AS held,
  (SELECT coalesce(jsonb_agg(jsonb_build_object('recipient', recipient, 'kind', kind, 'role', role,
            'items', items) ORDER BY position), '[]')
     FROM disclosure WHERE member_ref = $1) AS ledger,
  (SELECT accepted_at FROM change WHERE member_ref = $1 ORDER BY seq DESC LIMIT 1) AS last_at

-- name: insert_member
INSERT INTO member (member_ref, seq, status, email, name, password_hash, birth_date, collected_via, age_declared,
                    email_index, signed_up_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)

-- name: insert_members
INSERT INTO member (member_ref, seq, status, email, name, password_hash, birth_date, collected_via, age_declared,
                    email_index, signed_up_at)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::date[], $8::text[],
                     $9::boolean[], $10::bytea[], $11::timestamptz[])
ON CONFLICT (email_index) DO NOTHING RETURNING member_ref

-- name: read_origins
SELECT o.row_mac, o.source_mac, o.member_ref, m.email_index FROM import_origin o JOIN member m USING (member_ref)
WHERE o.row_mac = ANY($1::bytea[]) OR o.source_mac = ANY($2::bytea[])

-- name: insert_origins
INSERT INTO import_origin (member_ref, row_mac, source_mac)
SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::bytea[])

-- name: read_taken
SELECT email_index FROM member WHERE email_index = ANY($1::bytea[])

-- name: update_member
UPDATE member SET status = $2, email = $3, name = $4, password_hash = $5, birth_date = $6,
       email_index = coalesce($7, email_index),
       status_before = $8, withdrawal_requested_at = $9, withdrawn_at = $10, dormant_notified_at = $11,
       last_active_at = CASE WHEN $10::timestamptz IS NULL THEN last_active_at END
WHERE member_ref = $1

-- name: upsert_profile
INSERT INTO profile (member_ref, service, role, items, collected_via) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (member_ref, service)
DO UPDATE SET role = excluded.role, items = excluded.items, collected_via = excluded.collected_via

-- name: insert_profile_history
INSERT INTO profile_history (member_ref, service, role, items, collected_via, change_id, at)
VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: delete_profiles
DELETE FROM profile WHERE member_ref = $1 AND NOT (service = ANY($2::text[]))

-- name: end_consents
UPDATE consent SET ended_at = $3, ended_by = $4
WHERE member_ref = $1 AND ended_at IS NULL
  AND (purpose, party, channel) IN (SELECT * FROM unnest($2::text[], $5::text[], $6::text[]))

-- name: insert_consents
INSERT INTO consent (member_ref, purpose, party, channel, notice_version, notice_hash, collected_via, actor, change_id, given_at)
SELECT $1, p, q, c, $5, $6, $7, $8, $9, $10 FROM unnest($2::text[], $3::text[], $4::text[]) AS t(p, q, c)
ON CONFLICT (member_ref, purpose, party, channel) WHERE ended_at IS NULL DO NOTHING

-- name: upsert_held
INSERT INTO held (member_ref, recipient, prev, epoch, roles, marketing) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (member_ref, recipient) DO UPDATE
SET prev = excluded.prev, epoch = excluded.epoch, roles = excluded.roles, marketing = excluded.marketing

-- name: insert_change
INSERT INTO change (change_id, member_ref, seq, name, fact, accepted_at, status) VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: insert_delivery
INSERT INTO delivery (change_id, recipient, kind, record_id, at) VALUES ($1, $2, $3, $4, $5)

-- name: insert_disclosure
INSERT INTO disclosure (disclosure_id, member_ref, recipient, kind, role, items, purpose, basis, change_id, at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)

-- name: insert_notice
INSERT INTO notice (notice_id, change_id, member_ref, recipient, seq, items, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: list_disclosures
SELECT disclosure_id, recipient, kind, role, array(SELECT jsonb_object_keys(items) ORDER BY 1) AS items,
       purpose, basis, change_id, at, relayed_at, applied_at
FROM disclosure WHERE member_ref = $1 ORDER BY position

-- name: read_change
SELECT change_id, member_ref, seq, name, accepted_at, sealed_at, leaf_index FROM change WHERE change_id = $1

-- name: list_changes
SELECT change_id, seq, name, accepted_at, sealed_at, leaf_index FROM change WHERE member_ref = $1 ORDER BY seq

-- name: list_deliveries
SELECT recipient, kind, stage, at, relayed_at, outcome, reason FROM delivery WHERE change_id = $1 ORDER BY kind, recipient

-- name: lock_delivery_of_notice
SELECT 1 FROM delivery WHERE (change_id, recipient) = (SELECT change_id, recipient FROM notice WHERE notice_id = $1)
FOR UPDATE

-- name: read_notice
SELECT * FROM notice WHERE notice_id = $1

-- name: list_notices
SELECT position AS cursor, notice_id, change_id, member_ref, seq, items, created_at, outcome, acknowledged_at
FROM notice WHERE recipient = $1 AND position > $2 ORDER BY position LIMIT $3

-- name: list_all_notices
SELECT position AS cursor, notice_id, change_id, member_ref, recipient, seq, items, created_at, outcome, acknowledged_at
FROM notice WHERE position > $1 ORDER BY position LIMIT $2

-- name: mark_relayed
WITH relayed AS (
    UPDATE delivery SET relayed_at = now(),
           stage = CASE stage WHEN 'accepted' THEN 'relayed' ELSE stage END,
           at = CASE stage WHEN 'accepted' THEN now() ELSE at END
    WHERE record_id = ANY($1::uuid[]) AND relayed_at IS NULL
    RETURNING change_id, recipient
)
UPDATE disclosure d SET relayed_at = now() FROM relayed r
WHERE d.change_id = r.change_id AND d.recipient = r.recipient AND d.relayed_at IS NULL

-- name: record_answers
WITH answer AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[])
      AS t(change_id, recipient, stage, at, outcome, reason)
), answered AS (
    UPDATE delivery d SET stage = a.stage, at = a.at, outcome = a.outcome, reason = a.reason
    FROM answer a
    WHERE d.change_id = a.change_id AND d.recipient = a.recipient
      AND (d.stage IN ('accepted', 'relayed', 'late') OR (d.stage = 'refused' AND a.stage <> 'refused'))
    RETURNING d.change_id, d.recipient, d.stage, d.at, d.outcome
), applied AS (
    UPDATE disclosure x SET applied_at = y.at FROM answered y
    WHERE x.change_id = y.change_id AND x.recipient = y.recipient AND y.stage = 'applied'
)
UPDATE notice n SET outcome = coalesce(y.outcome, y.stage), acknowledged_at = y.at FROM answered y
WHERE n.change_id = y.change_id AND n.recipient = y.recipient AND n.acknowledged_at IS NULL

-- name: record_seals
UPDATE change c SET sealed_at = s.at, leaf_index = s.leaf_index
FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) AS s(change_id, at, leaf_index)
WHERE c.change_id = s.change_id AND c.sealed_at IS NULL

-- name: lag
SELECT recipient, kind, count(*) AS changes, extract(epoch FROM now() - min(accepted_at))::float8 AS seconds,
       min(accepted_at) FILTER (WHERE name IN ('withdrawn', 'withdrawal_requested', 'suspended', 'erased'))
         AS oldest_withdrawal_at
FROM delivery JOIN change USING (change_id)
WHERE stage IN ('accepted', 'relayed') GROUP BY recipient, kind ORDER BY kind, recipient

-- name: idempotent_lock
SELECT pg_try_advisory_xact_lock(hashtextextended($1 || chr(10) || $2, 7318404))

-- name: idempotent_read
SELECT request_mac, status, etag, body FROM idempotency
WHERE caller = $1 AND key = $2 AND created_at > now() - interval '24 hours'

-- name: idempotent_write
INSERT INTO idempotency (caller, key, request_mac, status, etag, body) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (caller, key) DO UPDATE SET request_mac = excluded.request_mac, status = excluded.status,
  etag = excluded.etag, body = excluded.body, created_at = now()

-- name: idempotent_purge
DELETE FROM idempotency WHERE created_at < now() - interval '24 hours'
