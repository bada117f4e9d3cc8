"""Idempotency-Key: a lost answer is repeated, one key is one request, and only successes are remembered."""

import asyncio
import uuid

from tests.integration.consent.harness import Service, a_sign_up, a_token, bearer


async def test_a_key_is_required_on_post_and_has_a_form(silent: Service) -> None:
    without = await silent.http.post("/v1/members", json=a_sign_up())
    assert (without.status_code, without.json()["code"]) == (400, "idempotency_key_required")
    ill_formed = await silent.post("/v1/members", a_sign_up(), key="k" * 256)
    assert (ill_formed.status_code, ill_formed.json()["code"]) == (400, "idempotency_key_invalid")


async def test_a_lost_answer_of_a_sign_up_is_repeated(silent: Service) -> None:
    body, key = a_sign_up(), str(uuid.uuid4())
    first = await silent.post("/v1/members", body, key=key)
    again = await silent.post("/v1/members", body, key=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first.headers["etag"] == again.headers["etag"] == '"1"'
    assert await silent.pool.fetchval("SELECT count(*) FROM member") == 1


async def test_a_lost_answer_of_a_correction_is_repeated_and_not_a_version_mismatch(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = await silent.patch(ref, 1, {"name": "새이름"}, **key)
    again = await silent.patch(ref, 1, {"name": "새이름"}, **key)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert await silent.pool.fetchval("SELECT seq FROM member") == 2


async def test_a_lost_answer_of_a_consent_and_of_a_withdrawal_is_repeated(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    key = {"Idempotency-Key": str(uuid.uuid4())}
    answers = [await silent.put(ref, 1, "sharing", {"granted": False}, **key) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    once = str(uuid.uuid4())
    asked = [await silent.post(f"/v1/members/{ref}/withdrawal", key=once) for _ in range(2)]
    assert [a.status_code for a in asked] == [202, 202]
    assert asked[0].json() == asked[1].json()


async def test_a_key_used_for_another_request_is_refused(silent: Service) -> None:
    key = str(uuid.uuid4())
    assert (await silent.post("/v1/members", a_sign_up(), key=key)).status_code == 201
    other_body = await silent.post("/v1/members", a_sign_up(), key=key)
    assert (other_body.status_code, other_body.json()["code"]) == (422, "idempotency_key_reused")
    ref = await silent.pool.fetchval("SELECT member_ref FROM member")
    other_path = await silent.post(f"/v1/members/{ref}/withdrawal", key=key)
    assert other_path.status_code == 422


async def test_a_key_belongs_to_its_caller(silent: Service) -> None:
    key = str(uuid.uuid4())
    assert (await silent.post("/v1/members", a_sign_up(), key=key)).status_code == 201
    other = bearer(a_token("other-shop", "service"))
    assert (await silent.post("/v1/members", a_sign_up(), key=key, headers=other)).status_code == 201


async def test_a_refusal_is_not_remembered(silent: Service) -> None:
    key = str(uuid.uuid4())
    ref = (await silent.sign_up())["member_ref"]
    assert (await silent.post(f"/v1/members/{ref}/withdrawal/confirm", key=key)).status_code == 409
    await silent.post(f"/v1/members/{ref}/withdrawal")
    assert (await silent.post(f"/v1/members/{ref}/withdrawal/confirm", key=key)).status_code == 200


async def test_of_many_at_once_one_writes_and_the_rest_repeat_or_wait(silent: Service) -> None:
    body, key = a_sign_up(), str(uuid.uuid4())
    answers = await asyncio.gather(*(silent.post("/v1/members", body, key=key) for _ in range(8)))
    assert {a.status_code for a in answers} <= {201, 409}
    assert {a.json()["code"] for a in answers if a.status_code == 409} <= {"request_in_flight"}
    assert len({a.json()["member_ref"] for a in answers if a.status_code == 201}) == 1
    assert await silent.pool.fetchval("SELECT count(*) FROM member") == 1


async def test_the_stored_request_shows_nothing_of_its_body(silent: Service) -> None:
    body = a_sign_up(password="an unusual password")
    await silent.post("/v1/members", body)
    stored = await silent.pool.fetchval("SELECT to_jsonb(i)::text FROM idempotency i")
    assert "unusual" not in stored
    assert body["email"] not in stored


async def test_a_key_older_than_a_day_is_forgotten(silent: Service) -> None:
    body, key = a_sign_up(), str(uuid.uuid4())
    await silent.post("/v1/members", body, key=key)
    await silent.pool.execute("UPDATE idempotency SET created_at = now() - interval '25 hours'")
    assert (await silent.post("/v1/members", body, key=key)).json()["code"] == "email_taken"
