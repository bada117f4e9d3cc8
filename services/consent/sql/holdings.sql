-- What one affiliate's two rows of each member must be, worked out from the ledger (`held`), the present values and the
-- changes it was told of. Parameters of both: recipient, the service it processes, rules that project, rules by the
-- stop they cause (jsonb), references after ... and up to ..., salt, how many members.

-- name: holdings_digests
WITH page AS (
    SELECT h.*, row_number() OVER (ORDER BY member_ref) AS place
    FROM (SELECT member_ref, roles, marketing FROM held
          WHERE recipient = $1 AND ($5::uuid IS NULL OR member_ref > $5) AND ($6::uuid IS NULL OR member_ref <= $6)
          ORDER BY member_ref LIMIT $8) h
), told AS (
    SELECT p.member_ref, c.seq, c.accepted_at, a.value->'roles' AS roles,
           CASE WHEN a.value->'rules'->>0 = ANY($3::text[]) THEN 'state' ELSE $4::jsonb->>(a.value->'rules'->>0)
             || CASE WHEN named.parts <> '[]' THEN '_in_part' ELSE '' END END AS said, named.parts
    FROM page p JOIN change c USING (member_ref)
    CROSS JOIN LATERAL jsonb_array_elements(c.fact->'addressees') a
    CROSS JOIN LATERAL (SELECT coalesce(a.value->'suspended', '[]') AS parts) named
    WHERE a.value->>'id' = $1
), seen AS (
    SELECT member_ref,
           max(seq) FILTER (WHERE said <> 'sharing_revoked' OR roles ? 'recipient') AS member_seq,
           max(seq) FILTER (WHERE said <> 'marketing_revoked' AND (said <> 'sharing_revoked' OR roles ? 'processor'))
             AS processed_seq,
           max(seq) FILTER (WHERE said IN ('state', 'withdrawal_requested', 'suspended', 'withdrawn')) AS status_seq,
           (array_agg(parts ORDER BY seq DESC) FILTER (WHERE said IN ('state', 'suspended_in_part')))[1] AS parts,
           max(accepted_at) FILTER (WHERE said = 'withdrawn') AS withdrawn_at,
           bool_or(said = 'withdrawn' AND roles ? 'recipient') AS member_ended,
           bool_or(said = 'withdrawn' AND roles ? 'processor') AS processed_ended,
           bool_or(said = 'erased') AS erased
    FROM told GROUP BY member_ref
), rows AS (
    SELECT p.member_ref, p.place,
           CASE WHEN s.erased THEN NULL
                WHEN 'recipient' = ANY(p.roles) THEN jsonb_build_array(s.member_seq,
                  CASE WHEN s.parts ? 'email' THEN NULL ELSE m.email END,
                  CASE WHEN s.parts ? 'name' THEN NULL ELSE m.name END,
                  CASE WHEN s.parts ? 'password_hash' THEN NULL ELSE m.password_hash END,
                  coalesce(in_force.status, 'active'),
                  (extract(epoch FROM m.signed_up_at) * 1000000)::bigint, NULL, p.marketing, nullif(s.parts, '[]'))
                WHEN s.member_ended THEN jsonb_build_array(s.member_seq, NULL, NULL, NULL, 'withdrawn', NULL,
                  (extract(epoch FROM s.withdrawn_at) * 1000000)::bigint, NULL, NULL)
           END AS member,
           CASE WHEN s.erased THEN NULL
                WHEN 'processor' = ANY(p.roles) THEN jsonb_build_array(s.processed_seq, f.service, f.role,
                  (f.items || jsonb_build_object('email', m.email, 'name', m.name)) - ARRAY(
                    SELECT CASE WHEN starts_with(part, f.service || '.') THEN substr(part, length(f.service) + 2) ELSE part END
                    FROM jsonb_array_elements_text(s.parts) part), nullif(s.parts, '[]'), nullif(in_force.status, 'active'))
                WHEN s.processed_ended THEN jsonb_build_array(s.processed_seq, NULL, NULL, NULL, NULL, 'withdrawn')
           END AS processed
    FROM page p JOIN member m USING (member_ref) LEFT JOIN seen s USING (member_ref)
    LEFT JOIN profile f ON f.member_ref = p.member_ref AND f.service = $2
    LEFT JOIN LATERAL (SELECT c.status FROM change c WHERE c.member_ref = p.member_ref AND c.seq <= s.status_seq
                         AND c.status IS NOT NULL ORDER BY c.seq DESC LIMIT 1) in_force ON true
)
SELECT (place - 1) / $9 AS part, max(member_ref::text)::uuid AS until, count(*) AS seen,
       count(*) FILTER (WHERE member IS NOT NULL OR processed IS NOT NULL) AS members,
       encode(sha256(coalesce(string_agg(sha256(convert_to($7 || member_ref::text || coalesce(member::text, '') || '|'
         || coalesce(processed::text, ''), 'UTF8')), ''::bytea ORDER BY member_ref)
         FILTER (WHERE member IS NOT NULL OR processed IS NOT NULL), ''::bytea)), 'hex') AS digest
FROM rows GROUP BY part ORDER BY part

-- name: holdings_page
SELECT member_ref FROM held WHERE recipient = $1 AND ($2::uuid IS NULL OR member_ref > $2)
ORDER BY member_ref LIMIT $3

-- name: holdings_told
-- Of each member the last full state it was told of and every change after it, with the status then in force. Looked for
-- from the newest change back: a canary is corrected every minute for years, and costs no more than anybody.
SELECT c.member_ref, c.change_id, c.seq, c.name, c.accepted_at, a.value->'roles' AS roles,
       a.value->'rules'->>0 AS rule, coalesce(a.value->'suspended', '[]') AS suspended,
       coalesce(in_force.status, 'active') AS status
FROM unnest($1::uuid[]) AS asked(member_ref)
LEFT JOIN LATERAL (
    SELECT s.seq FROM change s CROSS JOIN LATERAL jsonb_array_elements(s.fact->'addressees') a
    WHERE s.member_ref = asked.member_ref AND a.value->>'id' = $2 AND a.value->>'kind' = 'affiliate'
      AND NOT ($3::jsonb ? (a.value->'rules'->>0))
    ORDER BY s.seq DESC LIMIT 1
) state ON true
JOIN change c ON c.member_ref = asked.member_ref AND c.seq >= coalesce(state.seq, 0)
CROSS JOIN LATERAL jsonb_array_elements(c.fact->'addressees') a
LEFT JOIN LATERAL (SELECT s.status FROM change s WHERE s.member_ref = c.member_ref AND s.seq <= c.seq
                     AND s.status IS NOT NULL ORDER BY s.seq DESC LIMIT 1) in_force ON true
WHERE a.value->>'id' = $2 AND a.value->>'kind' = 'affiliate'
ORDER BY c.member_ref, c.seq

-- name: holdings_unanswered
SELECT c.member_ref, c.change_id, c.seq, c.accepted_at FROM delivery d JOIN change c USING (change_id)
WHERE d.recipient = $2 AND c.member_ref = ANY($1::uuid[]) AND d.stage NOT IN ('applied', 'superseded', 'skipped_destroyed')
ORDER BY c.member_ref, c.seq

-- name: holdings_owing
SELECT d.change_id, c.member_ref, c.seq, c.accepted_at FROM delivery d JOIN change c USING (change_id)
WHERE d.recipient = $1 AND d.stage IN ('accepted', 'relayed', 'manual', 'late', 'refused')
  AND d.change_id > coalesce($2::uuid, '00000000-0000-0000-0000-000000000000')
ORDER BY d.change_id LIMIT $3

-- name: entitle_page
SELECT m.member_ref FROM member m
WHERE m.status = 'active' AND ($2::uuid IS NULL OR m.member_ref > $2)
  AND NOT EXISTS (SELECT 1 FROM held h WHERE h.member_ref = m.member_ref AND h.recipient = $1)
ORDER BY m.member_ref LIMIT $3
