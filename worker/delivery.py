"""From pixels to an ended job, in threads beside the engine: encode, upload, record, finish.

What can't be reached is tried again while the lease is held: Redis without limit, the object store
for `store_patience_s`. Then a job whose pictures the store refused for good fails; one that met an
outage waits again. The number of pictures under way is bounded; `has_room` tells the shift.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final, TypeVar, final

import redis

from shared.connection import run
from shared.errors import LeaseLost, StoreUnavailable, Unavailable
from shared.jobs import Image, Job, JobError, JobWarning, image_key
from shared.object_store import is_refusal
from shared.scripts import Lease, add_image, fail, finish
from worker.duty import Duty
from worker.images import Pixels, Provenance, encode_image
from worker.news import Broken, Ended, Lost, News, StoreAway
from worker.storage import Storage

T = TypeVar("T")

THREADS: Final = 2
MOST_PICTURES: Final = 8
"""Under way at once: 3 MB each at 1024x1024."""
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 2.0
CLOSE_LIMIT_S: Final = 2.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Origin:
    """What a picture's file says of its maker."""

    model: str
    model_revision: str
    software: str


@dataclass(frozen=True, slots=True)
class _Expected:
    """What a job waits for before it is finished, and what is to be said of it then."""

    missing: set[int]
    warnings: tuple[JobWarning, ...]


@final
class Delivery:
    """Delivers pictures and ends their jobs; what comes of it is put into the shift's inbox."""

    def __init__(self, client: redis.Redis, storage: Storage, origin: Origin, duty: Duty, *, patience_s: float) -> None:
        self._client = client
        self._storage = storage
        self._origin = origin
        self._leases = duty.leases
        self._inbox = duty.inbox
        self._patience_s = patience_s
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="delivery")
        # Its own: an end that needs Redis alone must not wait behind pictures that wait for the store.
        self._end_thread = ThreadPoolExecutor(1, thread_name_prefix="end")
        self._futures: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._expected: dict[Lease, _Expected] = {}
        self._under_way = 0
        self._closing = threading.Event()

    @property
    def has_room(self) -> bool:
        """False while so many pictures are under way that the engine should wait."""
        with self._lock:
            return self._under_way < MOST_PICTURES

    @property
    def store_is_away(self) -> bool:
        """True while new work would be in vain."""
        return self._storage.is_away

    def expect(self, lease: Lease, indices: Iterable[int], warnings: tuple[JobWarning, ...] = ()) -> None:
        """Finish the job, with these warnings, when these pictures are delivered; at once if there are none."""
        expected = _Expected(set(indices), warnings)
        with self._lock:
            self._expected[lease] = expected
        if not expected.missing:
            self._submit(self._end_thread, lease, lambda: self._finish(lease, warnings))

    def deliver(self, job: Job, lease: Lease, index: int, pixels: Pixels) -> None:
        """Take a finished picture. Returns at once; holds the pixels until they are stored."""
        with self._lock:
            self._under_way += 1

        def work() -> None:
            try:
                self._deliver(job, lease, index, pixels)
            finally:
                with self._lock:
                    self._under_way -= 1

        self._submit(self._threads, lease, work)

    def fail(self, lease: Lease, error: JobError) -> None:
        """End a job without its pictures."""
        self._submit(self._end_thread, lease, lambda: self._fail(lease, error))

    def forget(self, lease: Lease) -> None:
        """Don't finish this job any more; what is under way finds its lease lost."""
        with self._lock:
            self._expected.pop(lease, None)

    def close(self) -> None:
        """Give up what is not yet delivered; an upload that does not answer is left behind."""
        self._closing.set()
        for threads in (self._threads, self._end_thread):
            threads.shutdown(wait=False, cancel_futures=True)
        wait(tuple(self._futures), CLOSE_LIMIT_S)

    def _deliver(self, job: Job, lease: Lease, index: int, pixels: Pixels) -> None:
        if lease not in self._leases:
            return
        origin, params = self._origin, job.params
        provenance = Provenance.of(
            params,
            index,
            model=origin.model,
            model_revision=origin.model_revision,
            software=origin.software,
        )
        encoded = encode_image(pixels, provenance)
        key = image_key(job.tenant, job.id, index, encoded.output_format)
        image = Image(
            index=index,
            seed=params.seed_of(index),
            key=key,
            size=encoded.size,
            output_format=encoded.output_format,
            num_bytes=len(encoded.data),
            sha256=hashlib.sha256(encoded.data).hexdigest(),
        )
        media_type = encoded.output_format.media_type
        self._insist(lease, lambda: self._storage.put(key, encoded.data, media_type), self._patience_s)
        self._insist(lease, lambda: run(self._client, add_image(lease, image)))
        with self._lock:
            expected = self._expected.get(lease)
            if expected is None:
                return
            expected.missing.discard(index)
            is_last = not expected.missing
        if is_last:
            self._finish(lease, expected.warnings)

    def _finish(self, lease: Lease, warnings: tuple[JobWarning, ...]) -> None:
        self._insist(lease, lambda: run(self._client, finish(lease, warnings=warnings)))
        self._end(lease, Ended(lease))

    def _fail(self, lease: Lease, error: JobError) -> None:
        self._insist(lease, lambda: run(self._client, fail(lease, error)))
        self._end(lease, Ended(lease))

    def _end(self, lease: Lease, news: News) -> None:
        """Be done with a job. StoreAway and Broken leave the lease to the shift."""
        self.forget(lease)
        if isinstance(news, Ended | Lost):
            self._leases.let_go(lease)
        self._inbox.put(news)

    def _submit(self, threads: ThreadPoolExecutor, lease: Lease, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except LeaseLost:
                self._end(lease, Lost(lease))
            except StoreUnavailable as error:
                refused = JobError(code=error.code, message=str(error))
                self._end(lease, Broken(lease, refused) if is_refusal(error) else StoreAway(lease))
            except Unavailable:  # only when closing: the lease ends by itself
                _logger.warning("left undone, the queue is away job=%s", lease.job_id)
            except Exception:
                _logger.exception("a picture could not be delivered job=%s", lease.job_id)
                message = (
                    "The picture could not be made into a file. The worker's log says why; another format may work."
                )
                self._end(lease, Broken(lease, JobError(code="internal_error", message=message)))

        future = threads.submit(guarded)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)

    def _insist(self, lease: Lease, attempt: Callable[[], T], patience_s: float = float("inf")) -> T:
        """Try until it succeeds, patience ends, the lease is lost or the worker stops."""
        give_up_at = time.monotonic() + patience_s
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return attempt()
            except Unavailable as error:
                if time.monotonic() >= give_up_at or self._closing.wait(pause_s):
                    raise
                if lease not in self._leases:
                    raise LeaseLost(f"Job {lease.job_id} was lost meanwhile.") from error
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
