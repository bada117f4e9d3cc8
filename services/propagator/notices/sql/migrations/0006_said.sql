-- migrate:up
-- What was said once is no news, also long after the outbox has forgotten it: a notice that is sent again and answered
-- as before makes no receipt, which would have the first one's id and another time.
CREATE TABLE said (id uuid PRIMARY KEY);
INSERT INTO said SELECT id FROM outbox;
GRANT SELECT, INSERT ON said TO {role};

-- Since when a notice was sent again: what was answered before that does not end it.
ALTER TABLE notice ADD COLUMN again_at timestamptz;

-- Answers stay as they came; an answer to a redelivery is one more, and the newest counts.
ALTER TABLE answer DROP CONSTRAINT answer_pkey, ADD PRIMARY KEY (change_id, recipient, at);
