-- name: letter_outcomes
SELECT letter_id, topic, code, state, times, by, reason, at FROM dead_letter ORDER BY letter_id

-- name: letter_lock
SELECT * FROM dead_letter WHERE letter_id = $1 FOR UPDATE

-- name: letter_write
INSERT INTO dead_letter (letter_id, topic, code, state, by, reason, at) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (letter_id) DO UPDATE
SET state = excluded.state, times = dead_letter.times + 1, by = excluded.by, reason = excluded.reason, at = excluded.at
RETURNING *
