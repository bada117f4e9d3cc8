-- migrate:up
-- What stands over a processor's row: suspended, asked to leave, withdrawn; null for a membership that is active. A whole
-- suspension (5.1, PIPA 37(2)) left no trace in a row without a member row beside it. What is known of it is written at
-- once; where a correction had wiped it out, reconcile brings it from the ledger.
ALTER TABLE processed_member ADD COLUMN status text;
UPDATE processed_member p SET status = nullif(w.status, 'active'), seq = greatest(p.seq, w.status_seq)
FROM watermark w
WHERE w.member_ref = p.member_ref AND (nullif(w.status, 'active') IS NOT NULL OR w.status_seq > p.seq);
