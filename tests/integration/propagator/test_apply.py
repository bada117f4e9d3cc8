"""One batch against a real store: rows, receipts, dead letters, suppression; without Kafka around it."""

import asyncio
import random
import uuid
from typing import Any

import asyncpg
import pytest

from schemas import jwe
from services.keyring import derive
from services.propagator import store as stored
from services.propagator.handlers import Propagator
from services.propagator.keys import KeyServiceError
from tests.integration.propagator.harness import (
    AFFILIATE,
    AT,
    TOPIC,
    YES,
    KeyService,
    Member,
    Sent,
    Store,
    changed,
    numbered,
)


async def test_a_batch_ends_in_one_row_per_member_and_one_receipt_per_record(
    propagator: Propagator, store: Store
) -> None:
    one, other = Member(), Member()
    await propagator.apply(
        numbered([one.projection(1, processed=True, marketing=True), other.projection(1), one.projection(3)])
    )
    row = await store.member(one.ref)
    assert row is not None
    assert row | {"applied_at": None} == {
        "member_ref": one.ref,
        "seq": 3,
        "email": "m3@example.com",
        "name": "김하나",
        "password_hash": "$argon2id$x",
        "status": "active",
        "signed_up_at": AT,
        "withdrawn_at": None,
        "marketing": None,
        "suspended": None,
        "applied_at": None,
    }
    assert await store.value("SELECT count(*) FROM processed_member") == 0
    assert await store.receipts() == [(c, "applied") for c in (one.changes[0], other.changes[0], one.changes[1])]


async def test_a_suspension_in_part_hides_what_it_names_and_a_projection_brings_it_back(
    propagator: Propagator, store: Store
) -> None:
    one = Member()
    await propagator.apply(numbered([one.projection(1, processed=True, marketing=True)]))
    await propagator.apply(numbered([one.stop("suspended", 2, "recipient", "processor", suspended=("P1.5", "email"))]))
    row = await store.member(one.ref)
    assert row is not None
    shown = (row["seq"], row["status"], row["email"], row["name"], row["marketing"], row["suspended"])
    assert shown == (2, "active", None, "김하나", None, ["P1.5", "email"])
    assert await store.value("SELECT items FROM processed_member") == {}
    await propagator.apply(numbered([one.stop("withdrawal_requested", 3, "recipient", "processor")]))
    row = await store.member(one.ref)
    assert row is not None
    assert (row["status"], row["email"], row["suspended"]) == ("withdrawal_requested", None, ["P1.5", "email"])
    await propagator.apply(numbered([one.projection(4, processed=True)]))
    row = await store.member(one.ref)
    assert row is not None
    assert (row["email"], row["suspended"]) == ("m4@example.com", None)
    assert await store.value("SELECT items FROM processed_member") == {"email": "m4@example.com"}


async def test_a_withdrawal_nulls_every_value_and_a_revocation_takes_the_row(
    propagator: Propagator, store: Store
) -> None:
    gone, left = Member(), Member()
    await propagator.apply(
        numbered(
            [gone.projection(1, processed=True, marketing=True), left.projection(1, processed=True, marketing=True)]
        )
    )
    assert (await store.member(left.ref) or {})["marketing"] == YES.model_dump()
    await propagator.apply(
        numbered([gone.stop("withdrawn", 2, "processor", "recipient"), left.stop("sharing_revoked", 2, "recipient")])
    )
    row = await store.member(gone.ref)
    assert row is not None
    assert {n: v for n, v in row.items() if v is not None}.keys() == {
        "member_ref",
        "seq",
        "status",
        "withdrawn_at",
        "applied_at",
    }
    assert row["status"] == "withdrawn"
    assert await store.member(left.ref) is None
    held = {r["member_ref"]: r["items"] for r in await store.pool.fetch("SELECT * FROM processed_member")}
    assert held == {gone.ref: None, left.ref: {"email": "m1@example.com"}}


async def test_a_duplicate_writes_nothing_and_asks_for_no_key(
    propagator: Propagator, store: Store, keys: KeyService
) -> None:
    member = Member()
    batch = numbered([member.projection(1), member.stop("suspended", 2, "recipient")])
    await propagator.apply(batch)
    before = await store.pool.fetch(
        "SELECT member.xmin AS m, w.xmin AS w, * FROM member, watermark w WHERE w.member_ref = member.member_ref"
    )
    keys.asked.clear()
    keys.status = 503
    await propagator.apply(batch)
    after = await store.pool.fetch(
        "SELECT member.xmin AS m, w.xmin AS w, * FROM member, watermark w WHERE w.member_ref = member.member_ref"
    )
    assert after == before
    assert keys.asked == []
    assert len(await store.receipts()) == 2


async def test_a_gap_is_noted_at_once_and_closed_by_the_late_record(propagator: Propagator, store: Store) -> None:
    member = Member()
    first, late, last = member.projection(1), member.projection(2), member.projection(5)
    await propagator.apply(numbered([first, last]))
    assert await store.gaps() == [(1, 2)]
    assert (await store.member(member.ref) or {})["seq"] == 5
    await propagator.apply([late.consumed(7)])
    assert await store.gaps() == []
    assert (await store.member(member.ref) or {})["email"] == "m5@example.com"
    assert [stage for _, stage in await store.receipts()] == ["applied", "applied", "superseded"]


async def test_an_erasure_takes_both_rows_and_nothing_brings_them_back(propagator: Propagator, store: Store) -> None:
    member = Member()
    first = member.projection(1, processed=True)
    await propagator.apply(numbered([first, member.stop("erased", 2, "processor", "recipient"), member.projection(3)]))
    assert await store.member(member.ref) is None
    assert await store.value("SELECT count(*) FROM processed_member") == 0
    assert await store.value("SELECT member_ref FROM suppressed") == member.ref
    assert [stage for _, stage in await store.receipts()] == ["applied", "applied", "skipped_destroyed"]


async def test_a_suppression_takes_the_rows_of_a_restored_store(propagator: Propagator, store: Store) -> None:
    member, other = Member(), Member()
    await propagator.apply(numbered([member.projection(1, processed=True), other.projection(1)]))
    async with propagator.pool.acquire() as tx, tx.transaction():
        await stored.suppress(tx, {member.ref: AT})
    assert await store.member(member.ref) is None
    assert await store.value("SELECT count(*) FROM processed_member") == 0
    assert await store.member(other.ref) is not None
    await propagator.apply([member.projection(2).consumed(9)])
    assert await store.member(member.ref) is None
    assert (await store.receipts())[-1] == (member.changes[-1], "skipped_destroyed")


async def test_a_destroyed_key_is_a_skip_and_not_a_fault(
    propagator: Propagator, store: Store, keys: KeyService
) -> None:
    member = Member()
    keys.destroyed.add(member.ref)
    await propagator.apply(numbered([member.projection(1)]))
    assert await store.receipts() == [(member.changes[0], "skipped_destroyed")]
    assert await store.value("SELECT seq FROM watermark WHERE member_ref = $1", member.ref) == 1
    assert await store.letters() == []


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_a_key_service_in_trouble_is_tried_again_and_a_stop_needs_none(
    propagator: Propagator, store: Store, keys: KeyService, status: int
) -> None:
    member, stopped = Member(), Member()
    keys.status = status
    with pytest.raises(KeyServiceError):
        await propagator.apply(numbered([member.projection(1)]))
    await propagator.apply(numbered([stopped.stop("withdrawn", 1, "recipient")]))
    assert (await store.member(stopped.ref) or {})["status"] == "withdrawn"
    keys.status = 200
    await propagator.apply(numbered([member.projection(1, prev=0)]))
    assert await store.member(member.ref) is not None


def _poison(member: Member) -> dict[str, Sent]:
    """Every way of being wrong for ever, by the code it must be refused with."""
    stop, projection = member.stop("suspended", 1, "recipient", prev=0), member.projection(1, prev=0)
    other = derive.format_kid("tmax-anc", member.ref, 1)
    return {
        "bad_json": changed(stop, value=b"{"),
        "unknown_field": changed(stop, value=b'{"email":"a@b.kr",' + (stop.value or b"")[1:]),
        "unknown_type": changed(stop, headers={"ce_type": "kr.dongui.member.moved.v1"}),
        "unknown_schema": changed(stop, headers={"ce_dataschema": "urn:dongui:stop:v2"}),
        "null_value": changed(stop, value=None),
        "bad_jwe": changed(projection, value=b"a.b.c"),
        "wrong_key": changed(projection, value=(projection.value or b"")[:-3] + b"AAA"),
        "bad_headers": Sent(None, stop.value, [("ce_id", b"\xff\xfe"), ("note", b"kept")]),
        "header_mismatch": changed(stop, headers={"ce_sequence": "2"}),
        "too_large": changed(stop, value=b"x" * (1024 * 1024 + 1)),
        "key_of_another": changed(projection, value=_resealed(projection, other)),
    }


def _resealed(sent: Sent, kid: str) -> bytes:
    header = jwe.parse(sent.value or b"").header
    return jwe.encrypt(jwe.ProtectedHeader(kid, header.topic, header.member, header.seq), b"{}", bytes(32))


CODES = sorted(_poison(Member()))


@pytest.mark.parametrize("code", CODES)
async def test_poison_is_dead_lettered_with_its_code_and_its_neighbours_are_applied(
    propagator: Propagator, store: Store, code: str
) -> None:
    bad, good = Member(), Member()
    poison = _poison(bad)[code]
    expected = "header_mismatch" if code == "key_of_another" else code
    batch = numbered([good.projection(1), poison, good.projection(2)])
    await propagator.apply(batch)
    await propagator.apply(batch)
    assert (await store.member(good.ref) or {})["seq"] == 2
    assert await store.value("SELECT count(*) FROM watermark WHERE member_ref = $1", bad.ref) == 0
    (letter,) = await store.letters()
    assert letter["headers"]["dongui-error"] == expected
    assert letter["headers"]["dongui-origin"] == f"{TOPIC}/0/1"
    assert letter["aggregateid"] == (bad.ref if poison.key else f"{TOPIC}/0")
    kept = poison.value if poison.value and len(poison.value) < 900_000 else b""
    assert letter["payload"] == kept
    refusals = [stage for _, stage in await store.receipts() if stage == "refused"]
    assert refusals == ([] if code == "bad_headers" else ["refused"])


async def test_a_key_that_was_never_made_is_refused_and_a_later_good_copy_applies(
    propagator: Propagator, store: Store, keys: KeyService
) -> None:
    member = Member()
    keys.unknown.add(member.ref)
    sent = member.projection(1)
    await propagator.apply(numbered([sent]))
    assert [stage for _, stage in await store.receipts()] == ["refused"]
    assert (await store.letters())[0]["headers"]["dongui-error"] == "key_unknown"
    keys.unknown.clear()
    await propagator.apply([sent.consumed(44)])
    assert await store.member(member.ref) is not None
    assert [stage for _, stage in await store.receipts()] == ["refused", "applied"]


async def test_a_letter_keeps_what_can_be_kept_of_headers_that_are_no_text(
    propagator: Propagator, store: Store
) -> None:
    odd = Sent(b"\xff", b"value", [("binary", b"\xff"), ("nul", b"a\x00b"), ("ce_type", b"what")])
    await propagator.apply(numbered([odd]))
    (letter,) = await store.letters()
    assert set(letter["headers"]) == {"ce_type", "dongui-error", "dongui-origin"}
    assert letter["aggregateid"] == f"{TOPIC}/0"


@pytest.mark.f(1)
async def test_an_error_at_the_end_of_a_batch_leaves_nothing_of_it(propagator: Propagator, store: Store) -> None:
    """Receipts go in last; without them no row may be there."""
    await store.pool.execute("ALTER TABLE outbox ADD CONSTRAINT nothing CHECK (false) NOT VALID")
    member = Member()
    with pytest.raises(asyncpg.CheckViolationError):
        await propagator.apply(numbered([member.projection(1)]))
    assert await store.member(member.ref) is None
    assert await store.value("SELECT count(*) FROM watermark") == 0


@pytest.mark.f(26)
async def test_a_store_role_may_not_rewrite_what_it_said(propagator: Propagator) -> None:
    for statement in (
        "DELETE FROM suppressed",
        "DELETE FROM outbox",
        "UPDATE outbox SET payload = ''",
        "DELETE FROM watermark",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await propagator.pool.execute(statement)


@pytest.mark.f(8)
async def test_an_old_owner_that_finishes_late_overwrites_nothing(propagator: Propagator, store: Store) -> None:
    """After a rebalance the former owner of a partition may still be at work on records the new one has passed."""
    members = [Member() for _ in range(20)]
    old = numbered([m.projection(1, processed=True) for m in members])
    new = numbered([m.projection(2) for m in members])
    await asyncio.gather(propagator.apply(new), propagator.apply(old), propagator.apply(new + old))
    rows = await store.pool.fetch("SELECT seq, email FROM member")
    assert [tuple(r) for r in rows] == [(2, "m2@example.com")] * 20
    assert await store.gaps() == []
    assert await store.value("SELECT count(*) FROM processed_member") == 0
    assert len(await store.receipts()) == 40


def _story(rng: random.Random) -> list[Sent]:
    """Some members' records as consent sends them, with holes in the numbers."""
    sent = []
    for _ in range(4):
        member, seq = Member(str(uuid.UUID(int=rng.getrandbits(128)))), 0
        for _ in range(rng.randint(1, 6)):
            seq += rng.randint(1, 2)
            kind = rng.choice(
                ["projection", "projection", "sharing_revoked", "marketing_revoked", "withdrawn", "suspended", "erased"]
            )
            if kind == "projection":
                sent.append(member.projection(seq, processed=rng.random() < 0.5, marketing=rng.random() < 0.5))
            else:
                sent.append(member.stop(kind, seq, *rng.choice([("recipient",), ("processor", "recipient")])))
    return sent


@pytest.fixture
async def emptied(store: Store) -> Any:
    async def empty() -> None:
        await store.pool.execute("TRUNCATE member, processed_member, watermark, gap, suppressed, outbox")

    return empty


async def test_any_order_and_any_cut_into_batches_ends_in_the_same_store(
    propagator: Propagator, store: Store, emptied: Any
) -> None:
    for seed in range(12):
        rng = random.Random(seed)
        sent = _story(rng)
        received = [s for s in sent if rng.random() < 0.8] or sent[:1]
        snapshots = []
        for _ in range(3):
            await emptied()
            order = rng.sample(received, len(received)) + rng.choices(received, k=3)
            size = rng.randint(1, len(order))
            for start in range(0, len(order), size):
                await propagator.apply(numbered(order[start : start + size]))
            snapshots.append(await store.snapshot())
            before = len(await store.receipts())
            await propagator.apply(numbered(sorted(order, key=lambda _: rng.random())))
            assert await store.snapshot() == snapshots[-1]
            assert len(await store.receipts()) == before == len(received)
        assert snapshots[0] == snapshots[1] == snapshots[2], seed
        assert snapshots[0]["watermark"], AFFILIATE
