-- migrate:up
-- What became of records that nobody could use: their ids come from where they stood; no content of them is here.
CREATE TABLE dead_letter (
    letter_id uuid PRIMARY KEY,
    topic text NOT NULL,
    code text NOT NULL,
    state text NOT NULL CHECK (state IN ('redriven', 'discarded')),
    times int NOT NULL DEFAULT 1,
    by text NOT NULL,
    reason text,
    at timestamptz NOT NULL
);

GRANT SELECT, INSERT ON dead_letter TO {role};
GRANT UPDATE (state, times, by, reason, at) ON dead_letter TO {role};
