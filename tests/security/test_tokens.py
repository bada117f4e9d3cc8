"""Bearer tokens over HTTP (F32): the corpus of RFC 8725 against every API; one form is good, all else is 401."""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio
from joserfc import jwe, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from tests.integration.consent.harness import ISSUER_KEY
from tests.security.apis import Apis

pytestmark = pytest.mark.f(32)
STRANGER = OKPKey.generate_key("Ed25519", {"kid": "test"})
RSA, EC = RSAKey.generate_key(2048, {"kid": "test"}), ECKey.generate_key("P-256", {"kid": "test"})
NOW = int(time.time())
"""Of the collection: the tests run up to an hour later."""
DAY_S = 86_400
CLAIMS = {"iss": "https://issuer.dongui.localhost", "aud": "dongui", "sub": "shop", "exp": NOW + DAY_S}
RIGHT = CLAIMS | {"roles": ["service", "cpo"]}
GOOD = {"alg": "Ed25519", "kid": "test"}
READS = {
    "consent": "/v1/status",
    "audit": "/v1/audit/verification",  # answers before the first checkpoint too
    "retention": "/v1/retention/schedule?until=2027-01-01",
}


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    return ".".join((b64(orjson.dumps(header)), b64(orjson.dumps(claims)), b64(signature)))


def hmac_with(secret: bytes, algorithm: str = "HS256") -> str:
    """The classic confusion: something public as the secret of a symmetric algorithm."""
    signed = by_hand({"alg": algorithm, "kid": "test"}, RIGHT).rpartition(".")[0]
    digest = hmac.digest(secret, signed.encode(), getattr(hashlib, f"sha{algorithm[2:]}"))
    return f"{signed}.{b64(digest)}"


def ours(header: dict[str, Any] | None = None, **claims: Any) -> str:
    """Return a token under the right key, with claims replaced or (None) removed."""
    body = {name: value for name, value in (RIGHT | claims).items() if value is not None}
    return jwt.encode(header or GOOD, body, ISSUER_KEY, algorithms=["Ed25519"])


def strangers(header: dict[str, Any], key: Any = STRANGER) -> str:
    return jwt.encode(header, RIGHT, key, algorithms=[header["alg"]])


def encrypted() -> str:
    """A JWE whose plaintext is a token, under the public key: who can encrypt is nobody in particular."""
    secret = OctKey.import_key(base64.urlsafe_b64decode(str(ISSUER_KEY.as_dict(private=False)["x"]) + "="))
    return jwe.encrypt_compact({"alg": "dir", "enc": "A256GCM", "cty": "JWT"}, ours(), secret)


GENUINE = ours()
HEAD, BODY, SIGNATURE = GENUINE.split(".")
PUBLIC = ISSUER_KEY.as_dict(private=False)
FAR = "https://keys.example/jwks.json"
CORPUS = {
    "alg none": by_hand({"alg": "none"}, RIGHT),
    "alg None, with our kid": by_hand({"alg": "None", "kid": "test"}, RIGHT),
    "alg nOnE with a signature": by_hand({"alg": "nOnE", "kid": "test"}, RIGHT, b"x" * 64),
    "no alg": by_hand({"kid": "test"}, RIGHT, b"x" * 64),
    "alg a list": by_hand({"alg": ["Ed25519"], "kid": "test"}, RIGHT, b"x" * 64),
    "alg empty": by_hand({"alg": "", "kid": "test"}, RIGHT, b"x" * 64),
    "no signature": f"{HEAD}.{BODY}.",
    "another's signature": f"{HEAD}.{BODY}.{b64(b'x' * 64)}",
    "a signature cut short": f"{HEAD}.{BODY}.{SIGNATURE[:-4]}",
    "a signature with more": f"{HEAD}.{BODY}.{SIGNATURE}AAAA",
    "HS256 with the public key in PEM": hmac_with(ISSUER_KEY.as_pem(private=False)),
    "HS256 with the public key in DER": hmac_with(ISSUER_KEY.as_der(private=False)),
    "HS256 with the raw public key": hmac_with(base64.urlsafe_b64decode(str(PUBLIC["x"]) + "=")),
    "HS256 with the public JWK": hmac_with(orjson.dumps(PUBLIC)),
    "HS256 with nothing": hmac_with(b""),
    "HS512 with the public key in PEM": hmac_with(ISSUER_KEY.as_pem(private=False), "HS512"),
    "RS256 of a stranger under our kid": strangers({"alg": "RS256", "kid": "test"}, RSA),
    "ES256 of a stranger under our kid": strangers({"alg": "ES256", "kid": "test"}, EC),
    "Ed25519 of a stranger under our kid": strangers(GOOD),
    "a kid that is not published": ours(header=GOOD | {"kid": "other"}),
    "a kid that is a path": strangers(GOOD | {"kid": "../../../../dev/null"}),
    "a kid that is SQL": strangers(GOOD | {"kid": "x' UNION SELECT 'key"}),
    "a kid that is a URL": strangers(GOOD | {"kid": FAR}),
    "a kid that is a number": by_hand({"alg": "Ed25519", "kid": 1}, RIGHT, b"x" * 64),
    "a key in the header": strangers(GOOD | {"jwk": STRANGER.as_dict(private=False)}),
    "a certificate in the header": strangers(GOOD | {"x5c": [base64.b64encode(b"cert").decode()]}),
    "a critical header nobody knows": by_hand(GOOD | {"crit": ["exp2"], "exp2": 1}, RIGHT, b"x" * 64),
    "an unencoded payload": by_hand(GOOD | {"b64": False, "crit": ["b64"]}, RIGHT, b"x" * 64),
    "another issuer": ours(iss="https://issuer.evil.example"),
    "the issuer with a slash": ours(iss=CLAIMS["iss"] + "/"),
    "the issuer in a list": ours(iss=[CLAIMS["iss"]]),
    "no issuer": ours(iss=None),
    "another audience": ours(aud="dongui2"),
    "audiences without ours": ours(aud=["a", "b"]),
    "no audience": ours(aud=None),
    "expired": ours(exp=NOW - 60),
    "expired in 1970": ours(exp=0),
    "expires never": ours(exp=None),
    "expires in words": ours(exp="never"),
    "expires truly": ours(exp=True),
    "not yet valid": ours(nbf=NOW + DAY_S),
    "issued tomorrow": ours(iat=NOW + DAY_S),
    "no subject": ours(sub=None),
    "an empty subject": ours(sub=""),
    "a subject that is a number": ours(sub=7),
    "a subject that is a list": ours(sub=["shop"]),
    "no roles": ours(roles=None),
    "roles in a text": ours(roles="service cpo"),
    "roles in a map": ours(roles={"service": True}),
    "roles that are numbers": ours(roles=[1]),
    "an encrypted token": encrypted(),
    "other claims under our signature": f"{HEAD}.{b64(orjson.dumps(RIGHT | {'sub': 'root'}))}.{SIGNATURE}",
    "four parts": f"{GENUINE}.x",
    "two parts": f"{HEAD}.{BODY}",
    "dots": "...",
    "no base64": "!!!.???.***",
    "no JSON": f"{b64(b'{')}.{b64(b'[')}.{SIGNATURE}",
    "claims that are a list": f"{HEAD}.{b64(b'[]')}.{SIGNATURE}",
    "deep claims": f"{HEAD}.{b64(b'[' * 5000)}.{SIGNATURE}",
    "long": "a" * 20_000,
    "two tokens": f"{GENUINE}, {GENUINE}",
}


@pytest_asyncio.fixture(scope="module")
async def canary() -> AsyncIterator[tuple[str, list[str]]]:
    """A place where keys are offered; every connection to it is noted."""
    seen: list[str] = []

    async def met(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append("connected")
        writer.close()

    server = await asyncio.start_server(met, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen


async def asked(apis: Apis, api: str, headers: dict[str, str], query: str = "") -> httpx.Response:
    return await apis.http.get(apis.urls[api] + READS[api] + query, headers=headers)


@pytest.mark.parametrize("api", READS)
async def test_no_token_but_a_good_one_is_taken(apis: Apis, api: str) -> None:
    assert (await asked(apis, api, {"Authorization": f"Bearer {GENUINE}"})).is_success
    taken = {}
    for name, token in CORPUS.items():
        answer = await asked(apis, api, {"Authorization": f"Bearer {token}"})
        told = answer.json() if answer.status_code == 401 else {}
        if told.get("code") != "token_invalid" or answer.headers["www-authenticate"] != "Bearer":
            taken[name] = (answer.status_code, answer.text[:80])
        assert token[:60] not in answer.text
    assert taken == {}
    assert len(CORPUS) >= 60


@pytest.mark.parametrize("api", READS)
async def test_a_token_never_says_where_its_key_is(apis: Apis, api: str, canary: tuple[str, list[str]]) -> None:
    url, seen = canary
    for name in ("jku", "x5u"):
        for key in (STRANGER, ISSUER_KEY):
            token = jwt.encode(GOOD | {name: url}, RIGHT, key, algorithms=["Ed25519"])
            answer = await asked(apis, api, {"Authorization": f"Bearer {token}"})
            assert (answer.status_code == 401) is (key is STRANGER)
    assert seen == []


@pytest.mark.parametrize("api", READS)
@pytest.mark.parametrize(
    "elsewhere",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": GENUINE},
        {"Authorization": f"Basic {GENUINE}"},
        {"Authorization": f"bearer: {GENUINE}"},
        {"X-Authorization": f"Bearer {GENUINE}"},
        {"Cookie": f"token={GENUINE}; access_token={GENUINE}"},
        {"X-Forwarded-User": "shop", "X-Roles": "service"},
    ],
    ids=["none", "empty", "no token", "no scheme", "basic", "colon", "X-", "cookie", "proxy"],
)
async def test_a_token_in_any_other_place_is_no_token(apis: Apis, api: str, elsewhere: dict[str, str]) -> None:
    query = ("&" if "?" in READS[api] else "?") + f"access_token={GENUINE}&token={GENUINE}"
    answer = await asked(apis, api, elsewhere, query)
    assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")
