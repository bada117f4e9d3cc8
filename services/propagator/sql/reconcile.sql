-- The store's side of services/consent/sql/holdings.sql: the same bytes of the same rows, or the digests differ.

-- name: reconcile_digests
SELECT r.place, d.members, d.digest
FROM (SELECT place, coalesce(after, '00000000-0000-0000-0000-000000000000') AS after,
             coalesce(until, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AS until
      FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS t(after, until, place)) r
CROSS JOIN LATERAL (
    SELECT count(*) AS members,
           encode(sha256(coalesce(string_agg(sha256(convert_to($3 || member_ref::text || coalesce(member::text, '') || '|'
             || coalesce(processed::text, ''), 'UTF8')), ''::bytea ORDER BY member_ref), ''::bytea)), 'hex') AS digest
    FROM (
        SELECT member_ref,
               CASE WHEN m.seq IS NOT NULL THEN jsonb_build_array(m.seq, m.email, m.name, m.password_hash, m.status,
                 (extract(epoch FROM m.signed_up_at) * 1000000)::bigint,
                 (extract(epoch FROM m.withdrawn_at) * 1000000)::bigint, m.marketing, m.suspended) END AS member,
               CASE WHEN p.seq IS NOT NULL THEN jsonb_build_array(p.seq, p.service, p.role, p.items, p.suspended, p.status)
               END AS processed
        FROM (SELECT * FROM member WHERE member_ref > r.after AND member_ref <= r.until) m
        FULL JOIN (SELECT * FROM processed_member WHERE member_ref > r.after AND member_ref <= r.until) p
             USING (member_ref)
    ) held
) d ORDER BY r.place

-- name: reconcile_refs
SELECT member_ref FROM member
WHERE member_ref > coalesce($1::uuid, '00000000-0000-0000-0000-000000000000')
  AND member_ref <= coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
UNION SELECT member_ref FROM processed_member
WHERE member_ref > coalesce($1::uuid, '00000000-0000-0000-0000-000000000000')
  AND member_ref <= coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
ORDER BY member_ref LIMIT $3

-- name: reconcile_gaps
SELECT DISTINCT g.member_ref FROM gap g
WHERE g.noticed_at < $1 AND NOT EXISTS (SELECT FROM suppressed s WHERE s.member_ref = g.member_ref)
ORDER BY g.member_ref LIMIT $2

-- name: reconcile_members
SELECT member_ref, seq, email, name, password_hash, status, signed_up_at, withdrawn_at, marketing, suspended
FROM member WHERE member_ref = ANY($1::uuid[])

-- name: reconcile_processed
SELECT member_ref, seq, service, role, items, suspended, status FROM processed_member WHERE member_ref = ANY($1::uuid[])

-- name: reconcile_said
SELECT id, published_at IS NULL AS waits FROM outbox WHERE id = ANY($1::uuid[])

-- name: reconcile_forget_gaps
DELETE FROM gap WHERE member_ref = ANY($1::uuid[])
