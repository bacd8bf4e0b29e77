"""Asks servers that may not be up yet how they are: once, in little time; `shared.client` would try again."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import httpx2
from pydantic import ValidationError

from shared.connection import connect, run
from shared.contract import ModelBody, ModelList, Readiness
from shared.errors import DarkroomError
from shared.scripts import fleet
from shared.settings import Settings
from shared.worker_id import is_on_this_host

ANSWER_TIMEOUT_S: Final = 2.0


def ask(url: str, key: str = "") -> httpx2.Response | None:
    """GET; None if nobody answers in time."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        # A proxy can't see our loopback.
        return httpx2.get(url, headers=headers, timeout=ANSWER_TIMEOUT_S, trust_env=False)
    except httpx2.HTTPError:
        return None


def answers(url: str) -> bool:
    """Whether somebody answers there with a success."""
    response = ask(url)
    return response is not None and response.is_success


def has_warmed_up(settings: Settings, pid: int) -> bool:
    """Whether the worker with this process id, on this machine, says that it takes jobs.

    Asked of Redis, by the worker's own name: a worker that has just died counts as ready for another lease.
    """
    try:
        with connect(settings) as client:
            workers = run(client, fleet()).workers
    except DarkroomError:
        return False
    return any(is_on_this_host(worker.id, pid) and worker.state == "ready" for worker in workers)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway, asked from outside."""

    url: str
    key: str = field(default="", repr=False)
    """What it may ask for."""

    def readiness(self) -> Readiness | None:
        """What `/readyz` says; None if it says nothing that can be read."""
        response = ask(f"{self.url}/readyz")
        if response is None or response.status_code not in {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}:
            return None
        try:
            return Readiness.model_validate_json(response.content)
        except ValidationError:
            return None

    def is_up(self) -> bool:
        """Whether it answers and reaches Redis and the object store."""
        readiness = self.readiness()
        return readiness is not None and all(check.ok for check in readiness.checks if check.name != "worker")

    def default_model(self) -> ModelBody | None:
        """The model that a job gets unless it names one."""
        response = ask(f"{self.url}/v1/models", self.key)
        if response is None or not response.is_success:
            return None
        try:
            models = ModelList.model_validate_json(response.content).data
        except ValidationError:
            return None
        return next((model for model in models if model.is_default), None)
