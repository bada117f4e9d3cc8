-- migrate:up
-- A suspension of some items or purposes (5.1, PIPA 37(1)): their names, null for none. A value named here is not in
-- its row: it may not be used until the suspension is lifted.
ALTER TABLE member ADD COLUMN suspended jsonb;
ALTER TABLE processed_member ADD COLUMN suspended jsonb;
ALTER TABLE watermark ADD COLUMN parts_seq bigint NOT NULL DEFAULT 0, ADD COLUMN parts jsonb;
