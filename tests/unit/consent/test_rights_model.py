"""The rights state machine: every ground against every type by hand, and no effect before the identity in any order."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.consent.rights import model
from services.consent.rights.model import Agent, Decision, Facts, Move, Request
from services.policy.rights import catalogue
from services.runtime.problem import Problem

AT = datetime(2026, 11, 23, 1, tzinfo=UTC)
CAT = catalogue()
PRESENT = frozenset({"email", "name", "password_hash", "wapl.role", "wapl.title"})
FACTS = Facts(PRESENT)
TYPES = ("access", "correction", "deletion", "suspension")


def a_request(type_: str = "access", *, verified: bool = True, **fields: object) -> Request:
    made = Request("r", "m", type_, "fax", AT, **fields)  # type: ignore[arg-type]
    return model.verify(made, AT, of_agent=True).request if verified else made


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(Problem) as refused:
        act()
    return refused.value.code


def decided(request: Request, facts: Facts = FACTS, **decision: object) -> Move:
    return model.decide(CAT, request, Decision(**decision), facts, AT)  # type: ignore[arg-type]


# Which ground may refuse which type: access 35(4)1-2, deletion 36(1) proviso, suspension 37(2)1,2,4; a correction only
# what the inquiry into it found (36(2)).
GROUNDS = {
    "law": {"access", "suspension"},
    "third_party_harm": {"access"},
    "public_body": set(),
    "other_law_names_data": {"deletion"},
    "harm": {"suspension"},
    "contract": {"suspension"},
    "not_substantiated": {"correction"},
    "not_a_correction": set(),
}


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("ground", GROUNDS)
def test_a_ground_refuses_the_types_the_law_gives_it_for(type_: str, ground: str) -> None:
    request = a_request(type_, items=frozenset({"name"}))
    statute = "ecommerce_act_6" if type_ == "deletion" else None
    if type_ in GROUNDS[ground]:
        after = decided(request, outcome="refused", ground=ground, statute=statute).request
        assert (after.state, after.outcome, after.ground) == ("decided", "refused", ground)
    else:
        assert (
            code_of(lambda: decided(request, outcome="refused", ground=ground, statute=statute)) == "ground_not_offered"
        )


@pytest.mark.parametrize("type_", TYPES)
def test_an_identity_that_cannot_be_established_is_the_one_answer_before_verification(type_: str) -> None:
    request = a_request(type_, verified=False)
    move = decided(request, outcome="refused", ground="not_verified")
    assert (move.request.outcome, move.effect) == ("refused", None)
    assert code_of(lambda: decided(request, outcome="granted")) == "identity_not_verified"
    assert code_of(lambda: decided(request, outcome="refused", ground="law")) == "identity_not_verified"
    known = a_request(type_)
    assert code_of(lambda: decided(known, outcome="refused", ground="not_verified")) == "ground_contradicted"
    assert code_of(lambda: decided(known, outcome="refused")) == "ground_required"


@pytest.mark.parametrize(
    ("items", "statute", "code"),
    [
        ({"name", "email"}, "ecommerce_act_6", None),
        ({"record.payment"}, "ecommerce_act_6", None),
        ({"record.visit"}, "comms_secrecy_act_15_2", None),
        ({"record.visit"}, "ecommerce_act_6", "statute_does_not_name_item"),
        ({"name", "wapl.title"}, "ecommerce_act_6", "statute_does_not_name_item"),
        (None, "ecommerce_act_6", "statute_does_not_name_item"),
        ({"name"}, None, "statute_required"),
        ({"name"}, "income_tax_act", "statute_unknown"),
    ],
)
def test_a_deletion_is_refused_only_with_a_law_that_names_the_items(
    items: set[str] | None, statute: str | None, code: str | None
) -> None:
    request = a_request("deletion", items=frozenset(items) if items else None)

    def refuse() -> Move:
        return decided(request, outcome="refused", ground="other_law_names_data", statute=statute)

    if code is None:
        assert refuse().effect is None
    else:
        assert code_of(refuse) == code


@pytest.mark.parametrize(
    ("type_", "items", "granted", "code"),
    [
        ("access", None, {"name"}, None),
        ("access", {"name", "email"}, {"name"}, None),
        ("access", {"name", "email"}, {"name", "email"}, "items_not_a_part"),
        ("access", {"name", "email"}, {"wapl.title"}, "items_not_a_part"),
        ("access", {"name"}, None, "items_not_a_part"),
        ("correction", {"name", "email"}, {"email"}, None),
        ("correction", {"name", "email"}, {"email", "name"}, "items_not_a_part"),
        ("suspension", None, {"name"}, None),
        ("suspension", {"name", "P1.5"}, {"P1.5"}, None),
        ("suspension", {"name", "P1.5"}, {"P1.4"}, "items_not_a_part"),
        ("deletion", None, {"wapl.title"}, "whole_account_has_no_part"),
    ],
)
def test_a_part_is_some_of_what_was_asked(
    type_: str, items: set[str] | None, granted: set[str] | None, code: str | None
) -> None:
    request = a_request(type_, items=frozenset(items) if items else None)
    part = frozenset(granted) if granted else None
    ground = {"correction": "not_substantiated", "suspension": "law"}.get(type_, "third_party_harm")

    def grant() -> Move:
        return decided(request, outcome="partial", ground=ground, items=part)

    if code is None:
        after = grant().request
        assert model.withheld(after, PRESENT) == (frozenset(items) if items else PRESENT) - frozenset(granted or ())
    else:
        assert code_of(grant) == code


def test_a_contract_is_no_ground_against_one_who_is_leaving() -> None:
    request = a_request("suspension")
    leaving = Facts(PRESENT, withdrawing=True)
    refused = code_of(lambda: decided(request, leaving, outcome="refused", ground="contract"))
    assert refused == "ground_contradicted"
    assert decided(request, leaving, outcome="refused", ground="law").effect == "release"


@pytest.mark.parametrize(
    ("type_", "outcome", "effect"),
    [
        ("access", "granted", None),
        ("correction", "granted", "correct"),
        ("deletion", "granted", "delete"),
        ("suspension", "granted", None),
        ("suspension", "refused", "release"),
        ("access", "refused", None),
        ("correction", "partial", "correct"),
        ("suspension", "partial", "narrow"),
    ],
)
def test_a_decision_has_its_effect(type_: str, outcome: str, effect: str | None) -> None:
    ground = {"granted": None, "refused": "law"}.get(outcome, "not_substantiated" if type_ == "correction" else "law")
    items = frozenset({"name"}) if outcome == "partial" else None
    move = decided(a_request(type_), outcome=outcome, ground=ground, items=items)
    assert move.effect == effect
    assert move.request.suspends is (type_ == "suspension" and outcome != "refused")


def test_a_suspension_stands_for_what_was_granted_of_what_was_asked() -> None:
    asked = frozenset({"name", "P1.5"})
    request = a_request("suspension", items=asked)
    assert model.standing(request) == asked
    part = decided(request, outcome="partial", ground="contract", items=frozenset({"P1.5"})).request
    assert model.standing(part) == {"P1.5"}
    assert model.standing(a_request("suspension")) is None
    assert model.release(part, AT).effect == "release"


def test_a_full_grant_has_neither_ground_nor_statute_nor_items() -> None:
    request = a_request()
    assert code_of(lambda: decided(request, outcome="granted", ground="law")) == "ground_not_expected"
    assert code_of(lambda: decided(request, outcome="granted", items=frozenset({"name"}))) == "items_not_expected"


@pytest.mark.parametrize("type_", ["correction", "deletion", "suspension"])
def test_nothing_but_an_access_can_be_put_off(type_: str) -> None:
    assert code_of(lambda: model.defer(CAT, a_request(type_), "retrieval", AT)) == "deferral_not_offered"


def test_a_deferral_ends_after_it_began() -> None:
    put_off = model.defer(CAT, a_request(), "retrieval", AT).request
    assert put_off.state == "deferred"
    assert code_of(lambda: model.resume(put_off, AT - timedelta(seconds=1))) == "ended_before_deferral"
    assert model.resume(put_off, AT + timedelta(days=3)).request.state == "verified"
    assert code_of(lambda: model.defer(CAT, a_request(verified=False), "retrieval", AT)) == "identity_not_verified"
    assert decided(put_off, outcome="granted").request.state == "decided"


def test_who_was_told_of_a_deferral_still_waits_for_the_access() -> None:
    put_off = model.defer(CAT, a_request(), "retrieval", AT).request
    assert model.tell(put_off, AT).request == put_off
    assert code_of(lambda: model.tell(a_request(), AT)) == "wrong_state"
    done = model.tell(decided(put_off, outcome="granted").request, AT).request
    assert (done.state, done.ended_at) == ("done", AT)


def test_an_access_is_put_off_once() -> None:
    resumed = model.resume(model.defer(CAT, a_request(), "retrieval", AT).request, AT + timedelta(days=3)).request
    assert code_of(lambda: model.defer(CAT, resumed, "system_failure", AT + timedelta(days=4))) == "already_deferred"
    assert decided(resumed, outcome="granted").request.state == "decided"
    assert decided(resumed, outcome="refused", ground="law").request.state == "decided"


@pytest.mark.parametrize(
    ("kind", "document", "scope", "minor", "code"),
    [
        ("mandate", "form-11", ("access",), False, None),
        ("mandate", "form-11", (), False, "scope_excludes_type"),
        ("mandate", "form-11", ("deletion",), False, "scope_excludes_type"),
        ("mandate", "family-certificate", ("access",), True, "mandate_required"),
        ("mandate", "", ("access",), False, "mandate_required"),
        ("legal_representative", "guardianship-certificate", (), False, None),
        ("legal_representative", "form-11", ("access",), False, None),
        ("legal_representative", "form-11", ("deletion",), False, "scope_excludes_type"),
        ("legal_representative", "family-certificate", (), True, None),
        ("legal_representative", "family-certificate", (), False, "mandate_required"),
    ],
)
def test_an_agent_shows_a_document_for_this_type(
    kind: str, document: str, scope: tuple[str, ...], minor: bool, code: str | None
) -> None:
    agent = Agent(kind, document, scope)

    def check() -> None:
        model.check_agent(CAT, "access", agent, minor=minor)

    if code is None:
        check()
    else:
        assert code_of(check) == code


def test_the_agent_is_verified_beside_the_person() -> None:
    request = a_request(verified=False, agent=Agent("mandate", "form-11", ("access",)))
    assert code_of(lambda: model.verify(request, AT, of_agent=False)) == "agent_check_required"
    assert model.verify(request, AT, of_agent=True).request.state == "verified"


Command = Callable[[Request], Move]
COMMANDS: dict[str, Command] = {
    "verify": lambda r: model.verify(r, AT, of_agent=True),
    "verify_one": lambda r: model.verify(r, AT, of_agent=False),
    "grant": lambda r: decided(r, outcome="granted"),
    "refuse": lambda r: decided(r, outcome="refused", ground="law"),
    "refuse_unverified": lambda r: decided(r, outcome="refused", ground="not_verified"),
    "part": lambda r: decided(r, outcome="partial", ground="third_party_harm", items=frozenset({"name"})),
    "narrow": lambda r: decided(r, outcome="partial", ground="law", items=frozenset({"name"})),
    "defer": lambda r: model.defer(CAT, r, "retrieval", AT),
    "resume": lambda r: model.resume(r, AT),
    "withdraw": lambda r: model.withdraw(r, AT),
    "release": lambda r: model.release(r, AT),
    "tell": lambda r: model.tell(r, AT),
}


@settings(max_examples=200, deadline=None)
@given(
    type_=st.sampled_from(TYPES),
    agent=st.sampled_from([None, Agent("mandate", "form-11", TYPES)]),
    names=st.lists(st.sampled_from(sorted(COMMANDS)), max_size=12),
)
def test_in_any_order_nothing_happens_before_the_identity_and_every_suspension_is_balanced(
    type_: str, agent: Agent | None, names: list[str]
) -> None:
    request = a_request(type_, verified=False, agent=agent)
    verified, decisions, standing = False, 0, 0
    for name in names:
        try:
            move = COMMANDS[name](request)
        except Problem:
            continue
        verified = verified or name == "verify" or (name == "verify_one" and agent is None)
        assert move.effect is None or verified
        decisions += name in {"grant", "refuse", "refuse_unverified", "part", "narrow"}
        standing += {"suspend": 1, "release": -1}.get(move.effect or "", 0)
        request = move.request
        assert standing == int(request.suspends)
    assert decisions <= 1
    assert (request.outcome is not None) == bool(decisions)
    assert replace(request, state="received").received_at == AT, "the clock's start never moves"


def test_the_catalogue_holds_the_ways_and_words_of_clause_5() -> None:
    assert set(CAT.channels) == {"web", "written", "email", "fax", "phone"}
    assert {t.id: (t.defer, t.partial) for t in CAT.types.values()} == {
        "access": (True, True),
        "correction": (False, True),
        "deletion": (False, True),
        "suspension": (False, True),
    }
    assert all(g.note and "35조 4항" in g.note for (t, _), g in CAT.grounds.items() if t == "access" and g.note)
    assert "이의" in CAT.objection.ko
    assert "1833-6972" in CAT.objection.ko
