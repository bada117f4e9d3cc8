"""Fixtures of the whole suite: one real stack for the run, fresh databases and topics for each test.

All loops are the session's. Names are drawn from `secrets`: pytest-randomly seeds `random` alike for every test.
"""

import secrets
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace

import pytest
import pytest_asyncio

from schemas.topics import all_topics
from services.devstack import topics
from services.devstack.environment import ALL
from services.devstack.provision import AFFILIATES
from services.devstack.system import System
from services.propagator import transport
from tests.support.browser import NO_BROWSER
from tests.support.databases import Databases, Templates
from tests.support.mail import MailServer, mail_server
from tests.support.servers import Servers, running_servers


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take `--seed-long N`: the seed of the long tests' random choices; `--screens`: write docs/screens."""
    parser.addoption("--screens", action="store_true", help="write the pictures of docs/screens")
    parser.addoption("--seed-long", type=int, default=1, help="seed of the long tests")


@pytest.fixture(scope="session")
def seed_long(request: pytest.FixtureRequest) -> int:
    """The seed of the long tests' random choices."""
    return int(request.config.getoption("--seed-long"))


@pytest_asyncio.fixture(scope="session")
async def stack() -> AsyncIterator[Servers]:
    """A real Kafka and a real PostgreSQL for the whole run."""
    async with running_servers() as servers:
        yield servers


@pytest.fixture(scope="session")
def mail() -> Iterator[MailServer]:
    """A real SMTP server, to which `system` sends."""
    with mail_server() as server:
        yield server


@pytest_asyncio.fixture(scope="session")
async def system(stack: Servers, mail: MailServer) -> AsyncIterator[System]:
    """Every process of the product on the run's servers, with the real names of databases and topics."""
    # Consent expects canaries, and so shows their gauges; the test about them sends them.
    consent = {
        "DONGUI_SMTP_URL": mail.url,
        "DONGUI_SMTP_FROM": "no-reply@dongui.example",
        "DONGUI_CANARY_INTERVAL_S": "60",
    }
    # Tests put things into stores that no ledger knows; those of reconcile run its cycles themselves.
    quiet = {f"propagator-{a}": {"DONGUI_RECONCILE_INTERVAL_S": "0"} for a in AFFILIATES}
    # Only what a test asks for by a sampled traceparent is traced.
    traces = {"DONGUI_TRACES": f"file:{stack.base_dir / 'traces.jsonl'}", "DONGUI_TRACES_RATIO": "0"}
    extra = {name: traces | quiet.get(name, {}) for name in ALL}
    extra["consent"] |= consent
    running = System(stack.base_dir, stack=stack.stack, extra=extra)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture(scope="session")
def templates(stack: Servers) -> Templates:
    """The migrated template databases."""
    return Templates(stack.access)


@pytest_asyncio.fixture
async def databases(templates: Templates) -> AsyncIterator[Databases]:
    """Fresh databases: `.dsn(name)`, `.owner_dsn(name)`, `.admin_dsn`, `.blocked(name)`."""
    made = Databases(templates, f"t{secrets.token_hex(4)}")
    yield made
    await made.drop()


@pytest_asyncio.fixture
async def topic_prefix(stack: Servers) -> AsyncIterator[str]:
    """A fresh prefix under which every topic of the contract exists."""
    prefix = f"t{secrets.token_hex(4)}-"
    await topics.create(stack.bootstrap, all_topics(AFFILIATES), prefix=prefix)
    yield prefix
    await topics.delete(stack.bootstrap, prefix)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say aloud when the browser tests did not run: a skip among thousands of dots is easily not seen."""
    unseen = [r for r in terminalreporter.stats.get("skipped", []) if NO_BROWSER in str(r.longrepr)]
    if unseen:
        terminalreporter.section("BROWSER TESTS DID NOT RUN", red=True, bold=True)
        terminalreporter.line(f"{len(unseen)} tests of the console in a browser: {NO_BROWSER}", red=True)


@pytest.fixture(autouse=True)
def _a_process_that_gives_up_fails_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would end a process of its own must not take pytest's worker along, and with it everybody's results."""

    def end(code: int) -> None:
        raise AssertionError(f"the process under test gave up with status {code}")

    monkeypatch.setattr(transport, "os", SimpleNamespace(_exit=end))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything on the whole system runs in one worker: there is one system, and some tests take it down.

    First of all: xdist, which was there before this file, would look for groups before they are made.
    """
    for item in items:
        if "system" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("system"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to run when xdist keeps no groups: two systems would start, and tests find them in another state."""
    grouped = [item for item in session.items if item.get_closest_marker("xdist_group")]
    if getattr(session.config.option, "loadgroup", False) and any("@" not in item.nodeid for item in grouped):
        raise pytest.UsageError("pytest-xdist did not group the tests: install the locked versions")
