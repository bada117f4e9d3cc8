"""Whose token a command acts with when it is told `--as PRINCIPAL`."""

from services.commands.context import fail
from services.devstack.keyfiles import KeyFiles
from services.devstack.tokens import Issuer
from services.runtime.clock import utc_now
from services.runtime.settings import Settings


def token_of(settings: Settings, principal: str, role: str) -> str:
    """Return the principal's token: the one in DONGUI_STAFF_TOKENS, else the dev issuer's; end the command without one.

    The issuer of a dev system vouches for anybody who can read its key: its owner.
    """
    given = settings.staff_tokens.get(principal)
    if given is not None:
        return given.get_secret_value()
    key_file = KeyFiles.below(settings.data_dir / "secrets").issuer_key
    if settings.profile != "dev" or not key_file.is_file():
        fail(f"no token of {principal}: add it to DONGUI_STAFF_TOKENS")
    return Issuer(key_file, settings.issuer, settings.audience, utc_now).token(principal, role)
