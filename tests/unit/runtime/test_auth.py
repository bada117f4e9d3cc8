"""Bearer tokens: the corpus of RFC 8725. One good form; every other is 401 and says nothing of the token."""

import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import time_machine
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey, RSAKey

from services.runtime import auth
from services.runtime.auth import Authenticator, AuthError, Principal
from services.runtime.settings import Settings

pytestmark = pytest.mark.f(32)

KEY = OKPKey.generate_key("Ed25519", {"kid": "one"})
OTHER = OKPKey.generate_key("Ed25519", {"kid": "one"})
NEXT = OKPKey.generate_key("Ed25519", {"kid": "two"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
ISSUER, AUDIENCE = "https://issuer.example", "dongui"
HEADER = {"alg": "Ed25519", "kid": "one"}


def claims(**changes: Any) -> dict[str, Any]:
    right = {"iss": ISSUER, "aud": AUDIENCE, "sub": "shop", "exp": int(time.time()) + 60, "roles": ["service"]}
    return {k: v for k, v in (right | changes).items() if v is not None}


def token(key: Any = KEY, header: dict[str, Any] | None = None, **changes: Any) -> str:
    chosen = header or HEADER
    return jwt.encode(chosen, claims(**changes), key, algorithms=[chosen["alg"]])


def by_hand(header: dict[str, Any], body: dict[str, Any], signature: bytes) -> str:
    parts = (orjson.dumps(header), orjson.dumps(body), signature)
    return ".".join(base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in parts)


def hmac_with_the_public_key() -> str:
    """The classic confusion: the public key's bytes as the secret of HS256."""
    return hmac_with(KEY.as_pem(private=False))


def hmac_with_the_raw_public_key() -> str:
    return hmac_with(base64.urlsafe_b64decode(str(KEY.as_dict(private=False)["x"]) + "="))


def hmac_with(secret: bytes) -> str:
    signed = by_hand({"alg": "HS256", "kid": "one"}, claims(), b"")[:-1]
    digest = hmac.digest(secret, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


@pytest.fixture
def authenticator() -> Authenticator:
    return Authenticator(ISSUER, AUDIENCE, keys=KeySet([KEY, RSA]))


async def code_of(authenticator: Authenticator, authorization: str | None) -> tuple[int, str]:
    with pytest.raises(AuthError) as error:
        await authenticator.principal(authorization)
    assert str(error.value) == error.value.code
    return error.value.status, error.value.code


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_good_token_names_its_caller(authenticator: Authenticator, scheme: str) -> None:
    found = await authenticator.principal(f"{scheme} {token()}")
    assert found == Principal("shop", frozenset({"service"}))
    assert found.has("member", "service")
    assert not found.has("member")


@pytest.mark.parametrize(("said", "found"), [(None, False), (False, False), (True, True), ("no", True), (0, True)])
async def test_a_token_says_that_its_account_is_not_confirmed(
    authenticator: Authenticator, said: object, found: bool
) -> None:
    assert (await authenticator.principal(f"Bearer {token(unconfirmed=said)}")).unconfirmed is found


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
async def test_the_older_name_of_the_algorithm_is_the_same_algorithm(authenticator: Authenticator) -> None:
    assert (await authenticator.principal(f"Bearer {token(header=HEADER | {'alg': 'EdDSA'})}")).sub == "shop"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "Token abc"])
async def test_no_token_is_told_as_missing(authenticator: Authenticator, header: str | None) -> None:
    assert await code_of(authenticator, header) == (401, "token_missing")


BAD = {
    "alg none": by_hand({"alg": "none"}, claims(), b""),
    "alg None": by_hand({"alg": "None", "kid": "one"}, claims(), b""),
    "no signature": token().rpartition(".")[0] + ".",
    "HMAC with the public key in PEM": hmac_with_the_public_key(),
    "HMAC with the raw public key": hmac_with_the_raw_public_key(),
    "an RSA key of the same set": token(RSA, {"alg": "RS256", "kid": "rsa"}),
    "another's key under our kid": token(OTHER),
    "an unknown kid": token(header=HEADER | {"kid": "two"}),
    "a key in the header": token(OTHER, HEADER | {"jwk": OTHER.as_dict(private=False)}),
    "another issuer": token(iss="https://evil.example"),
    "no issuer": token(iss=None),
    "another audience": token(aud="other"),
    "no audience": token(aud=None),
    "expired": token(exp=int(time.time()) - 31),
    "no expiry": token(exp=None),
    "an expiry that is no number": token(exp="tomorrow"),
    "not yet valid": token(nbf=int(time.time()) + 600),
    "no subject": token(sub=None),
    "no roles": token(roles=None),
    "roles as text": token(roles="service"),
    "roles that are no text": token(roles=[1]),
    "a flipped payload": ".".join(part[::-1] if i == 1 else part for i, part in enumerate(token().split("."))),
    "two dots only": "..",
    "nonsense": "nonsense",
    "five parts": "a.b.c.d.e",
    "not ASCII": "홍.길.동",
}


@pytest.mark.f(32)
@pytest.mark.parametrize("name", BAD)
async def test_a_bad_token_is_refused(authenticator: Authenticator, name: str) -> None:
    assert await code_of(authenticator, f"Bearer {BAD[name]}") == (401, "token_invalid")


async def test_a_clock_may_be_off_by_thirty_seconds(authenticator: Authenticator) -> None:
    just = token(exp=int(time.time()) - 5)
    assert (await authenticator.principal(f"Bearer {just}")).sub == "shop"


class Issuer:
    """An identity provider's JWKS endpoint."""

    def __init__(self) -> None:
        self.asked = 0
        self.status = 200
        self.url = ""
        self.key = KEY

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response({"keys": [self.key.as_dict(private=False)]}, status=self.status)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()
    app = web.Application()
    app.add_routes([web.get("/jwks", made.answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    yield made
    await runner.cleanup()


async def test_keys_are_fetched_once_in_five_minutes(issuer: Issuer) -> None:
    authenticator = Authenticator(ISSUER, AUDIENCE, source=issuer.url)
    for _ in range(3):
        await authenticator.principal(f"Bearer {token()}")
    assert issuer.asked == 1


@pytest.mark.parametrize("status", [500, 302])
async def test_keys_that_cannot_be_had_are_503_and_not_401(issuer: Issuer, status: int) -> None:
    issuer.status = status
    authenticator = Authenticator(ISSUER, AUDIENCE, source=issuer.url)
    assert await code_of(authenticator, f"Bearer {token()}") == (503, "keys_unavailable")
    issuer.status = 200
    assert (await authenticator.principal(f"Bearer {token()}")).sub == "shop"


async def test_an_issuer_that_is_away_later_does_not_lock_out_known_keys(issuer: Issuer) -> None:
    authenticator = Authenticator(ISSUER, AUDIENCE, source=issuer.url)
    await authenticator.principal(f"Bearer {token()}")
    issuer.status = 500
    authenticator._next_fetch_at = float("-inf")
    assert (await authenticator.principal(f"Bearer {token()}")).sub == "shop"
    assert issuer.asked == 2
    authenticator._fetched_at = authenticator._next_fetch_at = float("-inf")
    assert await code_of(authenticator, f"Bearer {token()}") == (503, "keys_unavailable"), "an hour is the most"


@pytest.mark.f(32)
async def test_a_token_seen_before_still_expires(authenticator: Authenticator) -> None:
    with time_machine.travel(1_800_000_000, tick=False) as now:
        seen = f"Bearer {token(exp=1_800_000_060)}"
        await authenticator.principal(seen)
        now.shift(60 + 31)
        assert await code_of(authenticator, seen) == (401, "token_invalid")


async def test_a_token_seen_before_is_refused_once_its_key_is_withdrawn(issuer: Issuer) -> None:
    authenticator = Authenticator(ISSUER, AUDIENCE, source=issuer.url)
    seen = f"Bearer {token()}"
    await authenticator.principal(seen)
    issuer.key = OTHER
    authenticator._next_fetch_at = float("-inf")
    assert await code_of(authenticator, seen) == (401, "token_invalid")
    assert (await authenticator.principal(f"Bearer {token(OTHER)}")).sub == "shop"


class Standing:
    """A clock that goes on when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Standing:
    made = Standing()
    monkeypatch.setattr(auth, "time", made)
    return made


def publish(path: Path, *keys: OKPKey) -> None:
    path.write_bytes(orjson.dumps({"keys": [key.as_dict(private=False) for key in keys]}))


def of_file(path: Path) -> Authenticator:
    return Authenticator.from_settings(Settings(issuer=ISSUER, audience=AUDIENCE, jwks_file=path))


async def test_a_key_withdrawn_from_the_file_signs_nothing_five_minutes_later(tmp_path: Path, clock: Standing) -> None:
    path = tmp_path / "jwks.json"
    publish(path, KEY)
    authenticator, seen = of_file(path), f"Bearer {token()}"
    await authenticator.principal(seen)
    publish(path, NEXT)
    clock.now += 299
    assert (await authenticator.principal(seen)).sub == "shop"
    clock.now += 1
    assert await code_of(authenticator, seen) == (401, "token_invalid")
    assert (await authenticator.principal(f"Bearer {token(NEXT, HEADER | {'kid': 'two'})}")).sub == "shop"


@pytest.mark.parametrize(
    "content",
    [None, b"", b'{"keys": [', b"[]", b'{"keys": []}', b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "!!"}]}'],
)
async def test_a_file_that_breaks_keeps_the_known_keys_for_an_hour_and_no_longer(
    tmp_path: Path, clock: Standing, content: bytes | None
) -> None:
    path, seen = tmp_path / "jwks.json", f"Bearer {token()}"
    publish(path, KEY)
    authenticator = of_file(path)
    await authenticator.principal(seen)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    for later in (300, 3300):
        clock.now += later
        assert (await authenticator.principal(seen)).sub == "shop"
    clock.now += 11
    assert await code_of(authenticator, seen) == (503, "keys_unavailable")
    publish(path, KEY)
    assert (await authenticator.principal(seen)).sub == "shop"


async def test_a_process_with_a_broken_file_does_not_start(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(b"{")
    with pytest.raises(orjson.JSONDecodeError):
        of_file(path)
