-- migrate:up
-- A hold is known by its id here and in the consent database; `place` says where it was put.
ALTER TABLE hold DROP CONSTRAINT hold_pkey;
ALTER TABLE hold ADD COLUMN hold_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
                 ADD COLUMN place text NOT NULL DEFAULT 'retention' CHECK (place IN ('retention', 'consent'));
CREATE INDEX hold_by_member ON hold (member_ref);
CREATE UNIQUE INDEX hold_put_here ON hold (member_ref) WHERE place = 'retention';
