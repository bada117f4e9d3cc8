-- Both sides of a comparison of two stores: what the records determine, as JSON.
-- name: shadow_refs_member
SELECT DISTINCT member_ref FROM member WHERE member_ref > $1 ORDER BY member_ref LIMIT $2

-- name: shadow_rows_member
SELECT member_ref, jsonb_agg((to_jsonb(t) - 'applied_at') ORDER BY to_jsonb(t)::text) AS told
FROM member AS t WHERE member_ref = ANY($1::uuid[]) GROUP BY member_ref

-- name: shadow_refs_processed_member
SELECT DISTINCT member_ref FROM processed_member WHERE member_ref > $1 ORDER BY member_ref LIMIT $2

-- name: shadow_rows_processed_member
SELECT member_ref, jsonb_agg((to_jsonb(t) - 'applied_at') ORDER BY to_jsonb(t)::text) AS told
FROM processed_member AS t WHERE member_ref = ANY($1::uuid[]) GROUP BY member_ref

-- name: shadow_refs_watermark
SELECT DISTINCT member_ref FROM watermark WHERE member_ref > $1 ORDER BY member_ref LIMIT $2

-- name: shadow_rows_watermark
SELECT member_ref, jsonb_agg((to_jsonb(t)) ORDER BY to_jsonb(t)::text) AS told
FROM watermark AS t WHERE member_ref = ANY($1::uuid[]) GROUP BY member_ref

-- name: shadow_refs_gap
SELECT DISTINCT member_ref FROM gap WHERE member_ref > $1 ORDER BY member_ref LIMIT $2

-- name: shadow_rows_gap
SELECT member_ref, jsonb_agg((to_jsonb(t) - 'noticed_at') ORDER BY to_jsonb(t)::text) AS told
FROM gap AS t WHERE member_ref = ANY($1::uuid[]) GROUP BY member_ref

-- name: shadow_refs_suppressed
SELECT DISTINCT member_ref FROM suppressed WHERE member_ref > $1 ORDER BY member_ref LIMIT $2

-- name: shadow_rows_suppressed
SELECT member_ref, jsonb_agg((to_jsonb(t) - 'at') ORDER BY to_jsonb(t)::text) AS told
FROM suppressed AS t WHERE member_ref = ANY($1::uuid[]) GROUP BY member_ref
