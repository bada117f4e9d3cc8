"""Pure: who somebody at the console is, what a role opens, when a sign-in is refused and when a session ends."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

Role = Literal["compliance", "cpo", "sre", "auditor", "affiliate"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
OFFICERS: Final[tuple[Role, ...]] = ("compliance", "cpo")
STAFF: Final[tuple[Role, ...]] = ("compliance", "cpo", "sre", "auditor")
READERS: Final[tuple[Role, ...]] = ("compliance", "cpo", "auditor")

IDLE: Final = timedelta(minutes=30)
"""A session that nobody uses ends (안전성 확보조치 기준 6: 접속차단)."""
ABSOLUTE: Final = timedelta(hours=10)
TOUCH: Final = timedelta(minutes=1)
ATTEMPT: Final = timedelta(minutes=10)
FAILURES_MAX: Final = 5
"""Wrong tries with one name from one address; at the fifth it is closed there (안전성 확보조치 기준 5: 인증 실패)."""
LOCKED_FOR: Final = timedelta(minutes=15)
FAILURES_EVERYWHERE_MAX: Final = 50
"""Wrong tries with one name from all addresses: what stops somebody who guesses from many."""
LOCKED_EVERYWHERE_FOR: Final = timedelta(hours=1)
FORGOTTEN_AFTER: Final = LOCKED_EVERYWHERE_FOR
KNOWN_FOR: Final = timedelta(days=30)
"""How long an address from which a person got in stays open when strangers close the name everywhere else."""
SIGN_INS_PER_S: Final = 1.0
"""Tries from one address, ten at once: a hash costs a core some 40 ms, and there is one core for hashing."""
NETWORK_BITS: Final = 64
PASSWORD_MIN, PASSWORD_MAX = 12, 128
NAME: Final = re.compile(r"[a-z][a-z0-9._-]{1,62}")

AFFILIATE_DESK: Final = "affiliate_desk"
"""The role in the tokens of an affiliate's people. `affiliate` is its backend's, which may have keys and records."""

PAGES: Final[Mapping[str, tuple[Role, ...]]] = {
    "home": ROLES,
    "changes": STAFF,
    "members": STAFF,
    "rights": (*READERS, "affiliate"),
    "erasures": STAFF,
    "deliveries": STAFF,
    "retention": READERS,
    "audit": STAFF,
    "replays": ("sre", *READERS),
    "accounts": OFFICERS,
}
"""The pages in the order of the menu, and to whom each is shown. What may be done there the APIs decide."""

REASONS: Final = ("rights_request", "inquiry", "investigation", "incident", "internal_audit")
"""Why somebody looks at values or at the log: what the log keeps beside who and when."""
ROUTINE: Final = "internal_audit"
Refusal = Literal["wrong", "locked"]


@dataclass(frozen=True)
class Account:
    """One person. `affiliate` names whose person it is for the role `affiliate`, None otherwise."""

    account_id: str
    name: str
    role: Role
    affiliate: str | None
    local: bool
    one_time: bool
    disabled_at: datetime | None
    vouched_by: str | None = None
    """Who made it or gave it its password, until another officer confirms it: one person could still be both."""

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Account":
        """Read a row of `account`."""
        names = ("account_id", "name", "role", "affiliate", "one_time", "disabled_at", "vouched_by")
        return cls(**{name: row[name] for name in names}, local=row["subject"] is None)

    @property
    def subject(self) -> str:
        """What the APIs know this person as: an affiliate's people speak for it, staff for themselves."""
        return self.affiliate or self.name

    @property
    def token_role(self) -> str:
        """The role that the APIs know this person by."""
        return AFFILIATE_DESK if self.role == "affiliate" else self.role

    def may(self, page: str) -> bool:
        """Say whether a page is for this person."""
        return self.role in PAGES[page]

    def pages(self) -> list[str]:
        """Return the pages of this person's menu."""
        return [page for page in PAGES if self.may(page)]

    @property
    def officer(self) -> bool:
        """Whether this person acts: decides requests, reveals, approves."""
        return self.role in OFFICERS


@dataclass(frozen=True)
class Tries:
    """What is remembered of sign-ins with one name, whether there is such an account or not: from one address, or all.

    `entered_at` is when somebody last got in with it from this address.
    """

    failures: int = 0
    locked_until: datetime | None = None
    entered_at: datetime | None = None

    def locked(self, now: datetime) -> bool:
        """Say whether wrong tries keep the name closed now."""
        return self.locked_until is not None and now < self.locked_until

    def failed(self, most: int, pause: timedelta, now: datetime) -> "Tries":
        """Return what is remembered after one more wrong try: the last of `most` closes for `pause`."""
        if self.failures + 1 >= most:
            return replace(self, failures=0, locked_until=now + pause)
        return replace(self, failures=self.failures + 1)


def closed(here: Tries, everywhere: Tries, now: datetime) -> bool:
    """Say whether a name may not be tried from an address now.

    Wrong tries from there close it there. Those of everybody together close it wherever the person has not got in for
    a month: who guesses from many addresses is stopped, and does not keep the person out of the own office.
    """
    known = here.entered_at is not None and now - here.entered_at < KNOWN_FOR
    return here.locked(now) or (everywhere.locked(now) and not known)


def neighbourhood(address: str) -> str:
    """Return whose tries are counted together: an address; of IPv6 its /64, which one subscriber has whole."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.IPv6Network((int(found), NETWORK_BITS), strict=False))


def confirm_fault(account: Account, by: Account) -> str | None:
    """Return why an officer may not confirm an account, as a text key; None for one who may.

    Two persons must stand for it: not the one who made it, and nobody behind whose own account that one may be.
    """
    if by.vouched_by is not None:
        return "unconfirmed"
    if account.vouched_by == by.name:
        return "own_making"
    return "not_set_up_yet" if account.one_time else None


def password_fault(name: str, password: str, *, old: bool) -> str | None:
    """Return why a new password is refused, as a text key; None for a good one. `old`: it is the one-time one."""
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        return "password_length"
    if old or name in password.lower() or len(set(password)) < 5:
        return "password_weak"
    return None


def standing(role: str) -> tuple[Role, str | None]:
    """Return (role, affiliate) of `compliance` or `affiliate:tmax-os`; raise ValueError for anything else."""
    name, _, affiliate = role.partition(":")
    found = next((known for known in ROLES if known == name), None)
    if found is None or (found == "affiliate") != bool(affiliate):
        raise ValueError(f"a role is one of {', '.join(ROLES[:-1])} or affiliate:<id>")
    return found, affiliate or None
