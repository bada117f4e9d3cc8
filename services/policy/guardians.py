"""The ways in which a guardian's consent may be verified, as data (`rules/guardians.toml`)."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from pydantic import Field

from schemas.base import Shape


class Method(Shape):
    """One way of decree 17-2(1)."""

    id: str = Field(pattern=r"^[a-z][a-z_]{0,40}$")
    ko: str
    en: str


class _Data(Shape):
    clause: str
    statute: str
    method: tuple[Method, ...]


@cache
def methods() -> Mapping[str, Method]:
    """Return the ways by their ids."""
    text = files("services.policy").joinpath("rules/guardians.toml").read_text(encoding="utf-8")
    return {method.id: method for method in _Data.model_validate(tomllib.loads(text)).method}
