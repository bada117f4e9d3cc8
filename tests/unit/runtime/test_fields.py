"""Fields take what the document says they take, no more and no less."""

import re
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from services.consent.bodies import Name, Reason
from services.consent.replays.api import ProgressBody
from services.runtime.fields import Count


@pytest.mark.parametrize(("given", "read"), [(0, 0), (33, 33), (33.0, 33), (2**53 - 1, 2**53 - 1)])
def test_a_whole_number_is_one_however_it_is_written(given: float, read: int) -> None:
    found = TypeAdapter(Count).validate_python(given)
    assert (found, type(found)) == (read, int)


@pytest.mark.parametrize("given", [33.5, -1, -1.0, 2**53, 1e300, float("inf"), float("nan"), "33", True, None])
def test_nothing_else_is_a_count(given: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Count).validate_python(given)


def test_the_document_says_from_where_to_where_a_count_goes() -> None:
    assert TypeAdapter(Count).json_schema() == {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}


def test_where_to_go_on_is_a_count_or_a_place() -> None:
    told = {"sha256": "0" * 64, "state": "running", "done": 1.0, "total": 2, "positions": {"a/0": 33.0, "b/1": "33"}}
    assert ProgressBody.model_validate(told).positions == {"a/0": 33, "b/1": "33"}


@pytest.mark.parametrize("field", [Name, Reason])
@pytest.mark.parametrize("blank", ["", " ", "\t", "\f\n", "\u3000"])
def test_a_text_of_nothing_but_space_is_refused_and_the_document_says_so(field: Any, blank: str) -> None:
    taken: TypeAdapter[str] = TypeAdapter(field)
    with pytest.raises(ValidationError):
        taken.validate_python(blank)
    assert taken.validate_python(" 홍 길동 ") == "홍 길동"
    pattern = taken.json_schema()["pattern"]
    assert not re.search(pattern, blank)
    assert re.search(pattern, " 홍 길동 ")
