"""Into the console and out of it: local sign-in, the first time, the identity provider, the language switch."""

import hashlib
import secrets

import segno
import structlog
from fastapi import APIRouter, Response
from markupsafe import Markup

from services.console import signin, store
from services.console.desk import Anybody, Desk, Sent, SignInNeededError, Visit, local_path, to
from services.console.model import NAME, Account, neighbourhood
from services.console.oidc import Attempt, Person, ProviderError
from services.console.signin import Entered
from services.console.store import SQL
from services.console.words import LANGUAGES
from services.runtime.postgres import Connection
from services.runtime.problem import Problem

router = APIRouter()
TOO_OFTEN = frozenset({"locked", "too_many_requests"})
log = structlog.get_logger("console")


@router.get("/sign-in")
async def sign_in_page(visit: Anybody, next: str = "/") -> Response:  # noqa: A002 - the parameter's name in the URL
    """Show the sign-in form; the browser gets the cookie that binds it."""
    if visit.account:
        return to("/enrol" if visit.request.state.enrolling else next)
    return _sign_in(visit, local_path(next))


def _sign_in(visit: Visit, after: str, fault: str | None = None, **headers: str) -> Response:
    bound = Visit(visit.desk, visit.request, visit.words, visit.secret or secrets.token_urlsafe(32))
    status = 200 if fault is None else 429 if fault in TOO_OFTEN else 403
    page = bound.page("sign_in.html", status=status, after=after, fault=fault, provider=visit.desk.provider is not None)
    page.headers.update(headers)
    visit.desk.cookies.put(page, visit.desk.cookies.browser, bound.secret)
    return page


@router.post("/sign-in")
async def sign_in(visit: Anybody, form: Sent) -> Response:
    """Take name, password and code; nothing is looked at for an address that tries too often."""
    after = local_path(form.text("next") or "/")
    try:
        visit.desk.gate.rates.of_address(neighbourhood(visit.place))
    except Problem as problem:
        return _sign_in(visit, after, problem.code, **problem.headers)
    name, password, code = form.text("name", 63), str(form.data.get("password", ""))[:200], form.text("code", 12)
    found = await signin.enter(visit.desk.gate, name, password, code, visit.place)
    return _entered(visit, found, after) if isinstance(found, Entered) else _sign_in(visit, after, found)


def _entered(visit: Visit, entered: Entered, after: str) -> Response:
    answer = to("/enrol" if entered.enrolling else after)
    visit.desk.cookies.put(answer, visit.desk.cookies.session, entered.token)
    visit.desk.cookies.drop(answer, visit.desk.cookies.browser)
    return answer


@router.get("/enrol")
async def enrol_page(visit: Anybody) -> Response:
    """Show the page of the first time: an own password, and the second factor to scan."""
    return await _enrol(visit, None)


async def _enrol(visit: Visit, fault: str | None) -> Response:
    account = _newcomer(visit)
    secret = await signin.factor(visit.desk.gate, account)
    code = segno.make(signin.provisioning_uri(account, secret), micro=False)
    picture = Markup(code.svg_inline(scale=4, omitsize=True, svgclass="qr", lineclass=None))  # noqa: S704 - our own
    return visit.page("enrol.html", status=422 if fault else 200, factor=secret, picture=picture, fault=fault)


def _newcomer(visit: Visit) -> Account:
    if visit.account is None or not visit.request.state.enrolling:
        raise SignInNeededError
    return visit.account


@router.post("/enrol")
async def enrol(visit: Anybody, form: Sent) -> Response:
    """Take the own password, twice, and the first code."""
    account = _newcomer(visit)
    password, again = (str(form.data.get(name, ""))[:200] for name in ("password", "again"))
    if password != again:
        return await _enrol(visit, "passwords_differ")
    found = await signin.enrol(visit.desk.gate, account, visit.secret, password, form.text("code", 12))
    return _entered(visit, found, "/") if isinstance(found, Entered) else await _enrol(visit, found)


@router.post("/sign-out")
async def sign_out(visit: Anybody, form: Sent) -> Response:  # noqa: ARG001 - it checks the form
    """End the session."""
    if visit.account:
        await signin.leave(visit.desk.gate, visit.account, visit.secret)
    answer = to("/sign-in")
    visit.desk.cookies.drop(answer, visit.desk.cookies.session)
    return answer


@router.get("/language/{language}")
async def language(visit: Anybody, language: str, next: str = "/") -> Response:  # noqa: A002
    """Switch the language and go back."""
    answer = to(next)
    if language in LANGUAGES:
        visit.desk.cookies.put_language(answer, language)
    return answer


@router.get("/sign-in/oidc")
async def begin_oidc(visit: Anybody) -> Response:
    """Send the browser to the identity provider."""
    provider = visit.desk.provider
    if provider is None or not visit.secret:
        raise SignInNeededError
    attempt = Attempt()
    try:
        target = await provider.begin(attempt)
    except ProviderError as error:
        return _not_vouched(visit, error.code)
    gate = visit.desk.gate
    values = (attempt.state, visit.secret, attempt.nonce, attempt.verifier, gate.clock())
    await store.begin_attempt(gate.pool, *values)
    return Response(status_code=303, headers={"Location": target})


@router.get("/sign-in/oidc/callback")
async def finish_oidc(visit: Anybody, state: str = "", code: str = "") -> Response:
    """Take the provider's word; the state must be one that this browser began."""
    provider, gate = visit.desk.provider, visit.desk.gate
    attempt = await store.take_attempt(gate.pool, state, visit.secret, gate.clock()) if provider and state else None
    if provider is None or attempt is None or not code:
        return _not_vouched(visit, "attempt_unknown")
    try:
        person = await provider.finish(code, attempt["nonce"], attempt["verifier"])
    except ProviderError as error:
        return _not_vouched(visit, error.code)
    if person is None:
        return _sign_in(visit, "/", "no_role")
    async with gate.pool.acquire() as tx, tx.transaction():
        account = await _account_of(visit.desk, tx, person)
        entered = await signin.enter_known(gate, tx, account, visit.place) if account else None
    gate.nudge()
    return _entered(visit, entered, "/") if entered else _sign_in(visit, "/", "no_role")


def _not_vouched(visit: Visit, code: str) -> Response:
    log.warning("oidc_failed", code=code)
    return _sign_in(visit, "/", "provider")


async def _account_of(desk: Desk, tx: Connection, person: Person) -> Account | None:
    """Return the account of whom the provider vouches for, made at the first sign-in; None for a closed one.

    The role is the provider's at each sign-in; another than before is written down.
    """
    at = desk.gate.clock()
    row = await tx.fetchrow(SQL["account_of_subject"], person.subject)
    if row is None:
        for name in _names(person):
            told = (name, person.subject, *person.standing, None, False, at, None)
            row = await tx.fetchrow(SQL["insert_account"], *told)
            if row is not None:
                account = Account.of_row(dict(row))
                await store.record(tx, account, "created", at, role=account.role, by="identity_provider")
                return account
        return None
    account = Account.of_row(dict(row))
    if account.disabled_at:
        return None
    await store.change_role(tx, account, person.standing, at, "identity_provider")
    row = await tx.fetchrow(SQL["account_of_subject"], person.subject)
    return Account.of_row(dict(row)) if row else None


def _names(person: Person) -> list[str]:
    """Return the names to try: the provider's, apart from every local one, then one that nobody else can have."""
    said = f"sso.{person.name.lower()}"
    unique = f"sso.{hashlib.sha256(person.subject.encode()).hexdigest()[:16]}"
    return [said, unique] if NAME.fullmatch(said) else [unique]
