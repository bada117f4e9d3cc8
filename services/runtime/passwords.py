"""How passwords are hashed, members' and staff's alike: slowly, off the event loop, and few at a time."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher

P = ParamSpec("P")
R = TypeVar("R")


def password_hasher() -> PasswordHasher:
    """argon2id with 19 MiB and two passes (OWASP's minimum): what two cores can carry at sign-up rates."""
    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


async def aside(work: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """Run the work of one hash beside the event loop; the others wait while every core but one is hashing."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), lambda: work(*arguments, **named))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="argon2id")
