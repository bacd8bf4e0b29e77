"""The logs of all parts as processes: whoever reads them finds all of a job, and no prompt, key or signed address."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from deploy.probe import Gateway, answers, has_warmed_up
from deploy.process import Process, Program
from shared.client import Client
from tests.conftest import settings_for
from tests.integration.keyholders import OPERATOR_KEY, PAGE_KEY, bearer
from tests.integration.quoting_worker import UNREADABLE
from tests.servers import RedisServer, S3Server, free_port, wait_until
from tests.unit.ui.pressing import form_of
from tests.unit.worker.courier.receivers import receiver
from ui.feed import Asked
from ui.form import FIELDS
from ui.handlers import Handlers, View
from ui.styles import read_styles
from ui.visitors import Person

ROOT: Final = Path(__file__).parents[2]
STARTS_WITHIN_S: Final = 240.0
MARKER: Final = "zanzibarquartz"
"""In each text that a customer writes here."""
REQUEST: Final = "req-of-the-test"
SESSION: Final = "of-the-test"
FAILING: Final = "req-that-fails"
EVENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR|CRITICAL) +[\w.]+ ")

pytestmark = pytest.mark.timeout(600)


class Logged:
    """A system that has lived, and what its parts said meanwhile."""

    def __init__(self, form: str, folder: Path, redis: RedisServer, s3: S3Server) -> None:
        self.form = form
        self.url, self.page_url = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        self.secrets = {OPERATOR_KEY, PAGE_KEY, s3.secret_key, s3.access_key}
        """What no log may have."""
        self.job = self.failed = ""
        self._folder = folder
        self._settings = settings_for(redis)
        self._environment = {
            "DARKROOM_REDIS_URL": redis.url,
            "DARKROOM_S3_ENDPOINT": s3.endpoint,
            "DARKROOM_S3_PUBLIC_ENDPOINT": s3.endpoint,
            "DARKROOM_S3_ACCESS_KEY": s3.access_key,
            "DARKROOM_S3_SECRET_KEY": s3.secret_key,
            "DARKROOM_S3_BUCKET": f"logs-{form}",
            "DARKROOM_MODEL": "demo",
            "DARKROOM_MODEL_CACHE": str(folder / "models"),
            "DARKROOM_REQUIRE_KEYS": "true",
            "DARKROOM_OPERATOR_KEY": OPERATOR_KEY,
            "DARKROOM_PAGE_KEY": PAGE_KEY,
            "DARKROOM_API_URL": self.url,
            "DARKROOM_API_PORT": self.url.rpartition(":")[2],
            "DARKROOM_UI_PORT": self.page_url.rpartition(":")[2],
            "DARKROOM_WEBHOOK_NETWORKS": "127.0.0.0/8",
            "DARKROOM_LOG_FORMAT": form,
            "DARKROOM_LOG_LEVEL": "DEBUG" if form == "json" else "INFO",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        asked = Gateway(self.url)
        self._parts = {
            "gateway": self._part("api", lambda _pid: asked.is_up()),
            "page": self._part("ui", lambda _pid: answers(self.page_url)),
            "courier": self._part("worker.courier", lambda _pid: True),
            "worker": self._part("tests.integration.quoting_worker", lambda pid: has_warmed_up(self._settings, pid)),
        }

    def _part(self, module: str, ready: Callable[[int], bool]) -> Process:
        command = (sys.executable, "-m", module)
        log = self._folder / f"{module}.log"
        return Process(Program(module, command, log, ready=ready, environment=self._environment, cwd=ROOT))

    @contextmanager
    def running(self) -> Generator[None]:
        try:
            for part in self._parts.values():
                part.start()
            for part in self._parts.values():
                part.wait_ready(STARTS_WITHIN_S)
            yield
        finally:
            for part in self._parts.values():
                part.stop(40)

    def lines(self, part: str) -> list[str]:
        return self._parts[part].program.log.read_text().splitlines()

    def all_lines(self) -> list[str]:
        return [line for part in self._parts for line in self.lines(part)]

    def about(self, part: str, **fields: object) -> list[str]:
        """Lines of a part that have these fields, as one would look for them."""
        if self.form == "text":
            return [line for line in self.lines(part) if all(f"{name}={said}" in line for name, said in fields.items())]
        objects = [(line, json.loads(line)) for line in self.lines(part)]
        return [line for line, said in objects if fields.items() <= said.items()]


def ended(http: httpx2.Client, job: str, key: Mapping[str, str]) -> dict[str, Any]:
    def now() -> dict[str, Any]:
        read: dict[str, Any] = http.get(f"/v1/jobs/{job}", headers=key).raise_for_status().json()
        return read

    wait_until(lambda: now()["status"] in {"succeeded", "failed"}, limit_s=120, what="the job ends")
    return now()


def live(logged: Logged) -> None:
    """Draw, fail and refuse, in all ways in which a text comes in."""
    operator = bearer(OPERATOR_KEY)
    with httpx2.Client(base_url=logged.url, trust_env=False, timeout=60) as http, receiver() as there:
        made = http.post("/v1/keys", json={"name": "ann's", "tenant": "ann"}, headers=operator).json()
        ann = bearer(made["key"])
        webhook = http.post("/v1/webhooks", json={"url": f"{there.url}?token={MARKER}"}, headers=ann)
        logged.secrets |= {made["key"], webhook.raise_for_status().json()["secret"]}

        body = {"prompt": f"a {MARKER} garden", "negative_prompt": f"no {MARKER}", "num_inference_steps": 2}
        asked = http.post("/v1/jobs", json=body, headers={**ann, "X-Request-ID": REQUEST})
        logged.job = asked.raise_for_status().json()["id"]
        assert ended(http, logged.job, ann)["status"] == "succeeded"
        wait_until(lambda: len(there.came) == 1, limit_s=60, what="the receiver is told")

        signed = http.get(f"/v1/jobs/{logged.job}/images/0", headers=ann).headers["Location"]
        assert "X-Amz-Signature" in signed
        logged.secrets |= {"X-Amz-Signature", "X-Amz-Credential"}
        picture = httpx2.get(signed, trust_env=False).raise_for_status().content
        assert MARKER.encode() in picture

        body["prompt"] = f"an {UNREADABLE} {MARKER}: 'garden'"
        asked = http.post("/v1/jobs", json=body, headers={**ann, "X-Request-ID": FAILING})
        logged.failed = asked.raise_for_status().json()["id"]
        error = ended(http, logged.failed, ann)["error"]
        assert MARKER in error["message"]  # its owner may read what the library said

        refuse(http, ann)
        use_page(logged.page_url, logged.url, picture)


def refuse(http: httpx2.Client, ann: Mapping[str, str]) -> None:
    """Send what the gateway does not take, in each of its tongues."""
    long = MARKER * 1000
    for address, body in (
        ("/v1/jobs", {"prompt": [MARKER], MARKER: MARKER, "size": MARKER}),
        ("/v1/jobs", {"prompt": long, "metadata": {MARKER: long}}),
        ("/v1/jobs", {"prompt": MARKER, "model": MARKER}),
        ("/v1/batches", [{"prompt": MARKER}, {"prompt": long}]),
        ("/v1/tokens", {"prompt": {"text": MARKER}}),
        ("/v1/images/generations", {"prompt": MARKER, "n": 99, "model": MARKER}),
        ("/sdapi/v1/txt2img", {"prompt": MARKER, "sampler_name": MARKER}),
    ):
        assert http.post(address, json=body, headers=ann).status_code in range(400, 500), address
    for said in (b'{"prompt": "' + MARKER.encode(), MARKER.encode() + b"\xff", b"{}" + MARKER.encode() * 30_000):
        answer = http.post("/v1/jobs", content=said, headers={**ann, "Content-Type": "application/json"})
        assert answer.status_code in range(400, 500)
    assert http.get("/v1/jobs", params={"search": MARKER, "limit": MARKER}, headers=ann).status_code == 422
    assert http.get("/v1/jobs", headers=bearer(MARKER)).status_code == 401


def use_page(url: str, gateway: str, picture: bytes) -> None:
    """Press what a visitor presses, and send what none would."""
    with httpx2.Client(base_url=url, trust_env=False, timeout=60) as browser:
        browser.get("/").raise_for_status()
        of_python = [one for one in browser.get("/config").json()["dependencies"] if one["backend_fn"]]
        numbers = {str(one["api_name"]): one["id"] for one in of_python}

        def press(number: int, data: list[Any], event: object = None) -> str:
            asked = {"fn_index": number, "data": data, "event_data": event, "session_hash": SESSION}
            return browser.post("/gradio_api/run/predict", json=asked).text

        def press_in_turn(number: int, data: list[Any]) -> str:
            asked = {"fn_index": number, "data": data, "session_hash": SESSION}
            browser.post("/gradio_api/queue/join", json=asked).raise_for_status()
            with browser.stream("GET", "/gradio_api/queue/data", params={"session_hash": SESSION}) as told:
                return next(line for line in told.iter_lines() if "process_completed" in line)

        press(numbers["_on_look"], [None, {}, None])
        with Client(gateway, api_key=PAGE_KEY, visitor="of-the-test") as client:
            view = Handlers(read_styles()).look(Person(client), View(), Asked(), {})
        form = form_of(view, prompt=f"a {MARKER} fox")
        said = press_in_turn(numbers["_on_generate"], [None, *(form[name] for name in FIELDS)])
        assert '"success":true' in said.replace(" ", "")
        assert MARKER in said  # it is in the feed
        for one in of_python:
            for data in ([MARKER] * len(one["inputs"]), [{"path": MARKER}] * len(one["inputs"]), [MARKER]):
                press(one["id"], data, {MARKER: MARKER, "do": MARKER, "value": MARKER})
        dropped = browser.post("/settings", content=picture)
        assert MARKER in dropped.raise_for_status().text
        for data in (picture[: len(picture) // 2], MARKER.encode(), picture.replace(b"IEND", b"IXND")):
            browser.post("/settings", content=data)
        browser.post("/sign-in", data={"key": f"{MARKER}-of-nobody"}, headers={"Origin": url})
        browser.get(f"/pictures/{MARKER}/0")


@pytest.fixture(scope="module", params=["text", "json"])
def logged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server
) -> Iterator[Logged]:
    folder = tmp_path_factory.mktemp("logs")
    with RedisServer(folder / "redis") as redis:
        one = Logged(request.param, folder, redis, s3_server)
        with one.running():
            live(one)
        yield one


def test_no_line_has_a_prompt_a_key_or_a_signed_address(logged: Logged) -> None:
    wrong = [line for line in logged.all_lines() if any(hidden in line for hidden in {MARKER, *logged.secrets})]

    assert not wrong


def test_each_line_is_an_event_or_indented(logged: Logged) -> None:
    for part in ("gateway", "worker", "courier", "page"):
        lines = logged.lines(part)
        assert lines
        for line in lines:
            if logged.form == "json":
                assert json.loads(line)["part"] == part
            else:
                assert EVENT.match(line) or line.startswith("    ")


def test_all_of_a_job_is_found_by_its_id_and_by_its_requests(logged: Logged) -> None:
    (submitted,) = logged.about("gateway", request=REQUEST, job=logged.job)
    claimed, done = logged.about("worker", request=REQUEST, job=logged.job, tenant="ann", attempt=1)
    (told,) = (line for line in logged.about("courier", request=REQUEST, job=logged.job) if "delivered" in line)

    assert "POST /v1/jobs 202" in submitted
    assert "claimed" in claimed
    assert "ended" in done
    assert "job.succeeded" in told


def test_a_failure_is_told_with_its_cause_and_without_the_prompt(logged: Logged) -> None:
    failed = logged.about("worker", request=FAILING, job=logged.failed)

    assert any("no tokens for" in line and "[prompt]" in line for line in failed)
    trace = logged.lines("worker")
    assert any("in encode" in line for line in trace)
