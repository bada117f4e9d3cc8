-- migrate:up
-- While an affiliate is paused its sealed states wait here, as they came; stop records are applied all the same.
CREATE TABLE paused (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    since timestamptz NOT NULL,
    by text NOT NULL
);

CREATE TABLE parked (
    member_ref uuid NOT NULL,
    seq bigint NOT NULL,
    partition int NOT NULL,
    record_offset bigint NOT NULL,
    value bytea NOT NULL,
    headers jsonb NOT NULL,
    parked_at timestamptz NOT NULL,
    PRIMARY KEY (member_ref, seq)
);

GRANT SELECT, INSERT, DELETE ON paused, parked TO {role};
