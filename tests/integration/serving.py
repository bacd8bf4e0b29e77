"""The gateway on a real port, and a hand that works jobs off as a worker would, through the real queue."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from types import TracebackType
from typing import Final, Self

import httpx2

from api.__main__ import Server
from api.app import create_app
from api.wire import server_config
from shared.connection import connect, run
from shared.contract import Gpu, WorkerState
from shared.generation import AspectRatio, Defaults, ModelCard, Scheduler, Size, SizeRule
from shared.jobs import Image, JobError, LeaseToken, WorkerId, image_key
from shared.object_store import ObjectStore
from shared.scripts import Claimed, add_image, announce, claim, fail, finish, heartbeat, progress, release
from shared.settings import Settings
from shared.tracing import OFF, Tracing
from shared.vocabulary import Vocabulary
from tests.servers import wait_until

CARD: Final = ModelCard(
    id="test/tiny",
    title="Tiny",
    revision="0",
    description="For tests.",
    aspect_ratios=(AspectRatio(name="Square 1:1", size=Size(width=64, height=64)),),
    custom_sizes=SizeRule(min_side=32, max_side=128, multiple_of=8, max_pixels=128 * 128),
    schedulers=(Scheduler.EULER, Scheduler.DDIM),
    defaults=Defaults(
        size=Size(width=64, height=64), num_inference_steps=4, guidance_scale=2.0, scheduler=Scheduler.EULER
    ),
    max_steps=50,
)

LEASE_S: Final = 30.0


@dataclass(frozen=True)
class Serving:
    """A gateway that answers."""

    url: str
    settings: Settings
    http: httpx2.Client


@contextmanager
def serving(settings: Settings, tracing: Tracing = OFF) -> Generator[Serving]:
    """Serve the gateway on a free port in a thread; stop it as SIGTERM would."""
    app = create_app(settings, tracing)
    server = Server(server_config(app, port=0), app)
    thread = threading.Thread(target=server.run, name="gateway")
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), limit_s=20, what="the gateway serves")
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with httpx2.Client(base_url=url, trust_env=False, timeout=30) as http:
            yield Serving(url, settings, http)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


class Hand:
    """One ready worker without an engine: it stores bytes where a picture would be."""

    def __init__(self, settings: Settings, card: ModelCard = CARD, vocabulary: Vocabulary | None = None) -> None:
        self.card = card
        self.vocabulary = vocabulary
        self.worker = WorkerId(f"hand-{secrets.token_hex(4)}")
        self.redis = connect(settings)
        self.store = ObjectStore.from_settings(settings)

    def __enter__(self) -> Self:
        self.arrive()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.redis.close()
        self.store.close()

    def forget_all(self) -> None:
        """Empty Redis, as a loss of its disk would."""
        self.redis.flushall()  # pyright: ignore[reportUnknownMemberType]: **kwargs

    def arrive(self, *, ready: bool = True, gpu: Gpu | None = None) -> None:
        run(self.redis, announce(self.card, self.vocabulary))
        state = WorkerState(
            id=self.worker,
            state="ready" if ready else "warming",
            model=self.card.id,
            device="cpu",
            software_version="0",
            started_at_ms=int(time.time() * 1000),
            gpu=gpu,
        )
        run(self.redis, heartbeat(state, life_s=600))

    def take(self, *, lease_s: float = LEASE_S) -> Claimed:
        claimed = self.take_any(lease_s=lease_s)
        assert claimed is not None
        return claimed

    def take_any(self, *, lease_s: float = LEASE_S) -> Claimed | None:
        """Take a job; None if none waits."""
        return run(self.redis, claim(self.card.id, self.worker, LeaseToken(secrets.token_hex(8)), lease_s=lease_s))

    def show(self, taken: Claimed, step: int, jpeg: bytes) -> None:
        run(self.redis, progress(taken.lease, step, jpeg=jpeg))

    def draw(self, taken: Claimed, index: int, data: bytes) -> Image:
        params = taken.job.params
        image = Image(
            index=index,
            seed=params.seed_of(index),
            variation_seed=params.variation_seed_of(index),
            key=image_key(taken.job.tenant, taken.job.id, index, params.output_format),
            size=params.output_size or params.size,
            output_format=params.output_format,
            num_bytes=len(data),
            sha256=sha256(data).hexdigest(),
        )
        self.store.put(image.key, data, params.output_format.media_type)
        run(self.redis, add_image(taken.lease, image))
        return image

    def finish(self, taken: Claimed) -> None:
        run(self.redis, finish(taken.lease))

    def fail(self, taken: Claimed, code: str, message: str) -> None:
        run(self.redis, fail(taken.lease, JobError(code=code, message=message)))

    def release(self, taken: Claimed) -> None:
        run(self.redis, release(taken.lease))
