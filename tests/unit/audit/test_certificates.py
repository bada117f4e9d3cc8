"""The certificate of a change: what it says, and that no field of it can be changed by anybody, its signer included."""

import base64
import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from services.audit import certificates, checkpoint
from services.audit.certificates import BadKeysError, Keys, is_certificate, verify_certificate
from services.audit.checkpoint import Checkpoint
from services.consent.corrections import certificate
from services.consent.corrections.certificate import Answer, Leaf, Recipient
from services.consent.erasure import certificate as destruction
from services.consent.erasure.certificate import Signer
from services.policy.erasure import catalogue

LOG_SEED, SEED, OTHER = bytes(range(32)), bytes(range(1, 33)), bytes(range(2, 34))
NAME = "dongui.kr/audit"
LOG = checkpoint.verifier_of(NAME, LOG_SEED)
SIGNER = Signer(SEED)
KEYS = Keys.parse(json.dumps(SIGNER.jwks()))
CHANGE, NEWER, REF = (f"0198a000-0000-7000-8000-00000000000{n}" for n in (1, 2, 3))
NOTICE = "0198a000-0000-7000-8000-000000000004"
AT = datetime(2026, 11, 24, 1, tzinfo=UTC)
Json = dict[str, Any]


def receipt(who: str, kind: str, stage: str, outcome: str | None = None, **changes: Any) -> Json:
    told = {"change_id": CHANGE, "member_ref": REF, "seq": 4, "recipient": who, "kind": kind, "stage": stage}
    return told | {"at": "2026-11-24T01:00:05Z", "outcome": outcome, "reason": None} | changes


FACT = {
    "change": "corrected",
    "change_id": CHANGE,
    "member_ref": REF,
    "seq": 4,
    "items": ["email"],
    "addressees": [{"id": who} for who in ("tmax-cloud", "tmax-os", "courier", "printer", "post-office")],
}
LEAVES: tuple[Json, ...] = (
    FACT,
    receipt("tmax-cloud", "affiliate", "applied"),
    receipt("tmax-os", "affiliate", "superseded"),
    receipt("courier", "third_party", "applied", "not_held"),
    {"kind": "notice", "subject": NOTICE, "state": "answered", "member_ref": REF}
    | {"codes": {"outcome": "not_held", "evidence": "mail:7", "by": "officer-a"}},
    receipt("printer", "third_party", "refused", "refused", reason="law.keeps_it"),
    receipt("post-office", "third_party", "superseded"),
    receipt("post-office", "third_party", "applied", "corrected", change_id=NEWER, seq=6),
    {"change": "signed_up", "change_id": "another"},
)


def body(data: Json) -> str:
    return rfc8785.dumps({"data": data, "envelope": {"type": "x"}, "source": {"offset": 1}}).decode()


def mth(texts: list[str]) -> bytes:
    """MTH of RFC 6962 2.1, recursively."""
    if len(texts) == 1:
        return hashlib.sha256(b"\x00" + texts[0].encode()).digest()
    left = half(len(texts))
    return hashlib.sha256(b"\x01" + mth(texts[:left]) + mth(texts[left:])).digest()


def audit_path(index: int, texts: list[str]) -> list[bytes]:
    """PATH of RFC 6962 2.1.1, recursively."""
    if len(texts) == 1:
        return []
    left = half(len(texts))
    if index < left:
        return [*audit_path(index, texts[:left]), mth(texts[left:])]
    return [*audit_path(index - left, texts[left:]), mth(texts[:left])]


def half(count: int) -> int:
    split = 1
    while split * 2 < count:
        split *= 2
    return split


def leaf(index: int, leaves: tuple[Json, ...] = LEAVES) -> Leaf:
    texts = [body(one) for one in leaves]
    path = tuple(base64.b64encode(h).decode() for h in audit_path(index, texts))
    return Leaf(index, texts[index], path)


def told(leaves: tuple[Json, ...] = LEAVES) -> Json:
    note = checkpoint.sign(Checkpoint(NAME, len(leaves), mth([body(one) for one in leaves])), LOG_SEED)
    change = {"change_id": CHANGE, "member_ref": REF, "seq": 4, "name": "corrected", "accepted_at": AT}
    at = AT + timedelta(seconds=5)
    newer = Answer(NEWER, "applied", "corrected", None, leaf(7, leaves))

    def answered(index: int, stage: str, outcome: str | None = None, reason: str | None = None) -> Answer:
        return Answer(CHANGE, stage, outcome, reason, leaf(index, leaves))

    recipients = [
        Recipient("tmax-cloud", "affiliate", at, answered(1, "applied")),
        Recipient("tmax-os", "affiliate", at, answered(2, "superseded")),
        Recipient("courier", "third_party", at, answered(3, "applied", "not_held"), "staff", "mail:7", leaf(4, leaves)),
        Recipient("printer", "third_party", at, answered(5, "refused", "refused", "law.keeps_it"), "answer"),
        Recipient("post-office", "third_party", at, answered(6, "superseded"), newer=newer),
    ]
    return certificate.document(change | {"fact": FACT}, recipients, leaf(0, leaves), note, "2021-02-22")


def signed(document: Json, signer: Signer = SIGNER, typ: str = certificate.TYPE) -> Json:
    return {"certificate": document, "jws": signer.sign(document, typ)}


def codes(file: Any, keys: Keys = KEYS, **how: Any) -> list[str]:
    report = verify_certificate(json.dumps(file).encode(), LOG, keys, **how)
    return [finding.code for finding in report.findings]


def test_a_certificate_says_who_answered_what_and_verifies_offline() -> None:
    document = told()
    assert codes(signed(document)) == []
    assert {r["id"]: r["result"] for r in document["recipients"]} == {
        "tmax-cloud": "applied",
        "tmax-os": "superseded",
        "courier": "not_held",
        "printer": "refused",
        "post-office": "corrected",
    }
    assert (document["result"], document["refused_by"]) == ("refused_by_some", ["printer"])
    assert document["change"]["accepted_at"] == "2026-11-24T10:00:00+09:00"
    assert document["completed_at"] == "2026-11-24T10:00:05+09:00"
    report = verify_certificate(json.dumps(signed(document)).encode(), LOG, KEYS)
    assert (report.kind, report.entries, report.size) == ("certificate", 8, 9)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield from places(one, (*path, name))


def others(value: Any) -> list[Any]:
    """Values that look like this one and are not it."""
    if isinstance(value, bool) or value is None:
        return [not value, 0]
    if isinstance(value, int):
        return [value + 1, float(value), str(value), value == 1]
    if isinstance(value, str):
        return [f"{value} ", value[:-1], value.swapcase() if value.swapcase() != value else "x", None]
    return [[], {}, [*value, "x"] if isinstance(value, list) else value | {"x": 1}]


def test_no_field_can_be_changed_removed_or_added_without_being_found() -> None:
    file = signed(told())
    checked = 0
    for path in places(file):
        *before, last = path or (None,)
        if last is None:
            continue
        for other in (*others(at(file, path)), REMOVED):
            spoilt = copy.deepcopy(file)
            parent = at(spoilt, tuple(before))
            if other is REMOVED:
                del parent[last]
            elif other == parent[last] and type(other) is type(parent[last]):
                continue
            else:
                parent[last] = other
            assert codes(spoilt) != [], f"{path} became {other!r}"
            checked += 1
    assert checked > 500


REMOVED = object()


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for name in path:
        value = value[name]
    return value


def test_every_letter_of_the_signature_matters() -> None:
    file = signed(told())
    text = file["jws"]
    for position in {*range(0, len(text), 97), *range(len(text) - 90, len(text))}:
        other = "A" if text[position] != "A" else "B"
        assert codes(file | {"jws": text[:position] + other + text[position + 1 :]}) != [], position


def without_printer(document: Json) -> None:
    document["recipients"] = [r for r in document["recipients"] if r["id"] != "printer"]
    document |= {"refused_by": [], "result": "converged"}


def softened(document: Json) -> None:
    printer = document["recipients"][3]
    printer |= {"stage": "applied", "outcome": "corrected", "result": "corrected"}
    del printer["reason"]
    document |= {"refused_by": [], "result": "converged"}


def borrowed(document: Json) -> None:
    """The operator's receipt for the printer's answer."""
    document["recipients"][3]["receipt"] = document["recipients"][0]["receipt"]


def never_overtaken(document: Json) -> None:
    del document["recipients"][4]["answered_by"]
    document["recipients"][4]["result"] = "superseded"


def of_an_older_change(document: Json) -> None:
    document["change"]["seq"] = 7


def evidence(document: Json) -> None:
    document["recipients"][2]["evidence"] = "mail:8"


def result(document: Json) -> None:
    document["result"] = "converged"


def items(document: Json) -> None:
    document["change"]["items"] = ["email", "name"]


def invented(document: Json) -> None:
    forged = body(receipt("printer", "third_party", "applied", "corrected"))
    document["recipients"][3]["receipt"]["body"] = forged
    softened(document)


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (without_printer, "recipient_missing"),
        (softened, "log_says_otherwise"),
        (borrowed, "log_says_otherwise"),
        (never_overtaken, "unanswered"),
        (of_an_older_change, "unanswered"),
        (evidence, "log_says_otherwise"),
        (result, "result_differs"),
        (items, "log_says_otherwise"),
        (invented, "not_included"),
    ],
)
def test_not_even_its_signer_can_say_what_the_log_does_not(lie: Callable[[Json], None], code: str) -> None:
    document = told()
    lie(document)
    assert code in codes(signed(document))


def test_a_certificate_of_another_key_log_or_kind_is_refused() -> None:
    document = told()
    assert codes(signed(document, Signer(OTHER))) == ["unknown_certificate_key"]
    assert codes(signed(document, typ="dongui-destruction+jws")) == ["bad_certificate_header"]
    stranger = checkpoint.verifier_of(NAME, OTHER)
    report = verify_certificate(json.dumps(signed(document)).encode(), stranger, KEYS)
    assert [f.code for f in report.findings] == ["unknown_key"]


def test_a_name_that_is_there_twice_is_refused() -> None:
    text = json.dumps(signed(told()))
    twice = text.replace('"result": "refused_by_some"', '"result": "converged", "result": "refused_by_some"', 1)
    assert twice != text
    assert [f.code for f in verify_certificate(twice.encode(), LOG, KEYS).findings] == ["bad_certificate_file"]


def test_a_checkpoint_kept_elsewhere_is_compared() -> None:
    document = told()
    other = checkpoint.sign(Checkpoint(NAME, len(LEAVES), bytes(32)), LOG_SEED)
    assert codes(signed(document), outside=[document["checkpoint"]]) == []
    assert codes(signed(document), outside=[other]) == ["outside_checkpoint_differs"]
    assert codes(signed(document), outside=["nonsense"]) == ["bad_outside_checkpoint"]


def test_a_certificate_is_told_from_proofs_and_exports(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for text, expected in ((json.dumps(signed(told())), True), ('{"kind":"export"}\n{}', False), ("x", False)):
        file.write_text(text, encoding="utf-8")
        assert is_certificate(file) is expected


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"keys":[{"kty":"RSA","crv":"x","kid":"a","x":"b"}]}'])
def test_a_file_that_is_no_key_set_is_refused(text: str) -> None:
    with pytest.raises(BadKeysError):
        Keys.parse(text)


ROW: Json = {
    "erasure_id": NOTICE,
    "member_ref": REF,
    "selected_at": AT,
    "due_on": AT.date(),
    "standing_version": "1",
    "approved_at": None,
    "approved_by": None,
    "started_at": AT,
    "shredded_at": AT,
    "forced": False,
    "records_owed": 0,
    "records": 0,
    "recipients": [],
    "change_id": CHANGE,
    "seq": 4,
    "leaf_index": 0,
}
DESTROYED = (FACT | {"change": "erased"}, {"change": "other"})


def proof_of(index: int, leaves: tuple[Json, ...]) -> str:
    note = checkpoint.sign(Checkpoint(NAME, len(leaves), mth([body(one) for one in leaves])), LOG_SEED)
    found = leaf(index, leaves)
    proof = {"index": index, "path": found.path, "checkpoint": note}
    proof |= {"body_base64": base64.b64encode(found.body.encode()).decode()}
    return destruction.tlog_proof(proof)


def destroyed(**changes: Any) -> Json:
    """A certificate of the days before the register's entry was in it."""
    document = destruction.document(ROW, catalogue().classes["withdrawal"], "2021-02-22")
    made = {"certificate": document, "jws": SIGNER.sign(document), "proof": proof_of(0, DESTROYED)}
    return made | changes


def test_a_certificate_of_destruction_is_verified_too() -> None:
    assert codes(destroyed()) == []
    assert codes(destroyed(proof=None)) == ["no_proof"]
    other = destroyed()
    other["certificate"]["destroyed_at"] = "2020-01-01T00:00:00+09:00"
    assert codes(other) == ["certificate_differs_from_signature"]
    assert "log_says_otherwise" in codes(destroyed(proof=destroyed()["proof"]) | signed_other())


def signed_other() -> Json:
    """A certificate whose fact is not the one that the proof proves."""
    document = destroyed()["certificate"]
    document["fact"]["change_id"] = NEWER
    return {"certificate": document, "jws": SIGNER.sign(document)}


ENTRY: Json = {
    "entry_id": NEWER,
    "member_ref": REF,
    "kind": "erasure",
    "subject": NOTICE,
    "state": "erased",
    "at": "2026-11-24T01:00:05.250000Z",
    "actor": "system",
    "codes": {"class": "withdrawal", "outcome": "forced", "retained": "no", "unanswered": "tmax-anc+tmax-os"},
}
ANSWERED = {"tmax-cloud": "applied", "tmax-os": "applied", "tmax-anc": "late"}


def borne_out(entry: Json = ENTRY, answered: Json = ANSWERED, **row: Any) -> Json:
    """A certificate of today: forced, with two silent stores of which one has erased since."""
    fact = {"change": "erased", "change_id": CHANGE, "member_ref": REF, "seq": 4}
    leaves = (fact | {"addressees": [{"id": who} for who in ANSWERED]}, {"change": "other"}, entry)
    forced = {"shredded_at": AT + timedelta(seconds=5, milliseconds=250), "forced": True, "records": 2}
    told = ROW | forced | {"records_owed": 1, "recipients": [{"id": i, "stage": s} for i, s in answered.items()]} | row
    document = destruction.document(told, catalogue().classes["withdrawal"], "2021-02-22")
    signature = SIGNER.sign(document)
    return {"certificate": document, "jws": signature, "proof": proof_of(0, leaves), "entry": proof_of(2, leaves)}


def test_a_certificate_of_destruction_says_what_the_register_says() -> None:
    report = verify_certificate(json.dumps(borne_out()).encode(), LOG, KEYS)
    assert (report.findings, report.unchecked, report.entries, report.size) == ([], [], 2, 3)


@pytest.mark.parametrize("file", [destroyed(), destroyed(entry=None)])
def test_an_older_one_verifies_as_before_and_the_verdict_says_what_was_not_checked(file: Json) -> None:
    report = verify_certificate(json.dumps(file).encode(), LOG, KEYS)
    assert (report.findings, report.entries, report.size) == ([], 1, 2)
    assert report.unchecked == ["destroyed_at", "class", "forced", "statutory_records_owed", "recipients"]


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        ({"shredded_at": AT}, "destroyed_at_differs"),
        ({"forced": False}, "forced_differs"),
        ({"answered": ANSWERED | {"tmax-cloud": "accepted"}}, "recipients_differs"),
        ({"answered": {"tmax-cloud": "applied", "tmax-os": "applied"}}, "recipients_differs"),
        ({"answered": ANSWERED | {"tmax-new": "applied"}}, "recipients_differs"),
        ({"entry": ENTRY | {"codes": ENTRY["codes"] | {"retained": "yes"}}}, "statutory_records_owed_differs"),
        ({"entry": ENTRY | {"codes": ENTRY["codes"] | {"class": "dormancy"}}}, "class_differs"),
        (
            {"entry": ENTRY | {"codes": {"class": "withdrawal", "outcome": "forced", "retained": "no"}}},
            "recipients_differs",
        ),
        ({"entry": ENTRY | {"codes": ENTRY["codes"] | {"unanswered": "0"}}}, "recipients_differs"),
        ({"entry": ENTRY | {"subject": CHANGE}}, "entry_differs"),
        ({"entry": ENTRY | {"member_ref": CHANGE}}, "entry_differs"),
        ({"entry": ENTRY | {"state": "executing"}}, "entry_differs"),
        ({"entry": {"kind": "erasure"}}, "bad_certificate_file"),
    ],
)
def test_not_even_its_signer_can_date_or_colour_a_destruction(lie: Json, code: str) -> None:
    """Found in review: whoever wrote the row had all of this certified."""
    assert codes(borne_out(**lie)) == [code]


def test_an_entry_that_the_log_does_not_have_proves_nothing() -> None:
    file = borne_out()
    assert "not_included" in codes(file | {"entry": file["entry"].replace("index 2", "index 1")})
    assert codes(file | {"entry": "nonsense"}) == ["bad_proof_file", "bad_certificate_file"]
    assert codes(file | {"more": None}) == ["bad_certificate_file"]
    assert codes(signed(told()) | {"entry": None}) == ["bad_certificate_file"]


def test_names_that_were_too_many_are_counted() -> None:
    counted = ENTRY | {"codes": ENTRY["codes"] | {"unanswered": "2"}}
    assert codes(borne_out(counted)) == []


def test_the_page_is_korean_names_everybody_and_escapes() -> None:
    document = told()
    document["policy_version"] = "<i>2021</i>"
    page = certificate.page(document, "a.b.c", {"email": "이메일", "tmax-os": "㈜티맥스오에스"})
    assert page.startswith('<!doctype html><html lang="ko">')
    for words in (
        "정정 반영 확인서",
        "이메일 (email)",
        "㈜티맥스오에스 (tmax-os)",
        "거절함 (law.keeps_it)",
        "@media print",
    ):
        assert words in page
    assert "담당자 확인: mail:7" in page
    assert "정정함 (이후 통지로 답함)" in page
    assert "&lt;i&gt;" in page
    assert "<i>" not in page
    assert "<script" not in page


def test_the_verifier_knows_every_kind_it_checks() -> None:
    assert set(certificates.TYPES) == set(certificates.FIELDS) == {certificate.KIND, "kr.dongui.destruction.v1"}
    assert certificates.TYPES[certificate.KIND] == certificate.TYPE
    assert certificates.TYPES["kr.dongui.destruction.v1"] == destruction.TYPE


def test_a_destruction_whose_proof_is_one_line_is_refused() -> None:
    header, payload = (base64.urlsafe_b64encode(text).rstrip(b"=").decode() for text in (b'{"kid":"x"}', b"{}"))
    told = {
        "certificate": {"certificate": certificates.DESTRUCTION},
        "jws": f"{header}.{payload}.",
        "proof": "one line",
    }
    report = verify_certificate(json.dumps(told).encode(), LOG, KEYS)
    assert "bad_certificate_file" in {finding.code for finding in report.findings}


def test_keys_and_certificates_that_are_too_deep_are_none(tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("[" * 100_000)
    assert not is_certificate(tmp_path / "deep")
    with pytest.raises(BadKeysError):
        Keys.parse("[" * 100_000)
