"""Who sends an HTTP request: the one place where a bearer token becomes a principal, or a 401 with its challenge."""

from fastapi import Request

from services.runtime.auth import Authenticator, AuthError, Principal
from services.runtime.problem import Problem


async def principal_of(request: Request) -> Principal:
    """FastAPI dependency: who asks, by the application's `state.authenticator`.

    Raises Problem 401 when the token is absent or not good, 503 when the issuer's keys cannot be had.
    """
    authenticator: Authenticator = request.app.state.authenticator
    try:
        return await authenticator.principal(request.headers.get("authorization"))
    except AuthError as error:
        raise Problem(
            error.status,
            error.code,
            "유효한 Bearer 토큰이 필요합니다.",
            "A valid bearer token is needed.",
            headers={"WWW-Authenticate": "Bearer"},
        ) from error
