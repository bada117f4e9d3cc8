"""The seeds of our webhook signature, from the files that the settings name: the present one, then an earlier one."""

from services.propagator.notices import signing
from services.runtime.settings import Settings


def seeds(settings: Settings) -> list[bytes]:
    """Return the seeds that sign now, the one to stay first. Raises MissingSettingsError, SigningKeyError, OSError."""
    settings.require("webhook_signing_key_file")
    files = [settings.webhook_signing_key_file, settings.webhook_signing_key_old_file]
    return [signing.seed_of(path.read_bytes()) for path in files if path is not None]
