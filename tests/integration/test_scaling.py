"""A scaler asks the gateway as the manifest tells it to: from none to as many workers as are wanted, and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
import yaml

from shared.connection import run
from shared.contract import JobBody, Problem, Speed, WorkerState
from shared.oversight import ScalingBody
from shared.scripts import heartbeat, leave
from tests.conftest import settings_for
from tests.integration.serving import CARD, Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until

SCALER = Path(__file__).parents[2] / "deploy/kubernetes/overlays/gpu/worker/scaler.yaml"


def trigger() -> dict[str, str]:
    """What the manifest tells KEDA to ask for."""
    scaled = next(one for one in yaml.safe_load_all(SCALER.read_text()) if one["kind"] == "ScaledObject")
    (only,) = scaled["spec"]["triggers"]
    return cast("dict[str, str]", only["metadata"])


def path_for(model: str) -> str:
    """The manifest's address, for the model of this test instead of the manifest's."""
    url = urlsplit(trigger()["url"])
    return f"{url.path}?{url.query}".replace("segmind/SSD-1B", model)


def value(gateway: Serving) -> float:
    """The number that the scaler takes; it must be one that JSON calls so."""
    answer = gateway.http.get(path_for(CARD.id))
    assert answer.status_code == 200, answer.text
    found = answer.json()[trigger()["valueLocation"]]
    assert type(found) is int
    return found


def body(gateway: Serving) -> ScalingBody:
    return ScalingBody.model_validate_json(gateway.http.get(path_for(CARD.id)).content)


def submit(gateway: Serving, **fields: Any) -> JobBody:  # noqa: ANN401 (a request's fields)
    response = gateway.http.post("/v1/jobs", json={"prompt": "a red cube", "reuse": False, **fields})
    assert response.status_code == 202, response.text
    return JobBody.model_validate_json(response.content)


def measured(hand: Hand, *, step_ms: float) -> None:
    """The worker has drawn, and says how fast."""
    speeds = (Speed(width=64, height=64, guided=True, step_ms=step_ms, picture_ms=0),)
    state = WorkerState(
        id=hand.worker,
        state="ready",
        model=CARD.id,
        device="cpu",
        software_version="0",
        started_at_ms=0,
        speeds=speeds,
    )
    run(hand.redis, heartbeat(state, life_s=600))


def reason(gateway: Serving, job: JobBody) -> str | None:
    found = JobBody.model_validate_json(gateway.http.get(job.urls.get).content).reason
    return found and found.code


def test_a_new_cluster_wants_the_worker_that_makes_its_model_known(gateway: Serving, worker: Hand) -> None:
    worker.forget_all()
    assert gateway.http.post("/v1/jobs", json={"prompt": "x"}).status_code == 503
    assert (value(gateway), body(gateway).because) == (1, "unmeasured")
    worker.arrive(ready=False)
    assert value(gateway) == 1
    measured(worker, step_ms=1)
    assert (value(gateway), body(gateway).because) == (0, "idle")


def test_from_none_to_as_many_as_the_work_wants_and_back(gateway: Serving, hand: Hand) -> None:
    measured(hand, step_ms=5_000)
    run(hand.redis, leave(hand.worker, CARD.id))
    assert value(gateway) == 0

    jobs = [submit(gateway, num_inference_steps=4) for _ in range(12)]

    assert body(gateway).work_s == 12 * 4 * 5.0  # what the worker measured that is gone
    assert value(gateway) == 4
    wait_until(lambda: reason(gateway, jobs[0]) == "starting", limit_s=20, what="the job says that one is started")

    measured(hand, step_ms=5_000)
    taken = [hand.take() for _ in jobs]
    assert (value(gateway), body(gateway).running_jobs) == (4, 12)
    for one in taken:
        hand.draw(one, 0, b"picture")
        hand.finish(one)
    assert value(gateway) == 0


def test_a_paused_queue_starts_no_worker(gateway: Serving, hand: Hand) -> None:
    measured(hand, step_ms=5_000)
    submit(gateway)
    assert value(gateway) == 1
    gateway.http.post("/v1/queue/pause").raise_for_status()
    assert (value(gateway), body(gateway).because) == (0, "paused")
    gateway.http.post("/v1/queue/resume").raise_for_status()
    assert value(gateway) == 1


@pytest.mark.parametrize(
    "query", ["", "?model=", "?model=x&target_s=0", "?model=x&target_s=nan", "?model=x&target_s=soon"]
)
def test_what_no_scaler_should_ask_is_refused(gateway: Serving, query: str) -> None:
    assert gateway.http.get(f"/v1/scaling{query}").status_code == 422


class TestWithoutRedis:
    @pytest.fixture
    def alone(self, own_redis_server: RedisServer, s3_server: S3Server) -> Iterator[Serving]:
        with serving(settings_for(own_redis_server, s3_server)) as served:
            yield served

    def test_no_number_is_told_so_that_the_scaler_holds_what_runs(
        self, alone: Serving, own_redis_server: RedisServer
    ) -> None:
        own_redis_server.kill()

        answer = alone.http.get(path_for(CARD.id))

        assert (answer.status_code, Problem.model_validate_json(answer.content).code) == (503, "queue_unavailable")

    def test_the_gateway_takes_no_traffic_until_it_is_back(self, alone: Serving, own_redis_server: RedisServer) -> None:
        assert alone.http.get("/readyz?for=traffic").status_code == 200
        own_redis_server.kill()
        assert alone.http.get("/readyz?for=traffic").status_code == 503
        assert alone.http.get("/healthz").status_code == 200
        own_redis_server.start()
        assert alone.http.get("/readyz?for=traffic").status_code == 200


def test_a_gateway_takes_traffic_without_a_worker(gateway: Serving, worker: Hand) -> None:
    worker.forget_all()

    assert gateway.http.get("/readyz").status_code == 503
    answer = gateway.http.get("/readyz?for=traffic")

    assert (answer.status_code, [check["name"] for check in answer.json()["checks"]]) == (200, ["redis"])
    assert gateway.http.get("/readyz?for=lunch").status_code == 422
