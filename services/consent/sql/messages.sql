-- name: message_insert
INSERT INTO message (message_id, kind, member_ref, sender, medium, language, data, dedupe_key, queued_at, next_at)
SELECT $1::uuid, $2::text, $3::uuid, $4::text, $5::text, $6::text, $7::jsonb, $8::text, $9::timestamptz, $9::timestamptz
WHERE NOT EXISTS (SELECT FROM canary WHERE member_ref = $3)
ON CONFLICT (dedupe_key) DO NOTHING

-- name: message_refused
SELECT EXISTS (SELECT FROM message_refusal WHERE member_ref = $1 AND kind = $2)

-- name: message_unsent_for
SELECT member_ref, count(*) AS messages FROM message
WHERE member_ref = ANY($1::uuid[]) AND state = 'queued' GROUP BY member_ref

-- name: message_reception_stands
SELECT EXISTS (SELECT FROM consent WHERE member_ref = $1 AND purpose = 'marketing' AND party = $2 AND channel = $3
                                    AND ended_at IS NULL)

-- name: message_waiting_for
SELECT message_id FROM message WHERE member_ref = $1 AND state = 'queued' FOR UPDATE

-- name: message_seal
UPDATE message SET sealed = $2 WHERE message_id = $1

-- name: message_claim
UPDATE message SET lease = $1, leased_until = $3
WHERE message_id IN (
    SELECT message_id FROM message
    WHERE state = 'queued' AND next_at <= $2 AND (leased_until IS NULL OR leased_until < $2) AND medium = ANY($4::text[])
    ORDER BY next_at, position LIMIT $5 FOR UPDATE SKIP LOCKED
)
RETURNING message_id, kind, member_ref, sender, medium, language, data, attempts, lease

-- name: message_sealed
SELECT sealed FROM message WHERE message_id = $1

-- name: message_attempted
INSERT INTO message_attempt (message_id, number, at, result) VALUES ($1, $2, $3, $4)

-- name: message_again
UPDATE message SET next_at = $3, attempts = $4, leased_until = NULL, lease = NULL
WHERE message_id = $1 AND lease = $2 AND state = 'queued'

-- name: message_close
UPDATE message SET state = $3, reason = $4, closed_at = $5, attempts = $6, sealed = NULL, leased_until = NULL, lease = NULL
WHERE message_id = $1 AND lease = $2 AND state = 'queued'

-- name: message_waiting
SELECT medium, count(*) AS waiting FROM message WHERE state = 'queued' GROUP BY medium

-- name: message_list
SELECT m.position, m.message_id, m.kind, m.member_ref, m.sender, m.medium, m.state, m.reason, m.queued_at, m.next_at,
       m.closed_at, (SELECT coalesce(jsonb_agg(jsonb_build_object('number', a.number, 'at', a.at, 'result', a.result)
       ORDER BY a.number), '[]') FROM message_attempt a WHERE a.message_id = m.message_id) AS attempts
FROM message m
WHERE m.position {} $1 AND ($2::uuid IS NULL OR m.member_ref = $2) AND ($3::text IS NULL OR m.state = $3)
ORDER BY m.position {} LIMIT $4

-- name: message_refuse
INSERT INTO message_refusal (member_ref, kind, refused_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING

-- name: message_accept
DELETE FROM message_refusal WHERE member_ref = $1 AND kind = $2

-- name: message_reconfirmations
WITH candidate AS (
    SELECT c.consent_id, c.member_ref, c.party AS sender, c.channel, c.given_at, coalesce(max(r.period), -1) AS covered
    FROM consent c LEFT JOIN message_reconfirmation r USING (consent_id)
    WHERE c.purpose = 'marketing' AND c.channel <> 'use' AND c.ended_at IS NULL
    GROUP BY c.consent_id
    HAVING c.given_at + make_interval(years => 2 * (coalesce(max(r.period), -1) + 2)) <= $1::timestamptz + make_interval(days => $2)
)
SELECT * FROM candidate
WHERE member_ref IN (SELECT DISTINCT member_ref FROM candidate WHERE member_ref > $3 ORDER BY member_ref LIMIT $4)
ORDER BY member_ref, consent_id

-- name: message_reconfirmed
INSERT INTO message_reconfirmation (consent_id, period, message_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING

-- name: message_reconfirmation_state
SELECT c.given_at, (count(r.period) FILTER (WHERE m.state = 'sent' AND m.closed_at <= $4))::int AS checks
FROM consent c LEFT JOIN message_reconfirmation r USING (consent_id) LEFT JOIN message m USING (message_id)
WHERE c.member_ref = $1 AND c.purpose = 'marketing' AND c.party = $2 AND c.channel = ANY($3::text[])
  AND c.given_at <= $4 AND (c.ended_at IS NULL OR c.ended_at > $4)
GROUP BY c.consent_id

-- name: message_persons_held
SELECT h.recipient, count(*) AS persons FROM held h
WHERE cardinality(h.roles) > 0 AND NOT EXISTS (SELECT FROM canary k WHERE k.member_ref = h.member_ref)
GROUP BY h.recipient

-- name: message_source_of
SELECT min(d.at) AS first_at, max(d.at) AS last_at, array_agg(DISTINCT k.item ORDER BY k.item) AS items,
       array_agg(DISTINCT d.purpose) AS purposes
FROM disclosure d CROSS JOIN LATERAL jsonb_object_keys(d.items) AS k(item)
WHERE d.member_ref = $1 AND d.recipient = $2 AND d.kind = 'affiliate' AND d.role = 'recipient'
HAVING count(*) > 0

-- name: message_sources
WITH told AS (
    SELECT member_ref, max(queued_at) - make_interval(mins => 5) AS until
    FROM message WHERE kind = 'source_notice' AND sender = $1 GROUP BY member_ref
)
SELECT d.member_ref, min(d.at) AS first_at, max(d.at) AS last_at, array_agg(DISTINCT k.item ORDER BY k.item) AS items,
       array_agg(DISTINCT d.purpose) AS purposes
FROM disclosure d
JOIN member m ON m.member_ref = d.member_ref AND m.email IS NOT NULL
CROSS JOIN LATERAL jsonb_object_keys(d.items) AS k(item)
LEFT JOIN told t ON t.member_ref = d.member_ref
WHERE d.recipient = $1 AND d.kind = 'affiliate' AND d.role = 'recipient'
  AND NOT EXISTS (SELECT FROM canary k WHERE k.member_ref = d.member_ref)
  AND d.at > coalesce(t.until, '-infinity') AND d.at <= $2::timestamptz - make_interval(mins => 5)
GROUP BY d.member_ref, t.until
HAVING t.until IS NULL OR min(d.at) <= $2::timestamptz - make_interval(days => 60)
ORDER BY d.member_ref LIMIT $3

-- name: message_yearly_uses
WITH turned AS (
    SELECT m.member_ref, m.signed_up_at,
           extract(year FROM age($2::timestamptz AT TIME ZONE 'Asia/Seoul',
                                 m.signed_up_at AT TIME ZONE 'Asia/Seoul'))::int AS year
    FROM member m WHERE m.email IS NOT NULL AND m.signed_up_at <= $2::timestamptz - interval '1 year'
      AND NOT EXISTS (SELECT FROM canary k WHERE k.member_ref = m.member_ref)
), due AS (
    SELECT t.member_ref, t.year, t.signed_up_at + make_interval(years => t.year - 1) AS since,
           t.signed_up_at + make_interval(years => t.year) AS until
    FROM turned t
    WHERE NOT EXISTS (SELECT FROM message x
                      WHERE x.dedupe_key = concat('yearly_use_notice:', t.member_ref, ':', $1::text, ':', t.year))
      AND NOT EXISTS (SELECT FROM message_refusal x WHERE x.member_ref = t.member_ref AND x.kind = 'yearly_use_notice')
)
SELECT u.member_ref, u.year, u.since, u.until,
       (SELECT jsonb_agg(jsonb_build_object('recipient', d.recipient, 'items', d.items, 'basis', d.basis,
                                            'role', d.role, 'purpose', d.purpose, 'in_year', d.at >= u.since))
        FROM disclosure d WHERE d.member_ref = u.member_ref AND d.at < u.until) AS ledger
FROM due u
WHERE EXISTS (SELECT FROM disclosure d
              WHERE d.member_ref = u.member_ref AND d.recipient = $1 AND d.role = 'recipient' AND d.at < u.until)
ORDER BY u.member_ref LIMIT $3
