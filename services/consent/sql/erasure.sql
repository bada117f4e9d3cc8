-- name: erasure_insert
INSERT INTO erasure (erasure_id, member_ref, class, state, selected_at, selected_by, duty_subject, due_on, execute_from,
                     start_by, shred_by, standing_version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (member_ref) DO NOTHING

-- name: erasure_unselected
-- OFFSET 0: a look-up for each who has left. As a join it might read every case there ever was.
SELECT m.member_ref, m.withdrawn_at FROM member m
WHERE m.status = 'withdrawn' AND NOT EXISTS (SELECT FROM erasure e WHERE e.member_ref = m.member_ref OFFSET 0)
ORDER BY m.member_ref LIMIT $1

-- name: erasure_lock
SELECT * FROM erasure WHERE erasure_id = $1 OR member_ref = $1 ORDER BY erasure_id = $1 DESC LIMIT 1 FOR UPDATE

-- name: erasure_lock_free
SELECT * FROM erasure WHERE erasure_id = ANY($1::uuid[]) ORDER BY position FOR UPDATE SKIP LOCKED

-- name: erasure_read
SELECT e.*, h.reason AS hold_reason, h.held_at, h.held_by,
       c.seq, c.sealed_at, c.leaf_index,
       (SELECT count(*) FROM statutory_record r
        WHERE r.member_ref = e.member_ref AND r.stage IS DISTINCT FROM 'retained') AS records_owed,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('id', d.recipient, 'kind', d.kind, 'stage', d.stage, 'at', d.at)
               ORDER BY d.recipient), '[]') FROM delivery d WHERE d.change_id = e.change_id) AS recipients
FROM erasure e
LEFT JOIN LATERAL (SELECT reason, held_at, held_by FROM erasure_hold o
                   WHERE o.erasure_id = e.erasure_id AND o.lifted_at IS NULL ORDER BY held_at LIMIT 1) h ON true
LEFT JOIN change c ON c.change_id = e.change_id
WHERE e.erasure_id = $1 OR e.member_ref = $1 ORDER BY e.erasure_id = $1 DESC LIMIT 1

-- name: erasure_list
SELECT e.*, h.reason AS hold_reason, h.held_at, h.held_by FROM erasure e
LEFT JOIN LATERAL (SELECT reason, held_at, held_by FROM erasure_hold o
                   WHERE o.erasure_id = e.erasure_id AND o.lifted_at IS NULL ORDER BY held_at LIMIT 1) h ON true
WHERE e.position {} $1
  AND CASE $2 WHEN 'open' THEN e.state <> 'erased'
              WHEN 'unconfirmed' THEN e.approved_at IS NULL
              WHEN 'held' THEN e.held
              WHEN 'late' THEN e.state <> 'erased' AND NOT e.held AND e.due_on < $4
              WHEN 'any' THEN true
              ELSE e.state = $2 END
ORDER BY e.position {} LIMIT $3

-- name: erasure_due
SELECT position, erasure_id FROM erasure e
WHERE e.state <> 'erased' AND NOT e.held AND e.position > $2 AND CASE e.state
    WHEN 'selected' THEN e.start_by <= $1
    WHEN 'approved' THEN e.asked_at IS NOT NULL OR least(e.execute_from, e.start_by) <= $1
    ELSE e.shred_by <= $1 OR NOT EXISTS (
        SELECT FROM delivery d WHERE d.change_id = e.change_id
        AND d.stage NOT IN ('applied', 'superseded', 'skipped_destroyed'))
    END
ORDER BY e.position LIMIT $3

-- name: erasure_update
UPDATE erasure SET state = $2, duty_subject = $3, due_on = $4, execute_from = $5, start_by = $6, shred_by = $7,
       asked_at = $8, approved_at = $9, approved_by = $10, held = $11, change_id = $12, forced = $13
WHERE erasure_id = $1

-- name: erasure_reason
UPDATE erasure SET approval_reason = $2 WHERE erasure_id = $1 AND approval_reason IS NULL

-- name: erasure_asked_by
UPDATE erasure SET asked_by = $2 WHERE erasure_id = $1

-- name: erasure_start
UPDATE erasure e
SET state = 'executing', started_at = $2, change_id = t.change_id, forced = t.forced, records = t.records
FROM jsonb_to_recordset($1) AS t(erasure_id uuid, change_id uuid, forced boolean, records int)
WHERE e.erasure_id = t.erasure_id

-- name: erasure_finish
UPDATE erasure e SET state = 'erased', shredded_at = $2, forced = t.forced, unanswered = t.unanswered
FROM jsonb_to_recordset($1) AS t(erasure_id uuid, forced boolean, unanswered text[])
WHERE e.erasure_id = t.erasure_id

-- name: erasure_unanswered
SELECT change_id, array_agg(recipient ORDER BY recipient) AS recipients FROM delivery
WHERE change_id = ANY($1::uuid[]) AND stage NOT IN ('applied', 'superseded', 'skipped_destroyed') GROUP BY change_id

-- name: erasure_owing
SELECT e.position, e.erasure_id FROM erasure e
WHERE e.unanswered <> '{}' AND e.position > $1
  AND NOT EXISTS (SELECT FROM delivery d WHERE d.change_id = e.change_id
                  AND d.stage NOT IN ('applied', 'superseded', 'skipped_destroyed'))
ORDER BY e.position LIMIT $2

-- name: erasure_answered
UPDATE erasure SET unanswered = '{}' WHERE erasure_id = ANY($1::uuid[]) AND unanswered <> '{}' RETURNING *

-- name: erasure_hold
INSERT INTO erasure_hold (hold_id, erasure_id, reason, held_at, held_by) VALUES ($1, $2, $3, $4, $5)

-- name: erasure_lift
UPDATE erasure_hold SET lifted_at = $2, lifted_by = $3 WHERE erasure_id = $1 AND lifted_at IS NULL RETURNING hold_id

-- name: erasure_lock_members
SELECT FROM member WHERE member_ref = ANY($1::uuid[]) ORDER BY member_ref FOR UPDATE

-- name: erasure_unsuppressed
SELECT r.ref FROM unnest($1::uuid[]) AS r(ref) WHERE NOT EXISTS (SELECT FROM suppressed s WHERE s.member_ref = r.ref)

-- name: erasure_wipe
WITH profiles AS (
    DELETE FROM profile WHERE member_ref = ANY($1::uuid[])
), guardians AS (
    DELETE FROM guardian WHERE member_ref = ANY($1::uuid[])
), evidence AS (
    DELETE FROM rights_evidence
    WHERE request_id IN (SELECT request_id FROM rights_request WHERE member_ref = ANY($1::uuid[]))
), rights AS (
    UPDATE rights_request SET changes_sealed = NULL, agent_name_sealed = NULL WHERE member_ref = ANY($1::uuid[])
), inquiries AS (
    UPDATE inquiry SET question = NULL, answer = NULL WHERE member_ref = ANY($1::uuid[])
), refusals AS (
    DELETE FROM message_refusal WHERE member_ref = ANY($1::uuid[])
), accounts AS (
    DELETE FROM account_member WHERE member_ref = ANY($1::uuid[]) OR parent_ref = ANY($1::uuid[])
), mark AS (
    INSERT INTO suppressed (member_ref, at) SELECT r, $2 FROM unnest($1::uuid[]) r ON CONFLICT DO NOTHING
)
UPDATE member SET status = 'erased', status_before = NULL, email = NULL, name = NULL, password_hash = NULL,
       birth_date = NULL, email_index = NULL, last_active_at = NULL, dormant_notified_at = NULL
WHERE member_ref = ANY($1::uuid[])

-- name: erasure_drop_messages
UPDATE message SET state = 'dropped', reason = $2, closed_at = $3, sealed = NULL, leased_until = NULL, lease = NULL
WHERE member_ref = ANY($1::uuid[]) AND state = 'queued' RETURNING member_ref, message_id, kind, sender, medium, data

-- name: erasure_census
SELECT state, count(*) AS cases,
       count(*) FILTER (WHERE NOT held AND due_on < ($1::timestamptz AT TIME ZONE 'Asia/Seoul')::date) AS late
FROM erasure WHERE state <> 'erased' GROUP BY state

-- name: erasure_restored
UPDATE erasure SET state = 'erased', shredded_at = coalesce(shredded_at, $2) WHERE member_ref = $1 AND state <> 'erased'

-- name: erasure_records_done
SELECT e.position, e.erasure_id FROM erasure e
WHERE e.state = 'erased' AND e.records > 0 AND e.records_ended_at IS NULL AND e.position > $1
  AND NOT EXISTS (SELECT FROM statutory_record r WHERE r.member_ref = e.member_ref AND r.stage IS DISTINCT FROM 'retained')
ORDER BY e.position LIMIT $2

-- name: erasure_records_ended
UPDATE erasure SET records_ended_at = $2
WHERE erasure_id = ANY($1::uuid[]) AND records_ended_at IS NULL RETURNING *

-- name: erasure_records_owed
SELECT count(*) FROM erasure e
WHERE e.records > 0 AND e.records_ended_at IS NULL
  AND EXISTS (SELECT FROM statutory_record r WHERE r.member_ref = e.member_ref AND r.stage IS DISTINCT FROM 'retained')

-- name: hold_lifted
UPDATE erasure_hold SET lifted_at = $3, lifted_by = $4 WHERE hold_id = $1 AND erasure_id = $2 AND lifted_at IS NULL

-- name: hold_known
SELECT EXISTS (SELECT FROM erasure_hold WHERE hold_id = $1) OR EXISTS (SELECT FROM hold_ahead WHERE hold_id = $1)

-- name: hold_open
SELECT EXISTS (SELECT FROM erasure_hold WHERE erasure_id = $1 AND lifted_at IS NULL)

-- name: hold_ahead
INSERT INTO hold_ahead (hold_id, member_ref, reason, held_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING

-- name: hold_ahead_lifted
DELETE FROM hold_ahead WHERE hold_id = $1

-- name: hold_ahead_taken
DELETE FROM hold_ahead WHERE member_ref = $1 RETURNING hold_id, reason, held_at

-- name: erasure_overdue
UPDATE erasure SET overdue_told_at = $1
WHERE state <> 'erased' AND NOT held AND due_on < $2 AND overdue_told_at IS NULL
RETURNING erasure_id
