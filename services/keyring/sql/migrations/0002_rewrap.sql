-- migrate:up
-- A rotation of the KEK replaces a wrapping and the name beside it.
GRANT UPDATE (kek_id) ON member_key TO {role};
