"""What is fuzzed: each target takes bytes and answers nothing, or raises when its reader broke its promise.

The promise of all of them: whatever comes in, there is a result or one of the documented errors, it says nothing of
what came in, and it comes soon.
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args

import orjson
from pydantic import TypeAdapter, ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from schemas import codec
from schemas.envelope import from_headers, to_headers
from schemas.errors import Code, CodecError
from services.audit import checkpoint, proofs
from services.audit.checkpoint import Checkpoint, CheckpointError
from services.audit.witness import rules as witness
from services.commands.import_rows import ColumnsError, read_csv, read_ndjson
from services.consent.bodies import ImportRow
from services.consent.decisions import questions
from services.consent.messages import opt_out
from services.consent.messages.opt_out import OptOut
from services.propagator.notices import signing, urls
from services.runtime import bounds, problems
from services.runtime.fields import Day, DayCursor, Instant
from services.runtime.problem import Problem
from tests.unit.schemas.samples import CLEAR, KIDS, MEMBER, SEALED, an_envelope

KEY: Final = bytes(range(32))
TOPIC: Final = "dongui.affiliate.tmax-os.v1"
CODES: Final = frozenset(get_args(Code))
NOW: Final = datetime(2026, 11, 25, tzinfo=UTC)
SECRET: Final = "whsec_" + "QUJD" * 8
CANARY: Final = "canary-9f2c7d@hong.example"
LOG: Final = checkpoint.verifier_of("dongui.kr/audit", KEY)


class BrokenPromiseError(AssertionError):
    """A reader said something of what it was given, or gave a result that is not the one."""


@dataclass(frozen=True)
class Target:
    """One reader, and good inputs to begin from."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def hold(condition: bool) -> None:
    """Raise BrokenPromiseError unless the condition holds."""
    if not condition:
        raise BrokenPromiseError


def refused(error: CodecError) -> None:
    """A refusal of the codec is its code and nothing else."""
    hold(str(error) == error.code and error.code in CODES and error.__cause__ is None and error.__context__ is None)


def clear_record(name: str, data: bytes) -> None:
    """A clear record: what is accepted is exactly what would be written."""
    envelope = an_envelope(name)
    try:
        shape = codec.decode_clear(envelope, data)
    except CodecError as error:
        return refused(error)
    again = codec.decode_clear(envelope, codec.encode_clear(shape, envelope))
    hold(again == shape)
    return None


def sealed_record(name: str, data: bytes) -> None:
    """A sealed record: only what our key sealed opens; nobody makes another one that does."""
    try:
        codec.kid_of(data)
        shape = codec.unseal(an_envelope(name), data, key=KEY, topic=TOPIC)
    except CodecError as error:
        return refused(error)
    hold(shape == SEALED[name])
    return None


def plain_of_sealed(name: str, data: bytes) -> None:
    """What is inside of a sealed record, from a writer with the right key and the wrong mind."""
    token = codec.jwe.encrypt(codec.jwe.ProtectedHeader(KIDS[name], TOPIC, MEMBER, 3), data, KEY)
    try:
        codec.unseal(an_envelope(name), token, key=KEY, topic=TOPIC)
    except CodecError as error:
        refused(error)


def headers(data: bytes) -> None:
    """The headers of a record, as `name value` lines."""
    given = [tuple(line.partition(b" ")[::2]) for line in data.split(b"\n")]
    try:
        found = from_headers([(name.decode("latin-1"), value) for name, value in given])
    except CodecError as error:
        return refused(error)
    again = from_headers([(n, v.encode()) for n, v in to_headers(found).items()])
    hold(again == replace(found, traceparent=found.traceparent or again.traceparent))
    return None


def webhook(data: bytes) -> None:
    """A notice on its way: id, time, signature and body; any other byte than those signed is refused."""
    parts = data.split(b"\n", 3)
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    given = dict(zip(names, (part.decode("latin-1") for part in parts), strict=False))
    body = parts[3] if len(parts) == 4 else b""
    try:
        Timeless(SECRET).verify(body, given)
        taken = True
    except WebhookVerificationError:
        taken = False
    except (ValueError, TypeError):  # the library's own, for a time or a body that is none
        taken = False
    hold(not taken or _same_meaning(parts))
    hold(taken or data != SIGNED)
    for keys in ({"secret": SECRET, "public_key": None}, {"secret": None, "public_key": SIGNER.public_key}):
        ours = RECEIVER["verified"](body, given, now=NOW.timestamp(), **keys)
        hold(ours is False or _same_meaning(parts))


def _same_meaning(parts: list[bytes]) -> bool:
    """The header of signatures may hold more than the good one; id, time and body may not differ by a byte."""
    signed = SIGNED.split(b"\n", 3)
    return len(parts) == 4 and (parts[0], parts[3]) == (signed[0], signed[3]) and float(parts[1]) == float(signed[1])


class Timeless(Webhook):
    """The library of Standard Webhooks, for which it is always the time of the message."""

    def _Webhook__verify_timestamp(self, header: str) -> datetime:  # noqa: N802 - the library's own name
        try:
            return datetime.fromtimestamp(float(header), tz=UTC)
        except (ValueError, OverflowError, OSError):
            raise WebhookVerificationError("Invalid Signature Headers") from None


def _receiver() -> dict[str, Any]:
    """The receiver that we give to third parties, as they have it: a file."""
    found: dict[str, Any] = {"__name__": "receiver"}
    text = Path(__file__).resolve().parents[2].joinpath("docs", "examples", "notice_receiver.py").read_text("utf-8")
    exec(compile(text, "notice_receiver.py", "exec"), found)
    return found


def webhook_keys(data: bytes) -> None:
    """Secrets and seeds out of key files."""
    for read in (signing.seed_of, lambda raw: signing.secret_of(raw.decode("latin-1"))):
        try:
            read(data)
        except signing.SigningKeyError as error:
            hold(str(error) in {"secret", "seed"})


def ndjson(data: bytes) -> None:
    """An import file with an object per line."""
    _rows(read_ndjson(io.BytesIO(data)))


def sheet(data: bytes) -> None:
    """An import file in CSV."""
    try:
        _rows(read_csv(io.BytesIO(data), lambda item: item == "friends"))
    except (ColumnsError, UnicodeDecodeError, csv.Error):
        return


def _rows(lines: Iterable[Any]) -> None:
    for line in lines:
        hold((line.body is None) != (line.code is None))
        if line.body is not None:
            _row(line.body)


def _row(body: dict[str, Any]) -> None:
    try:
        ImportRow.model_validate(body)
    except ValidationError as error:
        told = orjson.dumps([[problems.pointer(e["loc"]), e["type"]] for e in error.errors()])
        hold(CANARY.encode() not in told)


def json_body(data: bytes) -> None:
    """The body of a request: what passes the bounds is JSON we can keep, or is refused by the parser that follows."""
    try:
        bounds.check_json(data)
    except Problem as problem:
        return hold(
            problem.status in {400, 422} and CANARY not in orjson.dumps(problems.body_of(problem, "en")).decode()
        )
    try:
        found = json.loads(data)
    except ValueError:
        return None
    hold(_depth(found) <= bounds.DEPTH_MAX)
    return None


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


FIELDS: Final = tuple(TypeAdapter(kind) for kind in (Day, Instant, DayCursor))


def parameters(data: bytes) -> None:
    """Query parameters: cursors, days, instants, references."""
    text = data.decode(errors="replace")
    for field in FIELDS:
        try:
            found = field.validate_python(text)
        except ValidationError:
            continue
        hold(isinstance(found, str) or (found + timedelta(days=1)).year < 10_000)
    for read in (questions.cursor, lambda one: questions.instant(one, "at", NOW)):
        try:
            read(text)
        except Problem as problem:
            hold(problem.status in {404, 422} and CANARY not in problem.detail_en + problem.detail_ko)


def opt_out_token(data: bytes) -> None:
    """The link in an advertisement: only ours opens."""
    text = data.decode("latin-1")
    try:
        found = opt_out.opened(KEY, text, NOW)
    except Problem as problem:
        return hold(problem.status in {404, 410})
    return hold(found == WANTED)


def note(data: bytes) -> None:
    """A checkpoint, a proof file, a witness's question."""
    text = data.decode("utf-8", errors="replace")
    try:
        hold(checkpoint.open_checkpoint(text, LOG) == HEAD)
    except CheckpointError as error:
        hold(str(error) == error.code)
    for read in (proofs.parse_proof, lambda one: witness.parse(one.encode())):
        try:
            read(text)
        except ValueError:
            continue


def url(data: bytes) -> None:
    """The URL of a third party's endpoint."""
    found = urls.refusal(data.decode("latin-1"), production=True)
    hold(found is None or len(data) < 9 or data.decode("latin-1") not in found)


SIGNER: Final = signing.Signer(KEY)
BODY: Final = b'{"type":"kr.dongui.member.corrected.v1","data":{"values":{"email":"canary-9f2c7d@hong.example"}}}'
SENT: Final = SIGNER.headers("msg-1", NOW, BODY, signing.secret_of(SECRET))
SIGNED: Final = b"\n".join([*(value.encode() for value in SENT.values()), BODY])
RECEIVER: Final = _receiver()
WANTED: Final = OptOut(MEMBER, "tmax-os", "email", NOW + timedelta(days=1))
HEAD: Final = Checkpoint("dongui.kr/audit", 7, hashlib.sha256(b"root").digest())
NOTE: Final = checkpoint.sign(HEAD, KEY)
DAY_CURSOR: Final = f"2031-11-25/{MEMBER}".encode()
PROOF: Final = proofs.format_proof(1, b"x", [KEY], NOTE)
ROW: Final = (
    b'{"email":"canary-9f2c7d@hong.example","name":"\xed\x99\x8d","password":"correct horse","consents":'
    b'{"collection":true,"sharing":{"tmax-os":true}},"notice_version":"2021-02-22","profiles":[{"service":"wapl"}]}\n'
)
CSV: Final = (
    b"email,name,password,profile.service,profile.friends,consents.collection,consents.sharing.tmax-os,notice_version\n"
    b"canary-9f2c7d@hong.example,Hong,correct horse,wapl,a;b,true,y,2021-02-22\n"
)


def _headers_of(name: str) -> bytes:
    return b"\n".join(f"{n} {v}".encode() for n, v in to_headers(an_envelope(name)).items())


def _clear(name: str) -> Target:
    return Target(partial(clear_record, name), (codec.encode_clear(CLEAR[name], an_envelope(name)),))


def _sealed(name: str) -> Target:
    return Target(partial(sealed_record, name), (codec.seal(SEALED[name], key=KEY, kid=KIDS[name], topic=TOPIC),))


def _plain(name: str) -> Target:
    return Target(partial(plain_of_sealed, name), (orjson.dumps(SEALED[name].model_dump(mode="json")),))


TARGETS: Final[dict[str, Target]] = {
    **{f"clear {name}": _clear(name) for name in CLEAR},
    **{f"sealed {name}": _sealed(name) for name in SEALED},
    **{f"inside of {name}": _plain(name) for name in SEALED},
    "headers": Target(headers, tuple(map(_headers_of, ("fact", "projection")))),
    "webhook": Target(webhook, (SIGNED, SIGNED.replace(b"\n1", b"\n\xb2", 1))),
    "webhook keys": Target(webhook_keys, (SECRET.encode(), KEY, b"A" * 44)),
    "import ndjson": Target(ndjson, (ROW, ROW * 3, b"\xef\xbb\xbf" + ROW)),
    "import csv": Target(sheet, (CSV, CSV.replace(b"profile.service", b"profiles"), b"consents,consents.x\na,b\n")),
    "json body": Target(json_body, (ROW, b'{"a": [1, "\\u0000", {"b": "\\ud800"}]}', b"[" * 40 + b"]" * 40)),
    "parameters": Target(parameters, (b"2026-11-25", b"2026-11-25T10:00:00+09:00", DAY_CURSOR, CANARY.encode())),
    "opt-out token": Target(opt_out_token, (opt_out.token_of(KEY, WANTED).encode(),)),
    "audit notes": Target(note, (NOTE.encode(), b"old 3\n\n" + NOTE.encode(), PROOF.encode())),
    "url": Target(url, (b"https://partner.example/hook?a=b#c", b"https://[2001:db8::1]:8443/")),
}
