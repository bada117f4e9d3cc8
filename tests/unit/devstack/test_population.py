"""The demo's oracle is right about its own population, and every row is one that the policy accepts."""

import json
from collections import Counter
from pathlib import Path

from services.consent.bodies import ConsentsBody, ProfileBody
from services.devstack import population
from services.policy.model import load
from services.policy.profile import validate_profile


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_expected_rows_are_those_that_consents_and_profiles_allow(tmp_path: Path) -> None:
    expected = population.write(tmp_path / "m.ndjson", 200, "x.example.com", seed=7)
    written = rows(tmp_path / "m.ndjson")
    shared = sum(1 for row in written if row["consents"]["sharing"])
    services = Counter(profile["service"] for row in written for profile in row["profiles"])
    assert 0 < shared < 200
    assert expected.members == {"tmax-cloud": 200, "tmax-os": shared, "tmax-anc": shared}
    assert expected.processed == {"tmax-os": services["hypermeeting"], "tmax-anc": services["wapl"]}


def test_every_row_is_accepted_by_the_policy_and_by_the_api(tmp_path: Path) -> None:
    population.write(tmp_path / "m.ndjson", 200, "x.example.com", seed=8)
    rules = load()
    for row in rows(tmp_path / "m.ndjson"):
        ConsentsBody.model_validate(row["consents"])
        for given in row["profiles"]:
            profile = ProfileBody.model_validate(given)
            assert validate_profile(rules, profile.service, profile.role or "", profile.items()) == []


def test_addresses_are_unique_and_below_the_domain(tmp_path: Path) -> None:
    population.write(tmp_path / "m.ndjson", 200, "x.example.com", seed=9)
    emails = [row["email"] for row in rows(tmp_path / "m.ndjson")]
    assert len(set(emails)) == 200
    assert all(str(email).endswith("@x.example.com") for email in emails)


def test_the_same_seed_gives_the_same_people(tmp_path: Path) -> None:
    for name in ("a", "b"):
        population.write(tmp_path / name, 20, "x.example.com", seed=3)
    names = [[row["name"] for row in rows(tmp_path / n)] for n in ("a", "b")]
    assert names[0] == names[1]
