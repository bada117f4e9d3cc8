-- migrate:up
-- The planner's statistics would keep samples of these values, and after the last row is gone nothing replaces them.
ALTER TABLE member ALTER COLUMN email SET STATISTICS 0, ALTER COLUMN name SET STATISTICS 0,
    ALTER COLUMN password_hash SET STATISTICS 0, ALTER COLUMN birth_date SET STATISTICS 0;
ALTER TABLE profile ALTER COLUMN items SET STATISTICS 0;
