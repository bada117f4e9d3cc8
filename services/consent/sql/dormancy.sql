-- name: dormancy_candidates
SELECT m.member_ref FROM member m
WHERE m.status = 'active' AND ($2::uuid IS NULL OR m.member_ref > $2)
  AND (m.dormant_notified_at IS NOT NULL OR coalesce(m.last_active_at, m.signed_up_at) < $1)
  AND NOT EXISTS (SELECT 1 FROM account_member a JOIN member p ON p.member_ref = a.parent_ref
                  WHERE a.member_ref = m.member_ref AND p.status NOT IN ('withdrawn', 'erased'))
  AND NOT EXISTS (SELECT FROM canary k WHERE k.member_ref = m.member_ref)
ORDER BY m.member_ref LIMIT $3

-- name: dormancy_lock_account
SELECT m.member_ref FROM member m
WHERE m.member_ref IN (SELECT $1 UNION ALL SELECT a.member_ref FROM account_member a WHERE a.parent_ref = $1)
  AND m.status NOT IN ('withdrawn', 'erased')
ORDER BY m.member_ref FOR UPDATE OF m

-- name: dormancy_seats
SELECT m.member_ref, m.status, m.dormant_notified_at,
       greatest(m.last_active_at, m.signed_up_at,
                (SELECT max(c.accepted_at) FROM change c
                 WHERE c.member_ref = m.member_ref AND c.fact ->> 'actor' NOT IN ('system', 'staff'))) AS used_at
FROM member m WHERE m.member_ref = ANY($1::uuid[]) ORDER BY m.member_ref

-- name: dormancy_notify
UPDATE member SET dormant_notified_at = $2 WHERE member_ref = ANY($1::uuid[])

-- name: dormancy_touch
UPDATE member SET last_active_at = greatest(last_active_at, $2)
WHERE member_ref = $1 AND status NOT IN ('withdrawn', 'erased') RETURNING dormant_notified_at

-- name: dormancy_account_of
SELECT a.parent_ref FROM account_member a JOIN member p ON p.member_ref = a.parent_ref
WHERE a.member_ref = $1 AND p.status NOT IN ('withdrawn', 'erased')

-- name: account_members
SELECT member_ref, registered_at FROM account_member WHERE parent_ref = $1 ORDER BY registered_at, member_ref

-- name: account_lock
SELECT member_ref, status FROM member WHERE member_ref = ANY($1::uuid[]) ORDER BY member_ref FOR UPDATE

-- name: account_is_admin
SELECT EXISTS (SELECT 1 FROM profile WHERE member_ref = $1 AND role = 'admin')

-- name: account_is_nested
SELECT EXISTS (SELECT 1 FROM account_member WHERE member_ref = $1 OR parent_ref = $2)

-- name: account_insert
INSERT INTO account_member (member_ref, parent_ref, registered_at) VALUES ($1, $2, $3)
ON CONFLICT (member_ref) DO NOTHING

-- name: account_delete
DELETE FROM account_member WHERE member_ref = $1 AND parent_ref = $2
