-- migrate:up
-- Who has left and is not erased: at every look the saga asks who of them has no case, and must not read all members.
CREATE INDEX member_left ON member (member_ref) WHERE status = 'withdrawn';
