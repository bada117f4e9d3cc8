"""Routes of content keys: an affiliate's backend gets the keys of its own records, one recipient and epoch each.

Callers may keep a key for at most five minutes, so that shredding takes hold everywhere within that time.
"""

from typing import Any

from fastapi import APIRouter, Response

from schemas.codec import RETENTION_PARTY
from services.consent.access import Ask, Asked
from services.consent.bodies import KeysBody
from services.consent.refusals import forbidden
from services.consent.retained import EPOCH
from services.consent.sealing import VAULT
from services.keyring import derive
from services.keyring.keyring import KeyDestroyedError, KeyUnknownError
from services.runtime.problem import Problem

router = APIRouter(tags=["keys"])
CACHE = "private, max-age=300"


@router.get("/v1/keys/{kid}")
async def read_key(ask: Ask, kid: str, response: Response) -> dict[str, str]:
    """Return one content key as a JWK; 403 for another recipient's, 404 once shredded."""
    found, missing = await _lookup(ask, [kid])
    if missing:
        code = missing[0]["code"]
        raise Problem(404, code, "키가 없거나 파기되었습니다.", "There is no such key, or it was destroyed.")
    response.headers["Cache-Control"] = CACHE
    return found[0]


@router.post("/v1/keys")
async def read_keys(ask: Ask, body: KeysBody, response: Response) -> dict[str, Any]:
    """Return many content keys; those that cannot be had are listed with a code."""
    found, missing = await _lookup(ask, body.kids)
    response.headers["Cache-Control"] = CACHE
    return {"keys": found, "missing": missing}


async def _lookup(ask: Asked, kids: list[str]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    parsed = {kid: _parsed(kid) for kid in dict.fromkeys(kids)}
    _authorise(ask, {p[0] for p in parsed.values() if p})
    refs = {kid: _ref_of(*p) for kid, p in parsed.items() if p}
    data_keys = await ask.consent.keyring.data_keys(list(set(refs.values())))
    found, missing = [], []
    for kid in parsed:
        key = data_keys[refs[kid]] if kid in refs else None
        if isinstance(key, bytes):
            found.append(derive.jwk(derive.content_key(key, kid), kid))
        else:
            missing.append({"kid": kid, "code": _code(key)})
    return found, missing


def _parsed(kid: str) -> tuple[str, str, int] | None:
    try:
        return derive.parse_kid(kid)
    except ValueError:
        return None


def _ref_of(recipient: str, member_ref: str, epoch: int) -> str:
    """Return whose data key it is: statutory records travel under a key of their own."""
    apart = recipient == RETENTION_PARTY and epoch >= EPOCH
    return derive.handover_ref(member_ref) if apart else member_ref


def _authorise(ask: Asked, recipients: set[str]) -> None:
    """Each gets its own: an affiliate, the retention process; the notice sender third parties'. Nobody our vault's."""
    ours = {VAULT, RETENTION_PARTY}
    principal = ask.require("affiliate", "notices", "third_party", "retention")
    if principal.has("retention"):
        allowed = recipients & {RETENTION_PARTY}
    elif principal.has("notices"):
        allowed = recipients - ours - ask.consent.rules.affiliates.keys()
    else:
        allowed = recipients & {principal.sub} - ours
    if allowed != recipients:
        raise forbidden()


def _code(found: object) -> str:
    if isinstance(found, KeyDestroyedError):
        return "key_destroyed"
    if found is None or isinstance(found, KeyUnknownError):
        return "key_unknown"
    raise TypeError(type(found).__name__)
