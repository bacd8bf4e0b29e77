"""`python -m api` as an operator runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2

from deploy.probe import Gateway
from shared.settings import Settings
from tests.integration.keyholders import OPERATOR_KEY, bearer
from tests.integration.serving import Hand
from tests.servers import free_port, wait_until

ROOT = Path(__file__).parents[2]


def environment(settings: Settings, **more: str) -> dict[str, str]:
    assert settings.s3_access_key is not None
    assert settings.s3_secret_key is not None
    return {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")} | {
        "DARKROOM_REDIS_URL": settings.redis_url.get_secret_value(),
        "DARKROOM_S3_ENDPOINT": settings.s3_endpoint or "",
        "DARKROOM_S3_BUCKET": settings.s3_bucket,
        "DARKROOM_S3_ACCESS_KEY": settings.s3_access_key.get_secret_value(),
        "DARKROOM_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        **more,
    }


@contextmanager
def process(env: dict[str, str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        started = subprocess.Popen([sys.executable, "-m", "api"], cwd=ROOT, env=env, stdout=out, stderr=out)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def is_ready(http: httpx2.Client) -> bool:
    try:
        return http.get("/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def test_it_serves_and_ends_answering_what_it_has_begun(settings: Settings, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "api.log"
    with (
        process(environment(settings, DARKROOM_API_PORT=str(port)), log) as gateway,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as http,
        Hand(settings) as hand,
    ):
        wait_until(lambda: is_ready(http), limit_s=120, what="the gateway is ready")
        http.post("/v1/jobs", json={"prompt": "my secret garden"}, headers={"X-Request-ID": "req-7"}).raise_for_status()
        taken = hand.take()
        hand.draw(taken, 0, bytes(8_000_000))

        with http.stream("GET", f"/v1/jobs/{taken.job.id}/images/0") as begun:
            chunks = begun.iter_raw(65536)
            num_bytes = len(next(chunks))
            gateway.send_signal(signal.SIGTERM)
            num_bytes += sum(map(len, chunks))

        assert num_bytes == 8_000_000
        assert gateway.wait(20) in {0, -signal.SIGTERM}
    lines = log.read_text()
    assert "[request=req-7 tenant=local] POST /v1/jobs 202" in lines
    assert "garden" not in lines
    assert "Traceback" not in lines


def test_it_does_not_start_on_an_open_network_unasked(settings: Settings, tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    with process(environment(settings, DARKROOM_API_HOST="0.0.0.0"), log) as gateway:  # noqa: S104 - is refused
        assert gateway.wait(120) == 1

    assert "DARKROOM_ALLOW_OPEN_NETWORK=true" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_on_an_open_network_it_starts_with_an_operators_key_and_asks_for_one(
    settings: Settings, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "api.log"
    env = environment(
        settings,
        DARKROOM_API_HOST="0.0.0.0",  # noqa: S104 - the thing under test
        DARKROOM_API_PORT=str(port),
        DARKROOM_OPERATOR_KEY=OPERATOR_KEY,
    )
    with (
        process(env, log),
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as http,
        Hand(settings),
    ):
        wait_until(lambda: is_ready(http), limit_s=120, what="the gateway is ready")

        assert http.get("/v1/jobs").status_code == 401
        assert http.get("/v1/jobs", headers=bearer(OPERATOR_KEY)).status_code == 200
        probe = Gateway(f"http://127.0.0.1:{port}", OPERATOR_KEY)
        assert (probe.is_up(), probe.default_model() is None) == (True, False)
        assert OPERATOR_KEY not in repr(probe)
    assert OPERATOR_KEY not in log.read_text()


def test_it_names_a_wrong_setting(settings: Settings, tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    with process(environment(settings, DARKROOM_API_PORT="many"), log) as gateway:
        assert gateway.wait(120) == 1

    assert "DARKROOM_API_PORT: " in log.read_text()
    assert "Traceback" not in log.read_text()


def test_told_to_stop_it_lets_those_go_who_wait_for_a_job(settings: Settings, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "api.log"
    with (
        process(environment(settings, DARKROOM_API_PORT=str(port)), log) as gateway,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as http,
        Hand(settings),
        ThreadPoolExecutor(1) as executor,
    ):
        wait_until(lambda: is_ready(http), limit_s=120, what="the gateway is ready")
        job = http.post("/v1/jobs", json={"prompt": "x"}).raise_for_status().json()
        asked = executor.submit(lambda: http.get(job["urls"]["get"], params={"wait": "60"}))
        time.sleep(1)  # for the request to be held

        gateway.send_signal(signal.SIGTERM)

        assert asked.result(30).raise_for_status().json()["status"] == "queued"
        assert gateway.wait(20) in {0, -signal.SIGTERM}
    assert "exceeded" not in log.read_text()
