"""What stands in DONGUI_THIRD_PARTIES: webhooks with their keys, and third parties that staff tell."""

from datetime import UTC, datetime

import pytest

from services.propagator.notices import endpoints, signing
from services.propagator.notices.endpoints import EndpointError

NEW = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OLD = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
URL = "https://partner.example/webhook"
UNTIL = datetime(2026, 12, 1, tzinfo=UTC)


def test_an_old_secret_signs_beside_the_new_one_until_its_end() -> None:
    entry = {"url": URL, "secret": NEW, "old_secret": OLD, "old_secret_until": "2026-12-01T09:00:00+09:00"}
    found = endpoints.parse({"p": entry}, production=True).webhooks["p"]
    both = (signing.secret_of(NEW), signing.secret_of(OLD))
    assert found.secrets(datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)) == both
    assert found.secrets(UNTIL) == both[:1]
    unlimited = endpoints.parse({"p": {"url": URL, "secret": NEW, "old_secret": OLD}}, production=True)
    assert unlimited.webhooks["p"].secrets(datetime(2099, 1, 1, tzinfo=UTC)) == both


def test_who_has_no_server_is_left_to_staff() -> None:
    entries = {"m": {"channel": "email"}, "p": {"channel": "post"}, "w": {"url": URL, "secret": NEW}, "x": {}}
    found = endpoints.parse(entries, production=True)
    assert found.manual == {"m": "email", "p": "post"}
    assert list(found.webhooks) == ["w"]


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"channel": "fax"}, "channel"),
        ({"channel": "email", "url": URL, "secret": NEW}, "not both"),
        ({"url": URL, "secret": NEW, "old_secret": "hunter2"}, "old_secret must"),
        ({"url": URL, "secret": NEW, "old_secret": OLD, "old_secret_until": "2026-12-01"}, "old_secret_until"),
        ({"url": URL, "secret": NEW, "old_secret": OLD, "old_secret_until": "soon"}, "old_secret_until"),
        ({"url": URL, "secret": NEW, "concurrency": 0}, "concurrency"),
        ({"url": URL, "secret": NEW, "concurrency": "8"}, "concurrency"),
    ],
)
def test_a_bad_entry_is_named_at_start_with_what_to_write_and_without_a_secret(
    entry: dict[str, object], named: str
) -> None:
    with pytest.raises(EndpointError, match=named) as caught:
        endpoints.parse({"a-partner": entry}, production=True)
    assert "a-partner" in str(caught.value)
    assert "hunter2" not in str(caught.value)
