-- migrate:up
-- One data key per member, wrapped by a key-encryption key that is never in this database.
-- A shredded row stays, empty, so that the key can neither come back nor be made anew.
CREATE TABLE member_key (
    member_ref uuid PRIMARY KEY,
    wrapped bytea CHECK (octet_length(wrapped) BETWEEN 32 AND 1024),
    kek_id text,
    created_at timestamptz NOT NULL,
    shredded_at timestamptz,
    CHECK ((wrapped IS NULL) = (shredded_at IS NOT NULL)),
    CHECK (wrapped IS NULL OR kek_id IS NOT NULL)
);

-- PostgreSQL keeps the old version of an updated row until vacuum: after a shred that is soon.
ALTER TABLE member_key SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0);

CREATE FUNCTION member_key_is_shredded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a shredded key stays shredded';
END
$$;
CREATE TRIGGER shredded_is_final BEFORE UPDATE ON member_key
    FOR EACH ROW WHEN (OLD.shredded_at IS NOT NULL) EXECUTE FUNCTION member_key_is_shredded();

GRANT SELECT, INSERT ON member_key TO {role};
GRANT UPDATE (wrapped, shredded_at) ON member_key TO {role};
