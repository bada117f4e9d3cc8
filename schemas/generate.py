"""`python -m schemas.generate [--check]`: write, or check, the contract files that affiliates read.

`schemas/json/<shape>.v1.json` is JSON Schema 2020-12 of each shape; `schemas/asyncapi.json` is what `asyncapi.py`
makes of the topics. Both come from the code alone, so that they can never say something else than it does.
"""

import sys
from pathlib import Path
from typing import Any, Final

import orjson

from schemas import asyncapi
from schemas.registry import CLEAR, SEALED

HERE: Final = Path(__file__).parent
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def files() -> dict[str, bytes]:
    """Return every generated file: path below `schemas/` to its bytes."""
    made = {f"json/{name}": rendered(schema) for name, schema in json_schemas().items()}
    return made | {"asyncapi.json": rendered(asyncapi.document())}


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return file name -> JSON Schema of the shape under each `ce_dataschema`."""
    shapes = CLEAR | SEALED
    return {
        asyncapi.schema_file(urn): {"$schema": DIALECT, "$id": urn, **shape.model_json_schema(mode="validation")}
        for urn, shape in shapes.items()
    }


def rendered(document: dict[str, Any]) -> bytes:
    """Return the one spelling of a document: sorted keys, two spaces, a final newline."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def drifted(folder: Path) -> list[str]:
    """Return the files below `folder` that are missing, differ, or that nothing generates any more."""
    wanted = files()
    different = [name for name, content in wanted.items() if _read(folder / name) != content]
    left_over = [f"json/{p.name}" for p in (folder / "json").glob("*.json") if f"json/{p.name}" not in wanted]
    return sorted(different + left_over)


def write(folder: Path) -> None:
    """Write every file and remove what nothing generates any more."""
    stale = drifted(folder)
    for name in stale:
        (folder / name).unlink(missing_ok=True)
    (folder / "json").mkdir(exist_ok=True)
    for name, content in files().items():
        (folder / name).write_bytes(content)


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def main(arguments: list[str]) -> int:
    """Return the exit status: 0, 1 when --check found a drift, 2 for a wrong argument."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m schemas.generate [--check]\n")
        return 2
    if not arguments:
        write(HERE)
        return 0
    found = drifted(HERE)
    for name in found:
        sys.stderr.write(f"schemas/{name} is not what the code says; run: make schemas\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
