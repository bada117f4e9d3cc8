-- name: known
SELECT record_id FROM kept_record WHERE record_id = ANY($1::uuid[])
UNION SELECT record_id FROM destroyed_record WHERE record_id = ANY($1::uuid[])

-- name: insert_records
INSERT INTO kept_record (record_id, member_ref, class, occurred_at, destroy_on, rule, email_mac, sealed, retained_at)
SELECT *, $9 FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::date[], $6::text[], $7::bytea[],
                         $8::bytea[])

-- name: insert_keys
INSERT INTO record_key (record_id, wrapped, kek_id) SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::text[])

-- name: in_outbox
SELECT id FROM outbox WHERE id = ANY($1::uuid[])

-- name: read
SELECT * FROM read_records($1, $2, $3, $4, $5, $6, $7)

-- name: destroy
SELECT * FROM destroy_records($1, $2, $3)

-- name: purge_readings
SELECT purge_readings($1)

-- name: keys_to_rewrap
SELECT * FROM keys_of_other_keks($1, $2)

-- name: rewrap
SELECT rewrap_key($1, $2, $3)

-- name: schedule
SELECT record_id, class, occurred_at, destroy_on, rule,
       EXISTS (SELECT 1 FROM hold h WHERE h.member_ref = k.member_ref) AS held
FROM kept_record k WHERE destroy_on <= $1 AND (destroy_on, record_id) > ($2, $3)
ORDER BY destroy_on, record_id LIMIT $4

-- name: hold_set
INSERT INTO hold (member_ref, reason, set_by, set_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (member_ref) WHERE place = 'retention' DO NOTHING RETURNING hold_id

-- name: hold_lift
DELETE FROM hold WHERE member_ref = $1 RETURNING hold_id

-- name: hold_mirror
INSERT INTO hold (hold_id, member_ref, reason, set_by, set_at, place) VALUES ($1, $2, $3, 'consent', $4, 'consent')
ON CONFLICT DO NOTHING

-- name: hold_mirror_lift
DELETE FROM hold WHERE hold_id = $1
