-- migrate:up
-- Synthetic members, one live one per affiliate: a change of one is sent again and again to see that the stream moves. No person,
-- and in no figure about persons. The reference is reserved here before the member is made: never one that is not known.
CREATE TABLE canary (
    member_ref uuid PRIMARY KEY,
    affiliate text NOT NULL,
    since timestamptz NOT NULL,
    ended_at timestamptz
);
CREATE UNIQUE INDEX canary_live ON canary (affiliate) WHERE ended_at IS NULL;

GRANT SELECT, INSERT ON canary TO {role};
GRANT UPDATE (ended_at) ON canary TO {role};

-- Every dead letter that was seen on a dead-letter topic: its id and where it was meant to go, nothing of its content.
CREATE TABLE letter (
    letter_id uuid PRIMARY KEY,
    topic text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX letter_by_age ON letter (at);

GRANT SELECT, INSERT, DELETE ON letter TO {role};
