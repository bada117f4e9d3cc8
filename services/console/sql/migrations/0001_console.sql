-- migrate:up
-- Who may sign in to the console and who is signed in now. Nothing of a member is here: the APIs have that.
-- An account is one person's (안전성 확보조치 기준 5); who was given which right when is in the audit log.

CREATE TABLE account (
    account_id uuid PRIMARY KEY DEFAULT uuidv7(),
    name text NOT NULL UNIQUE CHECK (name ~ '^[a-z][a-z0-9._-]{1,62}$'),
    -- The identity provider's `issuer subject`; null for a local account.
    subject text UNIQUE,
    role text NOT NULL CHECK (role IN ('compliance', 'cpo', 'sre', 'auditor', 'affiliate')),
    affiliate text,
    password_hash text,
    -- The password was made by somebody else: it opens only the page that sets another and a second factor.
    one_time boolean NOT NULL DEFAULT false,
    totp_sealed bytea,
    -- The last time step of which a code was taken: no code works twice (RFC 6238, 5.2).
    totp_step bigint NOT NULL DEFAULT 0,
    failures int NOT NULL DEFAULT 0,
    locked_until timestamptz,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL,
    CHECK ((role = 'affiliate') = (affiliate IS NOT NULL)),
    CHECK ((subject IS NULL) = (password_hash IS NOT NULL))
);

-- The cookie holds the token, this its SHA-256: whoever reads the table can't sign in with it.
CREATE TABLE session (
    token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    account_id uuid NOT NULL REFERENCES account,
    enrolling boolean NOT NULL,
    created_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
);
CREATE INDEX session_by_account ON session (account_id);

-- A sign-in at the identity provider that was begun in one browser and has not come back yet.
CREATE TABLE oidc_attempt (
    state_hash bytea PRIMARY KEY CHECK (length(state_hash) = 32),
    browser_hash bytea NOT NULL CHECK (length(browser_hash) = 32),
    nonce text NOT NULL,
    verifier text NOT NULL,
    created_at timestamptz NOT NULL
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

GRANT SELECT, INSERT, UPDATE ON account TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON session TO {role};
GRANT SELECT, INSERT, DELETE ON oidc_attempt TO {role};
GRANT SELECT, INSERT ON outbox TO {role};
GRANT UPDATE (published_at) ON outbox TO {role};
