"""The process from outside: contract document, health, start, stop by signal, and a database that goes away."""

import asyncio
import os
import signal
import socket
import sys

import httpx

from services.runtime.settings import Settings
from tests.integration.consent.harness import Service, a_sign_up, a_token, bearer


async def test_the_openapi_document_names_every_endpoint(silent: Service) -> None:
    found = (await silent.http.get("/openapi.json", headers={"Authorization": ""})).json()
    assert found["openapi"].startswith("3.1")
    assert {
        "/v1/members",
        "/v1/members/{ref}",
        "/v1/members/{ref}/consents/{purpose}",
        "/v1/members/{ref}/withdrawal",
        "/v1/members/{ref}/withdrawal/confirm",
        "/v1/members/{ref}/withdrawal/cancel",
        "/v1/members/{ref}/disclosures",
        "/v1/members/import",
        "/v1/changes/{change_id}",
        "/v1/keys/{kid}",
        "/v1/keys",
        "/v1/notices",
        "/v1/notices/{notice_id}/acknowledgement",
    } <= set(found["paths"])
    sign_up = found["paths"]["/v1/members"]["post"]
    assert "Idempotency-Key" in {p["name"] for p in sign_up["parameters"]}
    assert "application/problem+json" in sign_up["responses"]["422"]["content"]
    assert sign_up["security"] == [{"HTTPBearer": []}]


async def test_an_unknown_path_and_method_are_problems_too(silent: Service) -> None:
    missing = await silent.http.get("/v1/nothing")
    assert (missing.status_code, missing.json()["code"]) == (404, "http_404")
    wrong = await silent.http.delete("/v1/members")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


async def test_a_database_that_is_away_makes_503_and_loses_nothing(silent: Service) -> None:
    body, key = a_sign_up(), "the-same-key"
    async with silent.databases.blocked("consent"):
        answer = await silent.post("/v1/members", body, key=key)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        ready = await silent.http.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"postgres": False, "keyring": True})
        assert (await silent.http.get("/livez")).status_code == 200
    assert (await silent.post("/v1/members", body, key=key)).status_code == 201
    assert (await silent.http.get("/readyz")).json() == {"postgres": True, "keyring": True}


async def test_a_keyring_that_is_away_makes_503_and_not_ready(silent: Service) -> None:
    async with silent.databases.blocked("keyring"):
        assert (await silent.post("/v1/members", a_sign_up())).status_code == 503
        assert (await silent.http.get("/readyz")).json() == {"postgres": True, "keyring": False}
    assert await silent.pool.fetchval("SELECT count(*) FROM member") == 0


async def test_the_process_starts_serves_and_ends_by_signal(service: Service) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.consent",
        env=environment(service.settings) | {"DONGUI_CONSENT_PORT": str(port)},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=bearer(a_token("s", "service"))
        ) as http:
            await answering(http, process)
            made = await http.post("/v1/members", json=a_sign_up(), headers={"Idempotency-Key": "k"})
            assert made.status_code == 201, made.text
            assert b"dongui_relay_published" in (await http.get("/metrics")).content
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 15)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()


def environment(settings: Settings) -> dict[str, str]:
    """The settings as a process gets them."""
    secret = {"consent_dsn", "keyring_dsn"}
    plain = ("profile", "kafka", "topic_prefix", "kek_file", "email_index_key_file", "jwks_file", "data_dir")
    told = {f"DONGUI_{n.upper()}": str(getattr(settings, n)) for n in plain}
    return os.environ | told | {f"DONGUI_{n.upper()}": settings.secret(n) for n in secret}


async def answering(http: httpx.AsyncClient, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(30):
        while process.returncode is None:
            try:
                if (await http.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.1)
    assert process.stderr is not None
    raise AssertionError((await process.stderr.read()).decode())
