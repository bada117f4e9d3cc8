"""Members that live: a seeded stream of commands over HTTP, each retried with its own Idempotency-Key until answered.

What was accepted is noted in `Expected`; an answer that is lost is asked for again, so the note is never a guess.
"""

import asyncio
import random
import uuid
from typing import Any

import httpx

from tests.support.expected import AFFILIATES, PARTNER, Expected, Person

NOTICE = "2021-02-22"
RETRIES_MAX = 240
RETRY_S = 0.25
PASSWORD = "correct horse battery staple"
AGAIN = {409, 500, 502, 503, 504}


class Driver:
    """Sends commands for people of its own; several drivers may run at once."""

    def __init__(self, url: str, token: str, seed: int, expected: Expected) -> None:
        self._client = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=httpx.Timeout(30)
        )
        self._random = random.Random(seed)
        self._seed = seed
        self.expected = expected
        self.mine: list[Person] = []

    async def close(self) -> None:
        await self._client.aclose()

    async def send(self, method: str, path: str, body: Any = None, *, person: Person | None = None) -> dict[str, Any]:
        """Send one command until it is answered; the answer must be a success."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        if person is not None:
            headers["If-Match"] = f'"{person.seq}"'
        for _ in range(RETRIES_MAX):
            try:
                answer = await self._client.request(method, path, json=body, headers=headers)
            except httpx.TransportError:
                await asyncio.sleep(RETRY_S)
                continue
            if answer.is_success:
                found: dict[str, Any] = answer.json()
                return found
            in_flight = answer.status_code in AGAIN and answer.json().get("code") in (
                None,
                "request_in_flight",
                "internal",
            )
            assert in_flight or answer.status_code == 503, f"{method} {path.rpartition('/')[2]}: {answer.text}"
            await asyncio.sleep(RETRY_S)
        raise AssertionError(f"{method} was not answered")

    async def sign_up(self) -> Person:
        """Sign one person up with random consents and profiles."""
        number = f"{self._seed}-{uuid.uuid4().hex[:12]}"
        sharing = {a for a in AFFILIATES if a != "tmax-cloud" and self._random.random() < 0.7}
        profiles: dict[str, dict[str, Any]] = {}
        if self._random.random() < 0.6:
            phone = f"010-{self._random.randrange(10**4):04}-0000"
            profiles["hypermeeting"] = {"role": "host", "department": "개발", "title": "책임", "phone": phone}
        if self._random.random() < 0.5:
            profiles["wapl"] = {"role": "member"}
        person = Person("", f"{number}@example.kr", f"회원 {number[:6]}", sharing, profiles)
        body = {
            "email": person.email,
            "password": PASSWORD,
            "name": person.name,
            "profiles": [{"service": s, **p} for s, p in profiles.items()],
            "consents": {"collection": True, "sharing": dict.fromkeys(sharing, True), "marketing": {"use": False}},
            "notice_version": NOTICE,
        }
        answer = await self.send("POST", "/v1/members", body)
        person.ref = answer["member_ref"]
        self.expected.accept(person, answer)
        self.mine.append(person)
        return person

    async def correct(self, person: Person) -> None:
        """Correct the e-mail, the name or the phone."""
        kinds = ["email", "name"] + (["phone"] if "hypermeeting" in person.profiles else [])
        kind = self._random.choice(kinds)
        fresh = uuid.uuid4().hex[:10]
        if kind == "phone":
            value = f"010-9{self._random.randrange(10**3):03}-{self._random.randrange(10**4):04}"
            body: dict[str, Any] = {"profiles": [{"service": "hypermeeting", "phone": value}]}
            item = "hypermeeting.phone"
        else:
            value = f"{fresh}@example.kr" if kind == "email" else f"이름 {fresh}"
            body, item = {kind: value}, kind
        answer = await self.send("PATCH", f"/v1/members/{person.ref}", body, person=person)
        self.expected.accept(person, answer)
        if kind == "phone":
            person.profiles["hypermeeting"]["phone"] = value
        else:
            setattr(person, kind, value)
        self.expected.correct(person, answer["change_id"], {item: value})

    async def disclose(self, person: Person) -> None:
        """Give the partner one or two items."""
        items = ["email"] + (["hypermeeting.phone"] if "hypermeeting" in person.profiles else ["name"])
        given = self._random.sample(items, self._random.randint(1, len(items)))
        body = {"recipient": PARTNER, "items": given, "purpose": "P1.1", "basis": "consent"}
        await self.send("POST", f"/v1/members/{person.ref}/disclosures", body)
        person.partner_has |= {item: person.value(item) for item in given}

    async def share(self, person: Person) -> None:
        """Give or take back sharing with one affiliate."""
        affiliate = self._random.choice(["tmax-os", "tmax-anc"])
        granted = affiliate not in person.sharing
        body = {"granted": granted, "recipients": [affiliate], "notice_version": NOTICE}
        answer = await self.send("PUT", f"/v1/members/{person.ref}/consents/sharing", body, person=person)
        self.expected.accept(person, answer)
        (person.sharing.add if granted else person.sharing.discard)(affiliate)

    async def market(self, person: Person) -> None:
        """Turn marketing on or off for one sender: use first, then e-mail; taking back use takes all."""
        sender = self._random.choice(AFFILIATES)
        given = person.marketing.get(sender, set())
        granted, channel = (True, "use") if not given else (True, "email") if given == {"use"} else (False, "use")
        body = {"granted": granted, "senders": [sender], "channel": channel, "notice_version": NOTICE}
        answer = await self.send("PUT", f"/v1/members/{person.ref}/consents/marketing", body, person=person)
        self.expected.accept(person, answer)
        person.marketing[sender] = given | {channel} if granted else set()

    async def leave(self, person: Person) -> None:
        """Ask to leave; then confirm, or think again."""
        self.expected.accept(person, await self.send("POST", f"/v1/members/{person.ref}/withdrawal"))
        person.status = "withdrawal_requested"
        if self._random.random() < 0.3:
            self.expected.accept(person, await self.send("POST", f"/v1/members/{person.ref}/withdrawal/cancel"))
            person.status = "active"
            return
        self.expected.accept(person, await self.send("POST", f"/v1/members/{person.ref}/withdrawal/confirm"))
        person.withdraw()

    async def live(self, commands: int, *, pause_s: float = 0.0) -> None:
        """Send about `commands` commands: new people, and changes of those there are."""
        verbs = [self.correct] * 5 + [self.disclose] * 2 + [self.share] * 3 + [self.market] * 2 + [self.leave]
        for _ in range(commands):
            active = [p for p in self.mine if p.status == "active"]
            if len(active) < 3 or self._random.random() < 0.15:
                await self.sign_up()
            else:
                await self._random.choice(verbs)(self._random.choice(active))
            await asyncio.sleep(pause_s)

    async def race(self, person: Person, writers: int) -> list[dict[str, Any]]:
        """Correct the name `writers` times at once, whatever the version; return each answer with its name."""
        names = [f"이름 {n} {uuid.uuid4().hex[:6]}" for n in range(writers)]

        async def one(name: str) -> dict[str, Any]:
            headers = {"Idempotency-Key": str(uuid.uuid4()), "If-Match": "*"}
            answer = await self._client.patch(f"/v1/members/{person.ref}", json={"name": name}, headers=headers)
            assert answer.status_code == 200, answer.text
            return {**answer.json(), "name": name}

        return list(await asyncio.gather(*(one(name) for name in names)))
