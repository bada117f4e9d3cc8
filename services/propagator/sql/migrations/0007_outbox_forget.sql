-- migrate:up
-- What the broker acknowledged a day ago has served: the process may not delete from its outbox, but may ask for this.
CREATE FUNCTION outbox_forget() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH oldest AS (
        SELECT position, published_at FROM outbox ORDER BY position LIMIT 1000
    ), forgotten AS (
        DELETE FROM outbox WHERE position IN (SELECT position FROM oldest WHERE published_at < now() - interval '1 day')
        RETURNING 1
    )
    SELECT count(*) FROM forgotten
$$;
REVOKE ALL ON FUNCTION outbox_forget() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox_forget() TO {role};
