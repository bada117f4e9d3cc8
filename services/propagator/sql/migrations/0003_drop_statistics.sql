-- migrate:up
-- 0002 ended the sampling; what ANALYZE had sampled before stays in pg_statistic until it is cleared.
SELECT pg_clear_attribute_stats('public', of.relation, of.attribute, false)
FROM (VALUES ('member', 'email'), ('member', 'name'), ('member', 'password_hash'), ('processed_member', 'items'))
     AS of (relation, attribute);
