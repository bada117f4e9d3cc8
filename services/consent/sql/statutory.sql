-- name: record_insert
INSERT INTO statutory_record (record_id, member_ref, class, occurred_at, destroy_on, rule, sealed, created_by, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: record_too_late
SELECT EXISTS (SELECT FROM erasure WHERE member_ref = $1 AND state IN ('executing', 'erased'))

-- name: record_list
SELECT record_id, class, occurred_at, destroy_on, rule, sealed, stage, created_at
FROM statutory_record WHERE member_ref = $1 ORDER BY occurred_at, record_id

-- name: record_lock_to_hand_over
SELECT record_id, class, occurred_at, destroy_on, rule, sealed FROM statutory_record
WHERE member_ref = $1 AND handed_over_at IS NULL AND destroy_on > $2 ORDER BY record_id FOR UPDATE

-- name: record_last_change
SELECT change_id, seq FROM change WHERE member_ref = $1 ORDER BY seq DESC LIMIT 1

-- name: record_handed_over
UPDATE statutory_record r SET handed_over_at = $3, sealed = n.sealed
FROM unnest($1::uuid[], $2::bytea[]) AS n(record_id, sealed) WHERE r.record_id = n.record_id

-- name: record_answered
UPDATE statutory_record r SET stage = a.stage, answered_at = a.at,
       sealed = CASE a.stage WHEN 'retained' THEN NULL ELSE r.sealed END
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS a(record_id, stage, at)
WHERE r.record_id = a.record_id AND r.stage IS DISTINCT FROM 'retained'

-- name: record_owing
SELECT DISTINCT member_ref FROM statutory_record
WHERE member_ref = ANY($1::uuid[]) AND stage IS DISTINCT FROM 'retained'

-- name: record_destroy
DELETE FROM statutory_record WHERE record_id IN (
    SELECT record_id FROM statutory_record r WHERE destroy_on <= $1 AND ($2::uuid IS NULL OR member_ref = $2)
      AND NOT EXISTS (SELECT FROM hold_ahead h WHERE h.member_ref = r.member_ref)
      AND NOT EXISTS (SELECT FROM erasure e WHERE e.member_ref = r.member_ref AND e.held AND e.state <> 'erased')
    ORDER BY destroy_on, record_id LIMIT $3 FOR UPDATE SKIP LOCKED
) RETURNING record_id, member_ref, class, rule, destroy_on, stage

-- name: record_schedule
SELECT record_id, class, occurred_at, destroy_on, rule,
       EXISTS (SELECT FROM hold_ahead h WHERE h.member_ref = r.member_ref)
       OR EXISTS (SELECT FROM erasure e WHERE e.member_ref = r.member_ref AND e.held AND e.state <> 'erased') AS held
FROM statutory_record r
WHERE destroy_on <= $1 AND stage IS DISTINCT FROM 'retained' AND (destroy_on, record_id) > ($2, $3)
ORDER BY destroy_on, record_id LIMIT $4
