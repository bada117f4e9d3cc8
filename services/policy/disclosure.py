"""May this be given to a third party, and may a correction notice carry it? Clauses 3.1, 3.3, 5.7; PIPA 17, 18, 37.

Bases are data in `rules/bases.toml`, and what one third party gets is data in `rules/policy.toml`.
"""

import re
from collections.abc import Collection, Iterator, Sequence

from schemas.base import MemberStatus
from services.policy.model import Rules
from services.policy.profile import Violation

_P_NUMBER = re.compile(r"^p\d", re.IGNORECASE)
_ENCLOSED = re.compile("[①-⑳]")
_TOKEN = re.compile(r"\d+|[^\W\d_]+")
_LAW_WORDS = {"pipa", "art", "article", "clause", "개인정보", "보호법", "개인정보보호법", "법", "제", "조", "항", "호"}


def validate_disclosure(
    rules: Rules, recipient: str, items: Sequence[str], purpose: str, basis: str
) -> list[Violation]:
    """Return what keeps a disclosure to a third party from being recorded; none when nothing does.

    A third party's purpose is its own (PIPA 17(2)2), so any code will do, but a P number must be one of the policy's.
    Codes: unknown_third_party, item_not_disclosable, unknown_purpose, refused_basis, unknown_basis.
    """
    return [*_recipient(rules, recipient), *_items(rules, items), *_purpose(rules, purpose), *_basis(rules, basis)]


def may_have(rules: Rules, item: str, status: MemberStatus, suspended: Collection[str]) -> bool:
    """Say whether a third party that holds an item may be given its present value.

    Not when its processing is suspended, as a whole or in part (37(2)), nor while the member waits for a guardian
    (22-2), nor once it has left.
    """
    stopped = status in {"pending_guardian", "suspended", "withdrawn", "erased"} or item in suspended
    return not stopped and item.rpartition(".")[2] not in rules.undisclosable


def carries_values(rules: Rules, recipient: str, bases: Collection[str]) -> bool:
    """Say whether notices carry the values of an item that a third party was given on these bases; else it pulls them.

    The third party's own `delivery` decides where there is one, else that any of the bases is a consent.
    """
    party = rules.third_parties.get(recipient)
    if party is not None and party.delivery is not None:
        return party.delivery == "values"
    agreed = {_spelling(w) for b in rules.bases.values() if b.delivery == "values" for w in (b.id, *b.words)}
    return any(_spelling(b) in agreed or b.casefold().startswith(rules.value_prefixes) for b in bases)


def _recipient(rules: Rules, recipient: str) -> Iterator[Violation]:
    if recipient not in rules.third_parties:
        yield Violation("/recipient", "unknown_third_party", tuple(sorted(rules.third_parties)))


def _items(rules: Rules, items: Sequence[str]) -> Iterator[Violation]:
    for position, item in enumerate(items):
        known = rules.items.get(item.rpartition(".")[2])
        if known is not None and (known.id in rules.undisclosable or not known.shareable):
            yield Violation(f"/items/{position}", "item_not_disclosable")


def _purpose(rules: Rules, purpose: str) -> Iterator[Violation]:
    if _P_NUMBER.match(purpose) and purpose.upper() not in rules.purposes:
        yield Violation("/purpose", "unknown_purpose", tuple(sorted(rules.purposes)))


def _basis(rules: Rules, basis: str) -> Iterator[Violation]:
    allowed = tuple(sorted(rules.bases))
    spelt = _spelling(basis)
    if any(_means(spelt, word) for b in rules.refused_bases.values() for word in (b.id, *b.words)):
        yield Violation("/basis", "refused_basis", allowed)
        return
    known = {_spelling(word) for b in rules.bases.values() for word in (b.id, *b.words)}
    if spelt not in known and not basis.casefold().startswith(rules.basis_prefixes):
        yield Violation("/basis", "unknown_basis", allowed)


def _means(spelt: str, refused: str) -> bool:
    """A refused article counts wherever it is cited; a refused word only when it is all that is said."""
    word = _spelling(refused)
    return spelt == word or (word[:1].isdigit() and f"-{word}-" in f"-{spelt}-")


def _spelling(text: str) -> str:
    """One spelling of many: 'PIPA 17(1)1', '17①1' and '제17조 제1항 제1호' are all '17-1-1'."""
    plain = _ENCLOSED.sub(lambda m: f" {ord(m[0]) - ord('①') + 1} ", text.casefold())
    return "-".join(token for token in _TOKEN.findall(plain) if token not in _LAW_WORDS)
