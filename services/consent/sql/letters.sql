-- name: letter_outcomes
SELECT letter_id, topic, code, state, times, by, reason, at FROM dead_letter ORDER BY letter_id

-- name: letter_lock
SELECT * FROM dead_letter WHERE letter_id = $1 FOR UPDATE

-- name: letter_write
INSERT INTO dead_letter (letter_id, topic, code, state, by, reason, at) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (letter_id) DO UPDATE
SET state = excluded.state, times = dead_letter.times + 1, by = excluded.by, reason = excluded.reason, at = excluded.at
RETURNING *

-- name: letter_seen
INSERT INTO letter (letter_id, topic, at) SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[])
ON CONFLICT (letter_id) DO NOTHING

-- name: letter_forget
DELETE FROM letter WHERE at < $1

-- name: letter_open
SELECT l.topic, count(*) AS letters, min(l.at) AS oldest FROM letter l
WHERE l.at >= $1 AND NOT EXISTS (SELECT FROM dead_letter d WHERE d.letter_id = l.letter_id) GROUP BY l.topic
