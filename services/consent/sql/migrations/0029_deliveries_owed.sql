-- migrate:up
-- What a recipient owes an answer, refused records among it, in an order to go on in: a reconcile asks for all of it.
-- Nothing asks for the order of `at`.
DROP INDEX delivery_open;
CREATE INDEX delivery_open ON delivery (recipient, change_id)
    WHERE stage IN ('accepted', 'relayed', 'manual', 'late', 'refused');
