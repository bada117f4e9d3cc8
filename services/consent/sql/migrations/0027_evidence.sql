-- migrate:up
-- A consent, a disclosure, who was owed a change and what a third party was told of it are evidence: to a row that
-- stands the process adds what became of it, and changes nothing else.
REVOKE UPDATE ON consent, disclosure, delivery, notice FROM {role};
GRANT UPDATE (ended_at, ended_by) ON consent TO {role};
GRANT UPDATE (relayed_at, applied_at) ON disclosure TO {role};
GRANT UPDATE (stage, at, relayed_at, outcome, reason) ON delivery TO {role};
GRANT UPDATE (outcome, acknowledged_at, answered_via, evidence, cursor) ON notice TO {role};
