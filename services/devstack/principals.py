"""Makes Kafka's users and ACLs what the table says, over the wire, as often as you like; needs a superuser's login.

A principal of the table keeps no permission that is not in it. Principals the table does not name are let be.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, for_code
from aiokafka.protocol.admin import CreateAclsRequest_v1, DeleteAclsRequest_v1, DescribeAclsRequest
from aiokafka.protocol.api import Request

from services.devstack import scram
from services.devstack.errors import DevstackError
from services.runtime.acls import Acl, Kind, Operation, Table

ANY, LITERAL, ALLOW = 1, 3, 3
KINDS: Final[dict[Kind, int]] = {"topic": 2, "group": 3}
OPERATIONS: Final[dict[Operation, int]] = {"READ": 3, "WRITE": 4, "DESCRIBE": 8}
EVERYWHERE: Final = "*"
SEEN_TIMEOUT_S, PAUSE_S, SEEN_S = 15.0, 0.1, 0.5
Row = tuple[int, str, int, str, str, int, int]
"""resource type, name, pattern, principal, host, operation, permission: how the protocol writes an ACL."""


class _CreateAcls(Request[CreateAclsRequest_v1]):  # type: ignore[misc]
    """aiokafka's own sends one ACL at a time."""

    API_KEY = 30

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def build(self, struct: Any) -> Any:
        return struct(self._rows)


class _DeleteAcls(Request[DeleteAclsRequest_v1]):  # type: ignore[misc]
    API_KEY = 31

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def build(self, struct: Any) -> Any:
        return struct(self._rows)


async def create(security: Mapping[str, Any], passwords: Mapping[str, str], table: Table, *, prefix: str = "") -> None:
    """Make each principal of the table able to log in and give it exactly its ACLs on what begins with `prefix`.

    `security` is what an aiokafka client needs, with its bootstrap servers. Raises DevstackError when the broker
    refuses, and for a principal of the table without a password.
    """
    without = sorted(table.keys() - passwords.keys())
    if without:
        raise DevstackError(f"no Kafka password for {', '.join(without)}: add it to DONGUI_KAFKA_PASSWORDS_FILE")
    admin = AIOKafkaAdminClient(**security)
    await admin.start()
    try:
        await _set_passwords(admin, security, {name: passwords[name] for name in table})
        await _set_acls(admin, table, prefix)
    finally:
        await admin.close()


async def allow(security: Mapping[str, Any], principal: str, acls: Iterable[Acl]) -> int:
    """Give one principal further ACLs; return how many it did not have. Raises DevstackError when refused."""
    admin = AIOKafkaAdminClient(**security)
    await admin.start()
    try:
        missing = {_row(principal, acl) for acl in acls} - await _existing(admin)
        await _add(admin, missing)
        return len(missing)
    finally:
        await admin.close()


async def _set_passwords(admin: AIOKafkaAdminClient, security: Mapping[str, Any], users: Mapping[str, str]) -> None:
    """Set what is missing or was changed, and wait until the broker takes it: its metadata comes a moment later."""
    answer = await admin._send_request(scram.Describe())  # noqa: SLF001 - it has no public verb for this
    known = {name for name, *_ in answer.results}
    good = await asyncio.gather(*(_logs_in(security, name, users[name]) for name in users if name in known))
    stale = {name: users[name] for name, fits in zip([n for n in users if n in known], good, strict=True) if not fits}
    wanted = {name: users[name] for name in users if name not in known} | stale
    if not wanted:
        return
    answer = await admin._send_to_controller(scram.Alter(wanted))  # noqa: SLF001
    for name, code, *_ in answer.results:
        _good(code, f"the Kafka user {name} could not be made")
    await asyncio.sleep(SEEN_S)
    await asyncio.gather(*(_until_it_logs_in(security, name, password) for name, password in wanted.items()))


async def _until_it_logs_in(security: Mapping[str, Any], name: str, password: str) -> None:
    deadline = asyncio.get_running_loop().time() + SEEN_TIMEOUT_S
    while not await _logs_in(security, name, password):
        if asyncio.get_running_loop().time() > deadline:
            raise DevstackError(f"the Kafka user {name} was made and still cannot log in; see the broker's log")
        await asyncio.sleep(PAUSE_S)


async def _logs_in(security: Mapping[str, Any], name: str, password: str) -> bool:
    login = {"sasl_plain_username": name, "sasl_plain_password": password}
    client = AIOKafkaAdminClient(**(dict(security) | login))
    try:
        await client.start()
    except KafkaConnectionError:
        return False
    finally:
        await client.close()
    return True


async def _set_acls(admin: AIOKafkaAdminClient, table: Table, prefix: str) -> None:
    wanted = {_row(who, acl) for who, acls in table.items() for acl in acls}
    existing = await _ours(admin, table, prefix)
    await _add(admin, wanted - existing)
    await _take_away(admin, existing - wanted)
    deadline = asyncio.get_running_loop().time() + SEEN_TIMEOUT_S
    while await _ours(admin, table, prefix) != wanted:
        if asyncio.get_running_loop().time() > deadline:
            raise DevstackError("the broker did not show the new ACLs in time; see its log")
        await asyncio.sleep(PAUSE_S)


async def _ours(admin: AIOKafkaAdminClient, table: Table, prefix: str) -> set[Row]:
    """Return the ACLs there are of the table's principals, on what begins with the prefix."""
    users = {_user(who) for who in table}
    return {row for row in await _existing(admin) if row[3] in users and row[1].startswith(prefix)}


async def _take_away(admin: AIOKafkaAdminClient, rows: set[Row]) -> None:
    if not rows:
        return
    answer = await admin._send_to_controller(_DeleteAcls(sorted(rows)))  # noqa: SLF001
    for code, *_ in answer.filter_responses:
        _good(code, "an ACL could not be taken away")


async def _existing(admin: AIOKafkaAdminClient) -> set[Row]:
    """Return every ACL of the cluster."""
    answer = await admin._send_to_controller(DescribeAclsRequest(ANY, None, ANY, None, None, ANY, ANY))  # noqa: SLF001
    _good(answer.error_code, "the ACLs could not be read")
    return {
        (kind, name, pattern, principal, host, operation, permission)
        for kind, name, pattern, acls in answer.resources
        for principal, host, operation, permission in acls
    }


async def _add(admin: AIOKafkaAdminClient, rows: set[Row]) -> None:
    if not rows:
        return
    answer = await admin._send_to_controller(_CreateAcls(sorted(rows)))  # noqa: SLF001
    for code, *_ in answer.creation_responses:
        _good(code, "an ACL could not be made")


def _row(principal: str, acl: Acl) -> Row:
    operation = OPERATIONS[acl.operation]
    return (KINDS[acl.kind], acl.name, LITERAL, _user(principal), EVERYWHERE, operation, ALLOW)


def _user(principal: str) -> str:
    return f"User:{principal}"


def _good(code: int, otherwise: str) -> None:
    if code:
        raise DevstackError(f"{otherwise}: {for_code(code).__name__}")
