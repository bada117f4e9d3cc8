-- migrate:up
-- The log shows a row's id and its digest, and most of what is proven is one of a few codes: the salt, which is in neither,
-- keeps the digest from being tried. A row from before has none and is proven as it was.
ALTER TABLE investigation ADD COLUMN salt bytea CHECK (length(salt) = 32);
