"""`dongui member show` tells every change, however many pages of them there are."""

from typing import Any

from services.commands import member

PAGES: dict[str, Any] = {
    "0": {"changes": [{"seq": 1}, {"seq": 2}], "next": 2},
    "2": {"changes": [{"seq": 3}], "next": None},
}


class Paged:
    def get(self, path: str, cursor: str) -> Any:
        assert path == "/v1/members/x/changes"
        return PAGES[cursor]


def test_every_page_of_changes_is_read() -> None:
    api: Any = Paged()
    assert [one["seq"] for one in member._changes(api, "x")] == [1, 2, 3]
