-- name: own_suppressions
SELECT pg_advisory_xact_lock($1)

-- name: lock_states
SELECT * FROM lock_states($1::uuid[], $2::bigint)

-- name: read_states
SELECT * FROM states_of($1::uuid[])

-- name: read_seen
SELECT member_ref, coalesce(seq, 0) AS seq, suppressed, EXISTS (SELECT FROM paused) AS paused, gaps
FROM states_of($1::uuid[])

-- name: write_states
WITH watermarks AS (
    UPDATE watermark w
    SET seq = t.seq, values_seq = t.values_seq, values_state = t.values_state,
        processed_seq = t.processed_seq, processed_state = t.processed_state,
        marketing_seq = t.marketing_seq, marketing = t.marketing,
        status_seq = t.status_seq, status = t.status, status_at = t.status_at,
        parts_seq = t.parts_seq, parts = t.parts
    FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::text[],
                $8::bigint[], $9::jsonb[], $10::bigint[], $11::text[], $12::timestamptz[], $13::bigint[], $14::jsonb[])
      AS t(member_ref, seq, values_seq, values_state, processed_seq, processed_state,
           marketing_seq, marketing, status_seq, status, status_at, parts_seq, parts)
    WHERE w.member_ref = t.member_ref AND t.seq >= w.seq
), members AS (
    INSERT INTO member (member_ref, seq, email, name, password_hash, status, signed_up_at, withdrawn_at, marketing,
                        suspended, applied_at)
    SELECT t.*, $1::timestamptz
    FROM unnest($15::uuid[], $16::bigint[], $17::text[], $18::text[], $19::text[], $20::text[],
                $21::timestamptz[], $22::timestamptz[], $23::jsonb[], $24::jsonb[])
      AS t(member_ref, seq, email, name, password_hash, status, signed_up_at, withdrawn_at, marketing, suspended)
    ON CONFLICT (member_ref) DO UPDATE
    SET seq = excluded.seq, email = excluded.email, name = excluded.name, password_hash = excluded.password_hash,
        status = excluded.status, signed_up_at = excluded.signed_up_at, withdrawn_at = excluded.withdrawn_at,
        marketing = excluded.marketing, suspended = excluded.suspended, applied_at = excluded.applied_at
    WHERE excluded.seq >= member.seq
), processed AS (
    INSERT INTO processed_member (member_ref, seq, service, role, items, suspended, status, applied_at)
    SELECT t.*, $1::timestamptz
    FROM unnest($25::uuid[], $26::bigint[], $27::text[], $28::text[], $29::jsonb[], $30::jsonb[],
                $31::text[])
      AS t(member_ref, seq, service, role, items, suspended, status)
    ON CONFLICT (member_ref) DO UPDATE
    SET seq = excluded.seq, service = excluded.service, role = excluded.role, items = excluded.items,
        suspended = excluded.suspended, status = excluded.status, applied_at = excluded.applied_at
    WHERE excluded.seq >= processed_member.seq
)
INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, headers, shard)
SELECT * FROM unnest($32::uuid[], $33::text[], $34::text[], $35::text[], $36::bytea[], $37::jsonb[], $38::int[])
ON CONFLICT (id) DO NOTHING

-- name: delete_members
DELETE FROM member WHERE member_ref = ANY($1::uuid[])

-- name: delete_processed
DELETE FROM processed_member WHERE member_ref = ANY($1::uuid[])

-- name: delete_gaps
DELETE FROM gap g USING unnest($1::uuid[], $2::bigint[]) AS t(member_ref, after_seq)
WHERE g.member_ref = t.member_ref AND g.after_seq = t.after_seq

-- name: insert_gaps
INSERT INTO gap (member_ref, after_seq, upto_seq, noticed_at)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::timestamptz[])

-- name: suppress
INSERT INTO suppressed (member_ref, at) SELECT * FROM unnest($1::uuid[], $2::timestamptz[])
ON CONFLICT (member_ref) DO NOTHING

-- name: clear_cells
UPDATE watermark
SET values_seq = 0, values_state = 'absent', processed_seq = 0, processed_state = 'absent',
    marketing_seq = 0, marketing = NULL, status_seq = 0, status = NULL, status_at = NULL,
    parts_seq = 0, parts = NULL
WHERE member_ref = ANY($1::uuid[])
