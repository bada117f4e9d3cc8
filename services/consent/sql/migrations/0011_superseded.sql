-- migrate:up

-- The newer change whose notice goes in place of this one's; null for every delivery that was not overtaken.
ALTER TABLE delivery ADD COLUMN superseded_by uuid;

DROP INDEX delivery_open;
CREATE INDEX delivery_open ON delivery (recipient, at) WHERE stage IN ('accepted', 'relayed', 'manual', 'overtaken');
