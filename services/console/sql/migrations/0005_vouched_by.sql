-- migrate:up
-- Who made a local account or gave it its password, until another officer confirms that somebody of their own uses it.
-- Meanwhile that one person could be both, so the account takes no part in what needs two. Null: nobody's word is open
-- (the first accounts, those of an identity provider, those that were there before).
ALTER TABLE account ADD COLUMN vouched_by text;
