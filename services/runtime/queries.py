"""Named SQL: a process keeps its statements in `sql/queries.sql`, each under `-- name: <name>`."""

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: ([a-z_0-9]+)\s*$", re.MULTILINE)


class Queries:
    """The named statements of one package: `Queries("services.consent")["insert_member"]`."""

    def __init__(self, package: str) -> None:
        text = files(package).joinpath("sql/queries.sql").read_text(encoding="utf-8")
        parts = _NAME.split(text)[1:]
        bodies = [str(part).strip() for part in parts[1::2]]
        self._statements: dict[str, str] = dict(zip(parts[::2], bodies, strict=True))

    def __getitem__(self, name: str) -> str:
        return self._statements[name]
