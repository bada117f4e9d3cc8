-- name: open_duties
INSERT INTO duty (kind, subject, member_ref, opened_at, warn_on, due_on)
SELECT $1, t.subject, t.member_ref, $4, $5, $6 FROM unnest($2::uuid[], $3::uuid[]) AS t(subject, member_ref)
ON CONFLICT (kind, subject) DO NOTHING

-- name: close_duties
UPDATE duty d SET closed_at = $3, outcome = t.outcome FROM unnest($2::uuid[], $4::text[]) AS t(subject, outcome)
WHERE d.kind = $1 AND d.subject = t.subject AND d.closed_at IS NULL

-- name: list_duties
SELECT position, kind, subject, member_ref, opened_at, warn_on, due_on FROM duty
WHERE closed_at IS NULL AND position > $1 AND ($2::date IS NULL OR due_on < $2) AND NOT (kind = ANY($4::text[]))
ORDER BY position LIMIT $3

-- name: count_duties
SELECT kind, count(*) FILTER (WHERE due_on < $1) AS late, count(*) FILTER (WHERE warn_on <= $1 AND due_on >= $1) AS warning,
       count(*) FILTER (WHERE warn_on > $1) AS open, min(due_on) AS first_due
FROM duty WHERE closed_at IS NULL GROUP BY kind
