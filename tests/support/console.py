"""A person at the console, without a browser: follows forms as the pages give them, and keeps the cookies."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import httpx
import pyotp

PASSWORD = "correct-horse-battery"


@dataclass
class PageForm:
    """One form of a page: where it goes, its hidden fields, the names of all its fields."""

    action: str
    method: str
    hidden: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[PageForm] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(PageForm(given["action"], given["method"]))
        elif tag in {"input", "select"} and self.forms and given.get("name"):
            self.forms[-1].names.append(given["name"])
            if given.get("type") == "hidden":
                self.forms[-1].hidden[given["name"]] = given["value"]


def forms(page: httpx.Response) -> list[PageForm]:
    """Return the forms of a page."""
    parser = _Forms()
    parser.feed(page.text)
    return parser.forms


class Person:
    """Somebody at the console."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.secret = ""

    async def get(self, path: str, status: int = 200, **params: Any) -> httpx.Response:
        """Open a page, following redirects."""
        page = await self.http.get(path, params=params or None, follow_redirects=True)
        assert page.status_code == status, (page.status_code, page.text[-2000:])
        return page

    async def submit(self, page: httpx.Response, action: str, status: int = 200, **fields: str) -> httpx.Response:
        """Fill the form of a page that goes to `action` and send it, following redirects."""
        form = next(f for f in forms(page) if f.action == action and f.method == "post")
        assert set(fields) <= set(form.names), (fields.keys(), form.names)
        answer = await self.http.post(action, data={**form.hidden, **fields}, follow_redirects=True)
        assert answer.status_code == status, (answer.status_code, answer.text[-2000:])
        return answer

    async def sign_in(self, name: str, password: str, code: str = "", status: int = 200) -> httpx.Response:
        """Sign in; the page after it."""
        page = await self.get("/sign-in")
        return await self.submit(page, "/sign-in", status, name=name, password=password, code=code)

    async def enter(self, name: str, one_time: str, *, ahead_s: int = 0) -> httpx.Response:
        """Sign in for the first time and set up password and second factor; the page after it.

        `ahead_s`: by how much the telephone is ahead: a second factor may be set up once in a time step.
        """
        page = await self.sign_in(name, one_time)
        found = re.search(r'<code id="factor">([A-Z2-7]+)</code>', page.text)
        assert found, page.text[-2000:]
        self.secret = found[1]
        code = pyotp.TOTP(self.secret).at(datetime.now(UTC) + timedelta(seconds=ahead_s))
        return await self.submit(page, "/enrol", password=PASSWORD, again=PASSWORD, code=code)
