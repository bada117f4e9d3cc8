"""Cookies and what binds a form to its page: `__Host-` names over https, a documented dev variant over loopback http.

No browser takes a `__Host-` cookie over http, not even from 127.0.0.1, so the dev profile has names of its own.
"""

import base64
import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from fastapi import Response

LANGUAGE: Final = "dongui-language"
YEAR_S: Final = 365 * 24 * 3600


class InsecureConsoleError(Exception):
    """DONGUI_CONSOLE_URL is plain http where that is not allowed: only on loopback, in the dev profile."""


@dataclass(frozen=True)
class Cookies:
    """The names and attributes of one installation's cookies."""

    secure: bool

    @classmethod
    def of_url(cls, url: str, profile: str) -> "Cookies":
        """Choose by the console's own URL; raise InsecureConsoleError for http outside a laptop."""
        parts = urlsplit(url)
        if parts.scheme == "https":
            return cls(secure=True)
        if parts.scheme == "http" and profile == "dev" and _loopback(parts.hostname or ""):
            return cls(secure=False)
        raise InsecureConsoleError("DONGUI_CONSOLE_URL must be https (http only on loopback in the dev profile)")

    @property
    def session(self) -> str:
        """The name of the session's cookie."""
        return "__Host-dongui" if self.secure else "dongui-dev"

    @property
    def browser(self) -> str:
        """The name of the cookie that binds the pages before the sign-in to one browser."""
        return "__Host-dongui-browser" if self.secure else "dongui-dev-browser"

    def put(self, response: Response, name: str, value: str) -> None:
        """Set a cookie that scripts can't read, sent on navigation from other sites but not on their requests."""
        response.set_cookie(name, value, path="/", secure=self.secure, httponly=True, samesite="lax")

    def drop(self, response: Response, name: str) -> None:
        """Remove a cookie."""
        response.delete_cookie(name, path="/", secure=self.secure, httponly=True, samesite="lax")

    def put_language(self, response: Response, language: str) -> None:
        """Remember the language: nothing secret."""
        response.set_cookie(LANGUAGE, language, max_age=YEAR_S, path="/", secure=self.secure, samesite="lax")


def form_token(secret: str) -> str:
    """Return the CSRF token of whoever holds this cookie: it proves the page was ours and needs no storage."""
    made = hmac.new(secret.encode(), b"dongui console form", hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def is_form_token(secret: str, given: str) -> bool:
    """Say whether a form came from a page of this cookie's holder."""
    return hmac.compare_digest(form_token(secret).encode(), given.encode())


def origin_of(url: str) -> str:
    """Return the origin of a URL as browsers write it: without the scheme's own port."""
    parts = urlsplit(url)
    plain = {"http": 80, "https": 443}.get(parts.scheme)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in {None, plain} else "")


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
