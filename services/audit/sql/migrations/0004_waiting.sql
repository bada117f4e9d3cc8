-- migrate:up
-- Who is owed an answer NOW: what the sweep reads, so that its cost is of what waits and not of all there ever was.
-- `owed` and `answered` stay the evidence; this is an index of their difference.
CREATE TABLE waiting (
    change_id uuid NOT NULL,
    recipient text NOT NULL,
    kind text NOT NULL,
    index bigint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (change_id, recipient)
);
CREATE INDEX waiting_by_time ON waiting (kind, at);
INSERT INTO waiting SELECT change_id, recipient, kind, index, at FROM owed o
WHERE NOT EXISTS (SELECT FROM answered a WHERE a.change_id = o.change_id AND a.recipient = o.recipient);
GRANT SELECT, INSERT ON waiting TO {role};

-- The process may not delete: this takes away what is answered, and nothing else.
CREATE FUNCTION settle(changes uuid[], recipients text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM waiting w USING unnest(changes, recipients) AS t(change_id, recipient), answered a
    WHERE w.change_id = t.change_id AND w.recipient = t.recipient
      AND a.change_id = t.change_id AND a.recipient = t.recipient
$$;
REVOKE ALL ON FUNCTION settle(uuid[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION settle(uuid[], text[]) TO {role};

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
