"""`dongui third-party`: who is told of corrections, where, and if a receiver does its part (docs/notices.md)."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from services.commands.context import DRIFT, USAGE, Format, fail, print_json, print_table, tell, wants_json
from services.commands.third_party_access import Access, working
from services.policy.model import load
from services.propagator.notices import conformance, onboarding, signing
from services.propagator.notices.conformance import Result, Trial
from services.propagator.notices.onboarding import WELL_KNOWN
from services.propagator.notices.registry import Registered

app = typer.Typer(no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Its name, as the policy and the disclosures have it")]
OVERLAP_H, OVERLAP_H_MAX = 72, 24 * 30


@app.command("list")
def list_endpoints(output: Format = "text") -> None:
    """List the endpoints: where, and whether each may be told. Our public keys are with them."""
    as_json = wants_json(output)

    async def look(access: Access) -> tuple[list[Registered], list[str]]:
        return await access.registry.all(), access.signer.public_keys

    found, public_keys = working(look)
    if as_json:
        print_json({"third_parties": [_shown(one) for one in found], "public_keys": public_keys})
        return
    rows = [(one.endpoint.recipient, one.condition, one.verified_by, one.endpoint.url) for one in found]
    print_table(("THIRD PARTY", "STATE", "VERIFIED BY", "URL"), rows)
    tell(f"they verify v1a with {' or '.join(public_keys)}")


@app.command()
def add(
    name: Name,
    url: Annotated[str, typer.Option("--url", help="Where notices go: https, port 443 or 8443")],
    replace: Annotated[bool, typer.Option("--replace", help="Move a registered one; its secret stays")] = False,
    output: Format = "text",
) -> None:
    """Register an endpoint and print its secret, once. Nothing is sent to it until it is verified."""
    as_json = wants_json(output)

    async def register(access: Access) -> dict[str, Any]:
        secret = None
        if replace:
            await access.registry.move(name, url)
        else:
            secret = await access.registry.add(name, url)
        found = await access.registry.find(name)
        return _shown(found) | _to_hand_over(found, secret, access.signer.public_keys)

    told = working(register)
    _print(told, as_json=as_json)
    if name not in load().third_parties:
        tell(f"note: the policy names no third party {name}; until it does, nothing may be disclosed to it")
    if told["state"] == "unverified":
        tell(f"next: they set up their receiver, then: dongui third-party verify {name}")


@app.command()
def verify(
    name: Name,
    method: Annotated[
        Literal["challenge", "file"], typer.Option("--method", help="Ask the URL, or look at a file on its host")
    ] = "challenge",
    output: Format = "text",
) -> None:
    """Make sure that the URL is theirs: it gives a signed challenge back, or its host serves our token."""
    as_json = wants_json(output)

    async def prove(access: Access) -> str | None:
        found = await access.registry.find(name)
        if method == "file":
            why = await onboarding.well_known(access.client, found)
        else:
            why = await onboarding.challenge(access.client, access.signer, found.endpoint, access.registry.clock)
        if why is None:
            await access.registry.prove(found, method)
        return why

    _report(name, "verified", working(prove), as_json=as_json)


@app.command()
def ping(name: Name, output: Format = "text") -> None:
    """Send a signed test without any personal data; a receiver that works answers 2xx."""
    as_json = wants_json(output)

    async def test(access: Access) -> str | None:
        found = await access.registry.find(name)
        if found.condition == "unverified":
            return f"it is not verified; first: dongui third-party verify {name}"
        reply = await onboarding.ping(access.client, access.signer, found.endpoint, access.registry.clock)
        return onboarding.ping_failure(reply)

    _report(name, "answers", working(test), as_json=as_json)


@app.command("rotate-key")
def rotate_key(
    name: Name,
    overlap_hours: Annotated[
        int, typer.Option("--overlap-hours", min=0, max=OVERLAP_H_MAX, help="How long the old one signs too; 0: a leak")
    ] = OVERLAP_H,
    output: Format = "text",
) -> None:
    """Give an endpoint a new secret and print it, once. It and all that sign now sign until the overlap is over."""
    as_json = wants_json(output)

    async def rotate(access: Access) -> dict[str, Any]:
        secret = await access.registry.rotate(name, timedelta(hours=overlap_hours))
        found = await access.registry.find(name)
        return _shown(found) | {"secret": signing.secret_text(secret)}

    _print(working(rotate), as_json=as_json)


@app.command()
def pause(name: Name) -> None:
    """Tell it nothing for now. Its notices wait, and go on waiting for their answer: clause 5.7 is not paused."""
    working(lambda access: access.registry.pause(name))
    tell(f"{name} is paused; go on with: dongui third-party resume {name}")


@app.command()
def resume(name: Name) -> None:
    """Tell it again, also after it answered 410 Gone."""

    async def go_on(access: Access) -> Registered:
        await access.registry.resume(name)
        return await access.registry.find(name)

    found = working(go_on)
    tell(f"{name} is {found.condition}")


@app.command("conformance")
def conform(
    url: Annotated[str, typer.Argument(help="A registered URL, or any receiver with --secret-file")],
    secret_file: Annotated[Path | None, typer.Option("--secret-file", help="Holds the receiver's whsec_…")] = None,
    output: Format = "text",
) -> None:
    """Send made-up notices to a receiver, good and bad ones, and say which cases it fails. Status 3 when any."""
    as_json = wants_json(output)
    secret = _secret(secret_file)

    async def attempt(access: Access) -> list[Result]:
        endpoint = await access.registry.at(url) if secret is None else access.registry.stranger(url, secret)
        return await conformance.run(Trial(access.client, access.signer, endpoint, access.registry.clock))

    results = working(attempt)
    failed = [one.case for one in results if not one.ok]
    if as_json:
        cases = [{"case": one.case, "ok": one.ok, "reason": one.reason} for one in results]
        print_json({"url": url, "ok": not failed, "cases": cases})
    else:
        print_table(("CASE", "RESULT", "REASON"), [(r.case, "pass" if r.ok else "FAIL", r.reason) for r in results])
    if failed:
        fail(f"{len(failed)} of {len(results)} cases failed: {', '.join(failed)}", DRIFT)
    tell(f"all {len(results)} cases passed")


def _secret(path: Path | None) -> bytes | None:
    """Return the secret in a file: on a command line every user of the machine could read it."""
    if path is None:
        return None
    try:
        return signing.secret_of(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        fail(f"{path} does not hold whsec_ and base64 of 24 to 64 bytes", USAGE)


def _shown(found: Registered) -> dict[str, Any]:
    """Return what staff see of one; times are ISO 8601, UTC."""
    times = {
        name: at.isoformat() if at else None
        for name, at in (
            ("added_at", found.added_at),
            ("verified_at", found.verified_at),
            ("paused_at", found.paused_at),
            ("gone_at", found.gone_at),
            ("earlier_secret_until", found.earlier_until),
        )
    }
    own = {"name": found.endpoint.recipient, "url": found.endpoint.url, "state": found.condition}
    return own | {"verified_by": found.verified_by} | times


def _to_hand_over(found: Registered, secret: bytes | None, public_keys: Sequence[str]) -> dict[str, Any]:
    """Return what the third party is given: how it verifies, and the file that proves its host."""
    file = {"path": WELL_KNOWN, "content": found.challenge}
    told: dict[str, Any] = {"public_keys": public_keys, "challenge_file": file}
    return told if secret is None else {"secret": signing.secret_text(secret)} | told


def _print(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
    else:
        print_table(("WHAT", "VALUE"), [(name, _text(value)) for name, value in told.items() if value is not None])
    if "secret" in told:
        tell("the secret is shown this once; hand it over by a safe way, or lose it and rotate-key")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ": ".join(value.values())
    return ", ".join(value) if isinstance(value, list) else str(value)


def _report(name: str, done: str, why: str | None, *, as_json: bool) -> None:
    """Tell a result; a failed one ends with status 3."""
    if as_json:
        print_json({"name": name, "ok": why is None, "reason": why})
        raise typer.Exit(0 if why is None else DRIFT)
    if why is not None:
        fail(f"{name}: {why}", DRIFT)
    tell(f"{name}: {done}")
