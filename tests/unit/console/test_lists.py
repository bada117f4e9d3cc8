"""What the console's lists show when there is much: nothing that is open goes missing, and the newest is on top."""

from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from services.console.apis import PAGES_MAX, Asked, Asker
from services.console.pages import audit, deliveries, erasures, rights

PAGE = 100
DONE = 2_500
CLOSED = [
    {"id": n, "position": n, "state": "done", "due_on": "2026-01-12", "received_at": "2026-01-02T00:00:00Z"}
    for n in range(1, DONE + 1)
]
NEW = {
    "id": "new",
    "position": 2501,
    "state": "received",
    "due_on": "2026-12-10",
    "received_at": "2026-11-30T00:00:00Z",
}
LATE = {
    "id": "late",
    "position": 2502,
    "state": "decided",
    "due_on": "2026-12-03",
    "received_at": "2026-11-30T00:00:00Z",
}
OPEN = {"received", "verified", "deferred", "decided"}


class Lists:
    """The APIs as far as lists go: by state, from either end, a hundred a page."""

    def __init__(self, key: str, rows: list[dict[str, Any]]) -> None:
        self.key, self.rows = key, rows
        self.asked: list[dict[str, str]] = []

    async def send(self, _: str, request: Asked) -> httpx.Response:
        self.asked.append(request.params)
        newest, state = request.params.get("order") == "newest", request.params.get("state")
        start = int(request.params.get("cursor") or (10**9 if newest else 0))
        found = [r for r in self.rows if state in {None, "any", r["state"]} or (state == "open" and r["state"] in OPEN)]
        found = [
            r for r in found[:: -1 if newest else 1] if (r["position"] < start) == newest and r["position"] != start
        ]
        following = found[PAGE - 1]["position"] if len(found) >= PAGE else None
        return httpx.Response(200, json={self.key: found[:PAGE], "next": following})


def visit(apis: Any) -> Any:
    """As much of a visit as a list looks at; `page` gives back what the template would get."""
    desk = SimpleNamespace(gate=SimpleNamespace(clock=lambda: None))
    return SimpleNamespace(api=Asker(apis, "token", "ko"), require=lambda *_: None, page=_page, desk=desk)


def _page(template: str, **context: Any) -> dict[str, Any]:
    return context


async def test_new_requests_are_seen_after_any_number_of_old_ones_first_day_first() -> None:
    shown = await rights._desk(visit(Lists("requests", [*CLOSED, NEW, LATE])), "open")
    assert [r["id"] for r in shown["requests"]] == ["late", "new"]


async def test_requests_that_ended_are_turned_over_from_the_newest() -> None:
    apis = Lists("requests", [*CLOSED, NEW])
    first = await rights._desk(visit(apis), "all")
    assert [r["id"] for r in first["requests"]][:3] == ["new", 2500, 2499]
    second = await rights._desk(visit(apis), "all", str(first["following"]))
    assert [r["id"] for r in second["requests"]][:2] == [2401, 2400]


async def test_cases_that_ended_are_turned_over_from_the_newest() -> None:
    shown: Any = await erasures.cases(visit(Lists("erasures", [*CLOSED, NEW])), "any")
    assert [c["id"] for c in shown["cases"]][:2] == ["new", 2500]


async def test_a_list_that_is_longer_than_is_followed_is_said_to_be_cut() -> None:
    whole, cut = visit(Lists("duties", CLOSED)), visit(Endless())
    assert len(await whole.api.listed("consent", "/v1/duties", "duties")) == 2_500
    assert whole.api.cut == []
    assert len(await cut.api.listed("consent", "/v1/duties", "duties")) == PAGES_MAX
    assert cut.api.cut == ["/v1/duties"]


async def test_a_last_day_beyond_the_calendar_is_told_to_be_none() -> None:
    asked = visit(Lists("entries", []))
    asked.request = SimpleNamespace(query_params={"end": "9999-12-31"})
    asked.asking = lambda _: asked.api
    shown: Any = await audit.search(asked)
    assert (shown["status"], shown["refusal"].code, shown["found"]["entries"]) == (422, "not_a_date", [])


class Endless:
    """A list without an end."""

    async def send(self, _: str, request: Asked) -> httpx.Response:
        following = int(request.params.get("cursor", "0")) + 1
        return httpx.Response(200, json={"duties": [{}], "next": following})


class Deliveries:
    """The two lists of the page of deliveries, and what was asked of them."""

    def __init__(self) -> None:
        self.asked: dict[str, dict[str, str]] = {}

    async def send(self, _: str, request: Asked) -> httpx.Response:
        self.asked[request.path] = request.params
        rows: dict[str, Any] = {"notices": [], "messages": [], "unanswered": 2_001, "next": 7}
        return httpx.Response(200, json=rows)


@pytest.mark.parametrize(
    ("which", "asked"),
    [
        ("all", {"order": "newest", "after": "9"}),
        ("open", {"unanswered": "true", "after": "9"}),
        ("<other>", {"order": "newest", "after": "9"}),
    ],
)
async def test_notices_and_messages_are_asked_for_from_the_end_that_matters(which: str, asked: dict[str, str]) -> None:
    apis = Deliveries()
    shown: Any = await deliveries.deliveries(visit(apis), "sent", which, "9", "5")
    assert apis.asked["/v1/notices"] == asked
    assert apis.asked["/v1/messages"] == {"state": "sent", "order": "newest", "cursor": "5"}
    assert (shown["open_notices"], shown["notices_after"], shown["messages_after"]) == (2_001, 7, 7)
