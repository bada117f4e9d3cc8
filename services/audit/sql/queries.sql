-- name: size
SELECT coalesce(max(index) + 1, 0) FROM entry

-- name: known_events
SELECT event_id, content_hash FROM entry WHERE event_id = ANY($1::uuid[])

-- name: insert_entries
INSERT INTO entry (index, event_id, content_hash, leaf_hash, body, type, member_ref, change_id, seq, actor,
                   recipient, stage, at)
SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[], $7::uuid[],
                     $8::uuid[], $9::bigint[], $10::text[], $11::text[], $12::text[], $13::timestamptz[])

-- name: insert_nodes
INSERT INTO node (level, index, hash) SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])

-- name: insert_owed
INSERT INTO owed (change_id, recipient, kind, index, at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[])
ON CONFLICT DO NOTHING

-- name: insert_answered
INSERT INTO answered (change_id, recipient, index)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[])
ON CONFLICT DO NOTHING

-- name: read_nodes
SELECT level, index, hash FROM node
WHERE (level, index) IN (SELECT * FROM unnest($1::smallint[], $2::bigint[]))
UNION ALL
SELECT 0::smallint, index, leaf_hash FROM entry
WHERE index IN (SELECT i FROM unnest($1::smallint[], $2::bigint[]) AS t(l, i) WHERE l = 0)

-- name: insert_checkpoint
INSERT INTO checkpoint (size, root, note, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING

-- name: latest_checkpoint
SELECT size, root, note, at FROM checkpoint ORDER BY size DESC LIMIT 1

-- name: read_checkpoint
SELECT size, root, note, at FROM checkpoint WHERE size = $1

-- name: list_checkpoints
SELECT size, note FROM checkpoint WHERE size > $1 AND size <= $2 ORDER BY size LIMIT $3

-- name: sealed_size
SELECT coalesce(max(size), 0) FROM sealed_published

-- name: insert_sealed
INSERT INTO sealed_published (size) VALUES ($1) ON CONFLICT DO NOTHING

-- name: list_sealable
SELECT index, change_id, member_ref, seq FROM entry
WHERE index >= $1 AND index < $2 AND stage IS NULL AND change_id IS NOT NULL ORDER BY index LIMIT $3

-- name: read_entry
SELECT index, leaf_hash, body, type, member_ref, change_id, seq, actor, recipient, stage, at, appended_at
FROM entry WHERE index = $1

-- name: list_entries
SELECT index, leaf_hash, body, type, member_ref, change_id, seq, actor, recipient, stage, at, appended_at
FROM entry WHERE {} ORDER BY index LIMIT $2

-- name: list_bodies
SELECT index, leaf_hash, body FROM entry WHERE index > $1 AND index < $2 ORDER BY index LIMIT $3

-- name: list_overdue
SELECT o.change_id, o.recipient, o.kind, o.index, o.at FROM owed o
WHERE o.kind = $1 AND o.at < $2
  AND NOT EXISTS (SELECT FROM answered a WHERE a.change_id = o.change_id AND a.recipient = o.recipient)
ORDER BY o.at LIMIT $3

-- name: count_overdue
SELECT count(*) FROM owed o
WHERE o.kind = $1 AND o.at < $2
  AND NOT EXISTS (SELECT FROM answered a WHERE a.change_id = o.change_id AND a.recipient = o.recipient)

-- name: insert_anchored
INSERT INTO anchored (size, place, cosignatures, token, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING

-- name: anchored_places
SELECT place FROM anchored WHERE size = $1

-- name: list_anchored
SELECT DISTINCT ON (place) place, size, at FROM anchored ORDER BY place, size DESC

-- name: cosignatures
SELECT coalesce(string_agg(cosignatures, '' ORDER BY place), '') FROM anchored WHERE size = $1

-- name: cosigned_size
SELECT size FROM anchored WHERE cosignatures <> '' AND size > $1 ORDER BY size DESC LIMIT 1

-- name: leaf_hashes
SELECT leaf_hash FROM entry WHERE index >= $1 AND index < $2 ORDER BY index
