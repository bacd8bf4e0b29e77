"""A real Prometheus for a test, with our configuration and rules, that asks a gateway each second.

`make test` fetches one (deploy/prometheus.sh); where there is none, tests that need it are skipped.
"""

from __future__ import annotations

import math
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Final, cast, final

import httpx2
import pytest
import yaml

from deploy.embedded import HOST, Server, free_port
from deploy.process import Program
from tests.promql import FOLDER, RULES, Json

FETCHED: Final = Path(sys.prefix) / "prometheus" / "usr" / "bin"


def tool(name: str) -> str:
    """Where `prometheus` or `promtool` is; skips the test if nowhere."""
    found = shutil.which(name) or shutil.which(name, path=str(FETCHED))
    if found is None:
        pytest.skip(f"there is no {name}: install Prometheus, or run make test where apt-get is")
    return found


@final
class Prometheus(Server):
    """Asks one gateway. Alerts fire at once, without the time that they would last; all else is as it is delivered."""

    def __init__(self, folder: Path, gateway: str, key: str) -> None:
        self.folder = folder
        self.port = free_port()
        self._binary = tool("prometheus")
        self._gateway = gateway.removeprefix("http://")
        self._key = key
        self._http = httpx2.Client(base_url=f"http://{HOST}:{self.port}", trust_env=False, timeout=30)

    def program(self) -> Program:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(self._config()))
        command = (
            self._binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={HOST}:{self.port}",
        )
        return Program("prometheus", command, self.folder / "log", ready=lambda _pid: self._answers())

    def _config(self) -> Json:
        config = cast("Json", yaml.safe_load((FOLDER / "prometheus.yml").read_text()))
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        hasty = cast("Json", yaml.safe_load(RULES.read_text()))
        for rule in (rule for group in hasty["groups"] for rule in group["rules"]):
            rule.pop("for", None)
        (self.folder / "rules.yml").write_text(yaml.safe_dump(hasty))
        config["rule_files"] = [str(self.folder / "rules.yml")]
        (scrape,) = config["scrape_configs"]
        (self.folder / "key").write_text(self._key)
        scrape["authorization"]["credentials_file"] = str(self.folder / "key")
        scrape["static_configs"][0]["targets"] = [self._gateway]
        return config

    def _answers(self) -> bool:
        try:
            return self._http.get("/-/ready").status_code == 200
        except httpx2.HTTPError:
            return False

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """What a query finds now: labels and value. Fails if it is refused."""
        answer = self._http.get("/api/v1/query", params={"query": query})
        assert answer.status_code == 200, f"{query}: {answer.text}"
        found = cast("list[Any]", answer.json()["data"]["result"])
        return [(one["metric"], float(one["value"][1])) for one in found]

    def has_shown(self, query: str) -> bool:
        """Whether it has found a number at any second of the last three minutes."""
        now = time.time()
        span = {"start": now - 180, "end": now, "step": 1}
        answer = self._http.get("/api/v1/query_range", params={"query": query, **span})
        assert answer.status_code == 200, f"{query}: {answer.text}"
        found = cast("list[Any]", answer.json()["data"]["result"])
        return any(not math.isnan(float(value)) for one in found for _, value in one["values"])

    def value(self, query: str) -> float:
        """The sum of what it finds."""
        return sum(value for _, value in self.ask(query))

    def firing(self) -> dict[str, str]:
        """Which alerts fire, and how each is told."""
        answer = self._http.get("/api/v1/alerts").raise_for_status()
        alerts = cast("list[Any]", answer.json()["data"]["alerts"])
        return {one["labels"]["alertname"]: one["annotations"]["summary"] for one in alerts if one["state"] == "firing"}
