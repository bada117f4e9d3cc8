"""Content keys over HTTP: one's own records open, another's do not, and a shredded member's are gone."""

import uuid

import pytest
from joserfc import jwe
from joserfc.jwk import OctKey

from schemas import codec
from schemas.topics import affiliate_topic
from tests.integration.consent.harness import Service, a_token, bearer

pytestmark = pytest.mark.f(30)

OS = bearer(a_token("tmax-os", "affiliate"))
NOTICES = bearer(a_token("notices", "notices"))


async def test_an_affiliate_opens_its_record_with_the_key_it_fetches(service: Service) -> None:
    made = await service.sign_up(name="김철수")
    (record,) = await service.records(affiliate_topic("tmax-os"))
    kid = codec.kid_of(record.value)
    answer = await service.http.get(f"/v1/keys/{kid}", headers=OS)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "private, max-age=300"
    registry = jwe.JWERegistry(algorithms=["dir", "A256GCM"], strict_check_header=False)
    opened = jwe.decrypt_compact(record.value, OctKey.import_key(answer.json()), registry=registry)
    assert "김철수" in opened.plaintext.decode()
    assert opened.headers()["member"] == made["member_ref"]


async def test_keys_come_in_batches_and_say_what_is_missing(silent: Service) -> None:
    refs = [(await silent.sign_up())["member_ref"] for _ in range(2)]
    await silent.consent.keyring.shred(refs[1])
    kids = [f"tmax-os.{ref}.1" for ref in (*refs, str(uuid.uuid4()))] + ["nonsense"]
    answer = (await silent.http.post("/v1/keys", json={"kids": kids}, headers=OS)).json()
    assert [key["kid"] for key in answer["keys"]] == [kids[0]]
    assert {m["kid"]: m["code"] for m in answer["missing"]} == {
        kids[1]: "key_destroyed",
        kids[2]: "key_unknown",
        "nonsense": "key_unknown",
    }
    gone = await silent.http.get(f"/v1/keys/{kids[1]}", headers=OS)
    assert (gone.status_code, gone.json()["code"]) == (404, "key_destroyed")


@pytest.mark.f(30)
async def test_a_key_differs_by_recipient_and_epoch(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    first = (await silent.http.get(f"/v1/keys/tmax-os.{ref}.1", headers=OS)).json()
    second = (await silent.http.get(f"/v1/keys/tmax-os.{ref}.2", headers=OS)).json()
    anc = bearer(a_token("tmax-anc", "affiliate"))
    other = (await silent.http.get(f"/v1/keys/tmax-anc.{ref}.1", headers=anc)).json()
    assert len({first["k"], second["k"], other["k"]}) == 3


@pytest.mark.f(30)
async def test_nobody_gets_anothers_key(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    anc, partner = f"tmax-anc.{ref}.1", f"demo-partner.{ref}.1"
    assert (await silent.http.get(f"/v1/keys/{anc}", headers=OS)).status_code == 403
    assert (await silent.http.post("/v1/keys", json={"kids": [anc]}, headers=OS)).status_code == 403
    assert (await silent.http.get(f"/v1/keys/{partner}", headers=NOTICES)).status_code == 200
    assert (await silent.http.get(f"/v1/keys/{anc}", headers=NOTICES)).status_code == 403
    assert (await silent.http.get(f"/v1/keys/{anc}")).status_code == 403, "not even the service"
    member = bearer(a_token(ref, "member"))
    assert (await silent.http.get(f"/v1/keys/{anc}", headers=member)).status_code == 403
    assert (await silent.http.get(f"/v1/keys/{anc}", headers={"Authorization": ""})).status_code == 401


async def test_what_is_sealed_at_rest_opens_for_nobody_outside(silent: Service) -> None:
    """Evidence and last messages lie under `consent-vault`: that is not a recipient, so no caller gets its key."""
    ref = (await silent.sign_up())["member_ref"]
    for caller in (NOTICES, OS, bearer(a_token("consent-vault", "third_party")), bearer(a_token("x", "service"))):
        assert (await silent.http.get(f"/v1/keys/consent-vault.{ref}.1", headers=caller)).status_code == 403
