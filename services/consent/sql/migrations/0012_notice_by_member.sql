-- migrate:up
-- Which newer notices of a member and third party there are: an overtaken one is answered with the first of them.
CREATE INDEX notice_by_member ON notice (member_ref, recipient, seq);
