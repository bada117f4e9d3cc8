-- migrate:up
-- Decisions ask for the reconfirmations among a member's messages; the primary key leads with the consent.
CREATE INDEX message_reconfirmation_by_message ON message_reconfirmation (message_id);
