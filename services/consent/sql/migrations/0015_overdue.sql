-- migrate:up
-- When a destruction that was past the law's last day was told to staff, once.
ALTER TABLE erasure ADD COLUMN overdue_told_at timestamptz;
GRANT UPDATE (overdue_told_at) ON erasure TO {role};
