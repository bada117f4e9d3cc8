"""Sign-in at an identity provider: the code flow with PKCE over real HTTP, and everything that must not get in."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey

from tests.integration.console.harness import Console, IdentityProvider
from tests.support.console import Person

LEE = {"sub": "u-1", "preferred_username": "lee", "groups": ["everyone", "dpo"]}


async def at_the_provider(person: Person) -> str:
    """Go to the provider and come back to where it sends the browser, which is not opened yet."""
    await person.get("/sign-in")
    begun = await person.http.get("/sign-in/oidc")
    assert begun.status_code == 303
    async with httpx.AsyncClient() as browser:
        back = await browser.get(begun.headers["location"])
    assert back.status_code == 303, back.text
    return str(back.headers["location"])


async def sign_in(person: Person, status: int) -> httpx.Response:
    """Sign in through the provider; the page after it (503: an API is away, so somebody is in)."""
    page = await person.http.get(await at_the_provider(person), follow_redirects=True)
    assert page.status_code == status, page.text[-1500:]
    return page


async def test_the_request_is_a_code_flow_with_pkce_a_state_and_a_nonce(federated: Console) -> None:
    person = federated.person()
    await person.get("/sign-in")
    begun = await person.http.get("/sign-in/oidc")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.headers["location"]).query).items()}
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == "http://127.0.0.1:8800/sign-in/oidc/callback"
    assert all(len(asked[name]) >= 43 for name in ("code_challenge", "state", "nonce"))


async def test_a_person_with_a_role_gets_an_account_of_that_role(
    federated: Console, provider: IdentityProvider
) -> None:
    provider.user = LEE
    person = federated.person()
    await sign_in(person, 503)
    assert "sso.lee" in (await person.get("/accounts")).text
    made = [(state, codes) for state, codes in await federated.entries() if codes["account"] == "sso.lee"]
    assert [state for state, _ in made] == ["created", "signed_in"]
    assert made[0][1]["role"] == "cpo"


async def test_the_provider_decides_the_role_at_each_sign_in_and_a_change_is_logged(
    federated: Console, provider: IdentityProvider
) -> None:
    provider.user = LEE
    first = federated.person()
    await sign_in(first, 503)
    provider.user = LEE | {"groups": ["os"]}
    second = federated.person()
    await sign_in(second, 503)
    await second.get("/accounts", 403)
    assert "/sign-in" in str((await first.get("/changes")).url)
    changed = [codes for state, codes in await federated.entries() if state == "role_changed"]
    assert [(c["before"], c["role"], c["affiliate"]) for c in changed] == [("cpo", "affiliate", "tmax-os")]


async def test_a_name_of_the_provider_never_takes_a_local_account(
    federated: Console, provider: IdentityProvider
) -> None:
    provider.user = LEE | {"preferred_username": "cpo"}
    await sign_in(federated.person(), 503)
    provider.user = LEE | {"sub": "u-2", "preferred_username": "cpo"}
    await sign_in(federated.person(), 503)
    rows = await federated.parts.desk.gate.pool.fetch("SELECT name FROM account WHERE subject IS NOT NULL")
    names = sorted(row["name"] for row in rows)
    assert "sso.cpo" in names
    assert len(names) == 2


@pytest.mark.parametrize("groups", [[], ["everyone"], "everyone", None, [1]])
async def test_nobody_without_a_role_gets_in(federated: Console, provider: IdentityProvider, groups: Any) -> None:
    provider.user = LEE | {"groups": groups}
    page = await sign_in(federated.person(), 403)
    assert "권한이 없습니다" in page.text


LIES = [
    {"nonce": "another"},
    {"aud": "another-client"},
    {"iss": "https://another.example"},
    {"exp": 1},
    {"nonce": None},
]


@pytest.mark.parametrize("lie", LIES, ids=["nonce", "audience", "issuer", "expired", "no-nonce"])
async def test_a_token_that_says_something_else_lets_nobody_in(
    federated: Console, provider: IdentityProvider, lie: dict[str, Any]
) -> None:
    provider.user, provider.lies = LEE, lie
    await sign_in(federated.person(), 403)
    assert not [1 for _, codes in await federated.entries() if codes["account"] == "sso.lee"]


async def test_a_token_of_another_key_lets_nobody_in(federated: Console, provider: IdentityProvider) -> None:
    provider.user, provider.other = LEE, RSAKey.generate_key(2048, {"kid": "idp"})
    await sign_in(federated.person(), 403)


async def test_a_callback_works_once_and_only_in_the_browser_that_began_it(
    federated: Console, provider: IdentityProvider
) -> None:
    provider.user = LEE
    victim, attacker = federated.person(), federated.person()
    await victim.get("/sign-in")
    callback = await at_the_provider(attacker)
    assert (await victim.http.get(callback)).status_code == 403
    assert (await attacker.http.get(callback)).status_code == 403, "a state that came back is used up"
    assert (await attacker.http.get("/sign-in/oidc/callback?state=x&code=y")).status_code == 403


async def test_the_provider_refuses_a_verifier_that_is_not_the_challenge(
    federated: Console, provider: IdentityProvider
) -> None:
    provider.user = LEE
    person = federated.person()
    callback = await at_the_provider(person)
    await federated.parts.desk.gate.pool.execute("DELETE FROM oidc_attempt")
    other = federated.person()
    swapped = await at_the_provider(other)
    code = parse_qs(urlsplit(callback).query)["code"][0]
    state = parse_qs(urlsplit(swapped).query)["state"][0]
    answer = await other.http.get(f"/sign-in/oidc/callback?state={state}&code={code}")
    assert answer.status_code == 403
    assert provider.refused == [code]


async def test_a_closed_account_of_the_provider_stays_closed(federated: Console, provider: IdentityProvider) -> None:
    provider.user = LEE
    await sign_in(federated.person(), 503)
    await federated.parts.desk.gate.pool.execute(
        "UPDATE account SET disabled_at = now() WHERE subject = $1", f"{provider.url} u-1"
    )
    await sign_in(federated.person(), 403)


async def test_a_provider_that_names_another_issuer_is_not_gone_to(
    federated: Console, provider: IdentityProvider
) -> None:
    person = federated.person()
    page = await person.get("/sign-in")
    assert "SSO" in page.text
    provider.impostor = True
    assert (await person.http.get("/sign-in/oidc")).status_code == 403
