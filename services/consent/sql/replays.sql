-- name: replay_insert
INSERT INTO replay (replay_id, sha256, reason, summary, planned_by, planned_at, state, changed_at)
VALUES ($1, $2, $3, $4, $5, $6, 'planned', $6) ON CONFLICT (replay_id) DO NOTHING RETURNING *

-- name: replay_lock
SELECT * FROM replay WHERE replay_id = $1 FOR UPDATE

-- name: replay_read
SELECT * FROM replay WHERE replay_id = $1

-- name: replay_list
SELECT * FROM replay ORDER BY position DESC LIMIT 200

-- name: replay_approve
UPDATE replay SET state = 'approved', approved_by = $2, approved_at = $3, changed_at = $3 WHERE replay_id = $1 RETURNING *

-- name: replay_move
UPDATE replay SET state = $2, progress = $3, changed_at = $4 WHERE replay_id = $1 RETURNING *
