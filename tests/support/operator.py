"""An operator of a running system: the `dongui` command with that system's addresses and secrets, and nothing else."""

import asyncio
import json
import os
from typing import Any

from typer.testing import CliRunner, Result

from services import cli
from services.devstack.system import System


def variables(system: System) -> dict[str, str]:
    """Return the DONGUI_* variables of somebody who may do everything."""
    told, databases = system.described(), system.described()["databases"]
    return {
        "DONGUI_PROFILE": "dev",
        "DONGUI_DATA_DIR": str(system.base_dir),
        "DONGUI_KAFKA": system.stack.bootstrap,
        "DONGUI_CONSENT_URL": told["consent_url"],
        "DONGUI_AUDIT_URL": told["audit_url"],
        "DONGUI_CONSENT_DSN": databases["consent"],
        "DONGUI_NOTICES_DSN": databases["notices"],
        "DONGUI_PROCESS_URLS": json.dumps(told["process_urls"]),
        "DONGUI_SERVICE_TOKEN": told["tokens"]["service"],
        "DONGUI_AFFILIATE_DSNS": json.dumps(databases["affiliates"]),
        "DONGUI_AFFILIATE_TOKENS": json.dumps(told["tokens"]["affiliates"]),
        "DONGUI_OWNER_DSNS": json.dumps(system.installation.owner_dsns()),
        "DONGUI_ADMIN_DSN": system.installation.access.admin_dsn,
    }


class Operator:
    """Runs commands in a thread: each has a loop of its own."""

    def __init__(self, system: System) -> None:
        self._env = {n: "" for n in os.environ if n.startswith("DONGUI_")} | variables(system)

    async def __call__(self, *arguments: str) -> Result:
        """Return what a command printed and its exit status."""
        return await asyncio.to_thread(CliRunner(env=self._env).invoke, cli.build(arguments), list(arguments))

    async def json(self, *arguments: str, status: int = 0) -> Any:
        """Run with `--format json`, hold the exit status, return the document."""
        done = await self(*arguments, "--format", "json")
        assert done.exit_code == status, done.output
        return json.loads(done.stdout)
