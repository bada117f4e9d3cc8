"""What we are built of: licences allowed, a bill of materials that its own schema accepts, no secret in the tree."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cyclonedx.schema
import jsonschema_rs
import pytest

from infra import supply
from infra.supply import LicenceUnknownError, Part
from services.devstack import jars

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = Path(cyclonedx.schema.__path__[0]) / "_res"


def test_every_locked_packages_licence_is_allowed() -> None:
    found = supply.packages()
    assert supply.refused(found) == []
    running = [part for part in found if part.needed]
    assert len(running) > 50
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    elsewhere = set(re.findall(r"^([\w.-]+)==\S+ ; sys_platform == 'win32'", lock, re.MULTILINE))
    assert {part.name for part in running if part.licence is None} <= elsewhere, "not installed, so not looked at"
    assert [part.name for part in running if part.name in supply.APART] == [], "what runs apart is in no service"


@pytest.mark.parametrize(
    ("licence", "may"),
    [
        ("MIT", True),
        ("Apache-2.0 AND MIT", True),
        ("GPL-3.0-only OR MIT", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("AGPL-3.0-only", False),
        ("MIT AND GPL-2.0-only", False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
        ("LGPL-2.1-or-later OR SSPL-1.0", False),
    ],
)
def test_a_licence_is_allowed_when_allowed_ones_meet_it(licence: str, may: bool) -> None:
    assert supply.may(licence) is may
    assert supply.refused([Part("x", "1", licence, needed=True)]) == ([] if may else [f"x: {licence}"])


def test_a_licence_that_nobody_understands_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "strange-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\nLicense: ask my lawyer\n")
    (found,) = supply.distributions(path=[str(tmp_path)])
    with pytest.raises(LicenceUnknownError, match=r"strange 1\.0"):
        supply.licence_of(found)


def test_the_bill_of_materials_is_valid_and_complete() -> None:
    made = json.loads(supply.sbom())
    schema = json.loads((SCHEMAS / "bom-1.6.SNAPSHOT.schema.json").read_text(encoding="utf-8"))

    def beside(uri: str) -> object:
        return json.loads((SCHEMAS / uri.rsplit("/", 1)[-1]).read_text(encoding="utf-8"))

    errors = jsonschema_rs.validator_for(schema, retriever=beside).iter_errors(made)
    assert [error.message for error in errors] == []
    names = {c["name"] for c in made["components"]}
    assert names >= supply.locked(ROOT / "requirements-dev.lock").keys()
    assert {c["hashes"][0]["content"] for c in made["components"] if "hashes" in c} == set(jars.load_lock().values())
    needed = {c["name"] for c in made["components"] if c["scope"] == "required"}
    assert needed == supply.locked(ROOT / "requirements.lock").keys()
    own = next(d for d in made["dependencies"] if d["ref"] == made["metadata"]["component"]["bom-ref"])
    assert {"aiokafka", "asyncpg", "faust-streaming"} <= {d.split(":")[1].split("@")[0] for d in own["dependsOn"]}


SECRETS = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----\s*[A-Za-z0-9+/=]{16}"),
    "a private JWK": re.compile(r"\"d\"\s*:\s*\"[A-Za-z0-9_-]{40,}\""),
    "a signed token": re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}"),
    "a cloud key": re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a forge's token": re.compile(r"(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{40,}|glpat-[A-Za-z0-9_-]{20})"),
    "a chat's token": re.compile(r"xox[abprs]-[A-Za-z0-9-]{10,}"),
    "an API key": re.compile(r"(?:sk|rk)_live_[A-Za-z0-9]{16,}|\bAIza[A-Za-z0-9_-]{35}\b|\bnpm_[A-Za-z0-9]{36}\b"),
    "a webhook secret": re.compile(r"whs(?:ec|k)_[A-Za-z0-9+/]{32,}={0,2}"),
    "a vault token": re.compile(r"hv[sb]\.[A-Za-z0-9]{20,}"),
}
PUBLISHED = {
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "the example of the Standard Webhooks specification",
    "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=": "the digits 0 to f in order, twice: tests of signatures",
}
"""Values that look like secrets and are known to everybody, with where they are from."""


def tracked() -> Iterator[Path]:
    """Yield every file that git tracks, or would, but pictures."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = (ROOT / line for line in listed.splitlines())
    yield from (path for path in paths if path.is_file() and path.suffix != ".png")


def found_in(text: str) -> list[str]:
    return [
        f"{what}: {match.group()[:12]}..."
        for what, pattern in SECRETS.items()
        for match in pattern.finditer(text)
        if match.group() not in PUBLISHED
    ]


def test_no_secret_is_in_the_tree() -> None:
    looked, found = 0, {}
    for path in tracked():
        looked += 1
        if hits := found_in(path.read_bytes().decode("utf-8", "replace")):
            found[str(path.relative_to(ROOT))] = hits
    assert found == {}
    assert looked > 500
    for name in ("secrets", ".env", "ca.key", "kek"):
        assert not (ROOT / name).exists() or (ROOT / name) not in set(tracked())


def made_up(*parts: str) -> str:
    """Put a secret together here, so that this file holds none."""
    return "".join(parts)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a private key", made_up("-----BEGIN ", "PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==")),
        ("a private key", made_up("-----BEGIN EC ", "PRIVATE KEY-----\nMHcCAQEEIIrYSSNQFaA2")),
        ("a private JWK", made_up('{"kty":"OKP","d', '":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}')),
        ("a signed token", made_up("eyJhbGciOiJFZERTQSJ9.", "eyJzdWIiOiJzaG9wIn0.", "c2lnbmF0dXJlLXNpZ25hdHVyZQ")),
        ("a cloud key", made_up("AKIA", "IOSFODNN7EXAMPLE")),
        ("a forge's token", made_up("ghp_", "a" * 36)),
        ("a webhook secret", made_up("whsec_", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD")),
        ("a vault token", made_up("hvs.", "CAESIJlWh3bFsKQ0yZ8uQ1pX")),
    ],
)
def test_the_scan_would_see_each_kind(what: str, text: str) -> None:
    assert [hit.partition(":")[0] for hit in found_in(f"x = '{text}'")] == [what]
