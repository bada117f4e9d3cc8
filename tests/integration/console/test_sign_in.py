"""Local accounts: the first time, the second factor, lock-out, sessions, forms of other people, roles."""

import asyncio
import re
import threading
from datetime import timedelta
from pathlib import Path
from typing import Literal

import httpx
import pyotp
import pytest
from argon2 import PasswordHasher
from cryptography.exceptions import InvalidTag
from joserfc.jwk import KeySet

from services.console import signin
from services.console.keys import ConsoleKey
from services.console.model import Account
from services.runtime.auth import Authenticator, AuthError
from tests.integration.console import harness
from tests.integration.console.harness import FIRST, Console
from tests.integration.console.people import told_password
from tests.support.console import PASSWORD, Person, forms
from tests.support.databases import Databases

HOME = "서비스가 응답하지 않습니다"
"""The APIs are nowhere in these tests: whoever is in sees that one does not answer."""


async def enter(console: Console, name: str = "kim", password: str | None = None) -> Person:
    """Set an account up; its person is signed in. The page itself needs an API, which is away."""
    person = console.person()
    page = await person.sign_in(name, password or FIRST[name])
    person.secret = page.text.split('<code id="factor">')[1].split("<")[0]
    code = pyotp.TOTP(person.secret).at(console.now())
    await person.submit(page, "/enrol", 503, password=PASSWORD, again=PASSWORD, code=code)
    return person


def code_of(console: Console, person: Person) -> str:
    """Return the authenticator's next code: the one in use was taken at the last sign-in."""
    console.ahead += timedelta(seconds=30)
    return pyotp.TOTP(person.secret).at(console.now())


async def test_a_one_time_password_opens_only_the_page_that_replaces_it(console: Console) -> None:
    person = console.person()
    page = await person.sign_in("kim", FIRST["kim"])
    assert "인증 앱" in page.text
    assert str((await person.get("/members")).url).endswith("/enrol")
    assert (await person.http.get("/audit")).status_code == 303


async def test_after_the_first_time_password_and_code_are_both_needed(console: Console) -> None:
    person = await enter(console)
    assert HOME in (await person.get("/", 503)).text
    other = console.person()
    await other.sign_in("kim", FIRST["kim"], status=403)
    await other.sign_in("kim", PASSWORD, status=403)
    await other.sign_in("kim", "wrong-password-1", code_of(console, person), status=403)
    await other.sign_in("kim", PASSWORD, code_of(console, person), status=503)
    assert [state for state, codes in await console.entries() if codes["account"] == "kim"] == [
        "created", "signed_in", "enrolled", *["sign_in_failed"] * 3, "signed_in",
    ]  # fmt: skip


async def test_no_code_works_twice(console: Console) -> None:
    person = await enter(console)
    code = code_of(console, person)
    await console.person().sign_in("kim", PASSWORD, code, status=503)
    await console.person().sign_in("kim", PASSWORD, code, status=403)


@pytest.mark.parametrize(
    ("password", "again", "code", "said"),
    [
        (PASSWORD, "correct-horse-batteries", "", "두 비밀번호가 다릅니다"),
        ("short", "short", "", "12자 이상"),
        (FIRST["kim"], FIRST["kim"], "", "다른 비밀번호"),
        (PASSWORD, PASSWORD, "000000", "코드가 맞지 않습니다"),
    ],
)
async def test_the_first_time_tells_what_is_wrong(
    console: Console, password: str, again: str, code: str, said: str
) -> None:
    person = console.person()
    page = await person.sign_in("kim", FIRST["kim"])
    answer = await person.submit(page, "/enrol", 422, password=password, again=again, code=code)
    assert said in answer.text


async def test_five_wrong_tries_lock_an_account_even_for_the_right_password(console: Console) -> None:
    person = await enter(console)
    stranger = console.person()
    for _ in range(5):
        await stranger.sign_in("kim", "wrong-password-1", status=403)
    locked = await stranger.sign_in("kim", PASSWORD, code_of(console, person), status=429)
    assert "15분" in locked.text
    console.ahead += timedelta(minutes=15)
    await stranger.sign_in("kim", PASSWORD, code_of(console, person), status=503)
    states = [state for state, _ in await console.entries()]
    assert states.count("locked") == 1
    assert states.count("sign_in_failed") == 4


async def test_an_unknown_name_is_told_what_a_wrong_password_is_told(console: Console) -> None:
    unknown = await console.person().sign_in("nobody", "wrong-password-1", status=403)
    wrong = await console.person().sign_in("kim", "wrong-password-1", status=403)
    said = [page.text.split('role="alert">')[1].split("<")[0] for page in (unknown, wrong)]
    assert said[0] == said[1]


async def test_an_unknown_name_is_answered_as_a_known_one_at_every_try(console: Console) -> None:
    told: dict[str, list[tuple[int, str]]] = {"kim": [], "nobody": []}
    for name, address in (("kim", "192.0.2.1"), ("nobody", "192.0.2.2")):
        person = console.person(address)
        for status in (403, 403, 403, 403, 403, 429):
            page = await person.sign_in(name, "wrong-password-1", status=status)
            told[name].append((page.status_code, re.sub(r'name="csrf" value="[^"]+"', "", page.text)))
    assert told["kim"] == told["nobody"]
    assert "15분" in told["nobody"][5][1]


async def test_five_wrong_tries_of_a_stranger_do_not_keep_the_person_out(console: Console) -> None:
    person = await enter(console)
    stranger = console.person("192.0.2.1")
    for _ in range(5):
        await stranger.sign_in("kim", "wrong-password-1", status=403)
    await stranger.sign_in("kim", PASSWORD, code_of(console, person), status=429)
    await console.person().sign_in("kim", PASSWORD, code_of(console, person), status=503)


async def test_who_guesses_from_many_addresses_is_stopped_and_the_person_gets_in_where_it_did_before(
    console: Console,
) -> None:
    person = await enter(console)
    for n in range(50):
        for name in ("kim", "nobody"):
            await console.person(f"192.0.2.{n}").sign_in(name, "wrong-password-1", status=403)
    elsewhere = console.person("198.51.100.1")
    await elsewhere.sign_in("nobody", PASSWORD, status=429)
    closed = await elsewhere.sign_in("kim", PASSWORD, code_of(console, person), status=429)
    assert "1시간" in closed.text
    await console.person().sign_in("kim", PASSWORD, code_of(console, person), status=503)
    assert [state for state, _ in await console.entries()].count("locked") == 1
    cpo = await enter(console, "cpo")
    assert (await cpo.get("/accounts")).text.count("잠김") == 1
    console.ahead += timedelta(hours=1)
    await elsewhere.sign_in("kim", PASSWORD, code_of(console, person), status=503)


async def test_what_was_typed_as_a_name_is_not_kept_and_what_is_kept_is_forgotten(console: Console) -> None:
    await console.person("192.0.2.1").sign_in("my-secret-passphrase", "x", status=403)
    pool = console.parts.desk.gate.pool
    assert "my-secret" not in str([dict(row) for row in await pool.fetch("SELECT * FROM sign_in_tries")])
    console.ahead += timedelta(hours=1, seconds=1)
    await console.person("192.0.2.2").sign_in("another", "x", status=403)
    places = await pool.fetch("SELECT place FROM sign_in_tries ORDER BY place")
    assert [row["place"] for row in places] == ["", "192.0.2.2"]


async def test_an_address_tries_ten_times_at_once_and_then_waits(console: Console) -> None:
    console.parts.desk.gate.rates._now = lambda: 0.0
    stranger = console.person("192.0.2.1")
    for n in range(10):
        await stranger.sign_in(f"name{n}", "wrong-password-1", status=403)
    refused = await stranger.sign_in("kim", FIRST["kim"], status=429)
    assert refused.headers["retry-after"] == "1"
    await console.person("192.0.2.2").sign_in("kim", FIRST["kim"])


class Waiting(PasswordHasher):
    """Looks at no password until it is let."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=64, parallelism=1)
        self.go = threading.Event()
        self.go.set()

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - argon2's own name
        self.go.wait(20)
        return super().verify(hash, password)


async def test_fifty_sign_ins_under_way_keep_nobody_from_the_pages(emptied: Databases, tmp_path: Path) -> None:
    hasher = Waiting()
    async with harness.running(harness.settings_in(tmp_path, emptied), hasher) as console:
        cpo = await enter(console, "cpo")
        hasher.go.clear()
        tries = [
            asyncio.create_task(console.person(f"192.0.2.{n}").sign_in(name, "wrong-password-1", status=403))
            for n, name in enumerate(["kim", "nobody"] * 25)
        ]
        try:
            await asyncio.sleep(1)
            assert not [one for one in tries if one.done()]
            async with asyncio.timeout(3):
                await cpo.get("/accounts")
        finally:
            hasher.go.set()
            await asyncio.gather(*tries)


async def test_a_session_ends_when_nobody_uses_it_and_in_any_case_in_the_evening(console: Console) -> None:
    idle, busy = await enter(console), await enter(console, "cpo")
    for _ in range(20):
        console.ahead += timedelta(minutes=29)
        await busy.get("/", 503)
    assert str((await idle.get("/")).url).endswith("/sign-in?next=/")
    console.ahead += timedelta(minutes=25)
    assert "/sign-in" in str((await busy.get("/")).url)


async def test_signing_out_ends_the_session_itself_not_only_the_cookie(console: Console) -> None:
    person = await enter(console)
    stolen = console.person()
    stolen.http.cookies.update(person.http.cookies)
    await person.submit(await person.get("/changes"), "/sign-out")
    assert "/sign-in" in str((await stolen.get("/changes")).url)


async def test_a_form_without_its_token_or_from_another_site_changes_nothing(console: Console) -> None:
    person, other = await enter(console, "cpo"), await enter(console)
    form = next(f for f in forms(await person.get("/accounts")) if f.action == "/accounts")
    fields = {"name": "new.one", "role": "sre"}
    for data, headers in (
        (fields, {}),
        (fields | {"csrf": "x"}, {}),
        (fields | form.hidden, {"Sec-Fetch-Site": "cross-site"}),
        (fields | next(f for f in forms(await other.get("/changes")) if f.action == "/sign-out").hidden, {}),
    ):
        assert (await person.http.post("/accounts", data=data, headers=headers)).status_code == 403
    page = await person.get("/accounts")
    assert "new.one" not in page.text
    assert "new.one" in (await person.submit(page, "/accounts", **fields)).text


async def test_another_role_ends_the_sessions_and_is_in_the_log(console: Console) -> None:
    kim, cpo = await enter(console), await enter(console, "cpo")
    page = await cpo.get("/accounts")
    action = next(f.action for f in forms(page) if f.action.endswith("/role"))
    await cpo.submit(page, action, role="affiliate:tmax-os")
    assert "/sign-in" in str((await kim.get("/changes")).url)
    changed = [codes for state, codes in await console.entries() if state == "role_changed"]
    assert changed == [
        {"account": "kim", "before": "compliance", "role": "affiliate", "affiliate": "tmax-os", "by": "cpo"}
    ]
    await kim.sign_in("kim", PASSWORD, code_of(console, kim), status=503)
    await kim.get("/changes", 403)
    await kim.get("/accounts", 403)


async def test_a_closed_account_is_out_at_once_and_a_new_password_needs_a_new_factor(console: Console) -> None:
    kim, cpo = await enter(console), await enter(console, "cpo")
    page = await cpo.get("/accounts")
    account = next(f.action for f in forms(page) if f.action.endswith("/disable")).removesuffix("/disable")
    page = await cpo.submit(page, f"{account}/disable")
    assert "/sign-in" in str((await kim.get("/changes")).url)
    await kim.sign_in("kim", PASSWORD, code_of(console, kim), status=403)
    page = await cpo.submit(page, f"{account}/enable")
    page = await cpo.submit(page, f"{account}/reset")
    again = await kim.sign_in("kim", told_password(page))
    assert kim.secret not in again.text


async def test_nobody_changes_their_own_account_and_names_are_held_to_their_shape(console: Console) -> None:
    cpo = await enter(console, "cpo")
    page = await cpo.get("/accounts")
    row = await console.parts.desk.gate.pool.fetchrow("SELECT account_id FROM account WHERE name = 'cpo'")
    assert row is not None
    token = next(f for f in forms(page) if f.action == "/accounts").hidden
    answer = await cpo.http.post(f"/accounts/{row['account_id']}/role", data={**token, "role": "sre"})
    assert answer.status_code == 422
    for name, role in (("Kim", "sre"), ("sso.kim", "sre"), ("kim", "sre"), ("lee", "service"), ("lee", "affiliate:x")):
        await cpo.submit(page, "/accounts", 422, name=name, role=role)


@pytest.mark.parametrize("role", ["", "service", "affiliate", "affiliate:nobody"])
async def test_an_account_keeps_its_role_when_the_new_one_is_none(console: Console, role: str) -> None:
    await enter(console)
    cpo = await enter(console, "cpo")
    page = await cpo.get("/accounts")
    action = next(f.action for f in forms(page) if f.action.endswith("/role"))
    assert "없는 권한입니다." in (await cpo.submit(page, action, 422, role=role)).text
    row = await console.parts.desk.gate.pool.fetchrow("SELECT role, affiliate FROM account WHERE name = 'kim'")
    assert row is not None
    assert tuple(row) == ("compliance", None)


async def test_people_of_an_affiliate_that_was_added_may_have_accounts(emptied: Databases, tmp_path: Path) -> None:
    folder = tmp_path / "affiliates"
    folder.mkdir()
    (folder / "new.toml").write_text(
        '[[affiliate]]\nid = "tmax-data"\nko = "㈜티맥스데이터"\nen = "Tmax Data"\nclause = "4.3"\n', encoding="utf-8"
    )
    async with harness.running(harness.settings_in(tmp_path, emptied, affiliates_dir=folder)) as console:
        cpo = await enter(console, "cpo")
        page = await cpo.get("/accounts")
        assert 'value="affiliate:tmax-data"' in page.text
        made = await cpo.submit(page, "/accounts", name="lee", role="affiliate:tmax-data")
        assert "lee" in made.text


async def test_only_the_privacy_officer_manages_the_accounts(console: Console) -> None:
    kim = await enter(console)
    page = await kim.get("/accounts")
    actions = [form.action for form in forms(page) if form.action.startswith("/accounts")]
    assert actions == []
    token = next(form for form in forms(page) if form.action == "/sign-out").hidden
    account = await account_of(console, "cpo")
    for path in ("/accounts", f"{account}/role", f"{account}/reset", f"{account}/disable", f"{account}/enable"):
        answer = await kim.http.post(path, data={**token, "name": "lee", "role": "cpo"})
        assert answer.status_code == 403, path


async def account_of(console: Console, name: str) -> str:
    row = await console.parts.desk.gate.pool.fetchrow("SELECT account_id FROM account WHERE name = $1", name)
    assert row is not None
    return f"/accounts/{row['account_id']}"


async def vouched_by(console: Console, name: str) -> str | None:
    found: str | None = await console.parts.desk.gate.pool.fetchval(
        "SELECT vouched_by FROM account WHERE name = $1", name
    )
    return found


async def test_another_officer_than_its_maker_confirms_an_account(console: Console) -> None:
    cpo, kim = await enter(console, "cpo"), await enter(console)
    made = await cpo.submit(await cpo.get("/accounts"), "/accounts", name="lee", role="cpo")
    account = await account_of(console, "lee")
    assert [await vouched_by(console, name) for name in ("cpo", "kim", "lee")] == [None, None, "cpo"]
    early = await sent(kim, f"{account}/confirm")
    assert (early.status_code, "아직 설정하지 않은 계정" in early.text) == (422, True)
    lee = await enter(console, "lee", told_password(made))
    own = await sent(cpo, f"{account}/confirm")
    assert (own.status_code, "이 계정을 만들었거나" in own.text) == (422, True)
    assert (await sent(lee, f"{account}/confirm")).status_code == 422, "nobody confirms their own account"
    assert "cpo 외의 확인 필요" in (await kim.get("/accounts")).text
    await kim.submit(await kim.get("/accounts"), f"{account}/confirm")
    assert await vouched_by(console, "lee") is None
    confirmed = [codes for state, codes in await console.entries() if state == "confirmed"]
    assert confirmed == [{"account": "lee", "by": "kim", "vouched_by": "cpo"}]
    await cpo.submit(await cpo.get("/accounts"), f"{account}/reset")
    assert await vouched_by(console, "lee") == "cpo"


async def test_an_account_that_is_not_confirmed_makes_resets_and_confirms_no_other(console: Console) -> None:
    cpo, kim = await enter(console, "cpo"), await enter(console)
    lees = told_password(await cpo.submit(await cpo.get("/accounts"), "/accounts", name="lee", role="cpo"))
    parks = told_password(await cpo.submit(await cpo.get("/accounts"), "/accounts", name="park", role="cpo"))
    lee = await enter(console, "lee", lees)
    await enter(console, "park", parks)
    for path, fields in (
        ("/accounts", {"name": "choi", "role": "cpo"}),
        (f"{await account_of(console, 'kim')}/reset", {}),
        (f"{await account_of(console, 'park')}/confirm", {}),
    ):
        answer = await sent(lee, path, **fields)
        assert (answer.status_code, "아직 확인되지 않은 계정" in answer.text) == (422, True), path
    assert await vouched_by(console, "park") == "cpo"
    assert HOME in (await kim.get("/", 503)).text, "nobody's password was changed"


async def sent(person: Person, path: str, **fields: str) -> httpx.Response:
    """Send a form of the page of accounts, whether the page offers it or not."""
    token = next(form for form in forms(await person.get("/accounts")) if form.action == "/sign-out").hidden
    return await person.http.post(path, data={**token, **fields})


async def test_the_token_of_an_account_that_is_not_confirmed_says_so(console: Console) -> None:
    cpo = await enter(console, "cpo")
    await cpo.submit(await cpo.get("/accounts"), "/accounts", name="lee", role="cpo")
    settings = console.parts.settings
    keys = KeySet.import_key_set({"keys": [key_of(console)._key.as_dict(private=False)]})
    issuer = Authenticator(settings.issuer, settings.audience, keys=keys)
    told = {}
    for row in await console.parts.desk.gate.pool.fetch("SELECT * FROM account"):
        token = key_of(console).token(Account.of_row(dict(row)), "127.0.0.1", console.now())
        told[row["name"]] = (await issuer.principal(f"Bearer {token}")).unconfirmed
    assert told == {"cpo": False, "kim": False, "lee": True}


async def test_every_page_has_the_headers_and_no_cookie_can_be_read_by_a_script(console: Console) -> None:
    page = await console.person().http.get("/sign-in")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert "HttpOnly" in page.headers["set-cookie"]
    assert "max-age" not in page.headers["set-cookie"].lower()
    static = await console.person().http.get("/static/console.css")
    assert static.status_code == 200
    assert "content-security-policy" in static.headers


async def test_over_https_the_cookies_are_host_cookies(emptied: Databases, tmp_path: Path) -> None:
    settings = harness.settings_in(tmp_path, emptied, console_url="https://console.example.kr", profile="production")
    async with harness.running(settings) as console:
        person = console.person()
        page = await person.sign_in("kim", FIRST["kim"])
        told = [c for answer in [*page.history, page] for c in answer.headers.get_list("set-cookie")]
        session = next(c for c in told if c.startswith("__Host-dongui="))
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= {part.strip() for part in session.split(";")}
        assert "Domain" not in session
        assert page.headers["strict-transport-security"]


async def test_the_language_is_korean_until_somebody_chooses(console: Console) -> None:
    person = console.person()
    assert '<html lang="ko"' in (await person.get("/sign-in")).text
    english = await person.get("/language/en", next="/sign-in")
    assert '<html lang="en"' in english.text
    assert "Authenticator code" in english.text
    assert (await person.http.get("/language/en?next=//evil.example")).headers["location"] == "/"


async def test_too_large_a_form_is_refused_before_it_is_read(console: Console) -> None:
    answer = await console.person().http.post("/sign-in", content=b"x" * 500_000)
    assert answer.status_code == 413


def key_of(console: Console) -> ConsoleKey:
    settings = console.parts.settings
    assert settings.console_key_file
    return ConsoleKey(settings.console_key_file, settings.issuer, settings.audience)


@pytest.mark.parametrize(("roles", "taken"), [(["compliance", "cpo"], True), (["cpo"], False), (None, True)])
async def test_a_token_of_the_console_says_no_role_that_its_key_may_not(
    console: Console, roles: list[str] | None, taken: bool
) -> None:
    row = await console.parts.desk.gate.pool.fetchrow("SELECT * FROM account WHERE name = 'kim'")
    token = key_of(console).token(Account.of_row(dict(row or {})), "127.0.0.1", console.now())
    jwk = key_of(console)._key.as_dict(private=False) | ({"roles": roles} if roles else {})
    settings, keys = console.parts.settings, KeySet.import_key_set({"keys": [jwk]})
    issuer = Authenticator(settings.issuer, settings.audience, keys=keys)
    if taken:
        found = await issuer.principal(f"Bearer {token}")
        assert (found.sub, found.roles, found.access_point) == ("kim", frozenset({"compliance"}), "127.0.0.1")
    else:
        with pytest.raises(AuthError):
            await issuer.principal(f"Bearer {token}")


async def test_a_second_factor_is_sealed_for_one_account(console: Console) -> None:
    sealed = key_of(console).seal("a", "SECRET")
    assert key_of(console).open("a", sealed) == "SECRET"
    assert b"SECRET" not in sealed
    with pytest.raises(InvalidTag):
        key_of(console).open("b", sealed)


async def test_the_code_of_a_neighbouring_step_is_taken_and_no_older_one(console: Console) -> None:
    secret, now = pyotp.random_base32(), console.now()
    step = int(now.timestamp()) // 30
    for drift, taken in ((-2, False), (-1, True), (0, True), (1, True), (2, False)):
        code = pyotp.TOTP(secret).generate_otp(step + drift)
        assert (signin.matching_step(secret, code, 0, now) is not None) == taken
