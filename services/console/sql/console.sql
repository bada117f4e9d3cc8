-- name: account_of_name
SELECT * FROM account WHERE name = $1 FOR UPDATE

-- name: account_of_id
SELECT * FROM account WHERE account_id = $1 FOR UPDATE

-- name: account_of_subject
SELECT * FROM account WHERE subject = $1 FOR UPDATE

-- name: list_accounts
SELECT * FROM account ORDER BY name

-- name: insert_account
INSERT INTO account (name, subject, role, affiliate, password_hash, one_time, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING *

-- name: update_role
UPDATE account SET role = $2, affiliate = $3 WHERE account_id = $1

-- name: set_disabled
UPDATE account SET disabled_at = $2 WHERE account_id = $1

-- name: set_failures
UPDATE account SET failures = $2, locked_until = $3 WHERE account_id = $1

-- name: note_sign_in
UPDATE account SET failures = 0, locked_until = NULL, totp_step = greatest(totp_step, $2) WHERE account_id = $1

-- name: set_one_time
UPDATE account SET password_hash = $2, one_time = true, totp_sealed = NULL, failures = 0, locked_until = NULL
WHERE account_id = $1

-- name: set_factor
UPDATE account SET totp_sealed = $2 WHERE account_id = $1 AND one_time

-- name: enrol
UPDATE account SET password_hash = $2, one_time = false, totp_step = $3, failures = 0 WHERE account_id = $1 AND one_time

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
