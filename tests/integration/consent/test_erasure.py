"""Clause 7 on real rows, keys and topics: selected at the withdrawal, erased in order, never back again."""

import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from schemas.events import Stop
from schemas.receipts import Receipt
from schemas.topics import FACTS, RECEIPTS, SUPPRESSIONS
from services import cli
from services.consent import api
from services.consent import app as composition
from services.consent.dormancy.scan import scan
from services.consent.erasure import saga
from services.consent.erasure.certificate import Signer
from services.consent.erasure.issue import Issuer
from services.consent.handlers import Consent
from services.keyring import derive
from services.keyring.keyring import KeyDestroyedError, Keyring
from services.policy.contacts import subjects
from services.runtime.auth import Authenticator
from services.runtime.clock import KST
from services.runtime.rates import Rates
from tests.integration.consent.harness import Service, a_sign_up, a_token, bearer
from tests.integration.consent.pinned import Pinned, as_of, emptied, outbox
from tests.integration.consent.test_dormancy import DAY_AFTER, NOTICE_DAY, ON, joined
from tests.integration.consent.test_progress import send

LEFT = datetime(2026, 11, 23, 10, tzinfo=KST)
DUE = date(2026, 11, 30)
LAST_EVENING = datetime(2026, 11, 30, 18, tzinfo=KST)
AFFILIATES = ("tmax-cloud", "tmax-os", "tmax-anc")
OFFICER = bearer(a_token("officer-b", "cpo"))
COMPLIANCE = bearer(a_token("officer-c", "compliance"))
MEDIA = "message, message_attempt, message_reconfirmation"


@pytest_asyncio.fixture
async def clean(service: Service) -> Service:
    await emptied(service, "duty", "suppressed", MEDIA)
    return service


@pytest_asyncio.fixture
async def quiet(silent: Service) -> Service:
    await emptied(silent, "duty", "suppressed", MEDIA)
    return silent


async def withdrawn(http: Service | Pinned, **changes: Any) -> str:
    """Sign somebody up and let them leave; return the reference."""
    made = await http.sign_up(**changes)
    ref = made if isinstance(made, str) else str(made["member_ref"])
    assert (await http.post(f"/v1/members/{ref}/withdrawal")).status_code == 202
    assert (await http.post(f"/v1/members/{ref}/withdrawal/confirm")).status_code == 200
    return ref


async def left_then(service: Service, **changes: Any) -> str:
    async with as_of(service, LEFT) as then:
        return await withdrawn(then, **changes)


async def case_of(service: Service, ref: str) -> dict[str, Any]:
    answer = await service.http.get(f"/v1/erasures/{ref}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def asked(service: Service, ref: str, verb: str, body: Any = None, **kwargs: Any) -> httpx.Response:
    return await service.post(f"/v1/erasures/{ref}/{verb}", body, **kwargs)


def at(service: Service, when: datetime) -> Consent:
    return replace(service.consent, clock=lambda: when)


async def status(service: Service, ref: str) -> str:
    return str((await service.http.get(f"/v1/members/{ref}")).json()["status"])


async def duty(service: Service, kind: str, ref: str) -> list[tuple[date, str | None]]:
    rows = await service.pool.fetch(
        "SELECT due_on, outcome FROM duty WHERE kind = $1 AND member_ref = $2 ORDER BY position", kind, ref
    )
    return [(row["due_on"], row["outcome"]) for row in rows]


async def entries(service: Service, ref: str) -> list[str]:
    return [
        e["state"] for e in await outbox(service, RECEIPTS) if e.get("kind") == "erasure" and e["member_ref"] == ref
    ]


async def erased_facts(service: Service, ref: str) -> int:
    return sum(f["member_ref"] == ref and f["change"] == "erased" for f in await outbox(service, FACTS))


async def answered(service: Service, case: dict[str, Any], *recipients: str, stage: Any = "applied") -> None:
    """Let affiliates answer the erasure on the receipts topic, and wait until consent has read it."""
    seq = await service.pool.fetchval("SELECT seq FROM change WHERE change_id = $1", case["change_id"])
    made = {"change_id": case["change_id"], "member_ref": case["member_ref"], "seq": seq}
    receipts = [
        Receipt(**made, recipient=who, kind="affiliate", stage=stage, at=datetime.now(UTC)) for who in recipients
    ]
    await send(service, *receipts)
    async with asyncio.timeout(20):
        while await service.pool.fetchval(
            "SELECT count(*) FROM delivery WHERE change_id = $1 AND recipient = ANY($2::text[]) AND stage <> $3",
            case["change_id"],
            list(recipients),
            stage,
        ):
            await asyncio.sleep(0.05)


async def erased(service: Service, **changes: Any) -> str:
    """Bring one member all the way."""
    ref = await withdrawn(service, **changes)
    await asked(service, ref, "execute")
    await saga.look(service.consent)
    await answered(service, await case_of(service, ref), *AFFILIATES)
    await saga.look(service.consent)
    assert await status(service, ref) == "erased"
    return ref


async def test_a_confirmed_withdrawal_selects_its_member_with_the_laws_days(quiet: Service) -> None:
    ref = await left_then(quiet)
    found = await case_of(quiet, ref)
    assert (found["class"], found["state"], found["due_on"]) == ("withdrawal", "approved", "2026-11-30")
    assert (found["standing_version"], found["approved_by"]) == ("2021-02-22", None)
    assert datetime.fromisoformat(found["execute_from"]) == LEFT + timedelta(days=1)
    assert await duty(quiet, "destruction", ref) == [(DUE, None)]
    assert await entries(quiet, ref) == ["selected"]
    for params in ({}, {"state": "any", "order": "newest"}):
        listed = (await quiet.http.get("/v1/erasures", params=params)).json()
        assert [one["erasure_id"] for one in listed["erasures"]] == [found["erasure_id"]]


async def test_the_row_stays_without_values_until_the_wait_is_over(quiet: Service) -> None:
    ref = await left_then(quiet)
    assert await saga.look(at(quiet, LEFT + timedelta(hours=23))) == 0
    assert await status(quiet, ref) == "withdrawn"
    row = await quiet.pool.fetchrow("SELECT email, name, password_hash FROM member WHERE member_ref = $1", ref)
    assert tuple(row) == (None, None, None)
    assert await saga.look(at(quiet, LEFT + timedelta(hours=24))) == 1
    assert (await case_of(quiet, ref))["state"] == "executing"


async def test_everyone_who_held_a_row_is_told_and_the_key_waits_for_all_of_them(clean: Service) -> None:
    ref = await withdrawn(clean)
    assert (await asked(clean, ref, "execute")).status_code == 202
    assert await saga.look(clean.consent) == 1
    for affiliate in AFFILIATES:
        last = (await clean.sent_to(affiliate))[-1]
        assert isinstance(last, Stop)
        assert (last.stop, last.member_ref, last.roles) == ("erased", ref, ("processor", "recipient"))
    case = await case_of(clean, ref)
    await answered(clean, case, "tmax-cloud", "tmax-os")
    await answered(clean, case, "tmax-anc", stage="refused")
    assert await saga.look(clean.consent) == 0
    assert await status(clean, ref) == "withdrawn"
    assert isinstance(await clean.consent.keyring.data_key(ref), bytes)
    await answered(clean, case, "tmax-anc")
    assert await saga.look(clean.consent) == 1
    assert await status(clean, ref) == "erased"
    with pytest.raises(KeyDestroyedError):
        await clean.consent.keyring.data_key(ref)
    (record,) = await outbox(clean, SUPPRESSIONS)
    assert set(record) == {"member_ref", "at"}
    assert record["member_ref"] == ref
    done = await case_of(clean, ref)
    assert (done["state"], done["forced"], done["unanswered"]) == ("erased", False, [])
    assert [outcome for _, outcome in await duty(clean, "destruction", ref)] == ["destroyed"]
    assert await entries(clean, ref) == ["selected", "asked", "executing", "erased"]


async def test_the_same_email_signs_up_again_as_somebody_new(clean: Service) -> None:
    first = await withdrawn(clean, email="again@example.com")
    taken = await clean.post("/v1/members", a_sign_up(email="again@example.com"))
    assert taken.json()["code"] == "email_taken"
    await asked(clean, first, "execute")
    await saga.look(clean.consent)
    await answered(clean, await case_of(clean, first), *AFFILIATES)
    await saga.look(clean.consent)
    second = (await clean.sign_up(email="again@example.com"))["member_ref"]
    assert second != first
    rows = await clean.pool.fetch("SELECT member_ref, email_index FROM member ORDER BY email_index NULLS FIRST")
    assert [(row["member_ref"], row["email_index"] is None) for row in rows] == [(first, True), (second, False)]
    linked = await clean.pool.fetchval(
        "SELECT count(*) FROM outbox WHERE position(convert_to($1, 'UTF8') IN payload) > 0 AND aggregateid = $2",
        first,
        second,
    )
    assert linked == 0
    assert await status(clean, second) == "active"


async def test_what_was_sealed_about_the_person_goes_with_the_key(clean: Service) -> None:
    ref = (await clean.sign_up())["member_ref"]
    inquiry = await clean.post(
        "/v1/inquiries",
        {"member_ref": ref, "subject": min(subjects()), "channel": "web", "text": "내 정보는 어디에 있나요?"},
    )
    assert inquiry.status_code == 201, inquiry.text
    for verb in ("withdrawal", "withdrawal/confirm"):
        await clean.post(f"/v1/members/{ref}/{verb}")
    await asked(clean, ref, "execute")
    await saga.look(clean.consent)
    await answered(clean, await case_of(clean, ref), *AFFILIATES)
    await saga.look(clean.consent)
    assert await clean.pool.fetchval("SELECT question FROM inquiry WHERE member_ref = $1", ref) is None
    shown = (await clean.http.get(f"/v1/inquiries/{inquiry.json()['id']}", headers=OFFICER)).json()
    assert shown["question"] is None


async def test_an_erased_member_takes_no_command_and_no_second_erasure(clean: Service) -> None:
    ref = await erased(clean)
    seq = (await clean.http.get(f"/v1/members/{ref}")).json()["seq"]
    refused = await clean.patch(ref, seq, {"name": "다시"})
    assert (refused.status_code, refused.json()["code"]) == (409, "member_withdrawn")
    assert (await asked(clean, ref, "execute")).json()["state"] == "erased"
    assert await saga.look(clean.consent) == 0
    assert await erased_facts(clean, ref) == 1


async def test_at_the_limit_the_key_goes_anyway_and_the_silent_store_is_chased(clean: Service) -> None:
    ref = await left_then(clean)
    await saga.look(at(clean, LEFT + timedelta(days=1)))
    case = await case_of(clean, ref)
    await answered(clean, case, "tmax-cloud", "tmax-anc")
    assert await saga.look(at(clean, LAST_EVENING - timedelta(seconds=1))) == 0
    assert await saga.look(at(clean, LAST_EVENING)) == 1
    with pytest.raises(KeyDestroyedError):
        await clean.consent.keyring.data_key(ref)
    done = await case_of(clean, ref)
    assert (done["state"], done["forced"], done["unanswered"]) == ("erased", True, ["tmax-os"])
    assert await duty(clean, "destruction", ref) == [(DUE, "forced")]
    assert await duty(clean, "destruction_answer", ref) == [(date(2026, 12, 7), None)]
    await answered(clean, case, "tmax-os", stage="skipped_destroyed")
    await saga.look(clean.consent)
    assert await duty(clean, "destruction_answer", ref) == [(date(2026, 12, 7), "answered")]
    assert (await case_of(clean, ref))["unanswered"] == []


async def test_a_standing_approval_is_confirmed_afterwards_by_a_privacy_officer(clean: Service) -> None:
    ref = await erased(clean)
    assert [outcome for _, outcome in await duty(clean, "destruction_confirm", ref)] == [None]
    sre = bearer(a_token("operator", "sre"))
    assert (await asked(clean, ref, "approve", {"reason": "확인"}, headers=sre)).status_code == 403
    confirmed = await asked(clean, ref, "approve", {"reason": "결과 확인"}, headers=OFFICER)
    assert (confirmed.status_code, confirmed.json()["confirmed"]) == (200, True)
    assert [outcome for _, outcome in await duty(clean, "destruction_confirm", ref)] == ["confirmed"]
    assert (await entries(clean, ref))[-1] == "confirmed"
    left = (await clean.http.get("/v1/erasures?state=unconfirmed")).json()["erasures"]
    assert ref not in [one["member_ref"] for one in left]


async def deletion_verified(service: Service, officer: dict[str, str]) -> tuple[str, str]:
    """Let an officer take in a request to delete everything; return its path and its member."""
    ref = str((await service.sign_up())["member_ref"])
    body = {"member_ref": ref, "type": "deletion", "channel": "web", "received_at": datetime.now(UTC).isoformat()}
    made = await service.post("/v1/rights-requests", body)
    assert made.status_code == 201, made.text
    path = f"/v1/rights-requests/{made.json()['id']}"
    method = {"method": "id_card", "verified_by": "officer-b"}
    verified = await service.post(f"{path}/verify", method, headers=officer)
    assert verified.status_code == 200, verified.text
    return path, ref


async def deletion_granted(service: Service, officer: dict[str, str]) -> str:
    """Let an officer grant a request to delete everything."""
    path, ref = await deletion_verified(service, officer)
    decided = await service.post(f"{path}/decide", {"outcome": "granted"}, headers=officer)
    assert decided.status_code == 200, decided.text
    return ref


async def test_a_deletion_request_waits_for_a_second_person_and_never_for_its_selector(clean: Service) -> None:
    ref = await deletion_granted(clean, OFFICER)
    case = await case_of(clean, ref)
    assert (case["class"], case["state"], case["standing_version"]) == ("deletion_request", "selected", None)
    assert (await asked(clean, ref, "execute")).json()["code"] == "approval_required"
    same = await asked(clean, ref, "approve", {"reason": "승인"}, headers=OFFICER)
    assert (same.status_code, same.json()["code"]) == (403, "selector_cannot_approve")
    other = bearer(a_token("officer-d", "cpo"))
    approved = await asked(clean, ref, "approve", {"reason": "승인"}, headers=other)
    assert (approved.status_code, approved.json()["state"]) == (200, "approved")
    assert (await asked(clean, ref, "execute")).status_code == 202
    assert await saga.look(clean.consent) == 1
    assert (await case_of(clean, ref))["state"] == "executing"


async def test_an_account_that_only_its_maker_answers_for_neither_selects_nor_approves(clean: Service) -> None:
    alone = bearer(a_token("officer-e", "cpo", unconfirmed=True))
    ref = await deletion_granted(clean, OFFICER)
    refused = await asked(clean, ref, "approve", {"reason": "승인"}, headers=alone)
    assert (refused.status_code, refused.json()["code"]) == (403, "account_unconfirmed")
    assert (await case_of(clean, ref))["state"] == "selected"
    path, _ = await deletion_verified(clean, alone)
    refused = await clean.post(f"{path}/decide", {"outcome": "granted"}, headers=alone)
    assert (refused.status_code, refused.json()["code"]) == (403, "account_unconfirmed")
    assert (await clean.http.get(path)).json()["state"] == "verified"
    assert (await clean.post(f"{path}/withdraw", headers=alone)).status_code == 200, "that destroys nothing"
    other = bearer(a_token("officer-d", "cpo"))
    approved = await asked(clean, ref, "approve", {"reason": "승인"}, headers=other)
    assert (approved.status_code, approved.json()["state"]) == (200, "approved")


async def test_an_account_that_only_its_maker_answers_for_plans_and_approves_no_replay(clean: Service) -> None:
    plan = {"replay_id": str(uuid.uuid4()), "sha256": "ab" * 32, "reason": "drill", "summary": {}}
    approval, path = {"sha256": plan["sha256"]}, f"/v1/replays/{plan['replay_id']}/approve"
    alone, planner, other = (
        bearer(a_token(sub, "sre", unconfirmed=mark))
        for sub, mark in (("ops-2", True), ("ops-1", None), ("ops-3", None))
    )
    refused = await clean.http.post("/v1/replays", json=plan, headers=alone)
    assert (refused.status_code, refused.json()["code"]) == (403, "account_unconfirmed")
    assert (await clean.http.post("/v1/replays", json=plan, headers=planner)).status_code == 201
    refused = await clean.http.post(path, json=approval, headers=alone)
    assert (refused.status_code, refused.json()["code"]) == (403, "account_unconfirmed")
    assert (await clean.http.post(path, json=approval, headers=other)).json()["state"] == "approved"


async def test_without_any_approval_the_law_starts_it_on_the_last_day(clean: Service) -> None:
    ref = await deletion_granted(clean, OFFICER)
    due_on = date.fromisoformat((await case_of(clean, ref))["due_on"])
    last_day = datetime(due_on.year, due_on.month, due_on.day, tzinfo=KST)
    assert await saga.look(at(clean, last_day - timedelta(seconds=1))) == 0
    assert await saga.look(at(clean, last_day)) == 1
    case = await case_of(clean, ref)
    assert (case["state"], case["forced"]) == ("executing", True)


async def test_a_legal_hold_stops_even_the_limit_and_its_end_runs_the_destruction_again(clean: Service) -> None:
    ref = await left_then(clean)
    unknown = await asked(clean, ref, "hold", {"reason": "because"}, headers=COMPLIANCE)
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_reason")
    held = await asked(clean, ref, "hold", {"reason": "litigation"}, headers=COMPLIANCE)
    assert (held.status_code, held.json()["held"]) == (200, True)
    assert await saga.look(at(clean, LAST_EVENING + timedelta(days=30))) == 0
    assert await status(clean, ref) == "withdrawn"
    assert (await case_of(clean, ref))["hold_reason"] == "litigation"
    assert await duty(clean, "destruction", ref) == [(DUE, "held")]
    assert (await asked(clean, ref, "execute")).json()["code"] == "erasure_held"
    lifted_at = datetime(2026, 12, 10, 10, tzinfo=KST)
    async with as_of(clean, lifted_at, "compliance", sub="officer-c") as then:
        assert (await then.post(f"/v1/erasures/{ref}/lift")).json()["due_on"] == "2026-12-15"
    assert await duty(clean, "destruction", ref) == [(DUE, "held"), (date(2026, 12, 15), None)]
    assert await saga.look(at(clean, lifted_at + timedelta(days=1))) == 1
    assert await entries(clean, ref) == ["selected", "held", "lifted", "executing"]


async def test_a_case_that_nobody_could_move_in_time_is_escalated_once(clean: Service) -> None:
    ref = await left_then(clean)
    late = at(clean, LAST_EVENING + timedelta(days=1))
    alive = clean.consent.keyring
    away = replace(late, keyring=AwayKeyring(alive._pool, alive._kek))
    await saga.look(late)
    await answered(clean, await case_of(clean, ref), *AFFILIATES)
    for _ in range(2):
        await saga.look(away)
    assert (await entries(clean, ref)).count("overdue") == 1
    async with as_of(clean, LAST_EVENING + timedelta(days=1), "compliance") as then:
        listed = (await then.http.get("/v1/erasures", params={"state": "late"})).json()["erasures"]
    assert [case["member_ref"] for case in listed] == [ref]
    await saga.look(late)
    assert (await case_of(clean, ref))["state"] == "erased"


class AwayKeyring(Keyring):
    """The keyring of a process whose key database is away."""

    async def shred(self, *member_refs: str) -> None:
        raise OSError(f"away: {len(member_refs)}")


class DyingKeyring(Keyring):
    """The real keyring of a process that is killed right after it: before a move is committed."""

    async def shred(self, *member_refs: str) -> None:
        await super().shred(*member_refs)
        raise OSError("killed")

    async def data_key(self, member_ref: str) -> bytes:
        await super().data_key(member_ref)
        raise OSError("killed")


async def test_killed_between_two_databases_it_goes_on_where_it_was(clean: Service) -> None:
    ref = await withdrawn(clean)
    await asked(clean, ref, "execute")
    alive = clean.consent
    dying = replace(alive, keyring=DyingKeyring(alive.keyring._pool, alive.keyring._kek))
    assert await saga.look(dying) == 0
    assert (await case_of(clean, ref))["state"] == "approved"
    assert await erased_facts(clean, ref) == 0
    assert await saga.look(alive) == 1
    await answered(clean, await case_of(clean, ref), *AFFILIATES)
    assert await saga.look(dying) == 0
    assert (await case_of(clean, ref))["state"] == "executing"
    assert await outbox(clean, SUPPRESSIONS) == []
    assert await saga.look(alive) == 1
    assert await status(clean, ref) == "erased"
    assert len(await outbox(clean, SUPPRESSIONS)) == 1
    assert await erased_facts(clean, ref) == 1


class BlindKeyring(Keyring):
    """A keyring that can never shred one member's key."""

    blind: str = ""

    async def shred(self, *member_refs: str) -> None:
        if self.blind in member_refs:
            raise OSError("cannot")
        await super().shred(*member_refs)


async def test_cases_move_together_and_what_is_wrong_with_one_stops_no_other(clean: Service) -> None:
    refs = [await withdrawn(clean) for _ in range(5)]
    for ref in refs:
        await asked(clean, ref, "execute")
    await clean.pool.execute("UPDATE member SET status = 'active' WHERE member_ref = $1", refs[2])
    assert await saga.look(clean.consent) == 4
    cases = [await case_of(clean, ref) for ref in refs]
    assert [case["state"] for case in cases] == ["executing", "executing", "approved", "executing", "executing"]
    assert [await erased_facts(clean, ref) for ref in refs] == [1, 1, 0, 1, 1]
    started = [case for case in cases if case["state"] == "executing"]
    assert len({case["change_id"] for case in started}) == 4
    for case in started:
        await answered(clean, case, *AFFILIATES)
    blind = BlindKeyring(clean.consent.keyring._pool, clean.consent.keyring._kek)
    blind.blind = refs[3]
    assert await saga.look(replace(clean.consent, keyring=blind)) == 3
    assert [await status(clean, ref) for ref in refs] == ["erased", "erased", "active", "withdrawn", "erased"]
    assert sorted(r["member_ref"] for r in await outbox(clean, SUPPRESSIONS)) == sorted([*refs[:2], refs[4]])
    assert await saga.look(clean.consent) == 1
    assert await status(clean, refs[3]) == "erased"
    assert [await entries(clean, ref) for ref in refs[:2]] == [["selected", "asked", "executing", "erased"]] * 2


async def test_two_processes_at_once_erase_once(clean: Service) -> None:
    refs = [await withdrawn(clean) for _ in range(4)]
    for ref in refs:
        await asked(clean, ref, "execute")
    await asyncio.gather(saga.look(clean.consent), saga.look(clean.consent))
    for ref in refs:
        assert await erased_facts(clean, ref) == 1
        await answered(clean, await case_of(clean, ref), *AFFILIATES)
    await asyncio.gather(saga.look(clean.consent), saga.look(clean.consent))
    assert sorted(r["member_ref"] for r in await outbox(clean, SUPPRESSIONS)) == sorted(refs)


async def test_messages_hold_the_key_unless_somebody_asks_for_the_execution_by_name(quiet: Service) -> None:
    marketing = {"collection": True, "sharing": False, "marketing": {"use": True, "email": True}}
    ref = await left_then(quiet, consents=marketing)
    made = await quiet.post("/v1/rights-requests", {"member_ref": ref, "type": "access", "channel": "fax"})
    refused = {"outcome": "refused", "ground": "not_verified"}
    assert (await quiet.post(f"/v1/rights-requests/{made.json()['id']}/decide", refused)).status_code == 200
    assert [outcome for _, outcome in await duty(quiet, "access_answer", ref)] == [None]
    assert await quiet.pool.fetchval("SELECT count(*) FROM message WHERE member_ref = $1 AND state = 'queued'", ref)
    day = LEFT + timedelta(days=1)
    await saga.look(at(quiet, day))
    await quiet.pool.execute(
        "UPDATE delivery SET stage = 'applied' WHERE change_id = $1", (await case_of(quiet, ref))["change_id"]
    )
    assert await saga.look(at(quiet, day)) == 0
    await asked(quiet, ref, "execute")
    assert await saga.look(at(quiet, day)) == 1
    assert await status(quiet, ref) == "erased"
    ended = await quiet.pool.fetch("SELECT DISTINCT state, reason FROM message WHERE member_ref = $1", ref)
    assert [tuple(row) for row in ended] == [("dropped", "member_erased")]
    assert {outcome for _, outcome in await duty(quiet, "marketing_result", ref)} == {"member_erased"}
    assert [outcome for _, outcome in await duty(quiet, "access_answer", ref)] == ["member_erased"]


async def test_the_key_waits_for_the_statutory_records_to_be_kept_elsewhere(clean: Service) -> None:
    ref = (await clean.sign_up())["member_ref"]
    body = {"class": "contract", "occurred_at": "2026-11-01T00:00:00+09:00", "fields": {}}
    record = await clean.post(f"/v1/members/{ref}/records", body)
    assert record.status_code == 201, record.text
    for verb in ("withdrawal", "withdrawal/confirm"):
        await clean.post(f"/v1/members/{ref}/{verb}")
    await asked(clean, ref, "execute")
    await saga.look(clean.consent)
    case = await case_of(clean, ref)
    assert case["records"] == 1
    await answered(clean, case, *AFFILIATES)
    assert await saga.look(clean.consent) == 0
    assert await status(clean, ref) == "withdrawn"
    await retained_receipt(clean, case, record.json()["record_id"])
    async with asyncio.timeout(20):
        while await status(clean, ref) != "erased":
            await saga.look(clean.consent)
            await asyncio.sleep(0.05)
    assert (await case_of(clean, ref))["forced"] is False


async def test_at_the_limit_all_goes_but_the_record_another_law_keeps_which_is_chased(clean: Service) -> None:
    """PIPA 21(1): its proviso takes the record out of the duty to destroy, and nothing else."""
    async with as_of(clean, LEFT) as then:
        ref = await then.sign_up()
        body = {"class": "contract", "occurred_at": "2026-11-01T00:00:00+09:00", "fields": {"order_no": "A-7"}}
        record = (await then.post(f"/v1/members/{ref}/records", body)).json()["record_id"]
        for verb in ("withdrawal", "withdrawal/confirm"):
            await then.post(f"/v1/members/{ref}/{verb}")
    await saga.look(at(clean, LEFT + timedelta(days=1)))
    case = await case_of(clean, ref)
    owed = await duty(clean, "records_retained", ref)
    assert [(day - (LEFT + timedelta(days=1)).date(), outcome) for day, outcome in owed] == [(timedelta(1), None)]
    await answered(clean, case, *AFFILIATES)
    await saga.look(at(clean, LAST_EVENING))
    done = await case_of(clean, ref)
    assert (done["state"], done["forced"], done["unanswered"]) == ("erased", True, [])
    with pytest.raises(KeyDestroyedError):
        await clean.consent.keyring.data_key(ref)
    waiting = (await clean.http.get(f"/v1/members/{ref}/records")).json()["records"]
    assert [(r["record_id"], r["kept_in"], r["fields"]) for r in waiting] == [(record, "consent", {"order_no": "A-7"})]
    assert [outcome for _, outcome in await duty(clean, "records_retained", ref)] == [None]
    await retained_receipt(clean, case, record)
    async with asyncio.timeout(20):
        while not [outcome for _, outcome in await duty(clean, "records_retained", ref) if outcome]:
            await saga.look(clean.consent)
            await asyncio.sleep(0.05)
    assert [outcome for _, outcome in await duty(clean, "records_retained", ref)] == ["retained"]
    with pytest.raises(KeyDestroyedError):
        await clean.consent.keyring.data_key(derive.handover_ref(ref))
    assert (await entries(clean, ref))[-2:] == ["erased", "records_retained"]


@pytest.mark.parametrize(
    ("owed", "settle", "state"),
    [("unanswered = '{tmax-os}'", saga._answered, "answered"), ("records = 1", saga._arrived, "records_retained")],
)
async def test_two_processes_at_once_settle_what_was_owed_once(
    clean: Service, owed: str, settle: Callable[[Consent, list[str]], Awaitable[int]], state: str
) -> None:
    """Found in review: the one that had waited for the other's lock did it all again, with a second register entry."""
    ref = await erased(clean)
    case_id = (await case_of(clean, ref))["erasure_id"]
    await clean.pool.execute(f"UPDATE erasure SET {owed} WHERE erasure_id = $1", case_id)
    both = await asyncio.gather(*(settle(clean.consent, [case_id]) for _ in range(2)))
    assert sorted(both) == [0, 1]
    assert (await entries(clean, ref)).count(state) == 1


async def retained_receipt(service: Service, case: dict[str, Any], record_id: str) -> None:
    """Let the retention process answer that it keeps a record."""
    told = {"change_id": case["change_id"], "member_ref": case["member_ref"], "seq": 4, "recipient": "retention"}
    made = Receipt(**told, kind="retention", stage="retained", at=datetime.now(UTC), record_id=record_id)
    await send(service, made)


async def test_an_account_that_nobody_used_is_destroyed_under_its_own_class(quiet: Service) -> None:
    ref = await joined(quiet)
    await scan(quiet.consent, NOTICE_DAY, ON)
    assert await scan(quiet.consent, DAY_AFTER, ON) == {"leave": 1}
    case = await case_of(quiet, ref)
    assert (case["class"], case["state"], case["standing_version"]) == ("dormancy", "approved", "2021-02-22")


async def test_a_database_restored_from_before_the_erasure_erases_again(clean: Service) -> None:
    ref = await erased(clean)
    await clean.relayed()
    owner = await asyncpg.connect(clean.databases.owner_dsn("consent"))
    try:
        await owner.execute(
            "UPDATE member SET status = 'active', email = 'back@example.com', name = '홍길동', email_index = $2 "
            "WHERE member_ref = $1",
            uuid.UUID(ref),
            b"x" * 32,
        )
        await owner.execute("DELETE FROM suppressed")
        await owner.execute("DELETE FROM erasure")
    finally:
        await owner.close()
    refused = await clean.http.patch(f"/v1/members/{ref}", json={"name": "다시"}, headers={"If-Match": "*"})
    assert (refused.status_code, refused.json()["code"]) == (409, "member_erased")
    stop = asyncio.Event()
    following = asyncio.create_task(composition.follow_suppressions(clean.settings, clean.consent, stop))
    try:
        async with asyncio.timeout(20):
            while await status(clean, ref) != "erased":
                await asyncio.sleep(0.05)
    finally:
        stop.set()
        await following
    row = await clean.pool.fetchrow("SELECT email, name, email_index FROM member WHERE member_ref = $1", ref)
    assert tuple(row) == (None, None, None)
    assert await clean.pool.fetchval("SELECT count(*) FROM suppressed WHERE member_ref = $1", ref) == 1


async def test_a_member_who_left_before_there_were_cases_gets_one(quiet: Service) -> None:
    ref = await left_then(quiet)
    owner = await asyncpg.connect(quiet.databases.owner_dsn("consent"))
    try:
        await owner.execute("DELETE FROM erasure")
    finally:
        await owner.close()
    await saga.look(at(quiet, LEFT + timedelta(hours=1)))
    found = await case_of(quiet, ref)
    assert (found["state"], found["due_on"], found["class"]) == ("approved", "2026-11-30", "withdrawal")


async def test_a_search_for_the_forgotten_that_fails_keeps_no_due_case_waiting(
    quiet: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in review: it read all members, ran into the time limit once there were enough, and no case moved again."""
    ref = await left_then(quiet)

    async def too_long(consent: Consent) -> None:
        raise asyncpg.QueryCanceledError("canceling statement due to statement timeout")

    monkeypatch.setattr(saga, "_select_forgotten", too_long)
    with capture_logs() as told:
        assert await saga.look(at(quiet, LEFT + timedelta(hours=24))) == 1
    assert (await case_of(quiet, ref))["state"] == "executing"
    (said,) = [entry for entry in told if entry["event"] == "erasure_not_selected"]
    assert said == {"event": "erasure_not_selected", "log_level": "warning", "error": "QueryCanceledError"}


@asynccontextmanager
async def certifying(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async def ready() -> dict[str, bool]:
        return {}

    issuer, settings = Issuer(Signer(bytes(32))), service.settings
    who, rates = Authenticator.from_settings(settings), Rates.from_settings(settings)
    app = api.create(service.consent, who, rates, ready, issuer)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://consent", headers=COMPLIANCE) as http:
        yield http


async def test_a_certificate_is_issued_once_it_is_true_and_without_a_key_never(clean: Service) -> None:
    ref = await withdrawn(clean)
    async with certifying(clean) as http:
        early = await http.get(f"/v1/erasures/{ref}/certificate")
        assert (early.status_code, early.json()["code"]) == (409, "not_erased_yet")
        await asked(clean, ref, "execute")
        await saga.look(clean.consent)
        await answered(clean, await case_of(clean, ref), *AFFILIATES)
        await saga.look(clean.consent)
        issued = (await http.get(f"/v1/erasures/{ref}/certificate")).json()
        assert issued["certificate"]["member_ref"] == ref
        assert [r["id"] for r in issued["certificate"]["recipients"]] == sorted(AFFILIATES)
        assert issued["jws"].count(".") == 2
        assert (issued["proof"], issued["entry"]) == (None, None)
        page = await http.get(f"/v1/erasures/{ref}/certificate", headers={"Accept": "text/html"})
        assert "개인정보 파기 확인서" in page.text
        assert page.headers["cache-control"] == "no-store"
        assert len((await http.get("/v1/erasures/keys")).json()["keys"]) == 1
    keyless = await clean.http.get(f"/v1/erasures/{ref}/certificate")
    assert (keyless.status_code, keyless.json()["code"]) == (503, "certificate_key_missing")


async def test_whoever_writes_into_a_case_that_it_is_over_gets_no_certificate(clean: Service) -> None:
    """Found in review: the row said `erased`, and nobody asked the keyring."""
    ref = await withdrawn(clean)
    await asked(clean, ref, "execute")
    await saga.look(clean.consent)
    assert (await case_of(clean, ref))["state"] == "executing"
    forged = "UPDATE erasure SET state = 'erased', shredded_at = now() WHERE member_ref = $1"
    await clean.pool.execute(forged, ref)
    async with certifying(clean) as http:
        answer = await http.get(f"/v1/erasures/{ref}/certificate")
    assert (answer.status_code, answer.json()["code"]) == (409, "key_not_destroyed")


async def test_a_member_and_an_affiliate_see_no_case_and_an_unknown_one_is_not_found(quiet: Service) -> None:
    ref = await left_then(quiet)
    for token in (a_token(ref, "member"), a_token("tmax-os", "affiliate")):
        assert (await quiet.http.get("/v1/erasures", headers=bearer(token))).status_code == 403
        assert (await asked(quiet, ref, "execute", headers=bearer(token))).status_code == 403
    assert (await quiet.http.get(f"/v1/erasures/{uuid.uuid4()}")).json()["code"] == "erasure_not_found"
    assert (await quiet.http.get("/v1/erasures/nonsense")).json()["code"] == "erasure_not_found"


async def dongui(*arguments: str) -> Result:
    """Run the command line in a thread: the service it asks lives in this loop."""
    runner = CliRunner()
    return await asyncio.to_thread(runner.invoke, cli.build(arguments), list(arguments))


@pytest_asyncio.fixture
async def commanded(clean: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Service]:
    """The environment of an operator, and the saga at work."""
    for name in [n for n in os.environ if n.startswith("DONGUI_")]:
        monkeypatch.delenv(name)
    told = {
        "DATA_DIR": str(tmp_path),
        "CONSENT_URL": clean.url,
        "SERVICE_TOKEN": a_token("shop", "service"),
        "STAFF_TOKENS": json.dumps({"officer-b": a_token("officer-b", "cpo")}),
    }
    for name, value in told.items():
        monkeypatch.setenv(f"DONGUI_{name}", value)
    stop = asyncio.Event()
    running = asyncio.create_task(saga.run(clean.consent, 0.05, stop))
    yield clean
    stop.set()
    await running


async def test_the_command_line_lists_executes_and_confirms(commanded: Service) -> None:
    ref = await withdrawn(commanded)
    due = json.loads((await dongui("retention", "due", "--format", "json")).stdout)
    assert [(one["member_ref"], one["state"]) for one in due] == [(ref, "approved")]
    executing = asyncio.create_task(dongui("retention", "execute", "--all", "--wait", "30", "--format", "json"))
    async with asyncio.timeout(20):
        while (case := await case_of(commanded, ref))["state"] != "executing":
            await asyncio.sleep(0.05)
    await answered(commanded, case, *AFFILIATES)
    done = await executing
    assert (done.exit_code, [one["state"] for one in json.loads(done.stdout)]) == (0, ["erased"])
    assert json.loads((await dongui("retention", "due", "--format", "json")).stdout) == []
    words = ("--as", "officer-b", "--reason", "결과 확인")
    approved = await dongui("retention", "approve", "--all", *words, "--format", "json")
    assert (approved.exit_code, [one["confirmed"] for one in json.loads(approved.stdout)]) == (0, [True])
    assert (await case_of(commanded, ref))["approved_by"] == "officer-b"


async def test_the_command_line_tells_what_is_refused_or_not_done_by_its_status(commanded: Service) -> None:
    assert (await dongui("retention", "execute")).exit_code == 2
    stranger = await dongui("retention", "approve", "--all", "--as", "nobody", "--reason", "확인")
    assert stranger.exit_code == 1
    assert "DONGUI_STAFF_TOKENS" in stranger.stderr
    ref = await withdrawn(commanded)
    unfinished = await dongui("retention", "execute", ref, "--wait", "0.2", "--format", "json")
    assert (unfinished.exit_code, json.loads(unfinished.stdout)[0]["state"]) == (4, "executing")
    unknown = await dongui("retention", "execute", str(uuid.uuid4()), "--wait", "0")
    assert (unknown.exit_code, "erasure_not_found" in unknown.stdout) == (1, True)
