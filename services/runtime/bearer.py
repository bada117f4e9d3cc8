"""Who sends an HTTP request: the one place where a bearer token becomes a principal, or a 401 with its challenge."""

from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from services.runtime.auth import Authenticator, AuthError, Principal
from services.runtime.bounds import address_of
from services.runtime.problem import Problem
from services.runtime.rates import Rates

SCHEME: Final = HTTPBearer(auto_error=False, description="A token of the issuer; its roles decide")


async def principal_of(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(SCHEME)]
) -> Principal:
    """FastAPI dependency: who asks, by the application's `state.authenticator`, and not too often.

    Raises Problem 401 when the token is absent or not good, 429 for who asks too often, 503 when the issuer's keys
    cannot be had.
    """
    principal = await _known(request)
    rates: Rates = request.app.state.rates
    rates.of_principal(principal.sub, principal.roles)
    return principal


async def _known(request: Request) -> Principal:
    authenticator: Authenticator = request.app.state.authenticator
    rates: Rates = request.app.state.rates
    try:
        return await authenticator.principal(request.headers.get("authorization"))
    except AuthError as error:
        if "authorization" in request.headers:
            rates.of_address(address_of(request))
        raise Problem(
            error.status,
            error.code,
            "유효한 Bearer 토큰이 필요합니다.",
            "A valid bearer token is needed.",
            headers={"WWW-Authenticate": "Bearer"},
        ) from error
