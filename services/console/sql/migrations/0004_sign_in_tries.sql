-- migrate:up
-- Sign-ins that were tried, by name and by where: of names there are not too, so that both are answered alike, and by
-- address, so that a stranger's tries do not keep the person out. `account.failures` and `locked_until` are read no more.
-- A row is forgotten an hour after the last try, but for an address from which the person got in: that is kept a month.

CREATE TABLE sign_in_tries (
    -- A MAC of the name: what people type there by mistake may be a password.
    name bytea NOT NULL CHECK (length(name) = 32),
    -- The network address; empty for all of them together.
    place text NOT NULL,
    failures int NOT NULL DEFAULT 0,
    locked_until timestamptz,
    entered_at timestamptz,
    tried_at timestamptz NOT NULL,
    PRIMARY KEY (name, place)
);
CREATE INDEX sign_in_tries_old ON sign_in_tries (tried_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON sign_in_tries TO {role};
