"""Is the policy data fit for use? Every rule has a decision table, every table a rule, and every case holds."""

from collections.abc import Iterator, Mapping

from services.policy.cases import CaseError, Table, differences, read_table
from services.policy.model import Rules


def faults(rules: Rules, tables: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong; `tables` are the decision tables' TOML texts by file name without `.toml`."""
    read: dict[str, Table] = {}
    for name, text in sorted(tables.items()):
        try:
            read[name] = read_table(text)
        except CaseError as error:
            yield f"{name}: {error}"
    yield from (f"rule without a decision table: {i}" for i in sorted(set(rules.rules) - set(tables)))
    yield from (f"decision table of no rule: {i}" for i in sorted(set(tables) - set(rules.rules)))
    for name, table in read.items():
        if table.rule != name:
            yield f"{name}: the table is about {table.rule}"
        for case in table.cases:
            yield from (f"{name}, {case.name}: {found}" for found in differences(rules, table.rule, case))
