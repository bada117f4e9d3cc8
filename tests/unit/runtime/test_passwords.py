"""Hashing is slow on purpose: it may take neither the event loop nor every core."""

import asyncio
import os
import threading

from services.runtime import passwords


async def test_hashes_wait_for_each_other_and_nothing_else_does() -> None:
    running, most, lock, go_on = 0, 0, threading.Lock(), threading.Event()

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go_on.wait(10)
        with lock:
            running -= 1
        return number

    asked = [asyncio.ensure_future(passwords.aside(work, number)) for number in range(20)]
    await asyncio.sleep(0.1)  # the loop is free: this returns while all of them wait
    assert not any(one.done() for one in asked)
    go_on.set()
    assert await asyncio.gather(*asked) == list(range(20))
    assert most == max(1, (os.cpu_count() or 1) - 1)


async def test_a_password_is_verified_by_its_own_hash_only() -> None:
    hasher = passwords.password_hasher()
    hashed = await passwords.aside(hasher.hash, "correct horse battery")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.aside(hasher.verify, hashed, "correct horse battery")
