-- name: size
SELECT coalesce(max(index) + 1, 0) FROM entry

-- name: known_events
SELECT event_id, content_hash FROM entry WHERE event_id = ANY($1::uuid[])

-- name: said_by_events
SELECT event_id, at, body FROM entry WHERE event_id = ANY($1::uuid[])

-- name: insert_entries
INSERT INTO entry (index, event_id, content_hash, leaf_hash, body, type, member_ref, change_id, seq, actor,
                   recipient, stage, at, facet)
SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[], $7::uuid[],
                     $8::uuid[], $9::bigint[], $10::text[], $11::text[], $12::text[], $13::timestamptz[], $14::int[])

-- name: insert_facets
INSERT INTO facet (type, kind, actor, recipient, stage, clauses)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
ON CONFLICT DO NOTHING

-- name: read_facets
SELECT f.facet FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
    WITH ORDINALITY AS w (type, kind, actor, recipient, stage, clauses, place)
JOIN facet f ON f.type = w.type AND f.kind IS NOT DISTINCT FROM w.kind AND f.actor IS NOT DISTINCT FROM w.actor
    AND f.recipient IS NOT DISTINCT FROM w.recipient AND f.stage IS NOT DISTINCT FROM w.stage
    AND f.clauses = w.clauses
ORDER BY w.place

-- name: insert_slices
INSERT INTO slice (slice, min_at, max_at)
SELECT index / 1024, min(at), max(at) FROM entry WHERE index >= $1 AND index < $2 GROUP BY 1
ON CONFLICT DO NOTHING

-- name: find_facets
SELECT facet FROM facet
WHERE ($1::text IS NULL OR type = $1) AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR actor = $3)
  AND ($4::text IS NULL OR recipient = $4) AND ($5::text IS NULL OR stage = $5)
  AND ($6::text IS NULL OR ' ' || clauses || ' ' LIKE '% ' || $6 || ' %' OR ' ' || clauses LIKE '% ' || $6 || '.%')

-- name: find_runs
-- What no whole slice holds yet is the last run, of the same snapshot: a slice completed meanwhile is in one of them.
SELECT min(slice) * 1024 AS first, (max(slice) + 1) * 1024 AS until FROM (
    SELECT slice, slice - row_number() OVER (ORDER BY slice) AS run FROM slice
    WHERE ($1::timestamptz IS NULL OR max_at >= $1) AND ($2::timestamptz IS NULL OR min_at < $2)
) found GROUP BY run
UNION ALL SELECT coalesce(max(slice) + 1, 0) * 1024, 9223372036854775807 FROM slice
ORDER BY 1

-- name: insert_access
-- One after another, so that a position that can be read has none before it that cannot yet.
WITH alone AS MATERIALIZED (SELECT pg_advisory_xact_lock(7318406))
INSERT INTO access (at, reader, roles, address, action, reason, member_ref, told)
SELECT $1::timestamptz, $2::text, $3::text, $4::text, $5::text, $6::text, $7::uuid, $8::jsonb FROM alone

-- name: list_accesses
SELECT position, access_id, at, reader, roles, address, action, reason, member_ref, told FROM access
WHERE position > $1 ORDER BY position LIMIT $2

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

-- name: offsets_forget
SELECT offsets_forget()

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
SELECT e.index, e.leaf_hash, e.body, e.type, f.kind, e.member_ref, e.change_id, e.seq, e.actor, e.recipient, e.stage,
       f.clauses, e.at, e.appended_at
FROM entry e LEFT JOIN facet f USING (facet) WHERE e.index = $1

-- name: list_entries
WITH found AS ({})
SELECT e.index, e.leaf_hash, e.body, e.type, f.kind, e.member_ref, e.change_id, e.seq, e.actor, e.recipient, e.stage,
       f.clauses, e.at, e.appended_at
FROM found JOIN entry e USING (index) LEFT JOIN facet f USING (facet) ORDER BY e.index {}

-- name: find_indexes
SELECT index FROM entry WHERE {0} {1}

-- name: find_of_facets
SELECT index FROM entry WHERE {0} AND facet = ANY({2}::int[]) {1}

-- name: find_by_facet
SELECT e.index FROM unnest({2}::int[]) AS wanted (facet),
    LATERAL (SELECT index FROM entry WHERE facet = wanted.facet AND {0} {1}) e {1}

-- name: list_bodies
SELECT index, leaf_hash, body FROM entry WHERE index > $1 AND index < $2 ORDER BY index LIMIT $3

-- name: list_overdue
SELECT change_id, recipient, kind, index, at FROM waiting WHERE kind = $1 AND at < $2 ORDER BY at LIMIT $3

-- name: count_overdue
SELECT count(*) FROM waiting WHERE kind = $1 AND at < $2

-- name: insert_anchored
INSERT INTO anchored (size, place, cosignatures, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING

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

-- name: newest_notes
SELECT note FROM checkpoint ORDER BY size DESC LIMIT $1

-- name: list_columns
SELECT index, leaf_hash, body, event_id, type, member_ref, change_id, seq, actor, recipient, stage, at FROM entry
WHERE index > $1 AND index < $2 ORDER BY index LIMIT $3

-- name: insert_verification
INSERT INTO verification (at, size, seconds, ok, first_bad_index, findings) VALUES ($1, $2, $3, $4, $5, $6)

-- name: last_verification
SELECT at, size, seconds, ok, first_bad_index, findings FROM verification ORDER BY position DESC LIMIT 1
