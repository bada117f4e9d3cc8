-- migrate:up
-- A relay reads by position what is unpublished. The index that led with the shard gave no such order, so that the
-- planner walked the primary key instead, over every row that was ever published.
CREATE INDEX outbox_pending ON outbox (position, shard) WHERE published_at IS NULL;
DROP INDEX outbox_unpublished;
