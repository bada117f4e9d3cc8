"""The HTTP APIs as the console asks them: always with the signed-in person's own short-lived token, never by itself."""

from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import httpx
from uuid_utils import uuid7

from services.runtime import tracing
from services.runtime.settings import Settings

Service = Literal["consent", "audit", "retention"]
TIMEOUT_S: Final = 10.0
PAGES_MAX: Final = 200
"""Pages that are followed of a list that must be seen whole; of a longer one the page says that it is cut."""


class RefusedError(Exception):
    """An API said no: its status, stable code, and detail in the person's language."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(code)
        self.status, self.code, self.detail = status, code, detail


class AwayError(Exception):
    """An API does not answer; `service` says which."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.service = service


@dataclass(frozen=True)
class Document:
    """What an API answered that is no JSON: a certificate, a proof, an export."""

    content: bytes
    media_type: str


class Apis:
    """Connections to the services. Close it at the end."""

    def __init__(self, urls: dict[Service, str]) -> None:
        self._clients = {name: httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S) for name, url in urls.items()}

    @classmethod
    def of_settings(cls, settings: Settings) -> "Apis":
        """Connect to the URLs of the settings, which must be there."""
        settings.require("consent_url", "audit_url", "retention_url")
        assert settings.consent_url
        assert settings.audit_url
        assert settings.retention_url
        return cls({"consent": settings.consent_url, "audit": settings.audit_url, "retention": settings.retention_url})

    async def send(self, service: Service, request: "Asked") -> httpx.Response:
        """Send one request; raise AwayError or RefusedError."""
        try:
            answer = await self._clients[service].request(
                request.method,
                request.path,
                params=request.params,
                json=request.body,
                content=request.content,
                headers=request.headers | tracing.headers(),
            )
        except httpx.HTTPError as error:
            raise AwayError(service) from error
        if answer.is_success:
            return answer
        if answer.status_code == 503:
            raise AwayError(service)
        raise _refused(answer)

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()


@dataclass(frozen=True)
class Asked:
    """One request: `params` without None, `body` as JSON or `content` as it is, headers with the token."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: Any = None
    content: bytes | None = None


@dataclass(frozen=True)
class Asker:
    """The APIs for one person in one language."""

    apis: Apis
    token: str
    language: str
    reason: str = ""
    """Why the person looks, as a code: the audit service writes it down."""
    cut: list[str] = field(default_factory=list)
    """The paths of lists whose end was not reached."""

    async def get(self, service: Service, path: str, **params: object) -> Any:
        """Return the JSON of a GET."""
        return (await self.apis.send(service, self._asked("GET", path, params))).json()

    async def listed(self, service: Service, path: str, key: str, **params: object) -> list[Any]:
        """Return the rows of a list, following its cursor to the end; what lies beyond PAGES_MAX is noted in `cut`."""
        rows: list[Any] = []
        cursor: object = None
        for _ in range(PAGES_MAX):
            page = await self.get(service, path, **params, cursor=cursor)
            rows += page[key]
            cursor = page.get("next")
            if cursor is None:
                return rows
        self.cut.append(path)
        return rows

    async def document(self, service: Service, path: str, accept: str, **params: object) -> Document:
        """Return what a GET answers in another form than JSON."""
        answer = await self.apis.send(service, self._asked("GET", path, params, accept=accept))
        return Document(answer.content, answer.headers.get("content-type", accept))

    async def post(self, service: Service, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """Return the JSON of a POST; `key` is its Idempotency-Key, a new one unless the form brought its own."""
        asked = self._asked("POST", path, {}, body=body, key=key or str(uuid7()))
        return (await self.apis.send(service, asked)).json()

    async def attach(self, service: Service, path: str, content: bytes, media_type: str, **params: object) -> Any:
        """Send a document's bytes; return the JSON of the answer."""
        asked = self._asked("POST", path, params, key=str(uuid7()))
        headers = {**asked.headers, "Content-Type": media_type}
        return (await self.apis.send(service, replace(asked, headers=headers, content=content))).json()

    def _asked(
        self,
        method: str,
        path: str,
        params: dict[str, object],
        *,
        body: Any = None,
        key: str | None = None,
        accept: str = "application/json",
    ) -> Asked:
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Accept": accept,
            "Accept-Language": self.language,
            **({"Idempotency-Key": key} if key else {}),
            **({"X-Reason": self.reason} if self.reason else {}),
        }
        given = {name.rstrip("_"): str(value) for name, value in params.items() if value not in {None, ""}}
        return Asked(method, path, given, headers, body)


def _refused(answer: httpx.Response) -> RefusedError:
    try:
        problem = answer.json()
        return RefusedError(answer.status_code, str(problem["code"]), str(problem["detail"]))
    except (ValueError, KeyError, TypeError):
        return RefusedError(answer.status_code, f"http_{answer.status_code}", "")
