"""`dongui affiliate`: the affiliates of the policy and how far each of them is."""

import typer

from services.commands.context import Format, consent_api, load_settings, print_json, print_table, wants_json
from services.policy.model import load

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keep `list` a verb of its own while it is the only one."""


@app.command("list")
def list_affiliates(output: Format = "text") -> None:
    """List every affiliate with the changes it has not answered yet and how long the oldest has waited."""
    as_json = wants_json(output)
    with consent_api(load_settings()) as api:
        behind = {r["recipient"]: r for r in api.get("/v1/status")["recipients"] if r["kind"] == "affiliate"}
    found = [
        {"id": name, "changes": behind[name]["changes"], "seconds": behind[name]["seconds"]}
        if name in behind
        else {"id": name, "changes": 0, "seconds": 0.0}
        for name in load().affiliates
    ]
    if as_json:
        print_json(found)
        return
    rows = [(row["id"], row["changes"], f"{row['seconds']:.1f}") for row in found]
    print_table(("AFFILIATE", "CHANGES BEHIND", "SECONDS BEHIND"), rows)
