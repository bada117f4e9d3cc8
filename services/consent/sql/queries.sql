-- name: lock_member
UPDATE member SET seq = seq + 1 WHERE member_ref = $1 RETURNING *

-- name: read_member
SELECT * FROM member WHERE member_ref = $1

-- name: read_version
SELECT seq, status FROM member WHERE member_ref = $1

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
  (SELECT coalesce(jsonb_agg(jsonb_build_object('recipient', d.recipient, 'kind', d.kind, 'role', d.role,
            'items', d.items, 'told', n.items, 'answer', n.outcome, 'basis', d.basis) ORDER BY d.position), '[]')
     FROM disclosure d LEFT JOIN notice n ON n.change_id = d.change_id AND n.recipient = d.recipient
     WHERE d.member_ref = $1 AND d.kind = 'third_party') AS ledger,
  (SELECT accepted_at FROM change WHERE member_ref = $1 ORDER BY seq DESC LIMIT 1) AS last_at,
  EXISTS (SELECT FROM guardian WHERE member_ref = $1 AND confirmed_at IS NOT NULL) AS guardian_confirmed

-- name: insert_members
INSERT INTO member (member_ref, seq, status, email, name, password_hash, birth_date, collected_via, age_declared,
                    email_index, signed_up_at)
SELECT * FROM jsonb_to_recordset($1)
  AS t(member_ref uuid, seq bigint, status text, email text, name text, password_hash text, birth_date date,
       collected_via text, age_declared boolean, email_index bytea, signed_up_at timestamptz)
ON CONFLICT (email_index) DO NOTHING RETURNING member_ref

-- name: read_origins
SELECT o.row_mac, o.source_mac, o.member_ref, m.email_index FROM import_origin o JOIN member m USING (member_ref)
WHERE o.row_mac = ANY($1::bytea[]) OR o.source_mac = ANY($2::bytea[])

-- name: insert_origins
INSERT INTO import_origin (member_ref, row_mac, source_mac)
SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::bytea[])

-- name: read_taken
SELECT email_index FROM member WHERE email_index = ANY($1::bytea[])

-- name: delete_profiles
DELETE FROM profile WHERE member_ref = $1 AND NOT (service = ANY($2::text[]))

-- name: end_consents
UPDATE consent SET ended_at = $3, ended_by = $4
WHERE member_ref = $1 AND ended_at IS NULL
  AND (purpose, party, channel) IN (SELECT * FROM unnest($2::text[], $5::text[], $6::text[]))

-- name: write_changes
WITH account AS (
    INSERT INTO member AS m (member_ref, seq, status, email, name, password_hash, birth_date, collected_via,
                             age_declared, email_index, signed_up_at, status_before, withdrawal_requested_at,
                             withdrawn_at, dormant_notified_at, suspended)
    SELECT * FROM jsonb_to_recordset($1)
      AS t(member_ref uuid, seq bigint, status text, email text, name text, password_hash text, birth_date date,
           collected_via text, age_declared boolean, email_index bytea, signed_up_at timestamptz, status_before text,
           withdrawal_requested_at timestamptz, withdrawn_at timestamptz, dormant_notified_at timestamptz,
           suspended text[])
    ON CONFLICT (member_ref) DO UPDATE
    SET status = excluded.status, email = excluded.email, name = excluded.name,
        password_hash = excluded.password_hash, birth_date = excluded.birth_date,
        email_index = coalesce(excluded.email_index, m.email_index), status_before = excluded.status_before,
        withdrawal_requested_at = excluded.withdrawal_requested_at, withdrawn_at = excluded.withdrawn_at,
        dormant_notified_at = excluded.dormant_notified_at, suspended = excluded.suspended,
        last_active_at = CASE WHEN excluded.withdrawn_at IS NULL THEN m.last_active_at END
), change AS (
    INSERT INTO change (change_id, member_ref, seq, name, fact, accepted_at, status)
    SELECT * FROM jsonb_to_recordset($2)
      AS t(change_id uuid, member_ref uuid, seq bigint, name text, fact jsonb, accepted_at timestamptz, status text)
), profile AS (
    INSERT INTO profile (member_ref, service, role, items, collected_via)
    SELECT * FROM jsonb_to_recordset($3) AS t(member_ref uuid, service text, role text, items jsonb, collected_via text)
    ON CONFLICT (member_ref, service)
    DO UPDATE SET role = excluded.role, items = excluded.items, collected_via = excluded.collected_via
), history AS (
    INSERT INTO profile_history (member_ref, service, role, items, collected_via, change_id, at)
    SELECT * FROM jsonb_to_recordset($4)
      AS t(member_ref uuid, service text, role text, items text[], collected_via text, change_id uuid, at timestamptz)
), consent AS (
    INSERT INTO consent (member_ref, purpose, party, channel, notice_version, notice_hash, collected_via, actor,
                         change_id, given_at)
    SELECT * FROM jsonb_to_recordset($5)
      AS t(member_ref uuid, purpose text, party text, channel text, notice_version text, notice_hash text,
           collected_via text, actor text, change_id uuid, given_at timestamptz)
    ON CONFLICT (member_ref, purpose, party, channel) WHERE ended_at IS NULL DO NOTHING
), held AS (
    INSERT INTO held (member_ref, recipient, prev, epoch, roles, marketing)
    SELECT * FROM jsonb_to_recordset($6)
      AS t(member_ref uuid, recipient text, prev bigint, epoch int, roles text[], marketing jsonb)
    ON CONFLICT (member_ref, recipient) DO UPDATE
    SET prev = excluded.prev, epoch = excluded.epoch, roles = excluded.roles, marketing = excluded.marketing
), delivery AS (
    INSERT INTO delivery (change_id, recipient, kind, record_id, at)
    SELECT * FROM jsonb_to_recordset($7)
      AS t(change_id uuid, recipient text, kind text, record_id uuid, at timestamptz)
), disclosure AS (
    INSERT INTO disclosure (disclosure_id, member_ref, recipient, kind, role, items, purpose, basis, change_id, at)
    SELECT * FROM jsonb_to_recordset($8)
      AS t(disclosure_id uuid, member_ref uuid, recipient text, kind text, role text, items jsonb, purpose text,
           basis text, change_id uuid, at timestamptz)
), outbox AS (
    INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, headers, shard)
    SELECT * FROM unnest($10::uuid[], $11::text[], $12::text[], $13::text[], $14::bytea[], $15::jsonb[], $16::int[])
)
INSERT INTO notice (notice_id, change_id, member_ref, recipient, seq, items, created_at)
SELECT * FROM jsonb_to_recordset($9)
  AS t(notice_id uuid, change_id uuid, member_ref uuid, recipient text, seq bigint, items text[], created_at timestamptz)

-- name: insert_disclosure
INSERT INTO disclosure (disclosure_id, member_ref, recipient, kind, role, items, purpose, basis, change_id, at)
SELECT * FROM jsonb_to_recordset($1)
  AS t(disclosure_id uuid, member_ref uuid, recipient text, kind text, role text, items jsonb, purpose text,
       basis text, change_id uuid, at timestamptz)

-- name: list_disclosures
WITH reached AS (
    SELECT d.recipient, max(c.seq) AS seq FROM change c JOIN delivery d USING (change_id)
    WHERE c.member_ref = $1 AND d.kind = 'affiliate' AND d.stage = 'applied' GROUP BY d.recipient
)
SELECT x.disclosure_id, x.recipient, x.kind, x.role, array(SELECT jsonb_object_keys(x.items) ORDER BY 1) AS items,
       x.purpose, x.basis, x.change_id, x.at, x.relayed_at, x.applied_at,
       x.items AS given, n.items AS told,
       CASE x.kind WHEN 'third_party' THEN n.outcome ELSE CASE WHEN c.seq <= r.seq THEN 'corrected' END END AS answer
FROM disclosure x
LEFT JOIN change c ON c.change_id = x.change_id
LEFT JOIN notice n ON n.change_id = x.change_id AND n.recipient = x.recipient
LEFT JOIN reached r ON r.recipient = x.recipient AND x.kind = 'affiliate'
WHERE x.member_ref = $1 ORDER BY x.position

-- name: read_change
SELECT change_id, member_ref, seq, name, accepted_at, sealed_at, leaf_index FROM change WHERE change_id = $1

-- name: list_changes
SELECT change_id, seq, name, accepted_at, sealed_at, leaf_index FROM change
WHERE member_ref = $1 AND seq > $2 ORDER BY seq LIMIT $3

-- name: list_deliveries
SELECT d.change_id, d.recipient, d.kind, d.stage, d.at, d.relayed_at, d.outcome, d.reason,
       n.outcome = 'superseded' AND n.acknowledged_at IS NULL AS overtaken
FROM delivery d LEFT JOIN notice n ON n.change_id = d.change_id AND n.recipient = d.recipient
WHERE d.change_id = ANY($1::uuid[]) ORDER BY d.kind, d.recipient

-- name: mark_relayed
WITH marked AS (
    UPDATE outbox SET published_at = now() WHERE position = ANY($1::bigint[]) RETURNING id
), relayed AS (
    UPDATE delivery d SET relayed_at = now(),
           stage = CASE d.stage WHEN 'accepted' THEN 'relayed' ELSE d.stage END,
           at = CASE d.stage WHEN 'accepted' THEN now() ELSE d.at END
    FROM marked m WHERE d.record_id = m.id AND d.relayed_at IS NULL
    RETURNING d.change_id, d.recipient
)
UPDATE disclosure d SET relayed_at = now() FROM relayed r
WHERE d.change_id = r.change_id AND d.recipient IS NOT DISTINCT FROM r.recipient AND d.relayed_at IS NULL
-- Not "=": a plan made while the table is small could go by the recipient's index, and there are few recipients.

-- name: record_seals
UPDATE change c SET sealed_at = s.at, leaf_index = s.leaf_index
FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) AS s(change_id, at, leaf_index)
WHERE c.change_id = s.change_id AND c.sealed_at IS NULL

-- name: lag
SELECT recipient, kind, count(*) AS changes, extract(epoch FROM now() - min(accepted_at))::float8 AS seconds,
       min(accepted_at) FILTER (WHERE name IN ('withdrawn', 'withdrawal_requested', 'suspended', 'erased')
                                      OR fact -> 'consents' @> '[{"granted": false}]')          AS oldest_withdrawal_at
FROM delivery JOIN change USING (change_id)
WHERE stage IN ('accepted', 'relayed', 'manual')
  AND NOT EXISTS (SELECT FROM canary k WHERE k.member_ref = change.member_ref)
GROUP BY recipient, kind ORDER BY kind, recipient

-- name: idempotent_recall
SELECT * FROM idempotent_recall($1, $2)

-- name: idempotent_read
SELECT request_mac, status, etag, body FROM idempotency
WHERE caller = $1 AND key = $2 AND created_at > now() - interval '24 hours'

-- name: idempotent_write
INSERT INTO idempotency (caller, key, request_mac, status, etag, body) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (caller, key) DO UPDATE SET request_mac = excluded.request_mac, status = excluded.status,
  etag = excluded.etag, body = excluded.body, created_at = now()

-- name: idempotent_purge
DELETE FROM idempotency WHERE created_at < now() - interval '24 hours'
