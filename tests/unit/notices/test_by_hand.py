"""Who has no server: what the settings say of third parties that staff tell."""

import pytest

from services.propagator.notices import by_hand, endpoints
from services.propagator.notices.endpoints import EndpointError

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
URL = "https://partner.example/webhook"


def test_a_channel_leaves_a_third_party_to_staff_and_makes_it_no_endpoint() -> None:
    entries = {"m": {"channel": "email"}, "p": {"channel": "post"}, "w": {"url": URL, "secret": SECRET}, "x": {}}
    assert by_hand.channels(entries) == {"m": "email", "p": "post"}
    assert list(endpoints.parse(entries, production=True)) == ["w"]


@pytest.mark.parametrize(
    ("entry", "named"),
    [({"channel": "fax"}, "channel is"), ({"channel": "email", "url": URL, "secret": SECRET}, "not both")],
)
def test_a_bad_channel_is_named_at_start(entry: dict[str, object], named: str) -> None:
    with pytest.raises(EndpointError, match=named) as caught:
        by_hand.channels({"a-partner": entry})
    assert "a-partner" in str(caught.value)
