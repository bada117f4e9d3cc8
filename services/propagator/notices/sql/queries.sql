-- name: insert_notices
INSERT INTO notice (record_id, change_id, member_ref, recipient, seq, kid, headers, sealed, origin,
                    received_at, due_at, state)
SELECT r.record_id, r.change_id, r.member_ref, r.recipient, r.seq, r.kid, r.headers, r.sealed, r.origin,
       $10, $10, 'pending'
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::text[], $7::jsonb[], $8::bytea[],
            $9::text[])
  WITH ORDINALITY AS r(record_id, change_id, member_ref, recipient, seq, kid, headers, sealed, origin, line)
ORDER BY r.line
ON CONFLICT (change_id, recipient) DO UPDATE
SET record_id = excluded.record_id, kid = excluded.kid, headers = excluded.headers, sealed = excluded.sealed,
    origin = excluded.origin, due_at = excluded.due_at, state = 'pending', closed_at = NULL, reason = NULL
WHERE notice.state = 'refused'
RETURNING change_id, recipient

-- name: say
INSERT INTO said SELECT * FROM unnest($1::uuid[]) ON CONFLICT DO NOTHING RETURNING id

-- name: insert_answers
INSERT INTO answer (change_id, recipient, stage, outcome, reason, at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
ON CONFLICT DO NOTHING

-- name: close_answered
WITH newest AS (
    SELECT DISTINCT ON (change_id, recipient) a.* FROM answer a
    WHERE (change_id, recipient) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
    ORDER BY change_id, recipient, at DESC
)
UPDATE notice n SET state = CASE a.stage WHEN 'skipped_destroyed' THEN a.stage WHEN 'superseded' THEN a.stage
                                         ELSE 'acknowledged' END,
       outcome = a.outcome, reason = a.reason, closed_at = a.at, lease = NULL, leased_until = NULL
FROM newest a
WHERE n.change_id = a.change_id AND n.recipient = a.recipient
  AND n.state IN ('pending', 'no_endpoint', 'disabled', 'manual', 'delivered', 'overtaken')
  AND (n.again_at IS NULL OR n.again_at < a.at OR n.delivered_at IS NOT NULL OR n.state = 'manual')
RETURNING n.position, n.state, n.outcome, n.reason, n.closed_at

-- name: due_recipients
-- OFFSET 0: a look-up for each. As a join it might read all that is due, which is much when somebody is away.
SELECT r.recipient FROM unnest($1::text[], $2::text[]) AS r(recipient, url)
WHERE NOT EXISTS (SELECT 1 FROM disabled_endpoint d WHERE d.recipient = r.recipient AND d.url = r.url)
  AND EXISTS (
    SELECT 1 FROM notice n
    WHERE n.recipient = r.recipient AND n.due_at <= $3 AND (n.leased_until IS NULL OR n.leased_until <= $3)
      AND n.state IN ('pending', 'no_endpoint', 'disabled', 'manual', 'delivered') OFFSET 0)

-- name: claim
WITH due AS (
    SELECT n.position FROM notice n
    WHERE n.recipient = $1 AND n.state IN ('pending', 'no_endpoint', 'disabled', 'manual', 'delivered')
      AND n.due_at <= $4 AND (n.leased_until IS NULL OR n.leased_until <= $4)
      AND NOT EXISTS (
          SELECT 1 FROM notice o
          WHERE o.recipient = n.recipient AND o.member_ref = n.member_ref AND o.seq < n.seq
            AND o.state IN ('pending', 'no_endpoint', 'disabled')
            AND (o.attempts = 0 OR o.leased_until > $4))
      AND NOT EXISTS (SELECT 1 FROM disabled_endpoint d WHERE d.recipient = n.recipient AND d.url = $6)
    ORDER BY n.due_at, n.position LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE notice n SET lease = $3, leased_until = $5 FROM due
WHERE n.position = due.position
RETURNING n.position, n.record_id, n.change_id, n.member_ref, n.recipient, n.seq, n.kid, n.headers, n.sealed,
          n.origin, n.attempts, n.delivered_at, n.lease,
          EXISTS (
              SELECT 1 FROM notice o
              WHERE o.recipient = n.recipient AND o.member_ref = n.member_ref AND o.seq < n.seq
                AND o.state IN ('pending', 'no_endpoint', 'disabled')) AS behind

-- name: older
SELECT position, items, attempts, due_at, coalesce(leased_until > $4, false) AS leased FROM notice
WHERE recipient = $1 AND member_ref = $2 AND seq < $3 AND state IN ('pending', 'no_endpoint', 'disabled')
ORDER BY seq

-- name: overtake
UPDATE notice SET state = 'overtaken', overtaken_by = $2
WHERE position = ANY($1::bigint[]) AND state IN ('pending', 'no_endpoint', 'disabled') AND attempts > 0
  AND (leased_until IS NULL OR leased_until <= $4)
  AND EXISTS (SELECT 1 FROM notice n WHERE n.position = $2 AND n.lease = $3)
RETURNING change_id, member_ref, recipient, seq

-- name: close_overtaken
WITH RECURSIVE chain AS (
    SELECT position FROM notice WHERE overtaken_by = $1 AND state = 'overtaken'
    UNION
    SELECT n.position FROM notice n JOIN chain c ON n.overtaken_by = c.position WHERE n.state = 'overtaken'
)
UPDATE notice o SET state = $2, outcome = $3, reason = $4, closed_at = $5
FROM chain, notice by
WHERE o.position = chain.position AND by.position = o.overtaken_by
RETURNING o.change_id, o.member_ref, o.recipient, o.seq, by.change_id AS superseded_by

-- name: wait_as
UPDATE notice SET state = $2
WHERE recipient = $1 AND state IN ('pending', 'no_endpoint', 'disabled') AND state <> $2

-- name: postpone
UPDATE notice SET due_at = $3, lease = NULL, leased_until = NULL WHERE position = $1 AND lease = $2

-- name: leave_to_staff
UPDATE notice SET state = 'manual', due_at = $3, lease = NULL, leased_until = NULL WHERE position = $1 AND lease = $2
RETURNING position

-- name: again
UPDATE notice SET state = $3, due_at = $4, delivered_at = coalesce(delivered_at, $5), attempts = attempts + 1,
       lease = NULL, leased_until = NULL
WHERE position = $1 AND lease = $2 AND state IN ('pending', 'no_endpoint', 'disabled', 'manual', 'delivered')

-- name: close
UPDATE notice SET state = $3, outcome = $4, reason = $5, closed_at = $6, attempts = attempts + $7,
       lease = NULL, leased_until = NULL
WHERE position = $1 AND lease = $2 AND state IN ('pending', 'no_endpoint', 'disabled', 'manual', 'delivered')
RETURNING EXISTS (SELECT 1 FROM notice o WHERE o.overtaken_by = notice.position AND o.state = 'overtaken')

-- name: insert_attempt
WITH opened AS (
    UPDATE notice SET notice_id = $7, items = $8, masked = $9 WHERE position = $1 AND notice_id IS NULL
)
INSERT INTO attempt (position, at, status, milliseconds, error, answer) VALUES ($1, $2, $3, $4, $5, $6)

-- name: disable_endpoint
INSERT INTO disabled_endpoint (recipient, url, disabled_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING

-- name: disabled_endpoints
SELECT recipient, url FROM disabled_endpoint

-- name: census
SELECT recipient, state, count(*) AS notices, min(received_at) AS oldest
FROM notice WHERE state IN ('pending', 'no_endpoint', 'disabled', 'manual', 'delivered') GROUP BY recipient, state

-- name: redelivery_plan
SELECT state, again, count(*) AS notices FROM (
    SELECT CASE WHEN recipient = ANY($6::text[]) THEN 'told_by_staff' WHEN leased_until > $5 THEN 'sending'
                ELSE state END AS state,
           state IN ('pending', 'no_endpoint', 'disabled', 'delivered', 'acknowledged')
             AND (leased_until IS NULL OR leased_until <= $5) AND NOT (recipient = ANY($6::text[])) AS again
    FROM notice
    WHERE ($1::uuid[] IS NULL OR notice_id = ANY($1) OR change_id = ANY($1)) AND ($2::text IS NULL OR recipient = $2)
      AND ($3::timestamptz IS NULL OR received_at >= $3) AND ($4::timestamptz IS NULL OR received_at < $4)
) AS chosen GROUP BY state, again ORDER BY state

-- name: redeliver
UPDATE notice SET state = 'pending', attempts = 0, due_at = $5, delivered_at = NULL, closed_at = NULL,
       outcome = NULL, reason = NULL, again_at = $5
WHERE ($1::uuid[] IS NULL OR notice_id = ANY($1) OR change_id = ANY($1)) AND ($2::text IS NULL OR recipient = $2)
  AND ($3::timestamptz IS NULL OR received_at >= $3) AND ($4::timestamptz IS NULL OR received_at < $4)
  AND state IN ('pending', 'no_endpoint', 'disabled', 'delivered', 'acknowledged')
  AND (leased_until IS NULL OR leased_until <= $5) AND NOT (recipient = ANY($6::text[]))

-- name: insert_redelivery
INSERT INTO redelivery (redelivery_id, asked_by, asked_at, reason, selection, notices, skipped)
VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: log_notices
SELECT n.position AS cursor, n.notice_id, n.change_id, n.recipient, n.member_ref, n.seq, n.items, n.state, n.attempts,
       n.received_at, CASE WHEN n.closed_at IS NULL THEN n.due_at END AS due_at, n.delivered_at, n.closed_at,
       n.outcome, n.reason, b.change_id AS superseded_by, n.masked AS body
FROM notice n LEFT JOIN notice b ON b.position = n.overtaken_by
WHERE ($1::text IS NULL OR n.recipient = $1)
  AND ($2::uuid[] IS NULL OR n.notice_id = ANY($2) OR n.change_id = ANY($2))
  AND ($3::text IS NULL OR n.state = $3) AND n.position > $4
ORDER BY n.position LIMIT $5

-- name: log_attempts
SELECT position, at, status, milliseconds, error, answer FROM attempt WHERE position = ANY($1::bigint[])
ORDER BY attempt_id
