"""Real workers of two models, one of them in two classes, beside each other: each draws what is its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.contract import JobBody, ModelList
from shared.settings import Settings
from tests.integration.serving import Serving, serving
from tests.integration.worker.system import LIMIT_S, System, WorkerProcess
from tests.servers import wait_until
from worker.engine.card import OVERRIDES

TINY, SECOND = "darkroom/tiny", "test/second"
SMALL, LARGE = f"{TINY}@small", f"{TINY}@large"


@pytest.fixture
def gateway(settings: Settings) -> Iterator[Serving]:
    with serving(settings.model_copy(update={"pool_patience_s": 0.5})) as served:
        yield served


def submit(gateway: Serving, **fields: Any) -> JobBody:  # noqa: ANN401 (a request's fields)
    asked = {"prompt": "a red cube", "num_inference_steps": 2, "reuse": False, **fields}
    response = gateway.http.post("/v1/jobs", json=asked)
    assert response.status_code == 202, response.text
    return JobBody.model_validate_json(response.content)


def drawn(gateway: Serving, job: JobBody) -> JobBody:
    """The job, once it has ended."""
    found: list[JobBody] = []

    def has_ended() -> bool:
        found[:] = [JobBody.model_validate_json(gateway.http.get(job.urls.get).content)]
        return found[0].status.is_terminal

    wait_until(has_ended, limit_s=LIMIT_S, what="the job ends")
    assert found[0].status == "succeeded", found[0].error
    return found[0]


def drawer_of(job: JobBody, workers: dict[str, WorkerProcess]) -> str:
    """By whose log it was claimed there."""
    (name,) = [name for name, one in workers.items() if f"job={job.id}" in one.log]
    return name


def test_jobs_are_drawn_by_the_pool_that_they_name_and_by_another_once_it_is_gone(
    system: System, gateway: Serving, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(tiny_checkpoint, tmp_path / "second")
    card = json.loads((other / OVERRIDES).read_text())
    (other / OVERRIDES).write_text(json.dumps(card | {"id": SECOND}))
    workers = {
        SMALL: system.start_worker(pool="small", max_batch=1),
        LARGE: system.start_worker(pool="large", max_batch=1),
        SECOND: system.start_worker(model=str(other), max_batch=1),
    }
    for one in workers.values():
        one.wait_ready()

    served = {model.id: model for model in ModelList.model_validate_json(gateway.http.get("/v1/models").content).data}
    assert set(served) == {TINY, SECOND}
    assert [pool.name for pool in served[TINY].pools] == [LARGE, SMALL]

    for name in workers:
        job = submit(gateway, model=name, seed=5)
        ended = drawn(gateway, job)
        assert drawer_of(job, workers) == name
        assert (ended.pool, ended.model) == (name, name.partition("@")[0])
    spread = [drawn(gateway, job) for job in [submit(gateway, model=TINY) for _ in range(6)]]
    assert {job.pool for job in spread} <= {SMALL, LARGE}
    info = gateway.http.get(f"{spread[0].urls.get}/images/0").content
    assert b"tiny@" not in info  # the file names what draws it again, on whichever class

    gateway.http.post("/v1/queue/pause").raise_for_status()
    waiting = [submit(gateway, model=TINY) for _ in range(4)]
    assert {job.pool for job in waiting} == {SMALL, LARGE}
    workers[SMALL].kill()
    gateway.http.post("/v1/queue/resume").raise_for_status()
    ended = [drawn(gateway, job) for job in waiting]

    assert {job.pool for job in ended} == {LARGE}
    assert [job.attempt for job in ended] == [1, 1, 1, 1]
