"""The committed contract files are what the code says, and say what the code does."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest

from schemas import asyncapi, generate
from schemas.envelope import to_headers
from schemas.topics import all_topics
from tests.unit.schemas.samples import CLEAR, SEALED, an_envelope

FOLDER = Path(generate.__file__).parent
SHAPES = CLEAR | SEALED


def schema(name: str) -> dict[str, Any]:
    return dict(orjson.loads((FOLDER / "json" / f"{name}.v1.json").read_bytes()))


def document() -> dict[str, Any]:
    return dict(orjson.loads((FOLDER / "asyncapi.json").read_bytes()))


def test_the_committed_files_have_not_drifted() -> None:
    assert generate.drifted(FOLDER) == [], "run: make schemas"


def test_a_drift_is_named_and_ends_with_status_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate.write(tmp_path)
    assert generate.drifted(tmp_path) == []
    (tmp_path / "json/fact.v1.json").write_bytes(b"{}")
    (tmp_path / "asyncapi.json").unlink()
    (tmp_path / "json/left_over.v1.json").write_bytes(b"{}")
    found = ["asyncapi.json", "json/fact.v1.json", "json/left_over.v1.json"]
    assert generate.drifted(tmp_path) == found
    monkeypatch.setattr(generate, "HERE", tmp_path)
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


def test_the_command_checks_and_refuses_other_arguments() -> None:
    command = [sys.executable, "-m", "schemas.generate"]
    assert subprocess.run([*command, "--check"], check=False, cwd=FOLDER.parent).returncode == 0
    assert subprocess.run([*command, "--fix"], check=False, capture_output=True, cwd=FOLDER.parent).returncode == 2


@pytest.mark.parametrize("name", SHAPES)
def test_a_sample_of_each_shape_is_valid_by_its_json_schema(name: str) -> None:
    found = schema(name)
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert jsonschema_rs.meta.is_valid(found)
    validator = jsonschema_rs.Draft202012Validator(found, validate_formats=True)
    sample = SHAPES[name].model_dump(mode="json")
    validator.validate(sample)
    assert not validator.is_valid(sample | {"nickname": "x"})
    first, *_ = found["required"]
    assert not validator.is_valid({k: v for k, v in sample.items() if k != first})
    assert not validator.is_valid(sample | {"member_ref": "someone"})


ASYNCAPI_RULES = {
    "type": "object",
    "required": ["asyncapi", "info", "channels", "operations", "components"],
    "properties": {
        "asyncapi": {"const": "3.0.0"},
        "info": {"required": ["title", "version"]},
        "channels": {
            "propertyNames": {"pattern": "^[A-Za-z0-9_.-]+$"},
            "additionalProperties": {
                "required": ["address", "messages", "bindings"],
                "properties": {"messages": {"additionalProperties": {"required": ["$ref"]}}},
            },
        },
        "operations": {
            "additionalProperties": {
                "required": ["action", "channel", "messages"],
                "properties": {"action": {"enum": ["send", "receive"]}, "channel": {"required": ["$ref"]}},
            }
        },
        "components": {
            "properties": {"messages": {"additionalProperties": {"required": ["contentType", "headers", "payload"]}}}
        },
    },
}


def test_the_asyncapi_document_has_the_structure_of_version_3() -> None:
    jsonschema_rs.validate(ASYNCAPI_RULES, document())


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    whole = document()

    def follow(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(target := node.get("$ref"), str):
                resolve(target)
            for inner in node.values():
                follow(inner)
        elif isinstance(node, list):
            for inner in node:
                follow(inner)

    def resolve(target: str) -> None:
        if not target.startswith("#/"):
            assert (FOLDER / target).is_file(), target
            return
        found: Any = whole
        for part in target.removeprefix("#/").split("/"):
            found = found[part]

    follow(whole)


def test_the_asyncapi_document_names_every_topic_once() -> None:
    addresses = sorted(channel["address"] for channel in document()["channels"].values())
    assert addresses == sorted(topic.name for topic in all_topics(asyncapi.AFFILIATES))
    assert len(addresses) == 15


@pytest.mark.parametrize("name", SHAPES)
def test_the_headers_we_write_are_valid_by_the_asyncapi_document(name: str) -> None:
    message = document()["components"]["messages"][name]
    headers = to_headers(an_envelope(name))
    validator = jsonschema_rs.Draft202012Validator(message["headers"], validate_formats=True)
    validator.validate(headers)
    assert headers["content-type"] == message["contentType"]
    assert not validator.is_valid(headers | {"ce_sequence": "-1"})
    assert not validator.is_valid({k: v for k, v in headers.items() if k != "ce_subject"})
