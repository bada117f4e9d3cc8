"""Named SQL: a package keeps its statements in `sql/*.sql`, each under `-- name: <name>`; a name is used once."""

import re
from collections.abc import ItemsView
from importlib.resources import files

_NAME = re.compile(r"^-- name: ([a-z_0-9]+)\s*$", re.MULTILINE)


class Queries:
    """The named statements of one package: `Queries("services.consent")["lock_member"]`."""

    def __init__(self, package: str) -> None:
        found = sorted(f.name for f in files(package).joinpath("sql").iterdir() if f.name.endswith(".sql"))
        texts = [files(package).joinpath("sql", name).read_text(encoding="utf-8") for name in found]
        parts = [part for text in texts for part in _NAME.split(text)[1:]]
        bodies = [str(part).strip() for part in parts[1::2]]
        self._statements: dict[str, str] = dict(zip(parts[::2], bodies, strict=True))
        if len(self._statements) != len(bodies):
            raise ValueError(f"a statement of {package} is named twice")

    def __getitem__(self, name: str) -> str:
        return self._statements[name]

    def items(self) -> ItemsView[str, str]:
        """Return every name with its statement."""
        return self._statements.items()
