-- name: rights_insert
INSERT INTO rights_request (request_id, member_ref, type, channel, state, received_at, received_by, created_by,
    created_at, due_on, items, changes_sealed, agent_kind, agent_document, agent_scope, agent_name_sealed)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (member_ref, type) WHERE state IN ('received', 'verified', 'deferred') DO NOTHING

-- name: rights_open
SELECT request_id FROM rights_request
WHERE member_ref = $1 AND type = $2 AND state IN ('received', 'verified', 'deferred')

-- name: rights_lock
SELECT * FROM rights_request WHERE request_id = $1 FOR UPDATE

-- name: rights_read
SELECT * FROM rights_request WHERE request_id = $1

-- name: rights_list
SELECT * FROM rights_request
WHERE position {} $1 AND ($2::text[] IS NULL OR state = ANY($2)) AND ($3::uuid IS NULL OR member_ref = $3)
  AND ($4::text IS NULL OR received_by = $4)
ORDER BY position {} LIMIT $5

-- name: rights_update
UPDATE rights_request SET state = $2, verified_at = $3, deferral = $4, deferred_at = $5, reason_ended_at = $6,
    outcome = $7, ground = $8, statute = $9, granted_items = $10, decided_at = $11, suspends = $12, ended_at = $13,
    change_ids = change_ids || $14::uuid[],
    verified_by = coalesce($15, verified_by), method = coalesce($16, method),
    agent_method = coalesce($17, agent_method), decided_by = coalesce($18, decided_by), told_by = coalesce($19, told_by)
WHERE request_id = $1

-- name: rights_keep_answer
INSERT INTO rights_answer (request_id, sealed) VALUES ($1, $2)

-- name: rights_kept_answer
SELECT sealed FROM rights_answer WHERE request_id = $1

-- name: rights_other_parts
SELECT coalesce(CASE WHEN outcome = 'partial' THEN granted_items ELSE items END, '{}') AS parts
FROM rights_request WHERE member_ref = $1 AND request_id <> $2 AND suspends

-- name: rights_lock_member
SELECT 1 FROM member WHERE member_ref = $1 FOR UPDATE

-- name: rights_consents
SELECT purpose, party, channel, notice_version, notice_hash, collected_via, actor, given_at, ended_at
FROM consent WHERE member_ref = $1 ORDER BY consent_id

-- name: rights_insert_evidence
INSERT INTO rights_evidence (evidence_id, request_id, kind, media_type, size, sha256, sealed, added_by, added_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: rights_find_evidence
SELECT evidence_id AS id, sha256, kind, media_type, size FROM rights_evidence WHERE request_id = $1 AND sha256 = $2

-- name: rights_count_evidence
SELECT count(*) FROM rights_evidence WHERE request_id = $1

-- name: rights_list_evidence
SELECT evidence_id, kind, media_type, size, sha256, added_at FROM rights_evidence WHERE request_id = $1 ORDER BY position

-- name: rights_read_evidence
SELECT e.*, r.member_ref FROM rights_evidence e JOIN rights_request r USING (request_id)
WHERE e.request_id = $1 AND e.evidence_id = $2
