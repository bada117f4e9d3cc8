"""The policy as a value: `load()` reads the TOML beside this file once, checks it, and gives `Rules`.

Everything that will change with the policy (who, which items, which rules, which notice) is in the data.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from schemas.base import Shape
from services.policy import ids
from services.policy.processors import Processor, Register
from services.policy.shapes import Affiliate, Basis, Item, Notice, Purpose, Rule, Service, ThirdParty

FILES = ("policy", "items", "bases", "rules", "notices", "processors")
ADDED = {"affiliate": "policy", "processors": "processors", "notice": "notices"}
"""What a new affiliate may bring, and where it belongs."""


class PolicyError(ValueError):
    """The policy data contradicts itself or the code; `faults` says how."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class Rules:
    """The policy in force: who is who, which items there are, which rules apply."""

    version: str
    effective_from: datetime
    purposes: Mapping[str, Purpose]
    affiliates: Mapping[str, Affiliate]
    third_parties: Mapping[str, ThirdParty]
    items: Mapping[str, Item]
    services: Mapping[str, Service]
    shared: frozenset[str]
    """The items that cross to a recipient (3.2)."""
    undisclosable: frozenset[str]
    """The items that never go to a third party."""
    bases: Mapping[str, Basis]
    refused_bases: Mapping[str, Basis]
    basis_prefixes: tuple[str, ...]
    value_prefixes: tuple[str, ...]
    """The wordings of a basis that is a consent, whose notices carry values."""
    rules: Mapping[str, Rule]
    notices: Mapping[str, Notice]
    processors: Mapping[str, Processor]

    def notice(self, version: str) -> Notice | None:
        """Return the notice of this version."""
        return self.notices.get(version)

    def current_notice(self, at: datetime) -> str:
        """Return the version in force at an instant; before the first, the first."""
        ordered = sorted(self.notices.values(), key=lambda n: n.effective_from)
        in_force = [n for n in ordered if n.effective_from <= at]
        return (in_force or ordered[:1])[-1].version

    def knows_item(self, name: str) -> bool:
        """Say whether a name is an item: `email`, `phone`, `hypermeeting.phone`, or `hypermeeting.role`."""
        service, dot, item = name.rpartition(".")
        return item in self.items if not dot else service in self.services and (item in self.items or item == "role")

    def permits(self, rule: str, at: datetime) -> bool:
        """Say whether a permission is in force at an instant."""
        return self.rules[rule].effective_from <= at

    def contracted(self, processor: str, at: datetime) -> bool:
        """Say whether a contract with a processor is in force at an instant (4.3)."""
        found = self.processors.get(processor)
        return found is not None and found.contract(at) is not None


def load(added: Path | None = None) -> Rules:
    """Return the policy that is installed, with what the TOML files of the directory `added` add to it.

    Such a file may have `[[affiliate]]`, `[[processors]]` and `[[notice]]` entries, as policy.toml, processors.toml and
    notices.toml have them. Raise PolicyError when the data cannot be read or does not hold together.
    """
    folder = files("services.policy").joinpath("rules")
    more = _added(added) if added else []
    return parse({name: folder.joinpath(f"{name}.toml").read_text(encoding="utf-8") for name in FILES}, more)


def _added(folder: Path) -> list[str]:
    try:
        return [path.read_text(encoding="utf-8") for path in sorted(folder.iterdir()) if path.suffix == ".toml"]
    except (OSError, UnicodeDecodeError) as error:
        why = f"{folder} is no directory of TOML files that can be read ({type(error).__name__})"
        raise PolicyError([f"DONGUI_AFFILIATES_DIR: {why}"]) from error


def parse(texts: Mapping[str, str], more: Iterable[str] = ()) -> Rules:
    """Return the policy from the TOML text of each of FILES and `more`. Raise PolicyError naming every fault found."""
    try:
        data = {name: tomllib.loads(texts[name]) for name in FILES}
        for text in more:
            _add(data, tomllib.loads(text))
        rules = _assemble(_Data.model_validate(data))
    except tomllib.TOMLDecodeError as error:
        raise PolicyError([f"not TOML: {error}"]) from error
    except ValidationError as error:
        raise PolicyError([f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]) from error
    if found := [*_reference_faults(rules), *_rule_faults(rules)]:
        raise PolicyError(found)
    return rules


def _add(data: dict[str, dict[str, Any]], added: dict[str, Any]) -> None:
    if unknown := sorted(set(added) - set(ADDED)):
        raise PolicyError([f"an added file may not have: {', '.join(unknown)}"])
    for name, entries in added.items():
        data[ADDED[name]].setdefault(name, []).extend(entries)


class _Policy(Shape):
    version: str
    effective_from: datetime
    purpose: tuple[Purpose, ...]
    affiliate: tuple[Affiliate, ...]
    third_party: tuple[ThirdParty, ...]


class _Items(Shape):
    shared: frozenset[str]
    undisclosable: frozenset[str]
    item: tuple[Item, ...]
    service: tuple[Service, ...]


class _Bases(Shape):
    prefixes: tuple[str, ...]
    value_prefixes: tuple[str, ...]
    allowed: tuple[Basis, ...]
    refused: tuple[Basis, ...]


class _Rules(Shape):
    rule: tuple[Rule, ...]


class _Notices(Shape):
    notice: tuple[Notice, ...]


class _Data(Shape):
    policy: _Policy
    items: _Items
    bases: _Bases
    rules: _Rules
    notices: _Notices
    processors: Register


def _assemble(data: _Data) -> Rules:
    return Rules(
        version=data.policy.version,
        effective_from=data.policy.effective_from,
        purposes=_by_id(data.policy.purpose),
        affiliates=_by_id(data.policy.affiliate),
        third_parties=_by_id(data.policy.third_party),
        items=_by_id(data.items.item),
        services=_by_id(data.items.service),
        shared=data.items.shared,
        undisclosable=data.items.undisclosable,
        bases=_by_id(data.bases.allowed),
        refused_bases=_by_id(data.bases.refused),
        basis_prefixes=data.bases.prefixes,
        value_prefixes=data.bases.value_prefixes,
        rules=_by_id(data.rules.rule),
        notices=_by_id(data.notices.notice, "version"),
        processors=_by_id(data.processors.processors),
    )


def _by_id(entries: tuple[Any, ...], key: str = "id") -> dict[str, Any]:
    found = {getattr(e, key): e for e in entries}
    if len(found) != len(entries):
        raise PolicyError([f"an id is used twice among: {', '.join(found)}"])
    return found


def _reference_faults(rules: Rules) -> Iterator[str]:
    """Everything an entry points at must be there."""
    run = [a.processes for a in rules.affiliates.values() if a.processes]
    yield from (f"affiliate processes an unknown service: {s}" for s in run if s not in rules.services)
    yield from (f"service has more than one processor: {s}" for s in set(run) if run.count(s) > 1)
    yield from (f"both affiliate and third party: {i}" for i in rules.affiliates if i in rules.third_parties)
    named = {i for s in rules.services.values() for r in s.roles for i in r.items}
    yield from (f"unknown item: {i}" for i in sorted((named | rules.shared | rules.undisclosable) - set(rules.items)))
    yield from (f"account item in a profile: {i}" for i in sorted(named & set(rules.items)) if rules.items[i].account)
    used = {p for r in rules.rules.values() for p in r.purposes}
    yield from (f"unknown purpose: {p}" for p in sorted(used - set(rules.purposes)))
    never = {i for i in (named | rules.shared) & set(rules.items) if not rules.items[i].shareable}
    yield from (f"an item that is never shared cannot be shared or in a profile: {i}" for i in sorted(never))
    yield from _notice_faults(rules)
    yield from _processor_faults(rules)


def _notice_faults(rules: Rules) -> Iterator[str]:
    """What a notice tells must be there. Its recipients need not: an affiliate that left stays in old versions."""
    if not rules.notices:
        yield "no notice"
    parts = [part for notice in rules.notices.values() for part in notice.parts]
    told = frozenset().union(*(p.items for p in parts))
    yield from (f"a notice tells of an unknown item: {i}" for i in sorted(told - set(rules.items)))
    purposes = frozenset().union(*(p.purposes for p in parts))
    yield from (f"a notice tells of an unknown purpose: {p}" for p in sorted(purposes - set(rules.purposes)))


def _processor_faults(rules: Rules) -> Iterator[str]:
    """A processor is an affiliate of ours, and its tasks name items that exist."""
    yield from (f"processor is no affiliate: {i}" for i in rules.processors if i not in rules.affiliates)
    named = {item for p in rules.processors.values() for task in p.tasks for item in task.items}
    yield from (f"a task names an unknown item: {i}" for i in sorted(named - set(rules.items)))


def _rule_faults(rules: Rules) -> Iterator[str]:
    """Code and data must name the same rules, and a permission must say for what."""
    yield from (f"rule the code names is missing: {i}" for i in sorted(ids.ALL - set(rules.rules)))
    yield from (f"rule the code never names: {i}" for i in sorted(set(rules.rules) - ids.ALL))
    for rule in rules.rules.values():
        if bool(rule.purposes) != (rule.id in ids.PERMISSIONS):
            yield f"a permission, and nothing else, has purposes: {rule.id}"


__all__ = ["Affiliate", "Notice", "PolicyError", "Rule", "Rules", "load", "parse"]
