"""The certificate of a correction, end to end: asked for by command, verified offline, spoilt and found."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from services import cli
from tests.e2e.client import HOST, Client, until
from tests.support.expected import AFFILIATES, PARTNER

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def as_operator(client: Client, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings of an operator of this installation; its data directory."""
    data_dir = client.system.base_dir
    monkeypatch.setenv("DONGUI_DATA_DIR", str(data_dir))
    monkeypatch.setenv("DONGUI_CONSENT_URL", client.described["consent_url"])
    monkeypatch.setenv("DONGUI_SERVICE_TOKEN", client.token("service"))
    return data_dir


async def dongui(*arguments: str | Path) -> Result:
    words = [str(one) for one in arguments]
    return await asyncio.to_thread(CliRunner().invoke, cli.build(words), words)


async def certified(change_id: str, file: Path) -> Result:
    """Ask until the log has signed the receipts too: they come after the last answer."""

    async def asked() -> Any:
        done = await dongui("change", "certificate", change_id, "--output", file)
        return None if "not_sealed_yet" in done.output else done

    found: Result = await until(asked)
    return found


async def test_a_correction_ends_with_a_certificate_that_verifies_offline(
    client: Client, as_operator: Path, tmp_path: Path
) -> None:
    """Clause 5.7, to its end."""
    ref = (await client.sign_up(profiles=[HOST]))["member_ref"]
    given = {"recipient": PARTNER, "items": ["email"], "purpose": "P1.1", "basis": "consent"}
    await client.ask("POST", f"/v1/members/{ref}/disclosures", given)
    change = await client.ask("PATCH", f"/v1/members/{ref}", {"email": f"new-{ref}@example.kr"}, seq=1)
    await client.followed(change["change_id"])
    file, page = tmp_path / "certificate.json", tmp_path / "certificate.html"
    done = await certified(change["change_id"], file)
    assert done.exit_code == 0, done.output
    document = json.loads(file.read_text(encoding="utf-8"))["certificate"]
    assert {r["id"]: r["result"] for r in document["recipients"]} == {
        **dict.fromkeys(AFFILIATES, "applied"),
        PARTNER: "corrected",
    }
    assert document["result"] == "converged"
    assert "example.kr" not in file.read_text(encoding="utf-8"), "no value of the member is in it"
    checked = await dongui("audit", "verify", file)
    assert (checked.exit_code, checked.output.split(",")[0]) == (0, "verified: the certificate")
    file.write_text(file.read_text(encoding="utf-8").replace('"corrected"', '"not_held"'), encoding="utf-8")
    spoilt = await dongui("audit", "verify", file)
    assert (spoilt.exit_code, "NOT VERIFIED" in spoilt.output) == (3, True)
    assert (await certified(change["change_id"], page)).exit_code == 0
    assert "정정 반영 확인서" in page.read_text(encoding="utf-8")
    mine = await client.answer("GET", f"/v1/changes/{change['change_id']}/certificate", role="member", sub=ref)
    assert mine.status_code == 200
    other = await client.answer("GET", f"/v1/changes/{change['change_id']}/certificate", role="member", sub="x")
    assert (other.status_code, other.json()["code"]) == (404, "change_not_found")
    assert (await dongui("change", "certificate", change["change_id"], "--output", tmp_path / "c.pdf")).exit_code == 2
    assert (as_operator / "certificate.jwks").is_file()
