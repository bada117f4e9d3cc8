"""The consent service's HTTP application: routes parse, ask a handler, answer. Nothing is decided here."""

from typing import Final

from fastapi import Request, Response

from services.consent import api_changes, api_duties, api_import, api_keys, api_members, api_records
from services.consent.canaries import api as canaries
from services.consent.corrections import api as corrections
from services.consent.decisions import api as decisions
from services.consent.dormancy import api as dormancy
from services.consent.erasure import api as erasure
from services.consent.erasure.issue import Issuer
from services.consent.guardians import api as guardians
from services.consent.handlers import Consent
from services.consent.holdings import api as holdings
from services.consent.letters import api as letters
from services.consent.links import LINKS
from services.consent.messages import api as messages
from services.consent.messages import opt_out_api
from services.consent.registers import api as registers
from services.consent.replays import api as replays
from services.consent.rights import api as rights
from services.keyring.keyring import KeyDestroyedError
from services.runtime import problems
from services.runtime.auth import Authenticator
from services.runtime.probes import Ready
from services.runtime.rates import Rates
from services.runtime.web import Api

NO_CERTIFICATES: Final = Issuer()
ROUTERS: Final = (
    api_members.router,
    api_import.router,
    api_changes.router,
    api_keys.router,
    api_duties.router,
    api_records.router,
    corrections.router,
    decisions.router,
    guardians.router,
    messages.router,
    opt_out_api.router,
    rights.router,
    dormancy.router,
    registers.router,
    erasure.router,
    replays.router,
    holdings.router,
    letters.router,
    canaries.router,
)


def create(
    consent: Consent, authenticator: Authenticator, rates: Rates, ready: Ready, certificates: Issuer = NO_CERTIFICATES
) -> Api:
    """Return the application. `ready` says which dependency answers, `certificates` issues those of destructions."""
    app = Api(
        title="Dongui consent service",
        summary="One member changes one thing once; every affiliate and third party provably follows.",
        authenticator=authenticator,
        rates=rates,
        ready=ready,
        links=LINKS,
    )
    app.state.consent = consent
    app.state.certificates = certificates
    app.add_exception_handler(KeyDestroyedError, _erased)
    for router in ROUTERS:
        app.include_router(router)
    return app


async def _erased(request: Request, _: Exception) -> Response:
    """A member whose key is destroyed takes no command, even while a restored database still shows the member."""
    erased = problems.Problem(409, "member_erased", "파기된 회원입니다.", "The member is erased.")
    return problems.response(request, erased)
