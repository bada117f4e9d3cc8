"""One visit: who asks, in which language, with which token; what a page is rendered with; what a form must bring."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final

import jinja2
from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.datastructures import FormData

from services.console import cookies, store, words
from services.console.apis import Apis, Asker, RefusedError
from services.console.cookies import LANGUAGE, Cookies
from services.console.model import TOUCH, Account
from services.console.oidc import Provider
from services.console.signin import Gate
from services.console.store import SQL
from services.console.words import Language, Words

TEXT_MAX: Final = 500


class SignInNeededError(Exception):
    """Nobody is signed in, or the session is over: to the sign-in page and back."""


class NotForYouError(Exception):
    """The page is not for this role."""


class FormRefusedError(Exception):
    """The form was not sent from a page of ours in this session."""


@dataclass(frozen=True)
class Desk:
    """What every page works with."""

    gate: Gate
    apis: Apis
    cookies: Cookies
    provider: Provider | None
    templates: jinja2.Environment
    origin: str
    """Where this console is: its own forms come from there."""


@dataclass(frozen=True)
class Visit:
    """One request. `account` is None before the sign-in; `secret` is the cookie that binds its forms."""

    desk: Desk
    request: Request
    words: Words
    secret: str = ""
    account: Account | None = None
    cut: list[str] = field(default_factory=list)
    """The lists that were too long to be shown whole: the page says so."""

    @property
    def known(self) -> Account:
        """Who is signed in; only pages that need somebody ask."""
        if self.account is None:
            raise SignInNeededError
        return self.account

    @property
    def place(self) -> str:
        """Where the person is, as the access log keeps it: the network address."""
        host = self.request.client.host if self.request.client else ""
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            return "unknown"

    @property
    def api(self) -> Asker:
        """The APIs, asked as this person."""
        token = self.desk.gate.key.token(self.known, self.place, self.desk.gate.clock())
        return Asker(self.desk.apis, token, self.words.language, cut=self.cut)

    def asking(self, reason: str) -> Asker:
        """The same, saying why the person looks."""
        return replace(self.api, reason=reason)

    def require(self, *roles: str) -> Account:
        """Return the account when its role is one of these; raise NotForYouError otherwise."""
        if self.known.role not in roles:
            raise NotForYouError
        return self.known

    def page(self, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
        """Render a page, or the part of one that htmx asked for."""
        return HTMLResponse(self.render(template, **context), status_code=status)

    def refused(self, template: str, error: RefusedError, **context: Any) -> HTMLResponse:
        """Render a page again with what an API refused, at its head."""
        return self.page(template, status=422, refusal=error, **context)

    def render(self, template: str, **context: Any) -> str:
        """Return the HTML of a template."""
        return self.desk.templates.get_template(template).render(
            **{"refusal": None, "here": self.request.url.path, **context},
            visit=self,
            account=self.account,
            t=self.words.t,
            w=self.words.word,
            words=self.words,
            between=words.seconds_between,
            csrf=cookies.form_token(self.secret),
            lang=self.words.language,
        )


@dataclass(frozen=True)
class Form:
    """The fields of a form that was sent from one of our pages."""

    data: Mapping[str, Any] = field(default_factory=dict)

    def text(self, name: str, most: int = TEXT_MAX) -> str:
        """Return a field without surrounding space, cut at a length; empty when it is absent."""
        value = self.data.get(name)
        return value.strip()[:most] if isinstance(value, str) else ""

    def given(self, *names: str) -> dict[str, str]:
        """Return those of the fields that are not empty."""
        return {name: self.text(name) for name in names if self.text(name)}

    def several(self, name: str) -> list[str]:
        """Return all values of a field (check boxes)."""
        found = self.data.getlist(name) if isinstance(self.data, FormData) else []
        return [value for value in found if isinstance(value, str)]


async def desk_of(request: Request) -> Desk:
    """FastAPI dependency: what the process works with."""
    desk: Desk = request.app.state.desk
    return desk


def language_of(request: Request) -> Language:
    """Return the language of the switch; Korean until somebody chose."""
    return "en" if request.cookies.get(LANGUAGE) == "en" else "ko"


async def visit_of(request: Request, desk: Annotated[Desk, Depends(desk_of)]) -> Visit:
    """FastAPI dependency: the visit of whoever asks, signed in or not."""
    said = Words(language_of(request))
    token = request.cookies.get(desk.cookies.session, "")
    row = await store.read_session(desk.gate.pool, token, desk.gate.clock()) if token else None
    if row is None:
        return Visit(desk, request, said, request.cookies.get(desk.cookies.browser, ""))
    now = desk.gate.clock()
    if now - row["seen_at"] > TOUCH:
        await desk.gate.pool.execute(SQL["touch_session"], store.digest(token), now)
    request.state.enrolling = row["enrolling"]
    return Visit(desk, request, said, token, Account.of_row(dict(row)))


async def signed_in(visit: Annotated[Visit, Depends(visit_of)]) -> Visit:
    """FastAPI dependency: the visit of somebody who is wholly signed in."""
    if visit.account is None or visit.request.state.enrolling:
        raise SignInNeededError
    return visit


def _from_here(request: Request, origin: str) -> bool:
    """Say whether the browser, if it says anything, says that the form is ours: older ones send Origin only."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    return site in {"same-origin", "none"} and request.headers.get("origin", origin) == origin


async def form_of(request: Request, visit: Annotated[Visit, Depends(visit_of)]) -> Form:
    """FastAPI dependency of every POST: the form, when it comes from a page of ours in this session."""
    if not _from_here(request, visit.desk.origin):
        raise FormRefusedError
    data = await request.form()
    given = data.get("csrf")
    if not visit.secret or not isinstance(given, str):
        raise FormRefusedError
    if not cookies.is_form_token(visit.secret, given):
        raise FormRefusedError
    return Form(data)


Anybody = Annotated[Visit, Depends(visit_of)]
Somebody = Annotated[Visit, Depends(signed_in)]
Sent = Annotated[Form, Depends(form_of)]


def environment() -> jinja2.Environment:
    """Return the templates: everything escaped, a name that is not there is an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("services.console"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(kst=words.kst, utc=words.utc, short=words.short)
    return made


def local_path(path: str) -> str:
    """Return a path of our own, `/` for anything that could lead elsewhere."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and "\\" not in path and path.isprintable()
    return path if plain else "/"


def to(path: str) -> RedirectResponse:
    """Go on to a page of ours after a form was taken."""
    return RedirectResponse(local_path(path), status_code=303)
