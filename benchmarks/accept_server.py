"""The two servers of `http`, each a process of its own: ours as it runs, and the bare path that writes the same rows.

`python -m benchmarks.accept_server ours|bare`, settings as the consent process takes them. Ours hashes passwords at
next to no cost: argon2id is measured apart, because it would be all that is seen. Bare is FastAPI that parses the body with
one pydantic model and inserts rows that were made beforehand, by the same statements, in one transaction.
"""

from dataclasses import replace
from functools import partial
from typing import Final

from argon2 import PasswordHasher

from services.consent import app
from services.consent.model import ConsentRef
from services.runtime import serving
from services.runtime.settings import Settings

CHEAP: Final = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
GIVEN: Final = tuple(ConsentRef(*found) for found in (("collection", "", ""),))


async def ours(settings: Settings) -> None:
    """Serve as the consent process does, relay and followers and all."""
    async with app.build(settings) as (consent, relay):
        cheap = replace(consent, hasher=CHEAP)
        await serving.serve(app.server_config(settings, cheap), partial(app.works, settings, cheap, relay))
