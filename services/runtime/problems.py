"""RFC 9457 problem details, in Korean by default and English on request, never with the rejected value."""

import functools
import re
from typing import Any, Final

import asyncpg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from services.runtime.problem import Problem

TYPE_BASE = "https://dongui.kr/problems/"
_STATUS_TITLES = {
    400: ("잘못된 요청", "Bad request"),
    401: ("인증 필요", "Unauthenticated"),
    403: ("권한 없음", "Forbidden"),
    404: ("찾을 수 없음", "Not found"),
    405: ("허용되지 않는 방법", "Method not allowed"),
    408: ("시간 초과", "Request timeout"),
    409: ("충돌", "Conflict"),
    410: ("파기됨", "Gone"),
    411: ("길이 필요", "Length required"),
    412: ("버전이 다름", "Precondition failed"),
    413: ("요청이 너무 큼", "Content too large"),
    415: ("지원하지 않는 형식", "Unsupported media type"),
    422: ("처리할 수 없는 내용", "Unprocessable content"),
    428: ("If-Match 필요", "Precondition required"),
    429: ("요청이 너무 잦음", "Too many requests"),
    500: ("내부 오류", "Internal error"),
    503: ("일시적으로 이용할 수 없음", "Service unavailable"),
}
UNAVAILABLE: Final[tuple[type[Exception], ...]] = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,
    asyncpg.InterfaceError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ObjectNotInPrerequisiteStateError,
)
"""What passes: the database is away, too busy, or another transaction was in the way. Nothing was written."""
UNSTORABLE: Final[tuple[type[Exception], ...]] = (
    asyncpg.CharacterNotInRepertoireError,
    asyncpg.UntranslatableCharacterError,
)
"""PostgreSQL's text, and its JSON, hold no NUL: where a text reached it unlooked at, nothing was written."""
FIELD_NAME: Final = re.compile(r"[a-z]+(_[a-z]+)*")
log = structlog.get_logger("http")


def body_of(problem: Problem, language: str) -> dict[str, Any]:
    """Return the problem+json members for a language (`ko` or `en`)."""
    index = 1 if language == "en" else 0
    title = _STATUS_TITLES.get(problem.status, ("오류", "Error"))[index]
    detail = (problem.detail_ko, problem.detail_en)[index]
    return {
        "type": TYPE_BASE + problem.code,
        "title": title,
        "status": problem.status,
        "code": problem.code,
        "detail": detail,
        **problem.extra,
    }


def language_of(request: Request) -> str:
    """Return `en` when the client prefers English, else `ko`."""
    preferred = request.headers.get("accept-language", "").strip().lower()
    return "en" if preferred.startswith("en") else "ko"


def response(request: Request, problem: Problem) -> JSONResponse:
    """Render a problem for this request."""
    language = language_of(request)
    return JSONResponse(
        body_of(problem, language),
        status_code=problem.status,
        media_type="application/problem+json",
        headers={"Content-Language": language, **problem.headers},
    )


def install(app: FastAPI) -> None:
    """Make every error of this application a problem, its own and the framework's."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> JSONResponse:
        return response(request, error)

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> JSONResponse:
        return response(request, _of_validation(error))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        return response(request, _of_framework(request, error))

    async def _unavailable(request: Request, error: Exception) -> JSONResponse:
        log.warning("unavailable", error=type(error).__name__, route=_route(request))
        return response(request, unavailable())

    async def _unstorable(request: Request, _: Exception) -> JSONResponse:
        return response(request, unstorable())

    for character in UNSTORABLE:
        app.add_exception_handler(character, _unstorable)

    for passing in UNAVAILABLE:
        app.add_exception_handler(passing, _unavailable)

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("unexpected_error", error=type(error).__name__, route=_route(request))
        return response(
            request,
            Problem(
                500,
                "internal",
                "처리하지 못했습니다. 같은 Idempotency-Key로 다시 보내 주세요.",
                "The request was not processed. Send it again with the same Idempotency-Key.",
            ),
        )


def unstorable() -> Problem:
    """The refusal of a character that no text of ours can hold. Fields that are looked at name themselves instead."""
    return Problem(
        422,
        "unstorable_text",
        "NUL 문자는 보낼 수 없습니다. 해당 문자를 지워 주세요.",
        "NUL characters cannot be taken. Remove them.",
    )


def unavailable() -> Problem:
    """The answer while something this process needs does not answer."""
    return Problem(
        503,
        "unavailable",
        "일시적으로 처리할 수 없습니다. 잠시 후 같은 Idempotency-Key로 다시 보내 주세요.",
        "Not available for the moment. Send it again soon with the same Idempotency-Key.",
        headers={"Retry-After": "1"},
    )


def _route(request: Request) -> str:
    return getattr(request.scope.get("route"), "path", "?")


def bad_json() -> Problem:
    """The refusal of a body that cannot be read at all."""
    return Problem(400, "bad_json", "본문이 올바른 JSON이 아닙니다.", "The body is not valid JSON.")


def _of_framework(request: Request, error: HTTPException) -> Problem:
    """The framework's own refusals: no such path, no such method, a body it could not read."""
    status = error.status_code
    if status == 400:
        return bad_json()
    if status == 404:
        ko, en = "없는 경로입니다. /openapi.json을 확인해 주세요.", "There is no such path. See /openapi.json."
        return Problem(404, "http_404", ko, en)
    if status == 405:
        ko, en = "Allow 헤더의 방법만 쓸 수 있습니다.", "Use one of the methods in the header Allow."
        return Problem(405, "http_405", ko, en, headers={"Allow": _allowed(request)})
    return Problem(status, f"http_{status}", *_STATUS_TITLES.get(status, ("오류", "Error")))


def _allowed(request: Request) -> str:
    """Return the methods of a path: those of the plainest template it fits, for `searches` is no reference."""
    documented = request.app.openapi()["paths"]
    fitting = [template for template in documented if _pattern(template).match(request.scope["path"])]
    if not fitting:
        return "GET"  # the probes and the document itself
    plainest = min(fitting, key=lambda template: template.count("{"))
    return ", ".join(sorted(method.upper() for method in documented[plainest]))


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    return compile_path(template)[0]


def _of_validation(error: RequestValidationError) -> Problem:
    if _is_other_type(error):
        ko, en = "본문을 Content-Type: application/json으로 보내 주세요.", "Send the body as application/json."
        return Problem(415, "not_json", ko, en, headers={"Accept": "application/json"})
    errors = [{"pointer": _pointer_of(e), "code": str(e["type"])} for e in error.errors()]
    malformed = any(e["code"] == "json_invalid" for e in errors)
    if malformed:
        return bad_json()
    fields = ", ".join(e["pointer"] or "body" for e in errors)
    return Problem(
        422,
        "invalid_field",
        f"다음 항목을 확인해 주세요: {fields}",
        f"Check these fields: {fields}",
        errors=errors,
    )


def _is_other_type(error: RequestValidationError) -> bool:
    """A body that was not parsed for its Content-Type came to the validation as bytes."""
    return isinstance(error.body, bytes) and any(tuple(e["loc"]) == ("body",) for e in error.errors())


def _pointer_of(error: dict[str, Any]) -> str:
    """An unknown field's own name may hold a value: it is shown only when it looks like a name of ours misspelt."""
    *place, last = error["loc"] or ("",)
    if error["type"] == "extra_forbidden" and not FIELD_NAME.fullmatch(str(last)):
        last = "*"
    return pointer((*place, last)) if error["loc"] else ""


def pointer(location: tuple[int | str, ...]) -> str:
    """JSON Pointer of a field; a key that is no short plain name may hold a value, and is shown as `*`."""
    parts = [str(p) for p in location if p != "body"]
    safe = [p if p.replace("_", "").replace("-", "").isalnum() and len(p) <= 40 and p.isascii() else "*" for p in parts]
    return "".join(f"/{p}" for p in safe)


__all__ = ["Problem", "bad_json", "body_of", "install", "language_of", "pointer", "response"]
