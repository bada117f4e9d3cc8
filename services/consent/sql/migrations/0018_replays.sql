-- migrate:up
-- A replay: planned by one person, approved by another, run by whoever holds the plan's file. No reference, no value:
-- `summary` and `progress` are counts and positions; `reason` is worded by who planned.
CREATE TABLE replay (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    replay_id uuid NOT NULL UNIQUE,
    sha256 text NOT NULL,
    reason text NOT NULL,
    summary jsonb NOT NULL,
    planned_by text NOT NULL,
    planned_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('planned', 'approved', 'running', 'completed', 'failed', 'cancelled')),
    approved_by text,
    approved_at timestamptz,
    progress jsonb NOT NULL DEFAULT '{}',
    changed_at timestamptz NOT NULL
);

GRANT SELECT, INSERT ON replay TO {role};
GRANT UPDATE (state, approved_by, approved_at, progress, changed_at) ON replay TO {role};
