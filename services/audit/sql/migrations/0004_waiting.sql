-- migrate:up
-- Who is owed an answer NOW: what the sweep reads, so that its cost is of what waits and not of all there ever was.
-- `owed` and `answered` stay the evidence; this is an index of their difference.
CREATE TABLE waiting (LIKE owed INCLUDING ALL);
GRANT SELECT ON waiting TO {role};

-- By triggers, which a writer of an older version obeys too: the process itself may write nothing here.
CREATE FUNCTION begin_waiting() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO waiting SELECT o.change_id, o.recipient, o.kind, o.index, o.at FROM made o
    WHERE NOT EXISTS (SELECT FROM answered a WHERE a.change_id = o.change_id AND a.recipient = o.recipient)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE FUNCTION end_waiting() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM waiting w USING made a WHERE w.change_id = a.change_id AND w.recipient = a.recipient;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION begin_waiting(), end_waiting() FROM PUBLIC;
CREATE TRIGGER begin_waiting AFTER INSERT ON owed
REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION begin_waiting();
CREATE TRIGGER end_waiting AFTER INSERT ON answered
REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION end_waiting();
-- After the triggers, whose making waits for every writer: nothing is missed between them.
INSERT INTO waiting SELECT change_id, recipient, kind, index, at FROM owed o
WHERE NOT EXISTS (SELECT FROM answered a WHERE a.change_id = o.change_id AND a.recipient = o.recipient);

-- Offsets are appended, and the newest of a partition counts: of the old ones the newest 100,000 places are kept.
CREATE FUNCTION offsets_forget() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH oldest AS (
        SELECT position, topic, partition FROM consumer_offset
        WHERE position < (SELECT max(position) - 100000 FROM consumer_offset) ORDER BY position LIMIT 10000
    ), forgotten AS (
        DELETE FROM consumer_offset WHERE position IN (
            SELECT o.position FROM oldest o WHERE EXISTS (
                SELECT FROM consumer_offset n
                WHERE n.topic = o.topic AND n.partition = o.partition AND n.position > o.position))
        RETURNING 1
    )
    SELECT count(*) FROM forgotten
$$;
REVOKE ALL ON FUNCTION offsets_forget() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION offsets_forget() TO {role};
