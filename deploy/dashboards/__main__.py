"""`make dashboards`: write them to deploy/observability/dashboards, where Grafana finds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from deploy.dashboards.fleet import FLEET
from deploy.dashboards.form import json_of
from deploy.dashboards.service import SERVICE
from deploy.dashboards.stores import STORES

FOLDER: Final = Path(__file__).parents[1] / "observability" / "dashboards"
DASHBOARDS: Final = {"service.json": SERVICE, "fleet.json": FLEET, "stores.json": STORES}


def texts() -> dict[str, str]:
    """Say what stands in each file, by its name."""
    return {name: json.dumps(json_of(dashboard), indent=2) + "\n" for name, dashboard in DASHBOARDS.items()}


def main() -> None:
    """Write them."""
    for name, text in texts().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
