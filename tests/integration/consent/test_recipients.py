"""Whom a correction tells, over HTTP and the real ledger, against the oracle (5.7): random lives of members."""

import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from services.consent.handlers import Consent
from services.policy.shapes import ThirdParty
from tests.integration.consent.harness import Service, a_token, bearer
from tests.integration.consent.test_corrections import HOST, OFFICER, receive
from tests.support.holders import Holders

THIRD_PARTIES = ("courier", "printer", "post-office")
ITEMS = ("email", "name", "hypermeeting.phone", "hypermeeting.title")
OUTCOMES = ("corrected", "not_held", "refused", "superseded")
ACTIONS = ("disclose", *["correct"] * 4, *["answer"] * 3, "ask")
STEPS = 14


@pytest_asyncio.fixture
async def several(silent: Service) -> AsyncIterator[Service]:
    """The service with a policy that knows three third parties more."""
    known = silent.consent.rules
    more = {who: ThirdParty(id=who, ko=who, en=who) for who in THIRD_PARTIES}
    _set_rules(silent.consent, replace(known, third_parties={**known.third_parties, **more}))
    yield silent
    _set_rules(silent.consent, known)


def _set_rules(consent: Consent, rules: Any) -> None:
    object.__setattr__(consent, "rules", rules)


@dataclass
class Life:
    """One member under random requests, and the oracle beside it."""

    service: Service
    chance: random.Random
    ref: str = ""
    seq: int = 1
    values: dict[str, str] = field(default_factory=dict)
    notices: list[dict[str, Any]] = field(default_factory=list)
    oracle: Holders = field(default_factory=Holders)
    mine: str = field(default_factory=lambda: uuid.uuid4().hex[:10])

    async def begin(self) -> None:
        made = await self.service.sign_up(email=self._value("email"), name="하나", profiles=[HOST])
        self.ref = made["member_ref"]
        shown = {"email": self._value("email"), "name": "하나"}
        self.values = shown | {"hypermeeting.phone": HOST["phone"], "hypermeeting.title": HOST["title"]}
        for _ in range(2):
            await self._disclose()

    def _value(self, item: str) -> str:
        """Few values, so that corrections go back and forth; an address is the member's own."""
        word = self.chance.choice(("one", "two", "three")) if self.values else "one"
        return f"{word}.{self.mine}@example.com" if item == "email" else word

    async def step(self) -> None:
        await getattr(self, f"_{self.chance.choice(ACTIONS)}")()
        await self._check_stale()

    async def _disclose(self) -> None:
        who, items = self.chance.choice(THIRD_PARTIES), self.chance.sample(ITEMS, self.chance.randint(1, 3))
        body = {"recipient": who, "items": items, "purpose": "delivery", "basis": "consent"}
        answer = await self.service.post(f"/v1/members/{self.ref}/disclosures", body)
        assert answer.status_code == 201, answer.text
        self.oracle.give(who, {item: self.values[item] for item in items})

    async def _correct(self) -> None:
        item = self.chance.choice(ITEMS)
        value = self._value(item)
        name = item.rpartition(".")[2]
        body = {"profiles": [{"service": "hypermeeting", name: value}]} if "." in item else {item: value}
        answer = await self.service.patch(self.ref, self.seq, body)
        assert answer.status_code == 200, answer.text
        owed = self.oracle.owed({item: value} if self.values[item] != value else {})
        self.values[item], self.seq = value, answer.json()["seq"]
        await self._check_told(answer.json()["change_id"], owed)

    async def _check_told(self, change_id: str, owed: dict[str, set[str]]) -> None:
        """The notices of a change are exactly those that the oracle says are owed."""
        told = {}
        for who in THIRD_PARTIES:
            for notice in await self._listed(who):
                if notice["change_id"] == change_id:
                    told[who] = set(notice["items"])
                    self.oracle.give(who, {i: self.values[i] for i in notice["items"]}, len(self.notices))
                    self.notices.append(notice | {"recipient": who})
        assert told == owed
        shown = (await self.service.http.get(f"/v1/changes/{change_id}")).json()["recipients"]
        assert {r["id"] for r in shown if r["kind"] == "third_party"} == set(owed)

    async def _listed(self, who: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after: str | None = "0"
        while after is not None:
            headers = bearer(a_token(who, "third_party"))
            page = (await self.service.http.get(f"/v1/notices?after={after}", headers=headers)).json()
            found, after = found + page["notices"], page["next"]
        return found

    async def _answer(self) -> None:
        open_ = [n for n in range(len(self.notices)) if self.oracle.answers.get(n) in {None, "refused"}]
        if not open_:
            return
        which, outcome = self.chance.choice(open_), self.chance.choice(OUTCOMES)
        if outcome == "superseded" and self.oracle.answers.get(which) == "refused":
            return
        notice = self.notices[which]
        self.oracle.answers[which] = outcome
        if outcome == "superseded":
            await receive(self.service, notice, "superseded")
            return
        by_staff = self.chance.random() < 0.3
        headers = OFFICER if by_staff else bearer(a_token(notice["recipient"], "third_party"))
        body = {"outcome": outcome, "reason": "law.keeps_it"} | ({"evidence": "mail:1"} if by_staff else {})
        path = f"/v1/notices/{notice['notice_id']}/acknowledgement"
        answer = await self.service.http.post(path, json=body, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"outcome": outcome})

    async def _ask(self) -> None:
        """A correction that is asked for and comes to nothing: it changes no value, and nobody hears of it."""
        changes = {"changes": {"name": "바뀌지 않을 이름"}, "received_at": datetime.now(UTC).isoformat()}
        body = {"member_ref": self.ref, "type": "correction", "channel": "email", **changes}
        asked = await self.service.post("/v1/rights-requests", body, headers=OFFICER)
        assert asked.status_code == 201, asked.text
        gone = await self.service.post(f"/v1/rights-requests/{asked.json()['id']}/withdraw", {}, headers=OFFICER)
        assert gone.status_code == 200, gone.text
        listed = [n for who in THIRD_PARTIES for n in await self._listed(who)]
        assert len([n for n in listed if n["member_ref"] == self.ref]) == len(self.notices)

    async def _check_stale(self) -> None:
        rows = (await self.service.http.get(f"/v1/members/{self.ref}/disclosures")).json()["disclosures"]
        found = {(r["recipient"], item) for r in rows if r["kind"] == "third_party" for item in r["stale_items"]}
        assert found == set(self.oracle.stale())


async def lived(service: Service, seed: int) -> int:
    """Live one life; return how many notices it owed."""
    life = Life(service, random.Random(seed))
    await life.begin()
    for _ in range(STEPS):
        await life.step()
    return len(life.notices)


@pytest.mark.timeout(300)
async def test_the_ledger_tells_exactly_whom_the_oracle_names(several: Service) -> None:
    owed = [await lived(several, seed) for seed in range(3)]
    assert sum(owed) > 6, "these lives owe notices, or the check says nothing"


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_the_ledger_tells_exactly_whom_the_oracle_names_in_sixty_lives(several: Service, seed_long: int) -> None:
    owed = [await lived(several, seed) for seed in range(1000 * seed_long, 1000 * seed_long + 60)]
    print(f"60 lives, {sum(owed)} notices owed and told")
    assert sum(owed) > 60
