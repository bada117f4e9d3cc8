"""Registers, approves, follows and cancels replays: each move is one transaction with its entry for the audit log."""

from collections.abc import Mapping
from typing import Any, Final

from schemas.receipts import CODED_VALUE
from services.consent import register
from services.consent.handlers import Consent
from services.consent.refusals import forbidden
from services.consent.replays import model
from services.consent.replays.model import Replay, ReplayRefusedError, Reported
from services.consent.store import SQL
from services.runtime.postgres import Connection
from services.runtime.problem import Problem

KIND: Final = "replay"
_REFUSALS: Final = {
    "plan_changed": (
        "계획 파일이 등록된 계획과 다릅니다. 다시 계획해 주세요.",
        "The plan is not the one registered. Plan again.",
    ),
    "replay_ended": ("이미 끝난 재처리입니다.", "This replay has ended. Plan a new one."),
    "approval_required": ("두 번째 사람의 승인이 필요합니다.", "A second person must approve the plan first."),
}


async def plan(consent: Consent, body: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Register a plan under its own id; the same plan again answers the same. 409 for another plan under that id."""
    at = consent.clock()
    async with consent.pool.acquire() as tx, tx.transaction():
        made = (body["replay_id"], body["sha256"], body["reason"], body["summary"], by, at)
        fresh = await tx.fetchrow(SQL["replay_insert"], *made)
        row = await _locked(tx, body["replay_id"])
        if fresh is not None:
            await _entry(consent, tx, row, "planned", by)
    if row["sha256"] != body["sha256"]:
        raise _refused("plan_changed")
    consent.nudge()
    return shown(row)


async def approve(consent: Consent, replay_id: str, sha256: str, by: str) -> dict[str, Any]:
    """Approve a plan. 403 for who planned it, 409 for another plan or after the end."""
    async with consent.pool.acquire() as tx, tx.transaction():
        row = await _locked(tx, replay_id)
        if _allowed(model.approve, Replay.of(row), sha256, by):
            row = await _moved(tx, "replay_approve", replay_id, by, consent.clock())
            await _entry(consent, tx, row, "approved", by)
    consent.nudge()
    return shown(row)


async def report(
    consent: Consent, replay_id: str, sha256: str, state: Reported, progress: dict[str, Any], by: str
) -> dict[str, Any]:
    """Note how far a replay is; the answer's `state` tells the executor whether to go on. 409 without an approval."""
    async with consent.pool.acquire() as tx, tx.transaction():
        row = await _locked(tx, replay_id)
        after = _allowed(model.report, Replay.of(row), sha256, state)
        changed = after != row["state"]
        row = await _moved(tx, "replay_move", replay_id, after, progress, consent.clock())
        if changed:
            await _entry(consent, tx, row, after, by)
    consent.nudge()
    return shown(row)


async def cancel(consent: Consent, replay_id: str, by: str) -> dict[str, Any]:
    """Cancel a replay: its executor stops at its next report. Again, it changes nothing; 409 when it is completed."""
    async with consent.pool.acquire() as tx, tx.transaction():
        row = await _locked(tx, replay_id)
        after = _allowed(model.cancel, Replay.of(row))
        if after != row["state"]:
            row = await _moved(tx, "replay_move", replay_id, after, row["progress"], consent.clock())
            await _entry(consent, tx, row, after, by)
    consent.nudge()
    return shown(row)


async def listed(consent: Consent) -> dict[str, Any]:
    """Return the newest 200 replays."""
    return {"replays": [shown(dict(row)) for row in await consent.pool.fetch(SQL["replay_list"])]}


async def read(consent: Consent, replay_id: str) -> dict[str, Any]:
    """Return one replay; 404 when there is none."""
    row = await consent.pool.fetchrow(SQL["replay_read"], replay_id)
    if row is None:
        raise not_found()
    return shown(dict(row))


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a replay as staff see it."""
    return {name: value for name, value in row.items() if name != "position"}


def not_found() -> Problem:
    """The answer for a replay there is not."""
    return Problem(404, "replay_not_found", "재처리를 찾을 수 없습니다.", "There is no such replay.")


async def _locked(tx: Connection, replay_id: str) -> Mapping[str, Any]:
    row = await tx.fetchrow(SQL["replay_lock"], replay_id)
    if row is None:
        raise not_found()
    return dict(row)


async def _moved(tx: Connection, name: str, *values: Any) -> Mapping[str, Any]:
    row = await tx.fetchrow(SQL[name], *values)
    assert row is not None  # it is locked
    return dict(row)


def _allowed(move: Any, *arguments: Any) -> Any:
    try:
        return move(*arguments)
    except ReplayRefusedError as error:
        raise _refused(error.code) from error


def _refused(code: str) -> Problem:
    if code == "second_person_required":
        told = forbidden()
        ko, en = "계획한 사람은 승인할 수 없습니다.", "Who planned a replay cannot approve it."
        return Problem(told.status, code, ko, en)
    return Problem(409, code, *_REFUSALS[code])


async def _entry(consent: Consent, tx: Connection, row: Mapping[str, Any], state: str, by: str) -> None:
    """An entry names the plan by its hash, and who by the subject of the token where that is a code."""
    codes = {"plan": row["sha256"]} | ({"by": by} if CODED_VALUE.fullmatch(by) else {})
    await register.append(tx, KIND, row["replay_id"], state, consent.clock(), actor="staff", codes=codes)
