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
RETURNING change_id

-- name: already_in_outbox
SELECT id FROM outbox WHERE id = ANY($1::uuid[])

-- name: insert_answers
INSERT INTO answer (change_id, recipient, stage, outcome, reason, at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
ON CONFLICT DO NOTHING

-- name: close_answered
UPDATE notice n SET state = CASE a.stage WHEN 'skipped_destroyed' THEN a.stage ELSE 'acknowledged' END,
       outcome = a.outcome, reason = a.reason, closed_at = a.at, lease = NULL, leased_until = NULL
FROM answer a
WHERE n.change_id = a.change_id AND n.recipient = a.recipient AND n.change_id = ANY($1::uuid[])
  AND n.state IN ('pending', 'no_endpoint', 'disabled', 'delivered')
RETURNING n.position

-- name: claim
UPDATE notice SET lease = $3, leased_until = $5
WHERE position IN (
    SELECT n.position FROM notice n
    WHERE n.recipient = $1 AND n.state IN ('pending', 'no_endpoint', 'disabled', 'delivered')
      AND n.due_at <= $4 AND (n.leased_until IS NULL OR n.leased_until <= $4)
      AND NOT EXISTS (
          SELECT 1 FROM notice o
          WHERE o.recipient = n.recipient AND o.member_ref = n.member_ref AND o.seq < n.seq
            AND o.state IN ('pending', 'no_endpoint', 'disabled'))
      AND NOT EXISTS (SELECT 1 FROM disabled_endpoint d WHERE d.recipient = n.recipient AND d.url = $6)
    ORDER BY n.due_at, n.position LIMIT $2 FOR UPDATE SKIP LOCKED
)
RETURNING position, record_id, change_id, member_ref, recipient, seq, kid, headers, sealed, origin,
          attempts, delivered_at, lease

-- name: wait_as
UPDATE notice SET state = $2
WHERE recipient = $1 AND state IN ('pending', 'no_endpoint', 'disabled') AND state <> $2

-- name: postpone
UPDATE notice SET due_at = $3, lease = NULL, leased_until = NULL WHERE position = $1 AND lease = $2

-- name: again
UPDATE notice SET state = $3, due_at = $4, delivered_at = coalesce(delivered_at, $5), attempts = attempts + 1,
       lease = NULL, leased_until = NULL
WHERE position = $1 AND lease = $2 AND state IN ('pending', 'no_endpoint', 'disabled', 'delivered')

-- name: close
UPDATE notice SET state = $3, outcome = $4, reason = $5, closed_at = $6, attempts = attempts + $7,
       lease = NULL, leased_until = NULL
WHERE position = $1 AND lease = $2 AND state IN ('pending', 'no_endpoint', 'disabled', 'delivered')
RETURNING position

-- name: insert_attempt
INSERT INTO attempt (position, at, status, milliseconds, error) VALUES ($1, $2, $3, $4, $5)

-- name: disable_endpoint
INSERT INTO disabled_endpoint (recipient, url, disabled_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING

-- name: disabled_endpoints
SELECT recipient, url FROM disabled_endpoint

-- name: census
SELECT recipient, state, count(*) AS notices, min(received_at) AS oldest
FROM notice WHERE state IN ('pending', 'no_endpoint', 'disabled', 'delivered') GROUP BY recipient, state
