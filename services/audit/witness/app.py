"""The witness over HTTP: `POST /add-checkpoint` and its published key. It holds no data of anybody.

Nobody signs in: what counts is the log's own signature. A refused request that the log itself signed is kept as
evidence, and raises an alarm: two histories exist.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import Counter, Gauge

from services.audit import cosignature
from services.audit.checkpoint import Verifier, text_part
from services.audit.witness import rules
from services.audit.witness.rules import Evidence, Verdict
from services.audit.witness.state import State
from services.runtime import probes, problems, serving
from services.runtime.clock import Clock, utc_now
from services.runtime.seeds import seed_of
from services.runtime.settings import Settings
from services.runtime.traced import NO_TELEMETRY
from services.runtime.web import PROBLEM

REQUIRED = ("witness_signing_key_file", "witness_logs_file")
FOLDER = "witness"
BODY_BYTES_MAX = 64 * 1024
EVIDENCE_MAX: Final[dict[Evidence, int]] = {"split": 100, "unproven": 10}
"""Only the log can make a split view. What is unproven anybody can send, so it has few places, and its own."""

TEXT: Final[dict[str, Any]] = {"schema": {"type": "string"}}
ASKED: Final[dict[str, Any]] = {"requestBody": {"required": True, "content": {"text/plain": TEXT}}}
ANSWERED: Final[dict[int | str, dict[str, Any]]] = {
    409: {"description": "The size last cosigned", "content": {"text/x.tlog.size": TEXT}},
    "4XX": {
        "description": "A code: what is wrong with the request",
        "content": {"text/plain": TEXT, **PROBLEM["content"]},
    },
}
ANSWERS = Counter("dongui_witness_answers", "Requests by what was answered", ["code"])
SIZE = Gauge("dongui_witness_size", "Size last cosigned", ["origin"])
SPLIT = Counter("dongui_witness_split_views", "Requests signed by a log that contradict what was cosigned before")
log = structlog.get_logger("witness")
router = APIRouter(tags=["witness"])


@dataclass(frozen=True)
class Parts:
    """What the witness works with: its name and seed, the logs it knows by origin, its memory, its folder."""

    name: str
    seed: bytes
    logs: dict[str, Verifier]
    state: State
    folder: Path
    clock: Clock

    @property
    def vkey(self) -> str:
        """The published key."""
        return cosignature.cosigner_of(self.name, self.seed).vkey()


@contextlib.contextmanager
def built(settings: Settings, *, create: bool) -> Iterator[Parts]:
    """Open the state and close it after. Raises MissingSettingsError, SeedError, CheckpointError, StateError."""
    settings.require(*REQUIRED)
    assert settings.witness_signing_key_file
    assert settings.witness_logs_file
    folder = settings.data_dir / FOLDER
    lines = settings.witness_logs_file.read_text(encoding="utf-8").split()
    logs = {key.name: key for key in map(Verifier.parse, lines)}
    seed = seed_of(settings.witness_signing_key_file)
    state = State(folder / "state.json", create=create)
    try:
        yield Parts(settings.witness_name, seed, logs, state, folder, utc_now)
    finally:
        state.close()


@router.post("/add-checkpoint", response_class=PlainTextResponse, openapi_extra=ASKED, responses=ANSWERED)
async def add_checkpoint(request: Request) -> Response:
    """Cosign a checkpoint that continues the last one: 200 with the line. 409 says which size we know."""
    parts: Parts = request.app.state.parts
    body = await _body(request)
    if body is None:
        return _told(Verdict(413, "too_large"))
    try:
        asked = rules.parse(body)
    except ValueError:
        return _told(Verdict(400, "bad_request"))
    # No await between judging and remembering: requests are answered one after another.
    verdict = rules.judge(asked, parts.logs, parts.state.known)
    if verdict.evidence is not None:
        _keep(parts, asked.note, body, verdict.evidence, verdict.code)
    if verdict.head is None:
        return _told(verdict)
    if parts.state.known.get(verdict.head.origin) != verdict.head:
        parts.state.remember(verdict.head)
    SIZE.labels(verdict.head.origin).set(verdict.head.size)
    line = cosignature.cosign(text_part(asked.note), parts.name, parts.seed, int(parts.clock().timestamp()))
    return _told(verdict, line)


@router.get("/vkey", response_class=PlainTextResponse)
async def read_vkey(request: Request) -> PlainTextResponse:
    """Return the witness's published key; compare it with what its operator told you another way."""
    parts: Parts = request.app.state.parts
    return PlainTextResponse(parts.vkey + "\n")


async def _body(request: Request) -> bytes | None:
    """Return the body, or None when it is longer than any request may be."""
    found = b""
    async for chunk in request.stream():
        found += chunk
        if len(found) > BODY_BYTES_MAX:
            return None
    return found


def _told(verdict: Verdict, line: str = "") -> Response:
    ANSWERS.labels(verdict.code).inc()
    if verdict.known_size is not None:
        return Response(f"{verdict.known_size}\n", verdict.status, media_type="text/x.tlog.size")
    return PlainTextResponse(line or verdict.code + "\n", verdict.status)


def _keep(parts: Parts, note: str, body: bytes, kind: Evidence, code: str) -> None:
    """Keep what the log signed against itself, once each whatever was sent around it, and say so."""
    SPLIT.inc()
    log.error("witness_refused", code=code)
    folder = parts.folder / "evidence" / kind
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(text_part(note).encode()).hexdigest()}.txt"
    if not path.exists() and len(list(folder.iterdir())) < EVIDENCE_MAX[kind]:
        path.write_bytes(body)


def application(parts: Parts) -> FastAPI:
    """Return the application."""
    app = FastAPI(
        telemetry=NO_TELEMETRY,
        title="Dongui witness",
        version="1",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.parts = parts
    problems.install(app)
    app.include_router(router)

    async def ready() -> dict[str, bool]:
        return {"state": True}

    probes.install(app, ready)
    return app


async def run(settings: Settings, *, create: bool) -> None:
    """Serve until SIGTERM or SIGINT."""
    with built(settings, create=create) as parts:
        app = application(parts)
        host, port, proxies = settings.witness_host, settings.witness_port, settings.trusted_proxies
        await uvicorn.Server(serving.config(app, host, port, concurrency=64, proxies=proxies)).serve()
