-- migrate:up
-- The lock of a key and what was stored under it, in one round trip. Each statement of a volatile function sees what was
-- committed before it: the look is behind the lock, and so is everything that the lock's last holder stored.
CREATE FUNCTION idempotent_recall(
    who text, what text, OUT in_flight boolean, OUT request_mac bytea, OUT status int, OUT etag text, OUT body jsonb
) LANGUAGE plpgsql VOLATILE SET search_path = public, pg_temp AS $$
BEGIN
    in_flight := NOT pg_try_advisory_xact_lock(hashtextextended(who || chr(10) || what, 7318404));
    IF NOT in_flight THEN
        SELECT i.request_mac, i.status, i.etag, i.body INTO request_mac, status, etag, body
        FROM idempotency i WHERE i.caller = who AND i.key = what AND i.created_at > now() - interval '24 hours';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION idempotent_recall(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION idempotent_recall(text, text) TO {role};
