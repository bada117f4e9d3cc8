"""F30 over HTTP: affiliate A's token against everything of affiliate B: keys, digests, holdings, requests, every read.

The members here are in every store and each affiliate has taken in a request, so that there is something to get.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from services.devstack.provision import AFFILIATES
from tests.integration.consent.harness import Service, a_token, bearer
from tests.integration.consent.test_who_may_read import QUERIES, READS

PAIRS = list(permutations(AFFILIATES, 2))
HOST = {"service": "hypermeeting", "role": "host", "phone": "010-1234-5678", "department": "연구1팀", "title": "책임"}
WAPL = {"service": "wapl", "role": "member", "office_phone": "02-555-1234", "title": "책임"}
SALT = "0123456789abcdef"


@dataclass(frozen=True)
class Call:
    """One request to the API."""

    method: str
    path: str
    body: Any = None
    query: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class There:
    """What there is: a member in every store, its sign-up, and a request that each affiliate took in."""

    ref: str
    change_id: str
    requests: dict[str, str]


def token(affiliate: str) -> dict[str, str]:
    return bearer(a_token(affiliate, "affiliate"))


async def made(service: Service) -> There:
    member = await service.sign_up(profiles=[HOST, WAPL])
    requests = {}
    for affiliate in AFFILIATES:
        other = await service.sign_up(profiles=[HOST, WAPL])
        body = {"member_ref": other["member_ref"], "type": "access", "channel": "email"}
        answer = await service.post("/v1/rights-requests", body, headers=token(affiliate))
        assert answer.status_code == 201, answer.text
        requests[affiliate] = answer.json()["id"]
    return There(member["member_ref"], member["change_id"], requests)


def directly(other: str, me: str, there: There) -> Iterator[Call]:
    """What names another affiliate or something of its own."""
    kid, mine, request = f"{other}.{there.ref}.1", f"{me}.{there.ref}.1", there.requests[other]
    yield Call("GET", f"/v1/keys/{kid}")
    yield Call("GET", f"/v1/keys/{other}.{there.ref}.2")
    yield Call("POST", "/v1/keys", {"kids": [kid]})
    yield Call("POST", "/v1/keys", {"kids": [mine, kid]})
    yield Call("GET", f"/v1/affiliates/{other}/digests", query={"salt": SALT})
    yield Call("GET", f"/v1/affiliates/{other}/holdings")
    yield Call("POST", f"/v1/affiliates/{other}/holdings", {"members": [there.ref]})
    yield Call("GET", f"/v1/affiliates/{other}/unanswered")
    yield Call("POST", f"/v1/affiliates/{other}/backfill", {"dry_run": True})
    question = {"recipient": other, "purpose": "P1.1", "member_ref": there.ref}
    yield Call("GET", "/v1/decisions", query=question)
    yield Call("GET", f"/v1/rights-requests/{request}")
    yield Call("POST", f"/v1/rights-requests/{request}/verify", {"method": "id_card", "verified_by": "kim"})
    yield Call("POST", f"/v1/rights-requests/{request}/decide", {"outcome": "granted"})
    yield Call("POST", f"/v1/rights-requests/{request}/withdraw")


def every_read(other: str, there: There) -> Iterator[Call]:
    """Every GET that docs/http.md does not open to affiliates, with what is really there in the place of its names."""
    places = {
        "{affiliate}": other,
        "{change_id}": there.change_id,
        "{request_id}": there.requests[other],
        "{kid}": f"{other}.{there.ref}.1",
    }
    for path, who in READS:
        if "affiliate" not in who and "anybody" not in who and "as the request itself" not in who:
            parts = [places.get(part, there.ref) if part.startswith("{") else part for part in path.split("/")]
            yield Call("GET", "/".join(parts), query=QUERIES.get(path, {}))


async def test_no_affiliate_gets_at_anything_of_another(silent: Service) -> None:
    there = await made(silent)
    tried, let_through = 0, []
    for me, other in PAIRS:
        for call in [*directly(other, me, there), *every_read(other, there)]:
            tried += 1
            status = await asked(silent, call, me)
            if status not in {403, 404}:
                let_through.append((me, call, status))
    print(f"affiliates against each other over HTTP: {tried} attempts, {tried - len(let_through)} denied")
    assert let_through == []
    assert tried == len(PAIRS) * (14 + len(list(every_read("tmax-os", there))))
    assert len(list(every_read("tmax-os", there))) > 25


async def asked(service: Service, call: Call, me: str) -> int:
    headers = token(me) | ({"Idempotency-Key": str(uuid.uuid4())} if call.method == "POST" else {})
    answer = await service.http.request(call.method, call.path, json=call.body, params=call.query, headers=headers)
    return answer.status_code


async def test_what_an_affiliate_may_list_shows_nothing_of_another(silent: Service) -> None:
    there = await made(silent)
    for me in AFFILIATES:
        listed = (await silent.http.get("/v1/rights-requests", headers=token(me))).json()["requests"]
        assert [r["id"] for r in listed] == [there.requests[me]]
        status = (await silent.http.get("/v1/status", headers=token(me))).json()
        assert {r["recipient"] for r in status["recipients"]} == {me}


async def test_each_affiliate_gets_at_what_is_its_own(silent: Service) -> None:
    """So that the denials above are not those of a service that denies everything."""
    there = await made(silent)
    for me in AFFILIATES:
        own = [c for c in directly(me, me, there) if "/backfill" not in c.path and not c.path.endswith("draw")]
        reads = [c for c in own if not c.path.startswith("/v1/rights-requests/") or c.method == "GET"]
        assert len(reads) == 10
        assert {(c.path, await asked(silent, c, me)) for c in reads} == {(c.path, 200) for c in reads}


async def test_an_affiliates_people_at_the_console_get_its_requests_and_none_of_its_keys_and_records(
    silent: Service,
) -> None:
    there, me = await made(silent), "tmax-os"
    desk = bearer(a_token(me, "affiliate_desk"))
    for call in directly(me, me, there):
        key = {"Idempotency-Key": str(uuid.uuid4())} if call.method == "POST" else {}
        answer = await silent.http.request(
            call.method, call.path, json=call.body, params=call.query, headers=desk | key
        )
        shown = call == Call("GET", f"/v1/rights-requests/{there.requests[me]}")
        assert answer.status_code == (200 if shown else 403), call
    canary = await silent.http.put(f"/v1/affiliates/{me}/canary", headers=desk)
    other = await silent.http.get(f"/v1/rights-requests/{there.requests['tmax-anc']}", headers=desk)
    assert (canary.status_code, other.status_code) == (403, 404)
    listed = (await silent.http.get("/v1/rights-requests", headers=desk)).json()["requests"]
    assert [r["id"] for r in listed] == [there.requests[me]]
    status = (await silent.http.get("/v1/status", headers=desk)).json()
    assert [r["recipient"] for r in status["recipients"]] == [me]
    body = {"member_ref": there.ref, "type": "access", "channel": "email"}
    taken = await silent.post("/v1/rights-requests", body, headers=desk)
    assert taken.status_code == 201
    assert (await silent.http.get(f"/v1/rights-requests/{taken.json()['id']}", headers=desk)).json()[
        "received_by"
    ] == me


async def test_pseudonyms_are_shared_and_keys_are_not(silent: Service) -> None:
    """Clause 3.2 shares the ID itself, so F30's last clause does not apply; what opens a record differs."""
    there = await made(silent)
    keys = [(await silent.http.get(f"/v1/keys/{me}.{there.ref}.1", headers=token(me))).json()["k"] for me in AFFILIATES]
    assert len(set(keys)) == len(AFFILIATES)
