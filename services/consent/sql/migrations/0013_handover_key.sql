-- migrate:up
-- Statutory records wait for their receipt under a key of their own: when that was destroyed, all of them being kept.
ALTER TABLE erasure ADD COLUMN records_ended_at timestamptz;
CREATE INDEX erasure_records ON erasure (position) WHERE records > 0 AND records_ended_at IS NULL;
GRANT UPDATE (records_ended_at) ON erasure TO {role};
