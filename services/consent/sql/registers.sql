-- name: investigation_insert
INSERT INTO investigation (investigation_id, received_at, recorded_by, agency, basis, purpose, paper, member_ref, requested,
                           allowed, denied, refusal, state, decided_at, decided_by, keep_until, salt)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)

-- name: investigation_lock
SELECT * FROM investigation WHERE investigation_id = $1 FOR UPDATE

-- name: investigation_read
SELECT * FROM investigation WHERE investigation_id = $1

-- name: investigation_list
SELECT * FROM investigation WHERE position > $1 ORDER BY position LIMIT $2

-- name: investigation_decide
UPDATE investigation SET state = $2, provided = $3, form = $4, restrictions = $5, decided_at = $6, decided_by = $7,
       keep_until = $8
WHERE investigation_id = $1

-- name: investigation_paper
UPDATE investigation SET paper_number = $2, paper_received_at = $3 WHERE investigation_id = $1

-- name: investigation_figures
SELECT basis, agency, count(*) AS requests, count(*) FILTER (WHERE state = 'provided') AS provided,
       count(*) FILTER (WHERE state = 'denied') AS denied,
       count(DISTINCT member_ref) FILTER (WHERE state = 'provided') AS persons
FROM investigation WHERE decided_at >= $1 AND decided_at < $2 GROUP BY basis, agency ORDER BY basis, agency

-- name: investigation_report_insert
INSERT INTO investigation_report (half, reference, reported_at, reported_by) VALUES ($1, $2, $3, $4)
ON CONFLICT (half) DO NOTHING

-- name: investigation_report_read
SELECT half, reference, reported_at FROM investigation_report WHERE half = $1

-- name: processor_check_insert
INSERT INTO processor_check (check_id, processor, checked_at, outcome, reference, recorded_by)
VALUES ($1, $2, $3, $4, $5, $6)

-- name: processor_checks
SELECT DISTINCT ON (processor) processor, check_id, checked_at, outcome FROM processor_check
ORDER BY processor, checked_at DESC, check_id

-- name: processor_duties
SELECT subject, due_on FROM duty WHERE kind = 'processor_check' AND closed_at IS NULL

-- name: processor_told
SELECT processor, digest FROM processor_told

-- name: processor_tell
INSERT INTO processor_told (processor, digest) VALUES ($1, $2)
ON CONFLICT (processor) DO UPDATE SET digest = excluded.digest

-- name: processor_change_insert
INSERT INTO processor_change (change_id, processor, digest, detected_at) VALUES ($1, $2, $3, $4)

-- name: processor_change_next
SELECT change_id, processor, detected_at, last_ref FROM processor_change WHERE done_at IS NULL
ORDER BY detected_at, change_id LIMIT 1 FOR UPDATE SKIP LOCKED

-- name: processor_change_step
UPDATE processor_change SET last_ref = coalesce($2, last_ref), done_at = $3 WHERE change_id = $1

-- name: processor_members
SELECT m.member_ref FROM member m WHERE m.status NOT IN ('withdrawn', 'erased', 'pending_guardian')
  AND ($1::uuid IS NULL OR m.member_ref > $1) AND NOT EXISTS (SELECT FROM canary k WHERE k.member_ref = m.member_ref)
ORDER BY m.member_ref LIMIT $2

-- name: registers_lock
SELECT pg_advisory_xact_lock(7318405)

-- name: inquiry_insert
INSERT INTO inquiry (inquiry_id, member_ref, subject, channel, reference, routed_to, received_at, due_on, question)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: inquiry_read
SELECT * FROM inquiry WHERE inquiry_id = $1

-- name: inquiry_lock
SELECT * FROM inquiry WHERE inquiry_id = $1 FOR UPDATE

-- name: inquiry_lock_member
SELECT 1 FROM member WHERE member_ref = (SELECT member_ref FROM inquiry WHERE inquiry_id = $1) FOR UPDATE

-- name: inquiry_list
SELECT position, inquiry_id, member_ref, subject, channel, reference, routed_to, received_at, due_on, state, answered_at
FROM inquiry WHERE position > $1 AND ($2::text IS NULL OR state = $2) ORDER BY position LIMIT $3

-- name: inquiry_answer
UPDATE inquiry SET state = 'answered', answer = $2, answered_at = $3, answered_by = $4 WHERE inquiry_id = $1
