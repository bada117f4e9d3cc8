"""The conformance cases: the demo's partner and the printed receiver pass; each fault is found by its case."""

import base64
import hmac
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from services.propagator.notices import conformance, post
from services.propagator.notices.conformance import CASES, Result, Trial
from services.propagator.notices.endpoints import Endpoint
from services.propagator.notices.signing import Signer, secret_of
from services.runtime.clock import utc_now
from tests.integration.notices.conftest import SECRET, SEED, Dongui, ThirdParty
from tests.integration.notices.receivers import Asked, serving
from tests.integration.notices.test_example import _example

NOTICE = "kr.dongui.member.corrected.v1"
KEY = secret_of(SECRET)


async def _results(url: str) -> list[Result]:
    async with post.session(production=False, timeout_s=5) as client:
        return await conformance.run(Trial(client, Signer(SEED), Endpoint("their-id", url, KEY), utc_now))


def _failed(results: list[Result]) -> set[str]:
    return {one.case for one in results if not one.ok}


@dataclass
class Receiver:
    """A receiver that does everything right but what its `fault` names (v1 only, as many have it)."""

    fault: str = ""
    newest: dict[str, int] = field(default_factory=dict)
    handled: dict[str, str] = field(default_factory=dict)

    def answer(self, asked: Asked) -> tuple[int, Any]:
        if not self._verified(asked):
            return (500, None) if self.fault == "falls over" else (401, None)
        message = asked.message
        if message["type"] != NOTICE:
            return self._question(message)
        if self.fault == "knows its fields only" and set(message) != {"type", "timestamp", "data"}:
            return 422, None
        return self._notice(asked.headers["webhook-id"], message["data"])

    def _question(self, message: dict[str, Any]) -> tuple[int, Any]:
        if self.fault == "knows notices only" and "challenge" not in message["data"]:
            return 400, None
        token = message["data"].get("challenge")
        return 200, {"challenge": "mine" if self.fault == "gives no challenge back" else token}

    def _notice(self, message_id: str, data: dict[str, Any]) -> tuple[int, Any]:
        ref, sequence = data["member_ref"], data["sequence"]
        again, late = message_id in self.handled, sequence < self.newest.get(ref, 0)
        if again and self.fault == "refuses a duplicate":
            return 409, None
        if again and self.fault == "answers a duplicate otherwise":
            return 200, {"outcome": "not_held"}
        if late and not again and self.fault == "insists on order":
            return 409, None
        self.handled[message_id] = "corrected"
        newest = sequence if self.fault == "takes the latest to come" else max(sequence, self.newest.get(ref, 0))
        self.newest[ref] = newest
        if self.fault == "says nothing":
            return 200, None
        return 200, {"outcome": "corrected", "sequence": newest}

    def _verified(self, asked: Asked) -> bool:
        try:
            stamp, offered = int(asked.headers["webhook-timestamp"]), asked.headers["webhook-signature"].split(" ")
        except (KeyError, ValueError):
            return self.fault == "does not insist on a signature"
        age = time.time() - stamp
        if (age > 300 and self.fault != "takes the old") or (age < -300 and self.fault != "takes the future"):
            return False
        if self.fault == "looks at the first signature":
            offered = [one for one in offered if not one.startswith("v1a,")][:1]
        return self.fault == "verifies nothing" or any(self._good(asked, one) for one in offered)

    def _good(self, asked: Asked, offered: str) -> bool:
        stamp, message = asked.headers["webhook-timestamp"], asked.message
        from_body = self.fault == "reads the id from the body" and message["type"] == NOTICE
        message_id = message["data"]["notice_id"] if from_body else asked.headers["webhook-id"]
        version, _, signature = offered.partition(",")
        raw = hmac.digest(KEY, f"{message_id}.{stamp}.".encode() + asked.body, "sha256")
        wanted = base64.b64encode(raw).decode()
        if self.fault == "compares a part of the signature" and version == "v1":
            return wanted[:16] == signature[:16]
        return version == "v1" and hmac.compare_digest(wanted, signature)


FAULTS: dict[str, set[str]] = {
    "": set(),
    "gives no challenge back": {"challenge"},
    "says nothing": {"notice", "duplicate", "replayed", "reordered", "rotation", "unknown-field"},
    "refuses a duplicate": {"duplicate"},
    "answers a duplicate otherwise": {"duplicate", "replayed"},
    "insists on order": {"reordered"},
    "takes the latest to come": {"replayed", "reordered"},
    "reads the id from the body": {"tampered-id"},
    "takes the old": {"stale"},
    "takes the future": {"future"},
    "does not insist on a signature": {"unsigned"},
    "compares a part of the signature": {"tampered-signature"},
    "verifies nothing": {
        "tampered-body",
        "tampered-id",
        "tampered-timestamp",
        "tampered-signature",
        "foreign-key",
    },
    "looks at the first signature": {"rotation"},
    "falls over": {
        "stale",
        "future",
        "tampered-body",
        "tampered-id",
        "tampered-timestamp",
        "tampered-signature",
        "unsigned",
        "foreign-key",
    },
    "knows its fields only": {"unknown-field"},
    "knows notices only": {"ping"},
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault or "no fault")
async def test_each_fault_is_found_by_its_case_and_by_no_other(fault: str) -> None:
    async with serving(Receiver(fault).answer) as (url, asked):
        results = await _results(url)
    assert _failed(results) == FAULTS[fault], results
    if fault == "gives no challenge back":
        assert len(asked) == len(results) == 1
    else:
        assert [one.case for one in results] == ["challenge", *CASES]


def test_every_case_finds_a_fault_that_a_receiver_can_have() -> None:
    assert set().union(*FAULTS.values()) == {"challenge", *CASES}


async def test_the_partner_of_the_demo_passes(partner: ThirdParty) -> None:
    assert _failed(await _results(f"{partner.url}/webhook")) == set()


@pytest.mark.parametrize("keys", [{"NOTICE_PUBLIC_KEY": Signer(SEED).public_key}, {"NOTICE_SECRET": SECRET}])
async def test_the_printed_receiver_passes_with_either_key(keys: dict[str, str]) -> None:
    async with _example(keys) as url:
        assert _failed(await _results(url)) == set()


async def test_a_receiver_that_is_not_there_fails_at_the_challenge() -> None:
    async with serving(lambda _: (200, None)) as (url, _):
        pass
    (only,) = await _results(url)
    assert only.reason == "no answer (ClientConnectorError)"


async def test_the_command_tells_each_case_and_exits_3_when_one_failed(dongui: Dongui, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    async with serving(Receiver("takes the old").answer) as (url, _):
        done = await dongui("conformance", url, "--secret-file", str(secret), "--format", "json", profile="dev")
        told = json.loads(done.stdout)
        assert done.exit_code == 3
        assert [case for case in told["cases"] if not case["ok"]] == [
            {"case": "stale", "ok": False, "reason": "answered 200: it was taken; a 4xx is right"}
        ]
        text = await dongui("conformance", url, "--secret-file", str(secret), profile="dev")
        assert text.exit_code == 3
        assert "FAIL" in text.stdout
        assert "1 of 16 cases failed: stale" in text.stderr
        unknown = await dongui("conformance", url, profile="dev")
        inside = await dongui("conformance", url, "--secret-file", str(secret))
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "--secret-file" in unknown.stderr
    assert (inside.exit_code, inside.stdout) == (2, "")
    assert "https is required" in inside.stderr
    assert not any(SECRET in one.output for one in (done, text, unknown, inside))


async def test_a_registered_receiver_is_tried_with_its_own_secret(
    dongui: Dongui,
) -> None:
    receiver = Receiver("verifies nothing")
    async with serving(receiver.answer) as (url, asked):
        await dongui("add", "their-id", "--url", url, profile="dev")
        assert (await dongui("conformance", url, profile="dev")).exit_code == 3
    assert {one.message["data"]["recipient"] for one in asked if one.message["type"] != NOTICE} == {"their-id"}
