"""Each page on the whole system, over HTTP: what staff see, what an officer may do, what others may not."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx

from services.audit import verify
from services.audit.certificates import Keys, verify_certificate
from services.audit.checkpoint import Verifier
from services.devstack.keyfiles import KeyFiles
from services.devstack.tokens import Issuer
from services.runtime.clock import utc_now
from services.runtime.settings import Settings
from tests.integration.console.people import People, told_password
from tests.support.console import Person, forms


async def followed(person: Person, change_id: str) -> httpx.Response:
    """Open a change until it is applied everywhere and sealed."""
    async with asyncio.timeout(40):
        while True:
            page = await person.get(f"/changes/{change_id}")
            if "모든 곳에 반영되었습니다" in page.text and "봉인" in page.text:
                return page
            await asyncio.sleep(0.2)


async def test_where_a_change_is_is_one_screen_by_its_id_or_its_member(people: People) -> None:
    person, told = await people.at("compliance"), people.told
    page = await followed(person, told.change_id)
    assert "demo-partner" in page.text
    assert "정정함" in page.text
    assert str((await person.get("/changes", q=told.change_id)).url).endswith(f"/changes/{told.change_id}")
    assert str((await person.get("/changes", q=told.ref)).url).endswith(f"/members/{told.ref}")
    assert "그런 변경이나 회원이 없습니다" in (await person.get("/changes", 404, q="0" * 32)).text
    assert "번호의 형식이 아닙니다" in (await person.get("/changes", 422, q="hong@example.kr")).text
    await person.get("/parts/status")
    assert "권리 행사 요구" in (await person.get("/")).text


async def test_a_member_is_masked_and_revealed_only_for_a_reason_that_is_logged(people: People) -> None:
    person, told = await people.at("compliance"), people.told
    page = await person.get(f"/members/{told.ref}")
    assert "홍*동" in page.text
    assert "홍길동" not in page.text
    assert "010-****-5432" in page.text
    action = f"/members/{told.ref}/reveal"
    shown = await person.submit(page, action, reason="inquiry", reference="VOC-42")
    assert "홍길동" in shown.text
    assert "010-9876-5432" in shown.text
    refused = await person.submit(page, action, 422, reason="")
    assert "홍길동" not in refused.text
    async with asyncio.timeout(30):
        while (entry := await _reveal_of(person, told.ref, "VOC-42")) is None:
            await asyncio.sleep(0.2)
    for field in ("inquiry", "127.0.0.1", "compliance"):
        assert field in entry
    assert "홍길동" not in entry


async def _reveal_of(person: Person, ref: str, reference: str) -> str | None:
    """Return the page of the entry of one reveal: other tests reveal the same member."""
    found = await person.get("/audit", member_ref=ref, actor="staff")
    for before in found.text.split("값을 봄")[:-1]:
        index = before.rsplit('<a href="/audit/', 1)[1].split('"')[0].split("/")[0]
        if reference in (entry := (await person.get(f"/audit/{index}")).text):
            return entry
    return None


async def test_a_member_is_found_by_e_mail_without_the_address_in_a_url(people: People) -> None:
    person, told = await people.at("compliance"), people.told
    page = await person.get("/members")
    found = await person.submit(page, "/members", email=told.email, reason="rights_request")
    assert str(found.url).endswith(f"/members/{told.ref}")
    missing = await person.submit(page, "/members", 422, email="nobody@example.kr", reason="rights_request")
    assert "회원을 찾을 수 없습니다" in missing.text


async def test_a_day_before_the_sign_up_shows_nobody(people: People) -> None:
    person, told = await people.at("auditor"), people.told
    assert "회원이 아니었음" in (await person.get(f"/members/{told.ref}", on="2025-01-01")).text
    now = await person.get(f"/members/{told.ref}")
    assert "demo-partner" in now.text
    assert "날짜를 확인" in (await person.get(f"/members/{told.ref}", on="yesterday")).text


async def test_an_auditor_reads_everything_and_does_nothing(people: People) -> None:
    person, told = await people.at("auditor"), people.told
    for path in ("/", "/rights", f"/rights/{told.received}", "/erasures", "/deliveries", "/retention", "/audit"):
        assert 'method="post" action="/rights' not in (await person.get(path)).text
    await person.get("/accounts", 403)
    page = await person.get(f"/members/{told.ref}")
    assert "/reveal" not in page.text
    token = page.text.split('name="csrf" value="')[1].split('"')[0]
    for path in (f"/members/{told.ref}/reveal", f"/rights/{told.received}/verify", f"/erasures/{told.deleted}/approve"):
        answer = await person.http.post(path, data={"csrf": token, "reason": "inquiry", "method": "id_card"})
        assert answer.status_code == 403


async def test_a_request_goes_from_intake_to_its_answer(people: People) -> None:
    person, told = await people.at("compliance"), people.told
    page = await person.get("/rights")
    page = await person.submit(page, "/rights", member_ref=told.deleted, type="access", channel="phone")
    url = page.url.path
    refused = await person.submit(page, f"{url}/decide", outcome="refused", ground="not_verified")
    assert "거절" in refused.text
    assert "이의" in refused.text
    done = await person.submit(refused, f"{url}/done", told_by="phone")
    assert "통지 완료" in done.text
    assert (await person.get(f"{url}/answer")).headers["content-type"].startswith("text/html")


async def test_a_document_is_attached_to_a_request_and_given_back(people: People) -> None:
    person, told = await people.at("compliance"), people.told
    page = await person.get(f"/rights/{told.received}")
    action = f"/rights/{told.received}/evidence"
    form = next(f for f in forms(page) if f.action == action)
    for content, status in ((b"%PDF-1.7 a mandate", 200), (b"", 422)):
        files = {"file": ("mandate.pdf", content, "application/pdf")}
        answer = await person.http.post(
            action, data={**form.hidden, "kind": "form-11"}, files=files, follow_redirects=True
        )
        assert answer.status_code == status
    page = await person.get(f"/rights/{told.received}")
    assert "위임장" in page.text
    link = page.text.split(f'href="{action}/')[1].split('"')[0]
    given = await person.get(f"{action}/{link}")
    assert (given.content, given.headers["content-disposition"]) == (b"%PDF-1.7 a mandate", "attachment")
    assert given.headers["x-content-type-options"] == "nosniff"


async def test_what_the_api_refuses_is_told_at_the_head_of_the_page(people: People) -> None:
    person = await people.at("compliance")
    page = await person.get("/rights")
    refused = await person.submit(page, "/rights", 422, member_ref="0" * 32, type="access", channel="phone")
    assert 'role="alert"' in refused.text
    assert "member_not_found" in refused.text


async def test_destruction_takes_a_second_person_and_ends_in_a_certificate(people: People) -> None:
    compliance, cpo, told = await people.at("compliance"), await people.at("cpo"), people.told
    page = await compliance.get(f"/erasures/{told.deleted}")
    assert "승인 대기" in page.text
    assert "/approve" not in page.text
    case = page.text.split("/erasures/")[2].split("/")[0]
    page = await cpo.get(f"/erasures/{told.deleted}")
    approved = await cpo.submit(page, f"/erasures/{case}/approve", reason="checked")
    assert "승인됨" in approved.text
    page = await compliance.get(f"/erasures/{case}")
    await compliance.submit(page, f"/erasures/{case}/execute")
    async with asyncio.timeout(60):
        while "파기됨" not in (await compliance.get(f"/erasures/{case}")).text:
            await asyncio.sleep(0.3)
    async with asyncio.timeout(30):
        while (await compliance.http.get(f"/erasures/{case}/certificate")).status_code != 200:
            await asyncio.sleep(0.3)
        while not (issued := await _json_of(compliance, case))["entry"]:  # the log signs its last step a moment later
            await asyncio.sleep(0.3)
    data_dir = people.system.base_dir
    log = Verifier.parse((data_dir / "audit.vkey").read_text(encoding="utf-8"))
    keys = Keys.parse((data_dir / "certificate.jwks").read_text(encoding="utf-8"))
    report = verify_certificate(json.dumps(issued).encode(), log, keys)
    assert (report.findings, report.unchecked, report.entries) == ([], [], 2)


async def _json_of(person: Person, case: str) -> dict[str, Any]:
    answer = await person.http.get(f"/erasures/{case}/certificate", params={"form": "json"})
    return dict(answer.json())


async def test_nobody_is_their_own_second_person_by_an_account_they_made_or_reset(people: People) -> None:
    cpo, compliance = await people.at("cpo"), await people.at("compliance")
    request, ref = await people.leaving()
    await cpo.submit(await cpo.get(f"/rights/{request}"), f"/rights/{request}/decide", outcome="granted")
    name, password = await people.newcomer("cpo")
    account = f"/accounts/{(await cpo.get('/accounts')).text.split(name)[1].split('/accounts/')[1].split('/')[0]}"
    page = await cpo.get("/accounts")
    for again in (False, True):
        if again:
            password = told_password(await cpo.submit(page, f"{account}/reset"))
        second = people.stranger()
        async with second.http:
            await second.enter(name, password, ahead_s=30 if again else 0)
            refused = await approved(second, ref, 422)
            assert "account_unconfirmed" in refused.text
            assert "승인 대기" in refused.text
            await compliance.submit(await compliance.get("/accounts"), f"{account}/confirm")
            if again:
                assert "승인됨" in (await approved(second, ref, 200)).text


async def approved(person: Person, ref: str, status: int) -> httpx.Response:
    page = await person.get(f"/erasures/{ref}")
    action = next(f.action for f in forms(page) if f.action.endswith("/approve"))
    return await person.submit(page, action, status, reason="checked")


async def test_a_proof_downloaded_here_verifies_offline(people: People, tmp_path: Path) -> None:
    person = await people.at("sre")
    await followed(person, people.told.change_id)
    index = (
        (await person.get("/audit", change_id=people.told.change_id)).text.split('<a href="/audit/')[1].split('"')[0]
    )
    file = tmp_path / "entry.tlog-proof"
    async with asyncio.timeout(30):  # the entry may be younger than the last checkpoint
        while (proof := await person.http.get(f"/audit/{index}/proof")).status_code == 409:
            await asyncio.sleep(0.3)
    assert proof.status_code == 200
    file.write_bytes(proof.content)
    key = Verifier.parse((people.system.base_dir / "audit.vkey").read_text(encoding="utf-8").strip())
    assert verify.verify_file(file, key).ok


async def test_an_affiliate_sees_its_own_and_nothing_of_staff(people: People) -> None:
    person = await people.at("tmax-os-staff")
    assert "tmax-os" in (await person.get("/")).text
    assert people.told.received not in (await person.get("/rights")).text
    for path in ("/members", "/audit", "/erasures", f"/members/{people.told.ref}", "/accounts"):
        await person.get(path, 403)
    await person.get(f"/rights/{people.told.received}", 404)


async def test_an_affiliates_person_takes_a_request_in(people: People) -> None:
    person = await people.at("tmax-os-staff")
    page = await person.get("/rights")
    made = await person.submit(page, "/rights", member_ref=people.told.ref, type="deletion", channel="phone")
    request_id = made.url.path.removeprefix("/rights/")
    assert f"/rights/{request_id}" in (await person.get("/rights")).text
    assert "/decide" not in made.text


async def test_the_consoles_key_gets_no_affiliates_keys_or_records(people: People) -> None:
    """Whoever has it may sign what it likes, and is believed an affiliate's people at most."""
    key = KeyFiles.below(people.system.base_dir / "secrets").console_key
    signer = Issuer(key, Settings().issuer, Settings().audience, utc_now)
    kid, own = f"tmax-os.{people.told.ref}.1", "/v1/affiliates/tmax-os"
    async with httpx.AsyncClient(base_url=people.system.described()["consent_url"], timeout=30) as http:
        for role, status in (("affiliate", 401), ("affiliate_desk", 403)):
            headers = {"Authorization": f"Bearer {signer.token('tmax-os', role)}"}
            asked = [
                await http.post("/v1/keys", json={"kids": [kid]}, headers=headers),
                await http.get(f"/v1/keys/{kid}", headers=headers),
                await http.get(f"{own}/holdings", headers=headers),
                await http.post(f"{own}/holdings", json={"members": [people.told.ref]}, headers=headers),
                await http.get(f"{own}/digests", params={"salt": "0123456789abcdef"}, headers=headers),
            ]
            assert [answer.status_code for answer in asked] == [status] * 5


async def test_the_other_pages_answer(people: People) -> None:
    cpo = await people.at("cpo")
    for path in (
        "/deliveries",
        "/deliveries?state=sent",
        "/retention?years=1",
        "/replays",
        "/accounts",
        "/rights?state=all",
    ):
        await cpo.get(path)
    assert "방문 기록" in (await cpo.get("/retention")).text
    assert "demo-partner" in (await cpo.get("/deliveries")).text
    await cpo.get("/nowhere", 404)
    await cpo.get("/audit", 422, start="tomorrow")
