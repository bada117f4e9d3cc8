-- migrate:up
-- A secret may be replaced again while the one before it still signs: nobody can know which of them the third party has.
-- Those before `earlier`, the last one first, until the same day.
ALTER TABLE endpoint ADD COLUMN older bytea[] NOT NULL DEFAULT '{}';
