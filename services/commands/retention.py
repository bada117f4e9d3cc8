"""`dongui retention`: what is to be destroyed, by when, on whose word; and letting it run (clause 7)."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import httpx
import typer

from services.commands.context import (
    FAILED,
    PARTIAL,
    TIMEOUT_S,
    USAGE,
    Format,
    fail,
    load_settings,
    print_json,
    print_table,
    tell,
    wants_json,
)
from services.commands.principals import token_of
from services.commands.retention_simulate import simulate

app = typer.Typer(no_args_is_help=True)
app.command()(simulate)
POLL_S: Final = 0.5
COLUMNS: Final = ("due_on", "state", "held", "class", "execute_from", "member_ref", "erasure_id")
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID…]", help="Ids of destructions, or member references")]
All = Annotated[bool, typer.Option("--all", help="Every one that is open")]


@app.callback()
def retention() -> None:
    """Keeping and destroying (clauses 2 and 7)."""


@app.command()
def due(output: Format = "text") -> None:
    """List the destructions that are open, in order of selection, with the law's last day of each."""
    as_json = wants_json(output)
    with _consent() as client:
        found = _listed(client, "open")
    if as_json:
        print_json(found)
    else:
        print_table([name.upper() for name in COLUMNS], [[case[name] for name in COLUMNS] for case in found])


@app.command()
def approve(
    reason: Annotated[str, typer.Option("--reason", help="Why; it names no person")],
    principal: Annotated[str, typer.Option("--as", metavar="PRINCIPAL", help="The privacy officer who approves")],
    ids: Ids = None,
    every: All = False,
    output: Format = "text",
) -> None:
    """Approve destructions, or confirm those that ran under a standing approval; never by who selected them."""
    with _consent(principal) as client:
        wanted = _wanted(client, ids, every, "unconfirmed")
        _each(client, wanted, lambda ref: (f"/v1/erasures/{ref}/approve", {"reason": reason}), output)


@app.command()
def execute(
    ids: Ids = None,
    every: All = False,
    wait_s: Annotated[float, typer.Option("--wait", help="Seconds to wait for the end of it", min=0)] = 60.0,
    output: Format = "text",
) -> None:
    """Run approved destructions now and wait for their end; exit 4 when some are not done by then."""
    with _consent() as client:
        wanted = _wanted(client, ids, every, "open")
        done = _each(client, wanted, lambda ref: (f"/v1/erasures/{ref}/execute", None), output, wait_s=wait_s)
    if any(case.get("state") != "erased" for case in done):
        raise typer.Exit(PARTIAL)


@contextmanager
def _consent(principal: str | None = None) -> Iterator[httpx.Client]:
    settings = load_settings()
    token = token_of(settings, principal, "cpo") if principal else settings.secret("service_token")
    url = settings.consent_url or f"http://{settings.consent_host}:{settings.consent_port}"
    headers = {"Authorization": f"Bearer {token}", "Accept-Language": "en"}
    with httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S) as client:
        yield client


def _wanted(client: httpx.Client, ids: list[str] | None, every: bool, state: str) -> list[str]:
    if bool(ids) == every:
        tell("give ids, or --all")
        raise typer.Exit(USAGE)
    return list(ids or []) if not every else [case["erasure_id"] for case in _listed(client, state)]


def _listed(client: httpx.Client, state: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: int | None = 0
    while cursor is not None:
        page = _answer(client, "GET", "/v1/erasures", params={"state": state, "cursor": cursor})
        if "code" in page:
            fail(f"{page['code']}: {page['detail']}")
        found += page["erasures"]
        cursor = page["next"]
    return found


def _each(
    client: httpx.Client,
    refs: list[str],
    request: Callable[[str], tuple[str, Any]],
    output: str,
    *,
    wait_s: float = 0.0,
) -> list[dict[str, Any]]:
    """Send one request for each, wait for those that run, print what became of them; exit 1 or 4 for refusals."""
    as_json = wants_json(output)
    answers = []
    for ref in refs:
        path, body = request(ref)
        answers.append({"id": ref, **_answer(client, "POST", path, json=body)})
    _until_erased(client, answers, wait_s)
    if as_json:
        print_json(answers)
    else:
        rows = [(answer["id"], answer.get("state") or answer["code"], answer.get("due_on")) for answer in answers]
        print_table(("ID", "STATE", "DUE ON"), rows)
    refused = sum("code" in answer for answer in answers)
    if refused:
        raise typer.Exit(FAILED if refused == len(answers) else PARTIAL)
    return answers


def _until_erased(client: httpx.Client, answers: list[dict[str, Any]], wait_s: float) -> None:
    """Look until each that was accepted is erased, or the time is over."""
    end = time.monotonic() + wait_s
    waiting = [a for a in answers if "code" not in a] if wait_s else []
    while waiting:
        for answer in waiting:
            answer |= {"state": _answer(client, "GET", f"/v1/erasures/{answer['erasure_id']}").get("state")}
        waiting = [a for a in waiting if a["state"] != "erased"]
        if not waiting or time.monotonic() >= end:
            return
        time.sleep(POLL_S)


def _answer(client: httpx.Client, method: str, path: str, **sent: Any) -> dict[str, Any]:
    """Return the JSON of a success or of a problem (it has a `code`); end the command when there is no answer."""
    headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
    try:
        answer = client.request(method, path, headers=headers, **sent)
        found: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        fail(f"the consent service does not answer ({type(error).__name__}); is it running?")
    return found if answer.is_success else {"code": found["code"], "detail": found["detail"]}
