-- name: canary_reserve
INSERT INTO canary (affiliate, member_ref, since) VALUES ($1, $2, $3)
ON CONFLICT (affiliate) WHERE ended_at IS NULL DO NOTHING

-- name: canary_lock
SELECT member_ref FROM canary WHERE affiliate = $1 AND ended_at IS NULL FOR UPDATE

-- name: canary_end
UPDATE canary SET ended_at = $2 WHERE member_ref = $1 AND ended_at IS NULL

-- name: canary_states
SELECT k.affiliate, k.member_ref, k.since, sent.seq, sent.accepted_at AS sent_at,
       coalesce(sent.stage IN ('accepted', 'relayed'), false) AS out,
       back.accepted_at AS returned_at, extract(epoch FROM back.at - back.accepted_at)::float8 AS round_trip_s
FROM canary k
LEFT JOIN LATERAL (
    SELECT c.seq, c.accepted_at, d.stage
    FROM change c LEFT JOIN delivery d ON d.change_id = c.change_id AND d.recipient = k.affiliate
    WHERE c.member_ref = k.member_ref ORDER BY c.seq DESC LIMIT 1
) sent ON true
LEFT JOIN LATERAL (
    SELECT c.accepted_at, d.at
    FROM change c JOIN delivery d ON d.change_id = c.change_id AND d.recipient = k.affiliate
    WHERE c.member_ref = k.member_ref AND d.stage = 'applied' ORDER BY c.seq DESC LIMIT 1
) back ON true
WHERE k.ended_at IS NULL ORDER BY k.affiliate
