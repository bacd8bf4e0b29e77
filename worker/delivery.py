"""From pixels to an ended job, in threads beside the engine: encode, upload, record, finish.

What can't be reached is tried again while the lease is held: Redis without limit, the object store
for `store_patience_s`. Meanwhile pictures wait in the backlog, on disk, and hold no thread. After that
a job whose pictures the store refused for good fails; one that met an outage waits again. The number of
pictures in memory is bounded; `has_room` tells the shift.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar, final

import redis

from shared.connection import run
from shared.errors import GenerationFailed, LeaseLost, QueueUnavailable, StoreUnavailable
from shared.jobs import NO_NOTES, Image, Job, JobError, Notes, image_key
from shared.logs import about
from shared.object_store import is_refusal
from shared.provenance import Provenance
from shared.scripts import Lease, add_image, fail, finish
from worker.backlog import Backlog, PictureLost, Waiting
from worker.duty import Duty
from worker.engine.events import DeviceLost, Picture
from worker.images import encode_image
from worker.news import Broken, Ended, EngineLost, Lost, News, StoreAway
from worker.stages import Stages
from worker.storage import Storage

T = TypeVar("T")

THREADS: Final = 2
MOST_PICTURES: Final = 16
"""In memory at once, with those that are being decoded: two full batches, of 3 MB each at 1024x1024."""
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
    notes: Notes


@final
class Delivery:
    """Delivers pictures and ends their jobs; what comes of it is put into the shift's inbox."""

    def __init__(
        self, client: redis.Redis, storage: Storage, backlog: Backlog, origin: Origin, duty: Duty, *, pool: str
    ) -> None:
        self._client = client
        self._storage = storage
        self._backlog = backlog
        self._origin = origin
        self._stages = Stages(duty.meters, pool)
        self._leases = duty.leases
        self._inbox = duty.inbox
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="delivery")
        # Its own: an end that needs Redis alone must not wait behind pictures that wait for the store.
        self._end_thread = ThreadPoolExecutor(1, thread_name_prefix="end")
        self._futures: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._expected: dict[Lease, _Expected] = {}
        self._under_way = 0
        self._closing = threading.Event()
        # What comes out of the backlog must not hold up pictures that are just drawn, nor they it.
        self._backlog_thread = threading.Thread(target=self._work_off, name="backlog", daemon=True)
        self._backlog_thread.start()

    @property
    def has_room(self) -> bool:
        """False while so many pictures are in memory that the engine should wait."""
        with self._lock:
            return self._under_way + self._backlog.in_memory < MOST_PICTURES

    @property
    def store_is_away(self) -> bool:
        """True while new work would be in vain."""
        return self._storage.is_away

    def expect(self, lease: Lease, indices: Iterable[int], notes: Notes = NO_NOTES) -> None:
        """Finish the job, with these notes, when these pictures are delivered; at once if there are none."""
        expected = _Expected(set(indices), notes)
        with self._lock:
            self._expected[lease] = expected
        if not expected.missing:
            self._submit(self._end_thread, lease, lambda: self._finish(lease, notes))

    def deliver(self, job: Job, lease: Lease, index: int, picture: Picture, *, was_alone: bool) -> None:
        """Take a picture that is being decoded. Returns at once; holds it in memory until it is stored or spooled."""
        with self._lock:
            self._under_way += 1

        def work() -> None:
            try:
                self._deliver(job, lease, index, picture, was_alone=was_alone)
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
        self._backlog.close()
        for threads in (self._threads, self._end_thread):
            threads.shutdown(wait=False, cancel_futures=True)
        wait(tuple(self._futures), CLOSE_LIMIT_S)
        self._backlog_thread.join(CLOSE_LIMIT_S)

    def _deliver(self, job: Job, lease: Lease, index: int, picture: Picture, *, was_alone: bool) -> None:
        if lease not in self._leases:
            return
        pixels = picture.pixels()
        origin, params = self._origin, job.params
        provenance = Provenance.of(
            params,
            index,
            model=origin.model,
            model_revision=origin.model_revision,
            software=origin.software,
        )
        with self._stages.timed("encode"):
            encoded = encode_image(pixels, provenance)
        key = image_key(job.tenant, job.id, index, encoded.output_format)
        image = Image(
            index=index,
            seed=params.seed_of(index),
            variation_seed=params.variation_seed_of(index),
            key=key,
            size=encoded.size,
            output_format=encoded.output_format,
            num_bytes=len(encoded.data),
            sha256=hashlib.sha256(encoded.data).hexdigest(),
            alone=was_alone,
        )
        try:
            self._store(image, encoded.data)
        except StoreUnavailable:
            self._backlog.keep(lease, image, encoded.data)
        else:
            self._record(lease, image)

    def _work_off(self) -> None:
        """Try what waits in the backlog, until closing."""
        while (waiting := self._backlog.next()) is not None:
            with about(waiting.about):
                self._guarded(waiting.lease, partial(self._try_again, waiting))

    def _try_again(self, waiting: Waiting) -> None:
        is_done = True
        try:
            if waiting.lease not in self._leases:
                raise LeaseLost(f"Job {waiting.lease.job_id} was lost meanwhile.")
            self._store(waiting.image, waiting.read())
            self._record(waiting.lease, waiting.image)
        except StoreUnavailable:
            is_done = waiting.is_over
            if is_done:
                raise
            self._backlog.keep_on(waiting)
        finally:
            if is_done:
                self._backlog.drop(waiting)

    def _store(self, image: Image, data: bytes) -> None:
        with self._stages.timed("upload"):
            self._storage.put(image.key, data, image.output_format.media_type)

    def _record(self, lease: Lease, image: Image) -> None:
        """Note a stored picture; finish the job if it was the last one."""
        with self._stages.timed("record"):
            self._insist(lease, lambda: run(self._client, add_image(lease, image)))
        with self._lock:
            expected = self._expected.get(lease)
            if expected is None:
                return
            expected.missing.discard(image.index)
            is_last = not expected.missing
        if is_last:
            self._finish(lease, expected.notes)

    def _finish(self, lease: Lease, notes: Notes) -> None:
        self._insist(lease, lambda: run(self._client, finish(lease, notes=notes)))
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
        bound = copy_context()  # so that the lines from there tell of the job
        future = threads.submit(bound.run, self._guarded, lease, work)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)

    def _guarded(self, lease: Lease, work: Callable[[], None]) -> None:
        """Work, and put what goes wrong with it into the shift's inbox."""
        try:
            work()
        except LeaseLost:
            self._end(lease, Lost(lease))
        except StoreUnavailable as error:
            refused = JobError(code=error.code, message=str(error))
            self._end(lease, Broken(lease, refused) if is_refusal(error) else StoreAway(lease))
        except GenerationFailed as error:
            self._end(lease, Broken(lease, JobError(code=error.code, message=str(error))))
        except DeviceLost as error:  # the lease is kept: it ends with the process
            self._inbox.put(EngineLost(error))
        except PictureLost as error:
            _logger.warning("a picture that waited on the disk is lost: %s", error)
            self._end(lease, StoreAway(lease))
        except QueueUnavailable:  # only when closing: the lease ends by itself
            _logger.warning("left undone, the queue is away")
        except Exception:
            _logger.exception("a picture could not be delivered")
            message = "The picture could not be made into a file. The worker's log says why; another format may work."
            self._end(lease, Broken(lease, JobError(code="internal_error", message=message)))

    def _insist(self, lease: Lease, attempt: Callable[[], T]) -> T:
        """Try until Redis answers, the lease is lost or the worker stops."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return attempt()
            except QueueUnavailable as error:
                if self._closing.wait(pause_s):
                    raise
                if lease not in self._leases:
                    raise LeaseLost(f"Job {lease.job_id} was lost meanwhile.") from error
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
