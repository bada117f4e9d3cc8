"""F30 in PostgreSQL: a role opens its own database and no other, and in its own it owns nothing.

What a role may do with rows is the migrations' matter and held where each process is tested; here is what none may.
"""

from itertools import permutations, product

import asyncpg
import pytest

from services.devstack.provision import AFFILIATES, database_names, owner_of
from tests.support.databases import Databases, opened
from tests.support.servers import Servers

NAMES = database_names(AFFILIATES)
ROLES = [role for name in NAMES for role in (name, owner_of(name))]
DENIED = (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidAuthorizationSpecificationError)
ON_A_TABLE = (
    "TRUNCATE {table}",
    "DROP TABLE {table} CASCADE",
    "ALTER TABLE {table} ADD COLUMN mine int",
    "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "CREATE TRIGGER mine BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE INDEX mine ON {table} ((1))",
    "ALTER TABLE {table} OWNER TO CURRENT_USER",
)
TABLES = """
SELECT quote_ident(relname) AS name FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
"""
ON_THE_SERVER = (
    "CREATE TABLE mine (x int)",
    "CREATE TEMP TABLE mine (x int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE mine",
    "CREATE DATABASE mine",
    "CREATE EXTENSION dblink",
    "ALTER SYSTEM SET log_statement = 'all'",
    "SET log_statement = 'all'",
    "SET session_replication_role = 'replica'",
    "SELECT rolpassword FROM pg_authid",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT pg_ls_dir('.')",
    "SELECT lo_import('/etc/hostname')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/mine'",
    "SELECT pg_switch_wal()",
    "SELECT * FROM pg_create_physical_replication_slot('mine')",
    "GRANT pg_read_all_data TO CURRENT_USER",
)


async def denied(connection: asyncpg.Connection, statement: str) -> bool:
    """Say whether the server refuses a statement for want of a right; what it does not refuse fails the test anyway."""
    try:
        await connection.execute(statement)
    except DENIED:
        return True
    except asyncpg.PostgresError:
        return False
    return False


async def test_no_role_opens_the_database_of_another(stack: Servers, databases: Databases) -> None:
    """Every process's role against every database, and an affiliate's owner against the other affiliates' stores."""
    tried, let_in = 0, []
    real = {name: databases.name(name) for name in NAMES}
    asked = [*product(NAMES, NAMES), *((owner_of(a), b) for a, b in product(AFFILIATES, AFFILIATES))]
    for role, name in asked:
        dsn = stack.postgres.dsn(real[name], role, stack.access.password(role))
        if role in {name, owner_of(name)}:
            assert await opens(dsn), f"{role} opens its own database, or the denials say nothing"
        else:
            tried += 1
            let_in += [(role, name)] if await opens(dsn) else []
    print(f"roles against databases: {tried} attempts, {tried - len(let_in)} denied")
    assert let_in == []
    assert tried == 9 * 8 + 3 * 2


async def opens(dsn: str) -> bool:
    try:
        async with opened(dsn):
            return True
    except DENIED:
        return False


async def test_no_affiliate_logs_in_as_another(stack: Servers, databases: Databases) -> None:
    for me, other in permutations(AFFILIATES, 2):
        dsn = stack.postgres.dsn(databases.name(other), other, stack.access.password(me))
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(dsn)


async def test_no_process_owns_alters_or_reaches_around_anything(databases: Databases) -> None:
    tried, allowed = 0, []
    for name in NAMES:
        async with opened(databases.dsn(name)) as connection:
            tables = [row["name"] for row in await connection.fetch(TABLES)]
            assert len(tables) > 1
            others = [role for role in ROLES if role != name]
            statements = [s.format(table=t) for t in tables for s in ON_A_TABLE] + [*ON_THE_SERVER]
            statements += [f'SET ROLE "{role}"' for role in others]
            statements += [f"ALTER ROLE \"{role}\" PASSWORD 'mine'" for role in others]
            for statement in statements:
                tried += 1
                if not await denied(connection, statement):
                    allowed.append((name, statement))
    print(f"what no process may do in PostgreSQL: {tried} attempts, {tried - len(allowed)} denied")
    assert allowed == []
    assert tried > len(NAMES) * (len(ON_THE_SERVER) + 2 * 17)


async def test_no_role_has_a_privilege_of_the_whole_server(databases: Databases, stack: Servers) -> None:
    async with opened(databases.admin_dsn) as connection:
        rows = await connection.fetch(
            "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles "
            "WHERE rolname = ANY($1::text[])",
            ROLES,
        )
        assert {r["rolname"] for r in rows} == set(ROLES)
        assert [r["rolname"] for r in rows if any(list(r.values())[1:])] == []
        member = (
            "SELECT count(*) FROM pg_auth_members JOIN pg_roles r ON r.oid = member WHERE rolname = ANY($1::text[])"
        )
        assert await connection.fetchval(member, ROLES) == 0
    async with opened(databases.dsn("audit")) as connection:
        for view in ("table_privileges", "column_privileges"):
            kinds = f"SELECT DISTINCT privilege_type FROM information_schema.{view} WHERE grantee = 'audit'"
            assert {r[0] for r in await connection.fetch(kinds)} == {"SELECT", "INSERT"}
