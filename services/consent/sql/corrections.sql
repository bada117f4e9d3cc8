-- name: lock_delivery_of_notice
SELECT 1 FROM delivery WHERE (change_id, recipient) = (SELECT change_id, recipient FROM notice WHERE notice_id = $1)
FOR UPDATE

-- name: read_notice
SELECT * FROM notice WHERE notice_id = $1

-- name: lock_notice_list
SELECT pg_advisory_xact_lock(hashtextextended($1, 7318406))

-- name: number_notices
WITH unlisted AS (
    SELECT position FROM notice WHERE recipient = $1 AND cursor IS NULL ORDER BY position LIMIT $2
    FOR UPDATE SKIP LOCKED
), numbered AS (
    SELECT position, nextval('notice_cursor') AS cursor FROM (SELECT position FROM unlisted ORDER BY position) AS o
)
UPDATE notice n SET cursor = x.cursor FROM numbered x WHERE n.position = x.position

-- name: list_notices
SELECT n.cursor, n.notice_id, n.change_id, n.member_ref, n.seq, n.items, n.created_at, n.outcome, n.acknowledged_at,
       n.answered_via, s.channel AS sent_by, s.sent_at
FROM notice n
LEFT JOIN LATERAL (
    SELECT channel, sent_at FROM notice_sending WHERE notice_id = n.notice_id ORDER BY position DESC LIMIT 1
) s ON true
WHERE n.recipient = $1 AND n.cursor > $2 ORDER BY n.cursor LIMIT $3

-- name: list_all_notices
SELECT position AS cursor, notice_id, change_id, member_ref, recipient, seq, items, created_at, outcome, acknowledged_at
FROM notice WHERE position {} $1 ORDER BY position {} LIMIT $2

-- name: list_open_notices
SELECT position AS cursor, notice_id, change_id, member_ref, recipient, seq, items, created_at, outcome, acknowledged_at
FROM notice WHERE acknowledged_at IS NULL AND position {} $1 ORDER BY position {} LIMIT $2

-- name: count_open_notices
SELECT count(*) FROM notice WHERE acknowledged_at IS NULL

-- name: record_answers
WITH answer AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[])
      AS t(change_id, recipient, stage, at, outcome, reason)
), answered AS (
    UPDATE delivery d SET stage = a.stage, at = a.at, outcome = a.outcome, reason = a.reason
    FROM answer a
    WHERE d.change_id = a.change_id AND d.recipient = a.recipient
      AND (d.stage IN ('accepted', 'relayed', 'manual', 'late')
           OR (d.stage = 'refused' AND (a.stage <> 'refused' OR (d.outcome IS NULL AND a.outcome IS NOT NULL)))
           OR (d.stage = 'superseded' AND d.kind = 'third_party' AND d.outcome IS NULL
               AND (a.stage = 'skipped_destroyed' OR (a.stage = 'superseded' AND a.outcome IS NOT NULL))))
    RETURNING d.change_id, d.recipient, d.stage, d.at, d.outcome
), applied AS (
    UPDATE disclosure x SET applied_at = y.at FROM answered y
    WHERE x.change_id = y.change_id AND x.recipient IS NOT DISTINCT FROM y.recipient AND y.stage = 'applied'
)
UPDATE notice n SET answered_via = $7, evidence = $8,
       outcome = CASE y.stage WHEN 'superseded' THEN y.stage ELSE coalesce(y.outcome, y.stage) END,
       acknowledged_at = CASE WHEN y.stage = 'superseded' AND y.outcome IS NULL THEN NULL ELSE y.at END
FROM answered y
WHERE n.change_id = y.change_id AND n.recipient = y.recipient
  AND (y.outcome IS NOT NULL OR y.stage IN ('superseded', 'skipped_destroyed'))

-- name: record_manual
UPDATE delivery d SET stage = 'manual', at = m.at
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS m(change_id, recipient, at)
WHERE d.change_id = m.change_id AND d.recipient = m.recipient AND d.stage IN ('accepted', 'relayed', 'late')

-- name: close_overtaken
UPDATE notice o SET acknowledged_at = n.acknowledged_at FROM notice n
WHERE o.member_ref = ANY($1::uuid[]) AND o.outcome = 'superseded' AND o.acknowledged_at IS NULL
  AND n.member_ref = o.member_ref AND n.recipient = o.recipient AND n.seq > o.seq AND n.items @> o.items
  AND n.acknowledged_at IS NOT NULL
RETURNING o.change_id, o.recipient

-- name: notices_for_staff
SELECT n.notice_id, n.member_ref, n.created_at, d.stage
FROM notice n JOIN delivery d ON d.change_id = n.change_id AND d.recipient = n.recipient
WHERE (n.change_id, n.recipient) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
  AND ((d.stage = 'manual' AND n.acknowledged_at IS NULL)
       OR (d.stage = 'refused' AND n.answered_via IS DISTINCT FROM 'staff'))

-- name: close_notice_duties
UPDATE duty SET closed_at = n.acknowledged_at, outcome = n.outcome FROM notice n
WHERE (n.change_id, n.recipient) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
  AND n.acknowledged_at IS NOT NULL AND (n.outcome <> 'refused' OR n.answered_via = 'staff')
  AND duty.subject = n.notice_id AND duty.kind = ANY($3::text[]) AND duty.closed_at IS NULL

-- name: confirm_refusal
UPDATE notice SET answered_via = 'staff', evidence = $2 WHERE notice_id = $1

-- name: insert_sending
INSERT INTO notice_sending (notice_id, channel, sent_at, evidence, recorded_by, recorded_at)
VALUES ($1, $2, $3, $4, $5, $6)

-- name: list_unanswered
SELECT position, notice_id, member_ref, created_at FROM notice n
WHERE acknowledged_at IS NULL AND position > $1 AND created_at < $2
  AND NOT EXISTS (SELECT FROM duty d WHERE d.kind = 'notice_answer' AND d.subject = n.notice_id)
ORDER BY position LIMIT $3

-- name: certificate_change
SELECT change_id, member_ref, seq, name, fact, accepted_at, leaf_index FROM change WHERE change_id = $1

-- name: certificate_recipients
SELECT d.recipient, d.kind, d.stage, d.at, d.outcome, d.reason, n.notice_id, n.answered_via, n.evidence,
       CASE d.kind WHEN 'third_party' THEN n.acknowledged_at IS NOT NULL
            ELSE d.stage IN ('applied', 'superseded', 'skipped_destroyed') END AS answered,
       x.change_id AS newer_change, x.stage AS newer_stage, x.outcome AS newer_outcome, x.reason AS newer_reason
FROM delivery d
LEFT JOIN notice n ON n.change_id = d.change_id AND n.recipient = d.recipient
LEFT JOIN LATERAL (
    SELECT e.change_id, e.stage, e.outcome, e.reason FROM notice m
    JOIN delivery e ON e.change_id = m.change_id AND e.recipient = m.recipient
    WHERE n.outcome = 'superseded' AND m.member_ref = n.member_ref AND m.recipient = n.recipient AND m.seq > n.seq
      AND m.items @> n.items AND m.acknowledged_at IS NOT NULL AND m.outcome <> 'superseded'
    ORDER BY m.seq LIMIT 1
) x ON true
WHERE d.change_id = $1 ORDER BY d.kind, d.recipient
