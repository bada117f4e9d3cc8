-- name: insert_key
INSERT INTO member_key (member_ref, wrapped, kek_id, created_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (member_ref) DO NOTHING

-- name: insert_keys
INSERT INTO member_key (member_ref, wrapped, kek_id, created_at)
SELECT ref, wrapped, $3, $4 FROM unnest($1::uuid[], $2::bytea[]) AS t(ref, wrapped)

-- name: read_keys
SELECT member_ref, wrapped, kek_id FROM member_key WHERE member_ref = ANY($1::uuid[])

-- name: shred_keys
INSERT INTO member_key (member_ref, created_at, shredded_at) SELECT r, $2, $2 FROM unnest($1::uuid[]) r ORDER BY r
ON CONFLICT (member_ref) DO UPDATE SET wrapped = NULL, shredded_at = excluded.shredded_at
WHERE member_key.shredded_at IS NULL

-- name: count_by_kek
SELECT kek_id, count(*) AS keys FROM member_key WHERE wrapped IS NOT NULL GROUP BY kek_id ORDER BY kek_id

-- name: read_other_kek
SELECT member_ref, wrapped, kek_id FROM member_key WHERE wrapped IS NOT NULL AND kek_id <> $1 AND member_ref > $2
ORDER BY member_ref LIMIT $3

-- name: rewrap_keys
UPDATE member_key SET wrapped = t.new, kek_id = $4
FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS t(ref, old, new)
WHERE member_ref = t.ref AND wrapped = t.old
