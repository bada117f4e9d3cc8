-- migrate:up
-- What goes is decided by the database's own day (KST): the process may say an earlier one, and a later one is not
-- believed. This table is the owner's alone and empty, but where tests live some days ahead.
CREATE TABLE clock_ahead (days int NOT NULL);

CREATE FUNCTION own_day() RETURNS date
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT (now() AT TIME ZONE 'Asia/Seoul')::date + coalesce((SELECT max(days) FROM clock_ahead), 0)
$$;
REVOKE ALL ON FUNCTION own_day() FROM PUBLIC;

CREATE OR REPLACE FUNCTION destroy_records(p_today date, p_at timestamptz, p_limit int)
RETURNS TABLE (record_id uuid, member_ref uuid, class text, rule text, destroy_on date)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH due AS (
        SELECT k.record_id FROM kept_record k
        WHERE k.destroy_on <= least(p_today, own_day())
          AND NOT EXISTS (SELECT 1 FROM hold h WHERE h.member_ref = k.member_ref)
        ORDER BY k.destroy_on, k.record_id LIMIT p_limit FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM kept_record k USING due WHERE k.record_id = due.record_id RETURNING k.*
    ), noted AS (
        INSERT INTO destroyed_record (record_id, destroyed_at) SELECT g.record_id, p_at FROM gone g
    )
    SELECT g.record_id, g.member_ref, g.class, g.rule, g.destroy_on FROM gone g
$$;

-- The last day of a note is the process's word too: the database keeps each for the two years it is kept for (safeguards
-- notice 8), from the day on which it wrote it down itself.
ALTER TABLE reading ADD COLUMN noted_on date;
UPDATE reading SET noted_on = (at AT TIME ZONE 'Asia/Seoul')::date;
ALTER TABLE reading ALTER COLUMN noted_on SET DEFAULT (now() AT TIME ZONE 'Asia/Seoul')::date,
                    ALTER COLUMN noted_on SET NOT NULL;

CREATE OR REPLACE FUNCTION purge_readings(p_today date) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH gone AS (
        DELETE FROM reading
        WHERE greatest(destroy_on, (noted_on + interval '2 years')::date) <= least(p_today, own_day())
        RETURNING 1
    )
    SELECT count(*) FROM gone
$$;

-- A wrapping of an impossible length is none, as in the key database.
ALTER TABLE record_key ADD CHECK (octet_length(wrapped) BETWEEN 32 AND 1024);
