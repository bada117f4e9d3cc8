-- migrate:up
-- What is known of members, a row for each, known or not; and the same behind their locks, in one round trip.
CREATE TYPE member_state AS (
    member_ref uuid, suppressed boolean, seq bigint, values_seq bigint, values_state text,
    processed_seq bigint, processed_state text, marketing_seq bigint, marketing jsonb,
    status_seq bigint, status text, status_at timestamptz, parts_seq bigint, parts jsonb,
    email text, name text, password_hash text, signed_up_at timestamptz, service text, role text, items jsonb, gaps jsonb
);

CREATE FUNCTION states_of(refs uuid[]) RETURNS SETOF member_state LANGUAGE sql STABLE AS $$
    SELECT t.member_ref, s.member_ref IS NOT NULL, w.seq, w.values_seq, w.values_state,
           w.processed_seq, w.processed_state, w.marketing_seq, w.marketing,
           w.status_seq, w.status, w.status_at, w.parts_seq, w.parts,
           m.email, m.name, m.password_hash, m.signed_up_at, p.service, p.role, p.items, gaps.gaps
    FROM unnest(refs) AS t(member_ref)
    LEFT JOIN watermark w USING (member_ref)
    LEFT JOIN member m USING (member_ref)
    LEFT JOIN processed_member p USING (member_ref)
    LEFT JOIN suppressed s USING (member_ref)
    LEFT JOIN LATERAL (
        SELECT jsonb_agg(jsonb_build_array(g.after_seq, g.upto_seq, g.noticed_at) ORDER BY g.after_seq) AS gaps
        FROM gap g WHERE g.member_ref = t.member_ref
    ) gaps ON true
$$;

-- Each statement of a volatile function sees what was committed before it: what is read is behind the locks. The lock
-- on suppressions is shared; the members' are taken in one order by everybody.
CREATE FUNCTION lock_states(refs uuid[], suppressions bigint) RETURNS SETOF member_state LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(suppressions);
    INSERT INTO watermark (member_ref) SELECT t.ref FROM unnest(refs) AS t(ref) ORDER BY 1 ON CONFLICT DO NOTHING;
    PERFORM FROM watermark WHERE member_ref = ANY(refs) ORDER BY member_ref FOR UPDATE;
    RETURN QUERY SELECT * FROM states_of(refs);
END
$$;
REVOKE ALL ON FUNCTION states_of(uuid[]), lock_states(uuid[], bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION states_of(uuid[]), lock_states(uuid[], bigint) TO {role};
