"""From a change to a file that anybody can check: through the running system, its witness and the copies included."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from services.audit import verify
from services.audit.checkpoint import Verifier
from services.audit.cosignature import cosigner_key
from tests.e2e.client import Client, until

SINGLE_FILE = Path(__file__).resolve().parents[2] / "docs/examples/verify_proof.py"


async def test_a_change_is_proved_by_a_certificate_that_the_witness_has_cosigned(
    client: Client, tmp_path: Path
) -> None:
    made = await client.sign_up()
    data_dir = Path(client.described["data_dir"])
    witness = cosigner_key((data_dir / "secrets/witness_vkey").read_text())
    (tmp_path / "witness").write_text(witness.vkey())
    key = Verifier.parse((data_dir / "audit.vkey").read_text())
    asked = {"member_ref": made["member_ref"], "change_id": made["change_id"], "reason": "e2e-1"}
    entries = (await _audit(client, "/v1/audit/entries", asked))["entries"]
    assert {e.get("recipient") for e in entries} == {None, "tmax-cloud", "tmax-os", "tmax-anc"}

    async def cosigned() -> Any:
        found = await client.answer(
            "GET",
            f"/v1/audit/entries/{entries[0]['index']}/proof",
            role="auditor",
            service="audit_url",
            params={"format": "html"},
        )
        (tmp_path / "page.html").write_bytes(found.content)
        return witness.name in found.text

    await until(cosigned)
    report = verify.verify_file(tmp_path / "page.html", key, witnesses=[witness])
    assert report.ok, report.findings
    command = [sys.executable, "-I", str(SINGLE_FILE), str(tmp_path / "page.html"), key.vkey(), witness.vkey()]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert made["change_id"] in done.stdout.decode()


async def test_who_looked_is_in_the_members_timeline_and_the_log_verifies_itself(client: Client) -> None:
    made = await client.sign_up()
    await _audit(client, "/v1/audit/entries", {"member_ref": made["member_ref"], "reason": "inquiry-7"})

    async def noted() -> Any:
        found = await _audit(client, "/v1/audit/entries", {"member_ref": made["member_ref"], "kind": "query"})
        return found["entries"]

    first = (await until(noted))[0]["body"]["data"]
    assert (first["actor"], first["reason"], first["roles"]) == ("e2e-compliance", "inquiry-7", "compliance")
    found = await _audit(client, "/v1/audit/verification")
    assert found["ok"] is True, found
    await until(lambda: _in_every_place(client))


async def _in_every_place(client: Client) -> bool:
    """Say whether witness and folders hold a checkpoint; a system that just started has not offered one yet."""
    head = await _audit(client, "/v1/audit/checkpoint")
    return {place["place"] for place in head["places"]} == {"copy-1", "data-dir", "witness.dongui.kr/w1"}


async def _audit(client: Client, path: str, params: dict[str, Any] | None = None) -> Any:
    return await client.ask("GET", path, role="compliance", service="audit_url", params=params)
