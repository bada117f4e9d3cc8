-- name: account_of_name
SELECT * FROM account WHERE name = $1

-- name: account_of_id
SELECT * FROM account WHERE account_id = $1 FOR UPDATE

-- name: account_of_subject
SELECT * FROM account WHERE subject = $1 FOR UPDATE

-- name: list_accounts
SELECT * FROM account ORDER BY name

-- name: insert_account
INSERT INTO account (name, subject, role, affiliate, password_hash, one_time, created_at, vouched_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING *

-- name: update_role
UPDATE account SET role = $2, affiliate = $3 WHERE account_id = $1

-- name: set_disabled
UPDATE account SET disabled_at = $2 WHERE account_id = $1

-- name: note_sign_in
UPDATE account SET totp_step = greatest(totp_step, $2) WHERE account_id = $1

-- name: set_one_time
UPDATE account SET password_hash = $2, one_time = true, totp_sealed = NULL, vouched_by = $3 WHERE account_id = $1

-- name: confirm
UPDATE account SET vouched_by = NULL WHERE account_id = $1

-- name: set_factor
UPDATE account SET totp_sealed = $2 WHERE account_id = $1 AND one_time

-- name: enrol
UPDATE account SET password_hash = $2, one_time = false, totp_step = $3 WHERE account_id = $1 AND one_time

-- name: take_tries
INSERT INTO sign_in_tries (name, place, tried_at) VALUES ($1, $2, $3)
ON CONFLICT (name, place) DO UPDATE SET tried_at = excluded.tried_at RETURNING failures, locked_until, entered_at

-- name: read_tries
SELECT failures, locked_until, entered_at FROM sign_in_tries WHERE name = $1 AND place = $2

-- name: write_tries
UPDATE sign_in_tries SET failures = $3, locked_until = $4, entered_at = $5 WHERE name = $1 AND place = $2

-- name: closed_names
SELECT name FROM sign_in_tries WHERE name = ANY($1::bytea[]) AND place = '' AND locked_until > $2

-- name: delete_tries
DELETE FROM sign_in_tries WHERE name = $1

-- name: forget_tries
DELETE FROM sign_in_tries WHERE tried_at < $1 AND (entered_at IS NULL OR entered_at < $2)

-- name: insert_session
INSERT INTO session (token_hash, account_id, enrolling, created_at, seen_at) VALUES ($1, $2, $3, $4, $4)

-- name: read_session
SELECT a.*, s.enrolling, s.seen_at FROM session s JOIN account a USING (account_id)
WHERE s.token_hash = $1 AND s.created_at > $2 AND s.seen_at > $3 AND a.disabled_at IS NULL

-- name: touch_session
UPDATE session SET seen_at = $2 WHERE token_hash = $1

-- name: delete_session
DELETE FROM session WHERE token_hash = $1

-- name: delete_sessions
DELETE FROM session WHERE account_id = $1

-- name: delete_old_sessions
DELETE FROM session WHERE created_at <= $1 OR seen_at <= $2

-- name: insert_attempt
INSERT INTO oidc_attempt (state_hash, browser_hash, nonce, verifier, created_at) VALUES ($1, $2, $3, $4, $5)

-- name: take_attempt
DELETE FROM oidc_attempt WHERE state_hash = $1 RETURNING *

-- name: delete_old_attempts
DELETE FROM oidc_attempt WHERE created_at <= $1
