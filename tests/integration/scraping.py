"""What Prometheus would read of a gateway."""

from __future__ import annotations

from typing import final

from prometheus_client.parser import text_string_to_metric_families as read_text

from api.metrics import PREFIX
from tests.integration.serving import Serving


@final
class Scrape:
    """What one scrape said."""

    def __init__(self, gateway: Serving, **headers: str) -> None:
        response = gateway.http.get("/metrics", headers=headers)
        assert response.status_code == 200, response.text
        self.families = list(read_text(response.text))
        self._samples = [sample for family in self.families for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels; 0 if there are none."""
        return sum(self.of(name, **labels))

    def of(self, name: str, **labels: str) -> list[float]:
        """Each of them."""
        wanted = labels.items()
        return [one.value for one in self._samples if one.name == PREFIX + name and wanted <= one.labels.items()]

    def labels(self, name: str, label: str) -> set[str]:
        return {one.labels[label] for one in self._samples if one.name == PREFIX + name}

    def of_the_queue(self) -> set[tuple[str, frozenset[tuple[str, str]], float]]:
        """What is told of jobs, but for how long the oldest has waited by now."""
        kinds = ("jobs_", "job_", "pictures", "leases_", "queue_jobs", "queue_work")
        return {
            (one.name, frozenset(one.labels.items()), one.value)
            for one in self._samples
            if one.name.removeprefix(PREFIX).startswith(kinds)
        }
