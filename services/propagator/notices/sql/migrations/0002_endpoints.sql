-- migrate:up

-- Where each third party is told. Secrets are sealed (sealing.py); the one before the last signs until its day.
-- `declared_url` is what the settings said last: what staff did since is not undone at the next start.
CREATE TABLE endpoint (
    recipient text PRIMARY KEY CHECK (recipient ~ '^[a-z][a-z0-9-]{1,62}$'),
    url text NOT NULL,
    declared_url text,
    secret bytea NOT NULL,
    earlier bytea,
    earlier_until timestamptz,
    challenge text NOT NULL,
    added_at timestamptz NOT NULL,
    verified_at timestamptz,
    verified_by text CHECK (verified_by IN ('challenge', 'file', 'loopback')),
    paused_at timestamptz,
    CHECK ((verified_at IS NULL) = (verified_by IS NULL)),
    CHECK ((earlier IS NULL) = (earlier_until IS NULL))
);

-- What was done to endpoints, for whoever asks later. Never a secret.
CREATE TABLE endpoint_event (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recipient text NOT NULL,
    at timestamptz NOT NULL,
    event text NOT NULL,
    url text
);

GRANT SELECT, INSERT, UPDATE ON endpoint TO {role};
GRANT SELECT, INSERT ON endpoint_event TO {role};
