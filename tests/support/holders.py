"""Who must be told of a correction (clause 5.7), by definition and not by folding: an oracle that shares no code.

Plain values, one flat list of what was ever given, one list of what was answered; each question looks at all of both.
"""

from dataclasses import dataclass, field

Value = str | None
"""None: told that the item is empty."""


@dataclass(frozen=True)
class Gift:
    """One value that one third party was given or told, in order of time; `notice` when it came with a notice."""

    when: int
    who: str
    item: str
    value: Value
    notice: int | None = None


@dataclass
class Holders:
    """All that was ever given and answered about one member."""

    gifts: list[Gift] = field(default_factory=list)
    answers: dict[int, str] = field(default_factory=dict)
    clock: int = 0

    def give(self, who: str, values: dict[str, Value], notice: int | None = None) -> None:
        """Note what somebody was given at one moment."""
        self.clock += 1
        self.gifts += [Gift(self.clock, who, item, value, notice) for item, value in values.items()]

    def may_hold(self, who: str, item: str) -> set[Value]:
        """Return every value that no answer rules out."""
        mine = [g for g in self.gifts if (g.who, g.item) == (who, item)]
        return {g.value for g in mine if g.value is not None and not any(self._rules_out(n, g) for n in mine)}

    def _rules_out(self, notice: Gift, gift: Gift) -> bool:
        """`corrected` rules out all that came before the notice, `not_held` what came with it too."""
        answer = self.answers.get(notice.notice) if notice.notice is not None else None
        if answer == "not_held":
            return gift.when <= notice.when
        return answer == "corrected" and gift.when < notice.when

    def was_given(self, who: str, item: str) -> bool:
        """Whether it was given the item for a purpose since it last said that it does not have it: a notice is none."""
        mine = [g for g in self.gifts if (g.who, g.item) == (who, item)]
        denied = max((n.when for n in mine if self._denied(n)), default=0)
        return any(g.notice is None and g.when > denied for g in mine)

    def _denied(self, gift: Gift) -> bool:
        return gift.notice is not None and self.answers.get(gift.notice) == "not_held"

    def owed(self, changed: dict[str, Value]) -> dict[str, set[str]]:
        """Return whom to tell of which items, given the items that now have another value."""
        everyone = {g.who for g in self.gifts}
        found = {who: {i for i, v in changed.items() if self.may_hold(who, i) - {v}} for who in everyone}
        return {who: items for who, items in found.items() if items}

    def stale(self) -> dict[tuple[str, str], set[Value]]:
        """Return, by (third party, item), the values it may hold beside the one it was told last."""
        pairs = {(g.who, g.item) for g in self.gifts}
        last = {p: max((g.when, g.value) for g in self.gifts if (g.who, g.item) == p)[1] for p in pairs}
        found = {p: self.may_hold(*p) - {last[p]} for p in pairs}
        return {p: values for p, values in found.items() if values}
