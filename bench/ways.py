"""The ways to have pictures drawn, as their users see them: each draws the same lists, on the same machine and threads.

`bench/baselines` holds what runs on the other end of the first three.
"""

from __future__ import annotations

import json
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

import gradio_client  # pyright: ignore[reportMissingTypeStubs]: it ships no types

from bench.baselines import celery_jobs
from bench.load import Drawn, Round, User, draw_by
from bench.orders import Order, to_line
from bench.piped import Piped
from bench.site import Site
from deploy.embedded import Valkey, free_port
from shared.client import Client
from shared.contract import JobBody
from shared.jobs import JobStatus

ANSWER_S: Final = 600.0


class Way(ABC):
    """A way to have pictures drawn; usable within its `with` block."""

    name: str

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            self._stack = started
            self.start()
            self._stack = started.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, at)

    @abstractmethod
    def start(self) -> None:
        """Start what it needs, with the model loaded."""

    @abstractmethod
    def draw(self, orders: Sequence[Order], users: int) -> Round:
        """Have a list drawn by so many users."""


class WayWithUsers(Way):
    """A way in which each user asks for a picture, has it in hand, and asks for the next."""

    def __init__(self) -> None:
        super().__init__()
        self._users: list[User] = []

    @abstractmethod
    def user(self) -> User:
        """One more user."""

    def draw(self, orders: Sequence[Order], users: int) -> Round:
        """Have a list drawn by so many users."""
        while len(self._users) < users:
            self._users.append(self.user())
        return draw_by(self._users[:users], orders)


class BareLoop(Way):
    """Way 1. Has no users: it draws the list from its first picture to its last."""

    name = "bare loop"

    def __init__(self, site: Site, checkpoint: Path) -> None:
        super().__init__()
        self._site = site
        self._checkpoint = checkpoint

    def start(self) -> None:
        """Start its process."""
        words = ("-m", "bench.baselines.bare_loop", str(self._checkpoint))
        log = self._site.folder / "bare_loop.log"
        self._process = self._stack.enter_context(Piped(words, self._site.environment, log))
        self.said = json.loads(self._process.hear())

    def draw(self, orders: Sequence[Order], users: int = 1) -> Round:
        """Draw the list, one after another."""
        del users
        told = json.loads(self._process.ask(to_line(orders)))
        spans = zip(told["times"], told["times"][1:], strict=False)
        drawn = (
            Drawn(order, asked, there, digest)
            for order, (asked, there), digest in zip(orders, spans, told["digests"], strict=True)
        )
        return Round(tuple(drawn))


class GradioPage(WayWithUsers):
    """Way 2."""

    name = "Gradio page with its own queue"

    def __init__(self, site: Site, checkpoint: Path) -> None:
        super().__init__()
        self._site = site
        self._checkpoint = checkpoint

    def start(self) -> None:
        """Start the page."""
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._files = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-gradio-"))
        told = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": self._files, "HF_HUB_DISABLE_TELEMETRY": "1"}
        words = ("-m", "bench.baselines.gradio_page", str(self._checkpoint), str(port))
        self._site.start(words, "ready,", told)

    def user(self) -> User:
        """A user with a connection of their own; the picture's file is fetched."""
        client = cast("Any", gradio_client).Client(
            self._url, verbose=False, download_files=self._files, analytics_enabled=False
        )
        self._stack.callback(client.close)

        def draw(order: Order) -> bytes:
            job = client.submit(*asdict(order).values(), api_name="/draw")
            return Path(job.result(timeout=ANSWER_S)).read_bytes()

        return draw


class CeleryJobs(WayWithUsers):
    """Way 3. Its broker writes to disk once a second, as Redis does unless told otherwise."""

    name = "plain Celery, the job in the message"

    def __init__(self, site: Site, checkpoint: Path) -> None:
        super().__init__()
        self._site = site
        self._checkpoint = checkpoint

    def start(self) -> None:
        """Start its broker and its worker."""
        broker = Valkey(self._site.folder / "celery-valkey", options={"appendfsync": "everysec"})
        self._stack.enter_context(broker)
        told = {
            "BENCH_CHECKPOINT": str(self._checkpoint),
            "BENCH_BROKER": broker.url,
            "BENCH_S3_ENDPOINT": self._site.s3.endpoint,
            "BENCH_S3_ACCESS_KEY": self._site.s3.access_key,
            "BENCH_S3_SECRET_KEY": self._site.s3.secret_key,
            "BENCH_S3_BUCKET": self._site.s3.bucket,
        }
        words = ("-m", "celery", "-A", "bench.baselines.celery_jobs", "worker", "--pool", "solo", "-l", "INFO")
        self._site.start(words, " ready.", told)
        celery_jobs.app.conf.update(broker_url=broker.url, result_backend=broker.url)
        self._stack.callback(celery_jobs.app.close)

    def user(self) -> User:
        """A user who waits for the result and fetches the picture from the store."""
        s3 = self._site.s3
        store = celery_jobs.connect_store(s3.endpoint, s3.access_key, s3.secret_key)

        def draw(order: Order) -> bytes:
            key = cast("Any", celery_jobs).draw.apply_async(kwargs=asdict(order)).get(timeout=ANSWER_S)
            return store.get_object(Bucket=s3.bucket, Key=key)["Body"].read()

        return draw


class Darkroom(WayWithUsers):
    """Ways 4 and 5: a gateway and one worker, over HTTP."""

    name = "Darkroom"

    def __init__(self, site: Site, *, worker: str = "worker", environment: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._site = site
        self._worker = worker
        self._environment = environment or {}
        self.alone = True
        """Whether a picture must be the stock pipeline's bit for bit, as with a seed by default."""
        self.seen: list[Seen] = []
        """Every job, as its user saw it."""

    def start(self) -> None:
        """Start a gateway and a worker."""
        self.worker = self._site.worker(self._worker, self._environment)
        self.url = self._site.gateway()
        self.client = Client(self.url)
        self._stack.callback(self.client.close)

    def user(self) -> User:
        """A user with connections of their own who fetches the picture through the gateway."""
        client = Client(self.url)
        self._stack.callback(client.close)

        def draw(order: Order) -> bytes:
            asked_s = time.time()
            job = client.submit(order.request(alone=self.alone))
            job = client.wait(job.id, timeout_s=ANSWER_S)
            seen_s = time.time()
            if job.status is not JobStatus.SUCCEEDED:
                raise RuntimeError(f"Job {job.id} is {job.status}: {job.error}")
            file = client.image(job.id, 0)
            self.seen.append(Seen(order, job, asked_s, seen_s, time.time()))
            return file

        return draw


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as its user saw it; Unix seconds."""

    order: Order
    job: JobBody
    asked_s: float
    seen_s: float
    """When it was known to have ended."""
    fetched_s: float
