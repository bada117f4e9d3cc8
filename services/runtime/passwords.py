"""How passwords are hashed, members' and staff's alike."""

from argon2 import PasswordHasher


def password_hasher() -> PasswordHasher:
    """argon2id with 19 MiB and two passes (OWASP's minimum): what two cores can carry at sign-up rates."""
    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
