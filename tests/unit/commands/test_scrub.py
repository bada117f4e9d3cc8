"""What must not leave an installation is taken out, whoever wrote it; what an engineer needs stays."""

import pytest
from pydantic import SecretStr

from services.commands import scrub
from services.runtime.settings import Settings


@pytest.mark.parametrize(
    "personal",
    [
        "hong.gildong@example.co.kr",
        "010-1234-5678",
        "02-123-4567",
        "01012345678",
        "900101-1234567",
        "홍길동",
        "서울특별시 강남구",
        "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA",
        "eyJhbGciOiJFZDI1NTE5In0.eyJzdWIiOiJzcmUifQ.c2lnbmF0dXJl",
        "Bearer abc.def",
    ],
)
def test_what_looks_personal_or_secret_is_taken_out(personal: str) -> None:
    cleaned = scrub.clean(f"before {personal} after")
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")
    assert personal.removeprefix("Bearer ") not in cleaned


@pytest.mark.parametrize(
    "useful",
    [
        '{"event":"relay_session_ended","error":"KafkaError","at":"2026-11-25T02:44:59.123456Z"}',
        'dongui_lag_seconds{recipient="tmax-os"} 0.01912345678',
        "change 01a2108c-3f1d-72d8-8418-49ecf61b6044 partition 3 offset 1234567",
        "127.0.0.1:8801 2026-11-24 11:22:33,456",
    ],
)
def test_what_an_engineer_needs_stays(useful: str) -> None:
    assert scrub.clean(useful) == useful


def test_a_url_keeps_its_place_and_loses_its_password() -> None:
    cleaned = scrub.clean("cannot connect to postgresql://consent:s3cret@db.internal:5432/consent")
    assert cleaned == "cannot connect to postgresql://consent:[redacted]@db.internal:5432/consent"


def test_a_reference_to_a_member_goes_where_it_is_named_as_one() -> None:
    ref = "01a2108c-3f1d-72d8-8418-49ecf61b6044"
    assert ref not in scrub.clean_lines(f'{{"event":"gap_opened","member_ref":"{ref}"}}\nmember_ref={ref}')


def test_personal_keys_of_a_line_go_before_anything_else() -> None:
    assert "gildong" not in scrub.clean_lines('{"event":"x","name":"gildong","deep":{"Phone":"gildong"}}')


def test_every_secret_of_the_settings_is_known_with_the_passwords_inside() -> None:
    settings = Settings(
        consent_dsn=SecretStr("postgresql://consent:p%40ssword@h/consent"),
        affiliate_tokens={"tmax-os": SecretStr("opaque-token")},
        third_parties={"partner": {"url": "https://p.example", "secret": "whsec_MfKQ9r8"}},
        kafka_password=SecretStr("short"),
    )
    known = scrub.secrets_of(settings)
    assert {"p@ssword", "opaque-token", "whsec_MfKQ9r8"} <= known
    assert "short" not in known, "it would take ordinary words along"
    assert scrub.clean("a p@ssword, an opaque-token", known) == "a [redacted], an [redacted]"
