"""Whole lives of members, chosen by hypothesis, against the running system and a model of the policy.

Every rule is one HTTP command. The model says beforehand whether it must be accepted; afterwards the member itself, and
in the end every store, the third party, the ledger and the audit log must be what the model says. A run is reproduced
by its seed (`--seed-long N` for the long ones).
"""

import asyncio
import sys
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.e2e.client import IDENTIFIED, NOTICE, Client, until
from tests.support.expected import AFFILIATES, PARTNER
from tests.support.lifecycle import CHANNELS, Life, Refusal
from tests.support.oracle import received_from

WHO = st.integers(0, 99)
SHARED = st.sets(st.sampled_from(["tmax-os", "tmax-anc"]))
AFFILIATE = st.sampled_from(AFFILIATES)
PROFILES = {
    "hypermeeting": {"role": "host", "department": "연구1팀", "title": "책임", "phone": "010-1234-5678"},
    "wapl": {"role": "member", "title": "책임", "photo": "p.png"},
}
SETTLE_S = 40.0
LIVING_MAX = 3
"""Enough for histories to interleave, few enough for each to be long."""


class World:
    """The running system as the machine's thread uses it; what was done is counted."""

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        self.client, self._loop = client, loop
        self.done: Counter[str] = Counter()

    def wait(self, coroutine: Awaitable[Any]) -> Any:
        async def whole() -> Any:
            return await coroutine

        return asyncio.run_coroutine_threadsafe(whole(), self._loop).result(SETTLE_S + 30)


class LifeCycle(RuleBasedStateMachine):
    """Several members at once; each rule takes one of them by its number."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world, self.client = world, world.client
        self.lives: list[Life] = []
        self.passwords: dict[str, str] = {}
        self.shown: set[tuple[str, int]] = set()
        """(member, version) whose access request was answered"""
        self.last: tuple[str, str, Any, dict[str, str], httpx.Response] | None = None

    # Commands.

    def send(self, method: str, path: str, body: Any = None, **how: Any) -> httpx.Response:
        """Send one command with a key of its own, and remember it for a retry."""
        headers = {"Idempotency-Key": str(uuid.uuid4())} | how.get("headers", {})
        headers |= {"If-Match": f'"{how["seq"]}"'} if "seq" in how else {}
        answer = self.raw(method, path, body, headers, how.get("role", "service"), how.get("sub", ""))
        if answer.is_success and "role" not in how:
            self.last = (method, path, body, headers, answer)
        return answer

    def raw(self, method: str, path: str, body: Any, headers: dict[str, str], role: str, sub: str) -> httpx.Response:
        bearer = {"Authorization": f"Bearer {self.client.token(role, sub)}", "Accept-Language": "en"}
        url = self.client.described["consent_url"] + path
        found: httpx.Response = self.world.wait(
            self.client._http.request(method, url, json=body, headers=bearer | headers)
        )
        return found

    def accepted(self, life: Life, answer: httpx.Response, what: str) -> dict[str, Any]:
        """Note an accepted change; the member's sequence has neither a hole nor a double."""
        assert answer.is_success, f"{what}: {answer.status_code} {answer.text}"
        body: dict[str, Any] = answer.json()
        life.happened(body["change_id"], what)
        assert body["seq"] == life.seq
        assert answer.headers["ETag"] == f'"{life.seq}"'
        self.world.done[what] += 1
        self.check_member(life)
        return body

    def refused(self, life: Life, answer: httpx.Response, refusal: Refusal | None) -> bool:
        """Say whether it had to be refused; then it was, with its code, and nothing has changed."""
        if refusal is None:
            return False
        found = (answer.status_code, answer.json().get("code"))
        assert found == refusal, f"{found} and not {refusal}, status {life.status}"
        self.world.done[f"refused {refusal[1]}"] += 1
        self.check_member(life)
        return True

    def check_member(self, life: Life) -> None:
        """What the service itself says of the member."""
        found = self.world.wait(self.client.ask("GET", f"/v1/members/{life.ref}"))
        told = (found["seq"], found["status"], found["email"], found["name"])
        left = (life.seq, life.status, None, None)
        assert told == (left if life.gone else (life.seq, life.status, life.email, life.name))

    def one(self, who: int) -> Life:
        return self.lives[who % len(self.lives)]

    def living(self) -> bool:
        return any(not life.gone for life in self.lives)

    def alive(self, who: int) -> Life:
        living = [life for life in self.lives if not life.gone]
        return living[who % len(living)]

    # Joining (1.2, 3.2, 1.5).

    def join(self, email: str, shared: set[str], services: set[str], use: bool) -> httpx.Response:
        body = {
            "email": email,
            "password": f"pass {email}",
            "name": f"회원 {len(self.lives)}",
            "profiles": [{"service": s, **PROFILES[s]} for s in sorted(services)],
            "consents": {"collection": True, "sharing": dict.fromkeys(shared, True), "marketing": {"use": use}},
            "notice_version": NOTICE,
        }
        return self.send("POST", "/v1/members", body)

    @precondition(lambda self: sum(not life.gone for life in self.lives) < LIVING_MAX)
    @rule(shared=SHARED, services=st.sets(st.sampled_from(sorted(PROFILES))), use=st.booleans())
    def sign_up(self, shared: set[str], services: set[str], use: bool) -> None:
        self.joined(f"{uuid.uuid4().hex}@example.kr", shared, services, use)

    def joined(self, email: str, shared: set[str], services: set[str], use: bool) -> None:
        answer = self.join(email, shared, services, use)
        assert answer.status_code == 201, answer.text
        # The consent is to all three companies that the notice names (1.5); who holds nothing can use nothing of it.
        senders = AFFILIATES if use else ()
        life = Life(
            answer.json()["member_ref"],
            email,
            f"회원 {len(self.lives)}",
            set(shared),
            {s: dict(PROFILES[s]) for s in services},
            {sender: {"use"} for sender in senders},
        )
        assert life.ref not in {other.ref for other in self.lives}, "a reference is never used again"
        self.lives.append(life)
        self.passwords[life.ref] = f"pass {email}"
        self.accepted(life, answer, "signed_up")

    def taken(self) -> list[str]:
        """An address is its member's until erasure."""
        return [life.email for life in self.lives if life.ended != "erased"]

    def free(self) -> list[str]:
        return [life.email for life in self.lives if life.email not in self.taken()]

    @precondition(lambda self: self.taken())
    @rule(who=WHO, shared=SHARED)
    def join_with_an_address_that_is_taken(self, who: int, shared: set[str]) -> None:
        taken = self.taken()
        answer = self.join(taken[who % len(taken)], shared, set(), False)
        assert (answer.status_code, answer.json()["code"]) == (409, "email_taken")
        self.world.done["refused email_taken"] += 1

    @precondition(lambda self: self.free())
    @rule(who=WHO, shared=SHARED)
    def join_again_after_erasure(self, who: int, shared: set[str]) -> None:
        """The same address, and nothing of who had it: a new reference begins."""
        free = self.free()
        self.joined(free[who % len(free)], shared, set(), False)
        self.world.done["joined again"] += 1

    # Corrections (5.1, 5.7).

    @precondition(lambda self: self.lives)
    @rule(who=WHO, kind=st.sampled_from(["email", "name", "phone", "password", "service"]), fresh=st.integers(0, 999))
    def correct(self, who: int, kind: str, fresh: int) -> None:
        life = self.one(who)
        values, body = self.correction(life, kind, fresh)
        answer = self.send("PATCH", f"/v1/members/{life.ref}", body, seq=life.seq)
        if self.refused(life, answer, life.refuses_change()):
            return
        if kind == "service":
            life.profiles["wapl"] = dict(PROFILES["wapl"])
        self.passwords[life.ref] = body.get("password", self.passwords[life.ref])
        self.corrected(life, answer, values)

    def correction(self, life: Life, kind: str, fresh: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the values that change, by item, and the request body."""
        if life.layers:  # a notice about who is suspended carries no values: another test's matter
            kind = "password" if kind in life.partner_has or kind == "phone" else kind
        if kind == "phone" and "hypermeeting" in life.profiles:
            phone = f"010-{fresh:04}-{uuid.uuid4().int % 10**4:04}"
            return {"hypermeeting.phone": phone}, {"profiles": [{"service": "hypermeeting", "phone": phone}]}
        if kind == "service" and not life.gone:
            return {}, {"profiles": [{"service": "wapl", **PROFILES["wapl"]}]}
        if kind == "password":
            return {}, {"password": f"new {uuid.uuid4().hex}"}
        name = "name" if kind != "email" else "email"
        value = f"{uuid.uuid4().hex}@example.kr" if name == "email" else f"이름 {fresh} {uuid.uuid4().hex[:6]}"
        return {name: value}, {name: value}

    def corrected(self, life: Life, answer: httpx.Response, values: dict[str, Any]) -> None:
        owed = life.correct(values)
        change_id = self.accepted(life, answer, "corrected")["change_id"]
        if owed:
            life.notices[change_id] = owed
            self.world.done["notices owed"] += 1

    @precondition(lambda self: self.living())
    @rule(who=WHO)
    def disclose(self, who: int) -> None:
        """A provision to a third party (3.1), which the next correction must find (5.7)."""
        life = self.alive(who)
        item = "hypermeeting.phone" if "hypermeeting" in life.profiles else "email"
        body = {"recipient": PARTNER, "items": [item], "purpose": "P1.1", "basis": "consent"}
        answer = self.send("POST", f"/v1/members/{life.ref}/disclosures", body)
        if self.refused(life, answer, life.refuses_grant()):
            return
        assert answer.status_code == 201, answer.text
        life.partner_has[item] = life.value(item)
        life.given.add((PARTNER, "recipient"))
        self.world.done["disclosed"] += 1

    @precondition(lambda self: any(life.partner_has and not life.layers and not life.gone for life in self.lives))
    @rule(fresh=st.integers(0, 999))
    def correct_what_the_third_party_has(self, fresh: int) -> None:
        life = next(one for one in self.lives if one.partner_has and not one.layers and not one.gone)
        kind = next(iter(life.partner_has)).rpartition(".")[2]
        values, body = self.correction(life, kind, fresh)
        self.corrected(life, self.send("PATCH", f"/v1/members/{life.ref}", body, seq=life.seq), values)

    # Consents (3.2, 1.5).

    @precondition(lambda self: self.lives)
    @rule(who=WHO, affiliate=st.sampled_from(["tmax-os", "tmax-anc"]), granted=st.booleans())
    def share(self, who: int, affiliate: str, granted: bool) -> None:
        life = self.one(who)
        body = {"granted": granted, "recipients": [affiliate], "notice_version": NOTICE}
        answer = self.send("PUT", f"/v1/members/{life.ref}/consents/sharing", body, seq=life.seq)
        if self.refused(life, answer, life.refuses_grant() if granted else life.refuses_change()):
            return
        (life.sharing.add if granted else life.sharing.discard)(affiliate)
        self.accepted(life, answer, "consent_changed")

    @precondition(lambda self: self.lives)
    @rule(who=WHO, sender=AFFILIATE, channel=st.sampled_from(CHANNELS), granted=st.booleans())
    def market(self, who: int, sender: str, channel: str, granted: bool) -> None:
        life = self.one(who)
        body = {"granted": granted, "senders": [sender], "channel": channel, "notice_version": NOTICE}
        answer = self.send("PUT", f"/v1/members/{life.ref}/consents/marketing", body, seq=life.seq)
        if self.refused(life, answer, life.refuses_marketing(sender, channel) if granted else life.refuses_change()):
            return
        given = life.marketing.setdefault(sender, set())
        if granted:
            given.add(channel)
        else:
            given -= set(CHANNELS) if channel == "use" else {channel}
        self.accepted(life, answer, "consent_changed")

    # Leaving, suspension, other rights (1.2, 5.1).

    @precondition(lambda self: self.lives)
    @rule(who=WHO)
    def ask_to_leave(self, who: int) -> None:
        """Mostly somebody who may; now and then somebody who has asked already, or left."""
        able = [life for life in self.lives if life.refuses_leaving() is None]
        life = able[who % len(able)] if able and who % 5 else self.one(who)
        answer = self.send("POST", f"/v1/members/{life.ref}/withdrawal")
        if self.refused(life, answer, life.refuses_leaving()):
            return
        life.layers.append("withdrawal_requested")
        self.accepted(life, answer, "withdrawal_requested")

    @precondition(lambda self: self.lives)
    @rule(who=WHO, confirmed=st.booleans())
    def end_the_leaving(self, who: int, confirmed: bool) -> None:
        """Confirm it, or think again: what lay below comes back."""
        leaving = [life for life in self.lives if "withdrawal_requested" in life.layers]
        life = leaving[who % len(leaving)] if leaving else self.one(who)
        answer = self.send("POST", f"/v1/members/{life.ref}/withdrawal/{'confirm' if confirmed else 'cancel'}")
        if self.refused(life, answer, life.refuses_end_of_leaving()):
            return
        if confirmed:
            life.leave()
        else:
            life.layers.remove("withdrawal_requested")
        self.accepted(life, answer, "withdrawn" if confirmed else "released")

    def right(self, life: Life, verb: str, body: Any = None, role: str = "compliance", sub: str = "") -> dict[str, Any]:
        path = f"/v1/rights-requests/{life.request_id}/{verb}"
        answer = self.send("POST", path, body, role=role, sub=sub)
        assert answer.is_success, f"{verb}: {answer.status_code} {answer.text}"
        found: dict[str, Any] = answer.json()
        return found

    def requested(self, life: Life, type_: str, **fields: Any) -> dict[str, Any]:
        """Enter a request on paper and establish who sent it (5.6); return it."""
        body = {"member_ref": life.ref, "type": type_, "channel": "written"} | fields
        answer = self.send("POST", "/v1/rights-requests", body, role="compliance")
        assert answer.status_code == 201, answer.text
        life.request_id = answer.json()["id"]
        self.check_member(life)
        return self.right(life, "verify", IDENTIFIED)

    def by_right(self, life: Life, found: dict[str, Any], what: str) -> str:
        """Note the change that a step of a request made."""
        change_id = str(found["change_ids"][-1])
        life.happened(change_id, what)
        self.world.done[f"{what} by right"] += 1
        self.check_member(life)
        return change_id

    @precondition(lambda self: any(not life.gone and "suspended" not in life.layers for life in self.lives))
    @rule(who=WHO, decided=st.booleans())
    def suspend(self, who: int, decided: bool) -> None:
        """It stands from the moment it is known who asked (5.1), decided or not."""
        free = [life for life in self.lives if not life.gone and "suspended" not in life.layers]
        life = free[who % len(free)]
        found = self.requested(life, "suspension")
        life.layers.append("suspended")
        life.suspension_decided = decided
        self.by_right(life, found, "suspended")
        if decided:
            self.right(life, "decide", {"outcome": "granted"})
            self.check_member(life)

    @precondition(lambda self: any("suspended" in life.layers for life in self.lives))
    @rule(who=WHO)
    def release(self, who: int) -> None:
        """Only the person lifts it: by release, or by taking the request back while it is not decided."""
        suspended = [life for life in self.lives if "suspended" in life.layers]
        life = suspended[who % len(suspended)]
        verb = "release" if life.suspension_decided else "withdraw"
        found = self.right(life, verb, role="member", sub=life.ref)
        life.layers.remove("suspended")
        self.by_right(life, found, "released")

    @precondition(lambda self: any(not life.gone and not life.layers for life in self.lives))
    @rule(who=WHO)
    def correct_on_paper(self, who: int) -> None:
        life = [one for one in self.lives if not one.gone and not one.layers][0 if not who else -1]
        values = {"name": f"서면 {uuid.uuid4().hex[:8]}"}
        self.requested(life, "correction", changes=values)
        found = self.right(life, "decide", {"outcome": "granted"})
        life.correct(values)
        self.by_right(life, found, "corrected")

    @precondition(lambda self: any(not one.layers and "title" in one.profiles.get("wapl", {}) for one in self.lives))
    @rule()
    def delete_an_optional_item(self) -> None:
        able = [one for one in self.lives if not one.layers and "title" in one.profiles.get("wapl", {})]
        life = able[-1]
        if life.gone:
            return
        self.requested(life, "deletion", items=["wapl.title"])
        found = self.right(life, "decide", {"outcome": "granted"})
        del life.profiles["wapl"]["title"]
        self.by_right(life, found, "corrected")

    @precondition(lambda self: any(not one.gone and (one.ref, one.seq) not in self.shown for one in self.lives))
    @rule(who=WHO)
    def ask_for_access(self, who: int) -> None:
        """It changes nothing and shows what is held."""
        unseen = [one for one in self.lives if not one.gone and (one.ref, one.seq) not in self.shown]
        life = unseen[who % len(unseen)]
        self.shown.add((life.ref, life.seq))
        kept = life.request_id
        self.requested(life, "access")
        self.right(life, "decide", {"outcome": "granted"})
        path = f"/v1/rights-requests/{life.request_id}/answer"
        shown = self.world.wait(self.client.ask("GET", path, role="member", sub=life.ref))
        content = {item["item"]: item["content"] for item in shown["blocks"]["items"]}
        assert (content["email"], content["name"]) == (life.email, life.name)
        life.request_id = kept
        self.check_member(life)
        self.world.done["access"] += 1

    # Erasure (7).

    @precondition(lambda self: any(life.ended == "withdrawn" for life in self.lives))
    @rule(who=WHO)
    def destroy(self, who: int) -> None:
        left = [life for life in self.lives if life.ended == "withdrawn"]
        life = left[who % len(left)]
        answer = self.send("POST", f"/v1/erasures/{life.ref}/execute", role="cpo")
        assert answer.status_code == 202, answer.text

        async def destroyed() -> bool:
            found = await self.client.ask("GET", f"/v1/erasures/{life.ref}")
            return bool(found["state"] == "erased")

        self.world.wait(until(destroyed, SETTLE_S))
        found = self.world.wait(self.client.ask("GET", f"/v1/members/{life.ref}/changes"))["changes"]
        life.ended = "erased"
        life.happened(found[-1]["change_id"], "erased")
        self.world.done["erased"] += 1
        self.check_member(life)

    # What clients do wrong, and networks.

    @precondition(lambda self: self.last is not None)
    @rule()
    def send_the_last_command_again(self) -> None:
        """The answer was lost: the same key gets the same answer, and nothing happens twice."""
        assert self.last is not None
        method, path, body, headers, first = self.last
        again = self.raw(method, path, body, headers, "service", "")
        assert (again.status_code, again.json(), again.headers.get("ETag")) == (
            first.status_code,
            first.json(),
            first.headers.get("ETag"),
        )
        self.last = None
        self.world.done["retries"] += 1
        for life in self.lives:
            self.check_member(life)

    @precondition(lambda self: self.last is not None and self.last[2] is not None)
    @rule()
    def use_a_key_for_another_command(self) -> None:
        assert self.last is not None
        method, path, body, headers, _ = self.last
        answer = self.raw(method, path, {**body, "notice_version": "2020-01-01"}, headers, "service", "")
        assert answer.status_code == 422, answer.text
        self.world.done["refused key or body"] += 1

    @precondition(lambda self: self.living())
    @rule(who=WHO, version=st.sampled_from(["old", "none", "ahead"]))
    def change_a_version_that_is_not_there(self, who: int, version: str) -> None:
        life = self.alive(who)
        sent = {"none": {}, "old": {"seq": life.seq - 1}, "ahead": {"seq": life.seq + 1}}[version]
        answer = self.send("PATCH", f"/v1/members/{life.ref}", {"name": "늦은 이름"}, **sent)
        assert answer.status_code == (428 if version == "none" else 412), answer.text
        self.world.done["refused version"] += 1
        self.check_member(life)

    # In the end.

    def teardown(self) -> None:
        """Everybody has followed: every store, the third party, the ledger and the log say what the model says."""
        if sys.exc_info()[0] is not None:
            return  # a rule has failed: that is what is to be told
        self.world.wait(self.settled())
        self.world.done["lives"] += len(self.lives)

    async def settled(self) -> None:
        found = await self.differences()
        deadline = asyncio.get_running_loop().time() + SETTLE_S
        while found and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.3)
            found = await self.differences()
        assert found == [], found

    async def differences(self) -> list[str]:
        """Return what differs, in words without values."""
        received = await received_from(f"{self.client.described['partner_url']}/received")
        told = [(notice["data"]["change_id"], notice["data"]["values"]) for notice in received]
        found = []
        for life in self.lives:
            looks = [await look(life) for look in (self.stores, self.ledger, self.log)]
            mine = {change_id for change_id, _ in life.changes}
            looks.append(self.notices(life, [one for one in told if one[0] in mine]))
            found += [f"{life.ref} ({[w for _, w in life.changes]}): {what}" for look in looks for what in look]
        return found

    async def stores(self, life: Life) -> list[str]:
        members, processed = await self.client.members(life.ref), await self.client.processed(life.ref)
        wanted = {a: (life.member_row(a), life.processed_row(a)) for a in AFFILIATES}
        differing = [f"store of {a}" for a in AFFILIATES if (members[a], processed[a]) != wanted[a]]
        return differing or await self.password(life)

    async def password(self, life: Life) -> list[str]:
        """Only a one-way hash crosses, and it is of the newest password."""
        if life.gone:
            return []
        pool = await self.client.pool("tmax-cloud")
        kept = await pool.fetchval("SELECT password_hash FROM member WHERE member_ref = $1", life.ref)
        try:
            PasswordHasher().verify(kept, self.passwords[life.ref])
        except VerifyMismatchError:
            return ["hash of an older password"]
        return []

    async def ledger(self, life: Life) -> list[str]:
        found = (await self.client.ask("GET", f"/v1/members/{life.ref}/disclosures"))["disclosures"]
        told = {(row["recipient"], row["role"]) for row in found}
        return [] if told == life.given else [f"ledger: {told ^ life.given}"]

    async def log(self, life: Life) -> list[str]:
        """One entry per change, in order, and no other; one answer per recipient at most."""
        entries = [e for e in await self.client.entries(life.ref) if e.get("change_id")]
        facts = [(e["change_id"], e["type"].split(".")[3]) for e in entries if not e.get("stage")]
        answers = Counter((e["change_id"], e.get("recipient")) for e in entries if e.get("stage"))
        found = [] if facts == life.changes else [f"log: {facts} and not {life.changes}"]
        return found + [f"log: {n} answers of {who}" for (_, who), n in answers.items() if n > 1]

    def notices(self, life: Life, told: list[tuple[str, Any]]) -> list[str]:
        """One notice per correction of what the third party has (5.7), with the new values and no others."""
        owed = sorted(life.notices.items(), key=str)
        return [] if sorted(told, key=str) == owed else [f"notices: {len(told)} and not {len(owed)}"]


async def lived(client: Client, number: int, *, lives: int, steps: int) -> Counter[str]:
    """Run the machine `lives` times for `steps` commands each, in a thread of its own; return what was done."""
    world = World(client, asyncio.get_running_loop())
    chosen = settings(
        max_examples=lives,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a shorter history would be another hour on the running system
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    machine: Callable[[], LifeCycle] = seed(number)(lambda: LifeCycle(world))
    await asyncio.to_thread(run_state_machine_as_test, machine, settings=chosen)
    return world.done


async def test_lives_chosen_at_random_end_as_the_policy_says(client: Client) -> None:
    done = await lived(client, 1, lives=2, steps=35)
    print(dict(done))
    assert sum(done.values()) >= 35


ROUNDS_MAX = 4
MUST = {
    *("signed_up", "corrected", "consent_changed", "withdrawal_requested", "withdrawn", "released", "erased"),
    *("suspended by right", "released by right", "corrected by right", "joined again", "notices owed", "access"),
    *("retries", "refused version", "refused member_not_active", "refused marketing_use_required"),
}
"""What chance has to bring about: 25 lives may miss one of it, a hundred do not."""


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_many_lives_chosen_at_random_end_as_the_policy_says(client: Client, seed_long: int) -> None:
    done: Counter[str] = Counter()
    for number in range(ROUNDS_MAX):
        done += await lived(client, ROUNDS_MAX * seed_long + number, lives=25, steps=60)
        if done.keys() >= MUST:
            break
    print(dict(done))
    assert done.keys() >= MUST
