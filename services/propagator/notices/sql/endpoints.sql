-- name: add_endpoint
INSERT INTO endpoint (recipient, url, secret, challenge, added_at, verified_at, verified_by, declared_url)
VALUES ($1, $2, $3, $4, $5::timestamptz, CASE WHEN $6::text IS NOT NULL THEN $5::timestamptz END, $6, $7)
ON CONFLICT DO NOTHING
RETURNING recipient

-- name: move_endpoint
UPDATE endpoint
SET url = $2, challenge = $3, verified_by = $5, verified_at = CASE WHEN $5::text IS NOT NULL THEN $4::timestamptz END
WHERE recipient = $1 AND url <> $2
RETURNING recipient

-- name: declare_endpoint
UPDATE endpoint
SET url = $2, challenge = $3, verified_by = $5, verified_at = CASE WHEN $5::text IS NOT NULL THEN $4::timestamptz END,
    secret = $6, older = DEFAULT, earlier = NULL, earlier_until = NULL, declared_url = $2
WHERE recipient = $1 AND url <> $2 AND declared_url IS DISTINCT FROM $2
RETURNING recipient

-- name: registered_endpoints
SELECT e.*, d.disabled_at AS gone_at FROM endpoint e
LEFT JOIN disabled_endpoint d ON d.recipient = e.recipient AND d.url = e.url
WHERE $1::text IS NULL OR e.recipient = $1
ORDER BY e.recipient

-- name: prove_endpoint
UPDATE endpoint SET verified_at = $3, verified_by = $4 WHERE recipient = $1 AND url = $2 RETURNING recipient

-- name: rotate_secret
UPDATE endpoint
SET secret = $2, earlier = CASE WHEN $3::timestamptz IS NOT NULL THEN secret END, earlier_until = $3,
    older = CASE WHEN $3::timestamptz IS NOT NULL AND earlier_until > $4 THEN earlier || older ELSE '{}' END
WHERE recipient = $1
RETURNING recipient

-- name: reseal_endpoint
UPDATE endpoint SET secret = $3, earlier = $4, older = $5 WHERE recipient = $1 AND secret = $2

-- name: pause_endpoint
UPDATE endpoint SET paused_at = coalesce(paused_at, $2) WHERE recipient = $1 RETURNING recipient

-- name: resume_endpoint
UPDATE endpoint SET paused_at = NULL WHERE recipient = $1 RETURNING recipient

-- name: open_endpoint
DELETE FROM disabled_endpoint WHERE recipient = $1

-- name: endpoint_event
INSERT INTO endpoint_event (recipient, at, event, url)
SELECT recipient, $2, $3, url FROM endpoint WHERE recipient = $1
