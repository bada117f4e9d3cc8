"""What the peers are given to read and what is told of them."""

from datetime import UTC, datetime

import orjson
import pytest

from benchmarks import debezium, peer, peers
from benchmarks.apply import Made
from schemas.base import Marketing
from schemas.events import MemberPart, Projection

REF = "00000000-0000-0000-0000-000000000001"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MEMBER = MemberPart(email="a@example.kr", name="하늘", password_hash="$argon2id$x", status="active", signed_up_at=AT)
SHAPE = Projection(
    change_id=REF, member_ref=REF, seq=2, prev=1, at=AT, member=MEMBER,
    marketing=Marketing(use=True, email=False, sms=False, night=False), processed=None, suspended=(),
)  # fmt: skip


def test_a_peer_reads_one_flat_object_with_the_columns_of_its_table() -> None:
    row = orjson.loads(peer.flat(Made(b"", b"", [], SHAPE)))
    assert orjson.loads(row.pop("marketing"))["use"] is True
    assert row == {
        "member_ref": REF,
        "seq": 2,
        "email": "a@example.kr",
        "name": "하늘",
        "password_hash": "$argon2id$x",
        "status": "active",
        "signed_up_at": "2026-01-02T03:04:05Z",
    }


def test_debezium_is_told_of_every_field_there_is() -> None:
    told = {field["field"] for field in debezium.SCHEMA["fields"]}
    assert told == set(orjson.loads(peer.flat(Made(b"", b"", [], SHAPE))))


def test_the_list_of_jars_has_what_runs_and_no_driver_of_another_database() -> None:
    names = set(orjson.loads(debezium.LOCK.read_bytes()))
    assert f"debezium-connector-jdbc-{debezium.VERSION}.jar" in names
    drivers = [wanted.partition(":")[2] for wanted in debezium.WITHOUT if "hibernate" not in wanted]
    assert not [name for name in names if name.startswith(tuple(drivers))]


async def test_an_unknown_peer_is_refused_before_anything_starts() -> None:
    with pytest.raises(ValueError, match="--peer must be one of all, quix, debezium"):
        await peers.measure(10, 10, "flink", 1)


def test_the_table_says_who_was_left_out_and_what_a_peer_does_not_do() -> None:
    series = {"median": 100.0, "min": 90.0, "max": 110.0, "spread": 0.2}
    side = {"per_s": series, "cpu_us_per_event": series}
    told = peers.table(
        {
            "workload": {"changes": 10}, "runs": 5, "cores": 2, "load_average": [1.0, 2.0], "lacks": ["no receipts"],
            "peers": {"quix": "Quix"}, "missing": {"debezium": "no network"}, "ours": side, "quix": side,
            "ratio": {"quix": series | {"median": 0.5}},
        }
    )  # fmt: skip
    assert "LEFT OUT, debezium: no network" in told
    assert "what a peer does not do: no receipts" in told
    (line,) = [line for line in told.splitlines() if line.startswith("Quix")]
    assert line.split()[1:6] == ["100", "90", "110", "20%", "0.50"]
