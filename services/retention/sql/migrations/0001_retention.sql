-- migrate:up
-- Statutory records of members who left (clause 7.2, PIPA 21(3)). The content of each is sealed under a key of its own;
-- that key is wrapped by a KEK which is not the members' and is never in this database.
CREATE TABLE kept_record (
    record_id uuid PRIMARY KEY,
    member_ref uuid NOT NULL,
    class text NOT NULL,
    occurred_at timestamptz NOT NULL,
    destroy_on date NOT NULL,
    rule text NOT NULL,
    email_mac bytea,
    sealed bytea NOT NULL,
    retained_at timestamptz NOT NULL
);
CREATE INDEX kept_record_by_member ON kept_record (member_ref);
CREATE INDEX kept_record_by_email ON kept_record (email_mac);
CREATE INDEX kept_record_by_end ON kept_record (destroy_on, record_id);

CREATE TABLE record_key (
    record_id uuid PRIMARY KEY REFERENCES kept_record ON DELETE CASCADE,
    wrapped bytea NOT NULL,
    kek_id text NOT NULL
);

-- Outlives a record, so that no replay brings it back. Names nobody.
CREATE TABLE destroyed_record (
    record_id uuid PRIMARY KEY,
    destroyed_at timestamptz NOT NULL
);

-- Who looked, when, what for (safeguards notice 8): written by the reading itself, see read_records.
CREATE TABLE reading (
    reading_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    member_ref uuid NOT NULL,
    purpose text NOT NULL,
    reason text NOT NULL,
    reader text NOT NULL,
    records int NOT NULL,
    at timestamptz NOT NULL,
    destroy_on date NOT NULL
);
CREATE INDEX reading_by_member ON reading (member_ref, at);

-- While a hold stands nothing of the member is destroyed.
CREATE TABLE hold (
    member_ref uuid PRIMARY KEY,
    reason text NOT NULL,
    set_by text NOT NULL,
    set_at timestamptz NOT NULL
);

CREATE TABLE outbox (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    aggregatetype text NOT NULL,
    aggregateid text NOT NULL,
    type text NOT NULL,
    payload bytea NOT NULL,
    headers jsonb NOT NULL,
    shard int NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz
);
CREATE INDEX outbox_unpublished ON outbox (shard, position) WHERE published_at IS NULL;

CREATE TABLE consumer_offset (
    topic text NOT NULL,
    partition int NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- PostgreSQL keeps the old version of a deleted row until vacuum: after a destruction that is soon.
ALTER TABLE kept_record SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0);
ALTER TABLE record_key SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0);

-- The one way to content, for two purposes and no other ("마케팅 등 다른 목적으로 이용하지 않습니다", 2.1): the process role
-- has no SELECT on what is sealed, and to read is to leave a row in `reading`, in the same transaction.
CREATE FUNCTION read_records(
    p_member uuid, p_email_mac bytea, p_purpose text, p_reason text, p_reader text, p_at timestamptz, p_keep_until date
) RETURNS TABLE (
    reading_id uuid, record_id uuid, member_ref uuid, class text, occurred_at timestamptz, destroy_on date, rule text,
    sealed bytea, wrapped bytea, kek_id text
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF p_purpose IS NULL OR p_purpose NOT IN ('compliance', 'rights') THEN
        RAISE EXCEPTION 'records are kept for compliance and for the person, for no other purpose'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF coalesce(p_reason, '') = '' OR coalesce(p_reader, '') = '' THEN
        RAISE EXCEPTION 'a reading has a reader and a reason' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN QUERY
    WITH wanted AS (
        SELECT k.* FROM kept_record k WHERE k.member_ref = p_member OR k.email_mac = p_email_mac
    ), noted AS (
        INSERT INTO reading (member_ref, purpose, reason, reader, records, at, destroy_on)
        SELECT coalesce(w.member_ref, p_member), p_purpose, p_reason, p_reader, count(w.record_id), p_at, p_keep_until
        FROM (SELECT 1) one LEFT JOIN wanted w ON true
        WHERE coalesce(w.member_ref, p_member) IS NOT NULL
        GROUP BY coalesce(w.member_ref, p_member)
        RETURNING reading.reading_id, reading.member_ref
    )
    SELECT n.reading_id, w.record_id, n.member_ref, w.class, w.occurred_at, w.destroy_on, w.rule, w.sealed, y.wrapped,
           y.kek_id
    FROM noted n LEFT JOIN wanted w ON w.member_ref = n.member_ref LEFT JOIN record_key y ON y.record_id = w.record_id
    ORDER BY w.occurred_at, w.record_id;
END
$$;

-- The one way out: a record goes with its key when its last day is over and no hold stands.
CREATE FUNCTION destroy_records(p_today date, p_at timestamptz, p_limit int)
RETURNS TABLE (record_id uuid, member_ref uuid, class text, rule text, destroy_on date)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH due AS (
        SELECT k.record_id FROM kept_record k
        WHERE k.destroy_on <= p_today AND NOT EXISTS (SELECT 1 FROM hold h WHERE h.member_ref = k.member_ref)
        ORDER BY k.destroy_on, k.record_id LIMIT p_limit FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM kept_record k USING due WHERE k.record_id = due.record_id RETURNING k.*
    ), noted AS (
        INSERT INTO destroyed_record (record_id, destroyed_at) SELECT g.record_id, p_at FROM gone g
    )
    SELECT g.record_id, g.member_ref, g.class, g.rule, g.destroy_on FROM gone g
$$;

CREATE FUNCTION purge_readings(p_today date) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH gone AS (DELETE FROM reading WHERE destroy_on <= p_today RETURNING 1) SELECT count(*) FROM gone
$$;

-- Rotation of the KEK: a wrapped key without its content opens nothing.
CREATE FUNCTION keys_of_other_keks(p_kek text, p_limit int) RETURNS TABLE (record_id uuid, wrapped bytea, kek_id text)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT y.record_id, y.wrapped, y.kek_id FROM record_key y WHERE y.kek_id <> p_kek
    ORDER BY y.record_id LIMIT p_limit FOR UPDATE SKIP LOCKED
$$;

CREATE FUNCTION rewrap_key(p_record uuid, p_wrapped bytea, p_kek text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE record_key SET wrapped = p_wrapped, kek_id = p_kek WHERE record_id = p_record AND kek_id <> p_kek
$$;

REVOKE ALL ON FUNCTION read_records, destroy_records, purge_readings, keys_of_other_keks, rewrap_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION read_records, destroy_records, purge_readings, keys_of_other_keks, rewrap_key TO {role};
GRANT INSERT ON kept_record, record_key TO {role};
GRANT SELECT (record_id, member_ref, class, occurred_at, destroy_on, rule, retained_at) ON kept_record TO {role};
GRANT SELECT ON destroyed_record, reading TO {role};
GRANT SELECT, INSERT, DELETE ON hold TO {role};
GRANT SELECT, INSERT, UPDATE ON consumer_offset TO {role};
GRANT SELECT, INSERT ON outbox TO {role};
GRANT UPDATE (published_at) ON outbox TO {role};
