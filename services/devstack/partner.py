"""The demo's third party: a receiver in a process of its own, written as somebody else's program would be.

It imports nothing of ours: signatures are checked with the `standardwebhooks` library
(v1) and with `cryptography` (v1a), what it was told goes to a JSON-lines file. `PUT /admin/behaviour` makes it
fail on purpose. Start: `python -m services.devstack.partner --port N --store FILE`; it reads DONGUI_PARTNER_SECRET
(`whsec_…`) and, when set, DONGUI_PARTNER_PUBLIC_KEY (`whpk_…`).
"""

import argparse
import asyncio
import base64
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

BODY_BYTES_MAX = 20_000
NOTICE_TYPE = "kr.dongui.member.corrected.v1"
"""What is no notice is a test, or the question whether this URL is ours: its `challenge` is given back."""
SHUTDOWN_TIMEOUT_S = 1.0


class NotSignedError(Exception):
    """The request does not carry a good signature of every kind we were given a key for."""


@dataclass(frozen=True)
class Behaviour:
    """How it answers: after `delay_s`, with `status` and `headers`; `answer` is the body of a 2xx, None for no body."""

    status: int = 200
    delay_s: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    answer: dict[str, str] | None = field(default_factory=lambda: {"outcome": "corrected"})
    times: int | None = None
    """How many requests it lasts for; None = until the next one is set."""


class Partner:
    """The receiver: verifies, remembers what it was told by webhook-id, answers as it was told to behave."""

    def __init__(self, secret: str, public_key: str | None, store: Path) -> None:
        self._webhook = Webhook(secret)
        self._public_key = _ed25519(public_key) if public_key else None
        self._store = store
        self._queue: list[Behaviour] = []
        self._newest: dict[str, int] = {}
        self.received: list[dict[str, Any]] = [json.loads(line) for line in _lines(store)]

    def app(self) -> web.Application:
        """Return the HTTP application."""
        made = web.Application(client_max_size=BODY_BYTES_MAX)
        made.add_routes(
            [
                web.post("/webhook", self._webhook_received),
                web.get("/received", self._list),
                web.put("/admin/behaviour", self._behave),
                web.get("/livez", _ok),
                web.get("/readyz", _ok),
                web.get("/metrics", self._metrics),
            ]
        )
        return made

    def verify(self, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """Return the JSON of a signed request; raise NotSignedError."""
        try:
            message: dict[str, Any] = self._webhook.verify(body, dict(headers))
        except (WebhookVerificationError, ValueError) as error:
            raise NotSignedError from error
        if self._public_key is not None:
            _verify_ed25519(self._public_key, body, headers)
        return message

    async def _webhook_received(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            message = self.verify(body, request.headers)
        except NotSignedError:
            return web.json_response({"error": "signature"}, status=401)
        if message["type"] != NOTICE_TYPE:
            return web.json_response({"challenge": message["data"].get("challenge")})
        behaviour = self._next()
        self._remember(request.headers["webhook-id"], message, request.headers, behaviour.status)
        await asyncio.sleep(behaviour.delay_s)
        answer = behaviour.answer if 200 <= behaviour.status < 300 else None
        text = "" if answer is None else json.dumps(answer | {"sequence": self._holds(message["data"])})
        return web.Response(
            status=behaviour.status, text=text, headers=behaviour.headers, content_type="application/json"
        )

    def _next(self) -> Behaviour:
        if not self._queue:
            return Behaviour()
        first = self._queue[0]
        if first.times is not None:
            left = Behaviour(**(asdict(first) | {"times": first.times - 1}))
            self._queue[:1] = [left] if first.times > 1 else []
        return first

    def _holds(self, data: dict[str, Any]) -> int:
        """Keep the newest sequence of a member, whatever the order of arrival, and return it."""
        newest = max(self._newest.get(data["member_ref"], 0), int(data["sequence"]))
        self._newest[data["member_ref"]] = newest
        return newest

    def _remember(self, message_id: str, message: dict[str, Any], headers: Mapping[str, str], status: int) -> None:
        told = {
            "webhook_id": message_id,
            "timestamp": int(headers["webhook-timestamp"]),
            "traceparent": headers.get("traceparent"),
            "status": status,
            "message": message,
        }
        self.received.append(told)
        with self._store.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told, ensure_ascii=False) + "\n")

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({"received": self.received})

    async def _behave(self, request: web.Request) -> web.Response:
        """Replace what is to come: a list of behaviours, each for its `times`, then the ordinary one."""
        self._queue = [Behaviour(**one) for one in await request.json()]
        return web.json_response({"behaviours": len(self._queue)})

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=f"partner_received_total {len(self.received)}\n")


def _lines(store: Path) -> list[str]:
    store.parent.mkdir(parents=True, exist_ok=True)
    return store.read_text(encoding="utf-8").splitlines() if store.exists() else []


def _ed25519(public_key: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.strip().removeprefix("whpk_")))


def _verify_ed25519(key: Ed25519PublicKey, body: bytes, headers: Mapping[str, str]) -> None:
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for one in headers["webhook-signature"].split(" "):
        version, _, signature = one.partition(",")
        if version == "v1a":
            try:
                return key.verify(base64.b64decode(signature), signed)
            except (InvalidSignature, ValueError):
                continue
    raise NotSignedError


async def _ok(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def main() -> None:
    """Serve on loopback until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="the demo's third party")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--store", type=Path, required=True)
    arguments = parser.parse_args()
    public_key = os.environ.get("DONGUI_PARTNER_PUBLIC_KEY")
    partner = Partner(os.environ["DONGUI_PARTNER_SECRET"].strip(), public_key, arguments.store)
    web.run_app(
        partner.app(),
        host=arguments.host,
        port=arguments.port,
        print=None,
        access_log=None,
        shutdown_timeout=SHUTDOWN_TIMEOUT_S,
    )


if __name__ == "__main__":
    main()
