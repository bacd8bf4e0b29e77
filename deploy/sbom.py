"""Writes what each of our images is made of, as CycloneDX 1.6: build/sbom/darkroom-IMAGE-VERSION.cdx.json.

python -m deploy.sbom     # after `make sbom` has installed all extras from the lock

Each has the packages that its image's extra of pyproject.toml leads to, at the lock's versions, as the image's Python
on Linux would choose them: not all that the lock has. The same sources give the same bytes: no times, nothing random.
Not told: the Debian packages of the base image, pip, and binaries inside wheels.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Final
from uuid import UUID, uuid5

from cyclonedx.spdx import is_expression, is_supported_id
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.licences import Row, installed
from deploy.locked import ROOT, Pin, asked_for, pins
from shared.version import VERSION

FOLDER: Final = ROOT / "build" / "sbom"
DOCKERFILE: Final = ROOT / "deploy" / "docker" / "Dockerfile"

EXTRAS: Final = {"gateway": "api", "page": "ui", "courier": "courier", "worker": "worker"}
"""What each image installs; deploy/docker/Dockerfile says the same."""

_NAMESPACE: Final = UUID("6f7a1f0c-5e0b-5b7c-9a53-0d6a3a6c2b11")
"""Of our documents' serial numbers: any number, always this one."""
_BASE: Final = re.compile(
    r"^ARG PYTHON_IMAGE=(?P<name>\S+?):(?P<tag>(?P<python>3\.\d+)[\w.-]*)(?:@sha256:(?P<digest>\w+))?$", re.MULTILINE
)
_BY_BUILD: Final = frozenset({"torch"})
"""What it asks for besides the lock depends on its build: NVIDIA's packages, for CUDA."""
_SPDX: Final = {
    "Apache 2.0 License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "New BSD": "BSD-3-Clause",
}
"""Names that packages have for licences, by SPDX; what is ambiguous stays as the package says it."""
_ELSEWHERE: Final = {"audioop-lts": "PSF-2.0"}
"""Wanted by the images' Python, perhaps not by this one; by their own metadata."""

Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class Base:
    """The image on which ours stand."""

    name: str
    tag: str
    python: str
    digest: str | None


def base_image(dockerfile: Path = DOCKERFILE) -> Base:
    """Read the base image from the Dockerfile; exits with a sentence if it stands there in another way."""
    found = _BASE.search(dockerfile.read_text())
    if found is None:
        sys.exit(f"{dockerfile.name} names no PYTHON_IMAGE with a tag that begins with Python's version.")
    return Base(found["name"], found["tag"], found["python"], found["digest"])


def packages(extra: str, python: str, locked: Mapping[str, Pin]) -> dict[str, set[str]]:
    """What an extra leads to on Linux with this Python: each package with those that it asks for itself.

    Exits with a sentence if one of them is not locked.
    """
    environment = _environment(python)
    asked = asked_for()
    edges: dict[str, set[str]] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [("", one) for one in (*asked[""], *asked[extra])]
    while waiting:
        parent, requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in locked:
            if parent in _BY_BUILD:
                continue
            sys.exit(f"{name} is needed by {parent or 'pyproject.toml'} and not locked: run make lock")
        edges.setdefault(name, set())
        if parent:
            edges[parent].add(name)
        for more in ("", *requirement.extras):
            if (name, more) not in seen:
                seen.add((name, more))
                waiting += [(name, one) for one in _requirements(name) if _applies(one, environment, more)]
    return edges


def document(image: str, rows: Mapping[str, Row]) -> Document:
    """Describe an image, by what is installed here of its packages."""
    base, locked = base_image(), pins()
    edges = packages(EXTRAS[image], base.python, locked)
    root = f"darkroom-{image}"
    own: Document = {
        "type": "container",
        "bom-ref": root,
        "name": root,
        "version": VERSION,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }
    components = [_base_component(base), *_models(image), *(_component(locked[name], rows) for name in sorted(edges))]
    refs = [str(component["bom-ref"]) for component in components]
    dependencies: list[Document] = [
        {"ref": root, "dependsOn": sorted(refs)},
        *(
            {"ref": _purl(locked[name]), "dependsOn": sorted(_purl(locked[one]) for one in edges[name])}
            for name in sorted(edges)
        ),
    ]
    said: Document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": own, "properties": _properties(image, base)},
        "components": components,
        "dependencies": dependencies,
    }
    return {**said, "serialNumber": uuid5(_NAMESPACE, json.dumps(said, sort_keys=True)).urn}


def text_of(said: Document) -> str:
    """Write a document down."""
    return json.dumps(said, indent=2, sort_keys=True) + "\n"


def write_all(folder: Path = FOLDER) -> list[Path]:
    """Write one document an image; the files."""
    rows: dict[str, Row] = {canonicalize_name(row.name): row for row in installed()}
    _refuse_others(rows)
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for image in EXTRAS:
        file = folder / f"darkroom-{image}-{VERSION}.cdx.json"
        file.write_text(text_of(document(image, rows)))
        files.append(file)
    return files


def _refuse_others(rows: Mapping[str, Row]) -> None:
    """Exit with a sentence if what is installed is not what is locked: its licences would be told of others."""
    others = [
        f"{name} {rows[name].version}" for name, pin in pins().items() if name in rows and not _is(rows[name], pin)
    ]
    if others:
        sys.exit(f"Installed at other versions than the lock's: {', '.join(others)}. Run make setup.")


def _is(row: Row, pin: Pin) -> bool:
    return row.version.partition("+")[0] == pin.version


@cache
def _requirements(name: str) -> list[Requirement]:
    try:
        return [Requirement(line) for line in requires(name) or ()]
    except PackageNotFoundError:  # of another Python; none of those asks for more
        if name in _ELSEWHERE:
            return []
        sys.exit(f"{name} is not installed: run make sbom")


def _applies(requirement: Requirement, environment: dict[str, str], extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**environment, "extra": extra})


def _environment(python: str) -> dict[str, str]:
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }


def _component(pin: Pin, rows: Mapping[str, Row]) -> Document:
    row = rows.get(pin.name)
    said: Document = {
        "type": "library",
        "bom-ref": _purl(pin),
        "name": pin.name,
        "version": pin.version,
        "purl": _purl(pin),
        "licenses": _licences(_ELSEWHERE.get(pin.name, "") if row is None else row.licence),
    }
    if row is not None and row.url != "UNKNOWN":
        said["externalReferences"] = [{"type": "website", "url": row.url.partition("#")[0]}]
    return said


def _licences(name: str) -> list[Document]:
    name = _SPDX.get(name, name)
    if is_supported_id(name):
        return [{"license": {"id": name}}]
    if is_expression(name):
        return [{"expression": name}]
    return [{"license": {"name": name}}] if name else []


def _base_component(base: Base) -> Document:
    said: Document = {
        "type": "container",
        "bom-ref": f"{base.name}:{base.tag}",
        "name": base.name,
        "version": base.tag,
    }
    return said if base.digest is None else {**said, "hashes": [{"alg": "SHA-256", "content": base.digest}]}


def _models(image: str) -> list[Document]:
    if image != "worker":
        return []
    return [
        {
            "type": "machine-learning-model",
            "bom-ref": "darkroom-demo-model",
            "name": "darkroom-demo-model",
            "version": VERSION,
            "licenses": [{"license": {"id": "Apache-2.0"}}],
        }
    ]


def _properties(image: str, base: Base) -> list[Document]:
    said = {
        "darkroom:python": base.python,
        "darkroom:not-told": "Debian packages of the base image; pip; binaries in wheels",
    }
    if image == "worker":
        said["darkroom:cuda"] = (
            "A build with TORCH_INDEX='' has NVIDIA's packages besides, at the versions that torch names"
        )
    return [{"name": name, "value": value} for name, value in said.items()]


def _purl(pin: Pin) -> str:
    return f"pkg:pypi/{pin.name}@{pin.version}"


def main() -> None:
    """Write the documents and name them."""
    for file in write_all():
        sys.stdout.write(f"{file.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
