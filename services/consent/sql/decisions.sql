-- name: decision_member
SELECT signed_up_at FROM member WHERE member_ref = $1

-- name: decision_statuses
SELECT change_id, status, accepted_at AS since FROM (
    SELECT change_id, seq, status, accepted_at, lag(status) OVER (ORDER BY seq) AS before
    FROM change WHERE member_ref = $1 AND status IS NOT NULL
) s WHERE status IS DISTINCT FROM before ORDER BY seq

-- name: decision_parts
SELECT change_id, accepted_at AS since, array(SELECT jsonb_array_elements_text(parts)) AS parts FROM (
    SELECT change_id, seq, accepted_at, parts, lag(parts, 1, '[]') OVER (ORDER BY seq) AS before FROM (
        SELECT change_id, seq, accepted_at, coalesce(fact->'suspended', '[]') AS parts FROM change WHERE member_ref = $1
    ) c
) s WHERE parts IS DISTINCT FROM before ORDER BY seq

-- name: decision_grants
SELECT consent_id, purpose, party, channel, notice_version, notice_hash, collected_via, actor, change_id, given_at,
       ended_at, ended_by
FROM consent WHERE member_ref = $1 ORDER BY consent_id

-- name: decision_profiles
SELECT service, role, items, collected_via, change_id, at FROM profile_history WHERE member_ref = $1 ORDER BY position

-- name: decision_ledger
SELECT disclosure_id, recipient, role, array(SELECT jsonb_object_keys(items)) AS items, purpose, basis, at
FROM disclosure WHERE member_ref = $1 AND recipient = $2 ORDER BY position

-- name: decision_checks
SELECT r.consent_id, m.closed_at FROM message_reconfirmation r JOIN message m USING (message_id)
WHERE m.member_ref = $1 AND m.state = 'sent' ORDER BY m.closed_at

-- name: affected_members
SELECT DISTINCT d.member_ref FROM disclosure d
WHERE d.at <= $2 AND d.member_ref > $6 AND NOT EXISTS (SELECT FROM canary k WHERE k.member_ref = d.member_ref)
  AND ($3::text IS NULL OR d.recipient = $3)
  AND ($4::text IS NULL OR d.items ? $4 OR (d.role = 'processor' AND d.recipient = $7 AND d.items ? $5)
       OR ($4 = $5 AND EXISTS (SELECT FROM jsonb_object_keys(d.items) k WHERE k LIKE '%.' || $5)))
  AND NOT EXISTS (
    SELECT FROM change c CROSS JOIN jsonb_array_elements(c.fact->'addressees') a
    WHERE c.member_ref = d.member_ref AND c.accepted_at >= d.at AND c.accepted_at < $1
      AND a->>'id' = d.recipient
      -- The first rule says what it was sent: a stop names the roles that ended, a full state those that are left.
      AND CASE WHEN a->'rules'->>0 IN ('3.2-revoke', '4.3-end', '3.2-withdrawn', '7.1-erase') THEN a->'roles' ? d.role
               WHEN a->'rules'->>0 IN ('3.2-share', '4.3-operator', '4.3-process') THEN NOT a->'roles' ? d.role
          END)
ORDER BY d.member_ref LIMIT $8

-- name: reconsent_counts
SELECT purpose, party, notice_version, count(DISTINCT member_ref) AS members FROM consent c
WHERE ended_at IS NULL AND notice_version = ANY($1::text[])
  AND NOT EXISTS (SELECT FROM canary k WHERE k.member_ref = c.member_ref)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3

-- name: reconsent_members
SELECT member_ref, jsonb_agg(jsonb_build_object('purpose', purpose, 'party', party, 'notice_version', notice_version)
       ORDER BY consent_id) AS consents
FROM consent
WHERE ended_at IS NULL AND member_ref IN (
    SELECT DISTINCT c.member_ref FROM consent c
    WHERE c.ended_at IS NULL AND c.notice_version = ANY($1::text[]) AND c.member_ref > $2
      AND NOT EXISTS (SELECT FROM canary k WHERE k.member_ref = c.member_ref)
    ORDER BY c.member_ref LIMIT $3)
GROUP BY member_ref ORDER BY member_ref

-- name: reconsent_untold
SELECT member_ref, jsonb_agg(jsonb_build_object('purpose', purpose, 'party', party, 'notice_version', notice_version)
       ORDER BY consent_id) AS consents
FROM consent
WHERE ended_at IS NULL AND member_ref IN (
    SELECT m.member_ref FROM member m
    WHERE m.status = 'active' AND m.member_ref > $2 AND NOT EXISTS (SELECT FROM canary k WHERE k.member_ref = m.member_ref)
      AND EXISTS (SELECT FROM consent c WHERE c.member_ref = m.member_ref AND c.ended_at IS NULL
                                          AND c.notice_version = ANY($1::text[]))
      AND NOT EXISTS (SELECT FROM message x WHERE x.dedupe_key = concat('reconsent:', m.member_ref, $4::text))
    ORDER BY m.member_ref LIMIT $3)
GROUP BY member_ref ORDER BY member_ref

-- name: guardian_record
INSERT INTO guardian (guardian_id, member_ref, sealed, collected_via, recorded_at, due_on)
VALUES ($1, $2, $3, $4, $5, $6)

-- name: guardian_read
SELECT guardian_id, sealed, recorded_at, confirmed_at FROM guardian WHERE member_ref = $1 FOR UPDATE

-- name: guardian_drop
DELETE FROM guardian WHERE member_ref = $1 AND confirmed_at IS NULL

-- name: guardian_confirm
UPDATE guardian SET method = $2, confirmed_at = $3, change_id = $4 WHERE member_ref = $1

-- name: guardian_overdue
SELECT guardian_id, member_ref FROM guardian WHERE confirmed_at IS NULL AND due_on <= $1
ORDER BY due_on, guardian_id LIMIT 500 FOR UPDATE SKIP LOCKED

-- name: guardian_destroy
DELETE FROM guardian WHERE guardian_id = ANY($1::uuid[])
