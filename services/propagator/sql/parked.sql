-- name: parked_pause
INSERT INTO paused (since, by) VALUES ($1, $2) ON CONFLICT (one) DO NOTHING RETURNING since

-- name: parked_resume
DELETE FROM paused RETURNING since

-- name: parked_park
INSERT INTO parked (member_ref, seq, partition, record_offset, value, headers, parked_at)
SELECT t.*, $7::timestamptz FROM unnest($1::uuid[], $2::bigint[], $3::int[], $4::bigint[], $5::bytea[], $6::jsonb[])
  AS t(member_ref, seq, partition, record_offset, value, headers)
ON CONFLICT (member_ref, seq) DO NOTHING

-- name: parked_next
SELECT member_ref, seq, partition, record_offset, value, headers FROM parked
WHERE NOT EXISTS (SELECT 1 FROM paused) ORDER BY member_ref, seq LIMIT $1

-- name: parked_forget
DELETE FROM parked p USING unnest($1::uuid[], $2::bigint[]) AS t(member_ref, seq)
WHERE p.member_ref = t.member_ref AND p.seq = t.seq

-- name: parked_members
SELECT DISTINCT member_ref FROM parked WHERE member_ref = ANY($1::uuid[])

-- name: parked_count
SELECT (SELECT count(*) FROM parked) AS parked, (SELECT since FROM paused) AS since, (SELECT by FROM paused) AS by,
       (SELECT count(*) FROM gap) AS gaps, (SELECT min(noticed_at) FROM gap) AS oldest_gap
