"""Offsets of a replay: whom they name is read from there, and who is not named is not read."""

from typing import Any, cast

import pytest

from services.propagator.replay import offsets
from services.propagator.replay.plan import PlanError, Selection, affiliates_in, parse_offsets
from services.runtime.settings import Settings

TOPICS = {"dongui.affiliate.tmax-os.v1": "tmax-os", "dongui.affiliate.tmax-anc.v1": "tmax-anc"}


def test_lines_of_kafkas_own_tool_are_read_by_affiliate_and_partition() -> None:
    text = '"dongui.affiliate.tmax-os.v1",0,12\ndongui.affiliate.tmax-os.v1, 3, 0\n\ndongui.affiliate.tmax-anc.v1,0,7\n'
    assert parse_offsets(text, TOPICS) == {"tmax-os": {0: 12, 3: 0}, "tmax-anc": {0: 7}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the offsets are empty"),
        ("\n \n", "the offsets are empty"),
        ("\ndongui.affiliate.tmax-os.v1,0\n", "line 2 .* is not topic,partition,offset"),
        ("dongui.facts.v1,0,0\n", "line 1 .* names no affiliate's topic"),
    ],
)
def test_offsets_that_say_nothing_or_something_else_are_refused(text: str, told: str) -> None:
    with pytest.raises(PlanError, match=told):
        parse_offsets(text, TOPICS)


def test_a_replay_from_offsets_is_of_the_affiliates_they_name() -> None:
    named = {"tmax-os": {0: 12}, "tmax-anc": {0: 7}}
    assert affiliates_in(named, ()) == ("tmax-anc", "tmax-os")
    assert affiliates_in(named, ["tmax-os"]) == ("tmax-os",)


def test_an_affiliate_that_is_asked_for_and_not_named_is_refused() -> None:
    with pytest.raises(PlanError, match="name no partition of: tmax-anc, tmax-cloud"):
        affiliates_in({"tmax-os": {0: 12}}, ["tmax-os", "tmax-cloud", "tmax-anc"])


async def test_where_offsets_are_given_what_they_do_not_name_has_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[Any] = []

    async def of_topic(*arguments: Any) -> tuple[()]:
        starts.append(arguments[-1])
        return ()

    monkeypatch.setattr(offsets, "of_topic", of_topic)
    named = Selection(affiliates=("tmax-os", "tmax-anc"), offsets={"tmax-os": {0: 12}})
    for selection, affiliate in ((named, "tmax-os"), (named, "tmax-anc"), (Selection(affiliates=()), "tmax-anc")):
        await offsets.ranges(Settings(), cast(Any, None), affiliate, selection)
    assert starts == [{0: 12}, {}, None]
