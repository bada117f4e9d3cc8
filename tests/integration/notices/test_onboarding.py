"""From "here is our URL" to the first notice, by the command line, against receivers in processes of their own."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from services.propagator.notices import app, roster
from services.propagator.notices.onboarding import CHALLENGE_TYPE, PING_TYPE, WELL_KNOWN
from services.propagator.notices.sealing import SealedError, Sealer
from services.propagator.notices.signing import Signer, secret_of
from services.runtime.clock import utc_now
from services.runtime.settings import Settings
from tests.integration.notices.conftest import (
    PARTNER,
    SECRET,
    SEED,
    Dongui,
    KeyService,
    ThirdParty,
    sealed_notice,
    sending,
    taken,
    until,
    working,
)
from tests.integration.notices.receivers import Asked, serving


async def _listed(dongui: Dongui) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((await dongui("list", "--format", "json")).stdout)["third_parties"]
    return found


async def _unprove(databases: Any, name: str) -> None:
    """Take the proof away that loopback has by itself: what an endpoint of the outside world begins with."""
    connection = await asyncpg.connect(databases.owner_dsn("notices"))
    await connection.execute("UPDATE endpoint SET verified_at = NULL, verified_by = NULL WHERE recipient = $1", name)
    await connection.close()


async def test_an_endpoint_is_told_nothing_until_it_has_given_the_challenge_back(
    dongui: Dongui, settings: Settings, databases: Any, partner: ThirdParty, key_service: KeyService
) -> None:
    nobody = settings.model_copy(update={"third_parties": {}})
    added = await dongui("add", PARTNER, "--url", "https://partner.example/webhook", "--format", "json")
    assert added.exit_code == 0, added.stderr
    told = json.loads(added.stdout)
    assert told["state"] == "unverified"
    assert told["public_keys"] == [Signer(SEED).public_key]
    assert len(secret_of(told["secret"])) == 32
    moved = await dongui("add", PARTNER, "--url", f"{partner.url}/webhook", "--replace", profile="dev")
    assert moved.exit_code == 0, moved.stderr
    await _unprove(databases, PARTNER)
    async with app.build(nobody) as parts:
        await parts.ingest.apply(taken(sealed_notice(key_service)))
        serving_task = asyncio.create_task(roster.run(parts.sender, parts.registry, parts.endpoints, parts.stop))
        try:
            await asyncio.sleep(1.0)
            assert parts.endpoints == {}
            assert await partner.received() == []
            refused = await dongui("verify", PARTNER, profile="dev")
            # The partner holds another secret than the new one, so it answers 401: it is not proved.
            assert (refused.exit_code, refused.stdout) == (3, "")
            assert "it answered 401" in refused.stderr
            sealer = Sealer(SEED)
            await parts.pool.execute("UPDATE endpoint SET secret = $1", sealer.seal(secret_of(SECRET), PARTNER))
            assert (await dongui("verify", PARTNER, profile="dev")).exit_code == 0
            await until(parts.pool, "SELECT state FROM notice", "acknowledged")
        finally:
            parts.stop.set()
            await serving_task
        events = [r[0] for r in await parts.pool.fetch("SELECT event FROM endpoint_event ORDER BY position")]
    assert events == ["added", "moved", "verified_challenge"]
    await partner.until(1)


async def test_an_answer_that_does_not_prove_it_exits_3_and_changes_nothing(dongui: Dongui, databases: Any) -> None:
    answers: list[tuple[Any, str]] = [
        (lambda _: (200, {"challenge": "another"}), "not with"),
        (lambda asked: (200, asked.message), "not with"),  # an echo of everything
        (lambda _: (200, None), "not with"),
        (lambda _: (204, None), "not with"),
        (lambda _: (302, None), "redirects are not followed"),
        (lambda asked: (500, {"challenge": asked.message["data"]["challenge"]}), "it answered 500"),
    ]
    now: list[Any] = []

    def last(asked: Asked) -> tuple[int, Any]:
        said: tuple[int, Any] = now[-1](asked)
        return said

    async with serving(last) as (url, asked):
        await dongui("add", "their-id", "--url", url, profile="dev")
        await _unprove(databases, "their-id")
        for answer, why in answers:
            now.append(answer)
            done = await dongui("verify", "their-id", "--format", "json", profile="dev")
            said = json.loads(done.stdout)
            assert (done.exit_code, said["ok"]) == (3, False)
            assert why in said["reason"]
    assert [one.message["type"] for one in asked] == [CHALLENGE_TYPE] * len(answers)
    assert [row["state"] for row in await _listed(dongui)] == ["unverified"]


async def test_a_file_on_the_host_proves_it_as_well(dongui: Dongui, databases: Any) -> None:
    files: dict[str, str] = {}

    async def file(request: web.Request) -> web.Response:
        return web.Response(text=files["token"], status=200 if "token" in files else 404)

    async with serving(lambda _: (500, None), [web.get(WELL_KNOWN, file)]) as (url, asked):
        told = json.loads((await dongui("add", "their-id", "--url", url, "--format", "json", profile="dev")).stdout)
        await _unprove(databases, "their-id")
        files["token"] = "another"
        assert (await dongui("verify", "their-id", "--method", "file", profile="dev")).exit_code == 3
        files["token"] = told["challenge_file"]["content"] + "\n"
        assert (await dongui("verify", "their-id", "--method", "file", profile="dev")).exit_code == 0
    assert asked == []
    assert [(row["state"], row["verified_by"]) for row in await _listed(dongui)] == [("active", "file")]


async def test_another_url_must_be_proved_anew_and_keeps_its_secret(dongui: Dongui, databases: Any) -> None:
    async with serving(lambda asked: (200, asked.message["data"])) as (url, _):
        await dongui("add", "their-id", "--url", url, profile="dev")
        assert (await dongui("verify", "their-id", profile="dev")).exit_code == 0
    connection = await asyncpg.connect(databases.dsn("notices"))
    before = await connection.fetchval("SELECT secret FROM endpoint")
    done = await dongui("add", "their-id", "--url", "https://elsewhere.example/w", "--replace", "--format", "json")
    assert "secret" not in json.loads(done.stdout)
    assert await connection.fetchval("SELECT secret FROM endpoint") == before
    await connection.close()
    assert [row["state"] for row in await _listed(dongui)] == ["unverified"]


async def test_after_a_rotation_both_secrets_sign_until_the_overlap_is_over(dongui: Dongui, databases: Any) -> None:
    def either(secrets: list[str]) -> Callable[[Asked], tuple[int, Any]]:
        def answer(asked: Asked) -> tuple[int, Any]:
            for secret in secrets:
                Webhook(secret).verify(asked.body, asked.headers)
            return 200, None

        return answer

    secrets: list[str] = []
    async with serving(either(secrets)) as (url, asked):
        for verb in (("add", "their-id", "--url", url), ("rotate-key", "their-id")):
            done = await dongui(*verb, "--format", "json", profile="dev")
            secrets.append(json.loads(done.stdout)["secret"])
        assert secrets[0] != secrets[1]
        assert (await dongui("ping", "their-id", profile="dev")).exit_code == 0
        assert asked[-1].message["type"] == PING_TYPE
        assert set(asked[-1].message["data"]) == {"recipient"}
        assert [part.split(",")[0] for part in asked[-1].headers["webhook-signature"].split(" ")] == ["v1a", "v1", "v1"]
        connection = await asyncpg.connect(databases.owner_dsn("notices"))
        await connection.execute("UPDATE endpoint SET earlier_until = now()")
        await connection.close()
        assert (await dongui("ping", "their-id", profile="dev")).exit_code == 3
        del secrets[0]
        assert (await dongui("ping", "their-id", profile="dev")).exit_code == 0
        leaked = await dongui("rotate-key", "their-id", "--overlap-hours", "0", "--format", "json", profile="dev")
        assert json.loads(leaked.stdout)["earlier_secret_until"] is None
        assert (await dongui("ping", "their-id", profile="dev")).exit_code == 3


async def test_a_new_secret_that_was_lost_is_replaced_without_ending_the_one_in_use(settings: Settings) -> None:
    async with app.build(settings) as parts:
        registry, overlap = parts.registry, timedelta(hours=72)
        in_use = (await registry.find(PARTNER)).endpoint.secret
        lost, new = await registry.rotate(PARTNER, overlap), await registry.rotate(PARTNER, overlap)
        assert (await registry.find(PARTNER)).endpoint.secrets == (new, lost, in_use)
        await registry.reseal()
        assert (await registry.find(PARTNER)).endpoint.secrets == (new, lost, in_use)
        later = replace(registry, clock=lambda: utc_now() + timedelta(hours=73))
        assert (await later.find(PARTNER)).endpoint.secrets == (new,)
        newest = await later.rotate(PARTNER, overlap)
        assert (await later.find(PARTNER)).endpoint.secrets == (newest, new)
        after_a_leak = await registry.rotate(PARTNER, timedelta(0))
        assert (await registry.find(PARTNER)).endpoint.secrets == (after_a_leak,)


async def test_a_paused_endpoint_is_told_nothing_and_resumed_within_seconds(
    dongui: Dongui, settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    async with app.build(settings) as parts:
        task = asyncio.create_task(roster.run(parts.sender, parts.registry, parts.endpoints, parts.stop))
        try:
            assert (await dongui("pause", PARTNER, profile="dev")).exit_code == 0
            async with asyncio.timeout(10):
                while parts.endpoints:
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            await parts.ingest.apply(taken(sealed_notice(key_service)))
            await asyncio.sleep(0.6)
            assert await partner.received() == []
            assert [row["state"] for row in await _listed(dongui)] == ["paused"]
            assert (await dongui("resume", PARTNER, profile="dev")).exit_code == 0
            await until(parts.pool, "SELECT state FROM notice", "acknowledged")
        finally:
            parts.stop.set()
            await task


async def test_an_unverified_endpoint_is_not_pinged(dongui: Dongui) -> None:
    await dongui("add", "their-id", "--url", "https://partner.example/webhook")
    done = await dongui("ping", "their-id")
    assert done.exit_code == 3
    assert "dongui third-party verify their-id" in done.stderr


CANNOT = [
    (("add", "their-id", "--url", "http://partner.example/"), "https is required"),
    (("add", "their-id", "--url", "https://169.254.169.254/"), "not an address of the public internet"),
    (("add", "their-id", "--url", "https://u:hunter2@partner.example/"), "no user, password"),
    (("add", "Their Id", "--url", "https://partner.example/"), "a name is"),
    (("add", "there", "--url", "https://partner.example/other"), "--replace"),
    (("add", "nobody", "--url", "https://partner.example/", "--replace"), "not registered"),
    (("verify", "nobody"), "not registered"),
    (("pause", "nobody"), "not registered"),
    (("resume", "nobody"), "not registered"),
    (("rotate-key", "nobody"), "not registered"),
    (("ping", "nobody"), "not registered"),
    (("rotate-key", "there", "--overlap-hours", "-1"), "overlap-hours"),
]


async def test_what_cannot_be_done_is_said_and_changes_nothing(dongui: Dongui) -> None:
    await dongui("add", "there", "--url", "https://partner.example/")
    before = await _listed(dongui)
    for arguments, told in CANNOT:
        done = await dongui(*arguments)
        assert (done.exit_code, done.stdout) == (2, "")
        assert told in done.stderr
        assert "hunter2" not in done.stderr
    assert await _listed(dongui) == before


async def test_an_entry_of_the_settings_becomes_a_row_and_what_staff_did_stays(
    settings: Settings, dongui: Dongui
) -> None:
    async with app.build(settings) as parts:
        assert list(parts.endpoints) == [PARTNER]
        rotated = await parts.registry.rotate(PARTNER, timedelta(0))
    await dongui("add", PARTNER, "--url", "https://staff.example/w", "--replace")
    async with app.build(settings) as parts:
        found = await parts.registry.find(PARTNER)
        assert found.endpoint.url == "https://staff.example/w"
        assert found.endpoint.secret == rotated
    outside = {PARTNER: {"url": "https://settings.example/w", "secret": SECRET}}
    async with app.build(settings.model_copy(update={"profile": "production", "third_parties": outside})) as parts:
        found = await parts.registry.find(PARTNER)
        assert (found.endpoint.url, found.endpoint.secret) == ("https://settings.example/w", secret_of(SECRET))
        assert found.condition == "unverified"
        assert parts.endpoints == {}


async def test_a_new_signing_key_opens_what_the_old_one_sealed_and_both_sign(
    settings: Settings, tmp_path: Path, partner: ThirdParty, key_service: KeyService
) -> None:
    async with app.build(settings):
        pass
    new = tmp_path / "new.key"
    new.write_bytes(bytes(32))
    both = {"webhook_signing_key_file": new, "webhook_signing_key_old_file": settings.webhook_signing_key_file}
    async with sending(settings.model_copy(update=both)) as parts:
        assert parts.sender.attempts.signer.public_keys == [Signer(bytes(32)).public_key, Signer(SEED).public_key]
        await parts.ingest.apply(taken(sealed_notice(key_service)))
        # The partner knows the old public key only.
        await until(parts.pool, "SELECT state FROM notice", "acknowledged")
        sealed = await parts.pool.fetchval("SELECT secret FROM endpoint")
    assert Sealer(bytes(32)).unseal(sealed, PARTNER) == secret_of(SECRET)
    with pytest.raises(SealedError):
        Sealer(bytes(32)).unseal(sealed, "another")
    with pytest.raises(SealedError):
        Sealer(SEED).unseal(sealed, PARTNER)


async def test_a_row_of_the_dev_profile_is_told_nothing_in_production(settings: Settings) -> None:
    async with app.build(settings) as parts:
        assert list(parts.endpoints) == [PARTNER]
    async with app.build(settings.model_copy(update={"profile": "production", "third_parties": {}})) as parts:
        assert parts.endpoints == {}


async def test_no_secret_stands_in_the_database_in_clear(settings: Settings, dongui: Dongui, databases: Any) -> None:
    told = json.loads((await dongui("add", "a-b", "--url", "https://a.example/", "--format", "json")).stdout)
    connection = await asyncpg.connect(databases.dsn("notices"))
    rows = [r[0] for r in await connection.fetch("SELECT e::text FROM endpoint e")]
    rows += [r[0] for r in await connection.fetch("SELECT e::text FROM endpoint_event e")]
    await connection.close()
    assert not any(told["secret"].removeprefix("whsec_") in row for row in rows)
    assert not any(secret_of(told["secret"]).hex() in row for row in rows)


async def test_the_whole_process_asks_the_endpoints_of_its_settings_at_start(
    settings: Settings, partner: ThirdParty, databases: Any
) -> None:
    async with working(settings) as parts:
        assert (await parts.registry.find(PARTNER)).verified_by == "loopback"
        task = asyncio.create_task(app.prove_settings(parts))
        await asyncio.wait_for(task, 10)
        assert (await parts.registry.find(PARTNER)).verified_by == "challenge"
    assert await partner.received() == []
