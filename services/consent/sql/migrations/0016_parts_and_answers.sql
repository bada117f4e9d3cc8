-- migrate:up
-- A suspension of some items or purposes (5.1, PIPA 37(1)): their names. A whole suspension is a status.
ALTER TABLE member ADD COLUMN suspended text[] NOT NULL DEFAULT '{}';

-- The answer of a decided request as it was at the decision, sealed under the member's data key: every later reading
-- is the same, and erasure ends them all.
CREATE TABLE rights_answer (
    request_id uuid PRIMARY KEY REFERENCES rights_request (request_id),
    sealed bytea NOT NULL
);
GRANT SELECT, INSERT ON rights_answer TO {role};
