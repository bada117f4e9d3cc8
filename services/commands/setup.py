"""`python -m services.commands.setup`: roles, databases, migrations and topics on servers that are already there.

Needs DONGUI_ADMIN_DSN (a role that may create roles and databases), DONGUI_OWNER_DSNS, the DSN of every process and
DONGUI_KAFKA. The passwords of the roles are those of the DSNs, those of Kafka's users DONGUI_KAFKA_PASSWORDS_FILE's
(without it the users and ACLs are somebody else's matter). Harmless when repeated.
"""

import asyncio
import sys
from urllib.parse import unquote, urlsplit

import asyncpg
import orjson
import structlog

from schemas.topics import all_topics
from services.devstack import principals, topics
from services.devstack.errors import DevstackError
from services.devstack.provision import database_names, owner_of, provision
from services.policy.model import PolicyError, load
from services.runtime import acls
from services.runtime.kafka import client_options
from services.runtime.migrate import DriftError
from services.runtime.process import PLAIN
from services.runtime.settings import DATABASES, InvalidSettingsError, MissingSettingsError, Settings
from services.runtime.start import begin

say = structlog.get_logger("setup")


class WrongDsnError(Exception):
    """A DSN does not name the role and the database that its setting is for; the message names the setting."""


class GivenRoles:
    """The roles as the settings' DSNs name them."""

    def __init__(self, admin_dsn: str, dsns: dict[str, str], owner_dsns: dict[str, str]) -> None:
        """Check that each DSN is of the role and database it is given for; raise WrongDsnError."""
        self._admin_dsn = admin_dsn
        self._owners = owner_dsns
        self._passwords = {name: _password(dsn, name, name) for name, dsn in dsns.items()}
        self._passwords |= {owner_of(n): _password(dsn, owner_of(n), n) for n, dsn in owner_dsns.items()}

    @property
    def admin_dsn(self) -> str:
        """DSN of the role that creates the others."""
        return self._admin_dsn

    def password(self, role: str) -> str:
        """Return a role's password."""
        return self._passwords[role]

    def owner_dsn(self, name: str, database: str | None = None) -> str:
        """Return the DSN of the owner of a database; there are no copies here."""
        assert database in {None, name}
        return self._owners[name]


def roles_of(settings: Settings, affiliates: list[str]) -> GivenRoles:
    """Return the roles; raise MissingSettingsError naming every DSN that is absent, or WrongDsnError."""
    settings.require("admin_dsn", *(f"{name}_dsn" for name in DATABASES))
    missing = [f"affiliate_dsns[{a}]" for a in affiliates if a not in settings.affiliate_dsns]
    missing += [f"owner_dsns[{n}]" for n in database_names(affiliates) if n not in settings.owner_dsns]
    if missing:
        raise MissingSettingsError(missing)
    dsns = {name: settings.secret(f"{name}_dsn") for name in DATABASES}
    dsns |= {a: settings.affiliate_dsns[a].get_secret_value() for a in affiliates}
    owners = {n: settings.owner_dsns[n].get_secret_value() for n in database_names(affiliates)}
    return GivenRoles(settings.secret("admin_dsn"), dsns, owners)


def _password(dsn: str, role: str, database: str) -> str:
    parts = urlsplit(dsn)
    if unquote(parts.username or "") != role or unquote(parts.path) != f"/{database}" or not parts.password:
        raise WrongDsnError(f"the DSN for {role} must name the role {role}, its password and the database {database}")
    return unquote(parts.password)


async def set_up(settings: Settings) -> None:
    """Make what is missing on both servers, at the same time."""
    affiliates = list(load(settings.affiliates_dir).affiliates)
    _, made = await asyncio.gather(
        provision(roles_of(settings, affiliates), database_names(affiliates)), _on_kafka(settings, affiliates)
    )
    told = {"databases": len(database_names(affiliates)), "topics_made": len(made)}
    say.info("set_up", topics=len(all_topics(affiliates)), **told)


async def _on_kafka(settings: Settings, affiliates: list[str]) -> list[str]:
    """Make the topics and, on a broker with logins, the principals and their ACLs; return the topics made."""
    options, prefix = client_options(settings), settings.topic_prefix
    wanted = all_topics(affiliates)
    made = await topics.create(options["bootstrap_servers"], wanted, prefix=prefix, replicas=None, security=options)
    if settings.kafka_passwords_file is not None:
        passwords = orjson.loads(settings.kafka_passwords_file.read_bytes())
        await principals.create(options, passwords, acls.table(affiliates, prefix), prefix=prefix)
    return made


def main() -> int:
    """Set up; return the exit status. Errors are told by type and message, never with a DSN."""
    try:
        settings = begin("dongui-setup")
        asyncio.run(set_up(settings))
    except (*PLAIN, InvalidSettingsError, PolicyError, WrongDsnError, DevstackError, DriftError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (OSError, asyncpg.PostgresError) as error:
        sys.stderr.write(f"a server does not answer or refuses: {type(error).__name__}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
