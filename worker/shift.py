"""A shift: from a wake-up until the queue is empty, claim jobs, have them drawn, hand the pictures on.

    claim ──► engine ──► delivery ──► ended
      ▲         │  rows, a step at a time, in this thread
      └─ inbox ◄┘  what the other threads found out, read between two steps

Runs in the one thread that the engine belongs to and never waits for the object store; for Redis
only to claim and to release. Knows nothing of torch.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Sequence
from typing import Final, Protocol, final

from shared.errors import GenerationFailed
from shared.generation import GenerationParams
from shared.jobs import JobError, JobId
from shared.lanes import Lane
from shared.logs import About, about
from shared.notes import Measure, notes_on
from shared.scripts import Mode
from worker.attempts import Outcome
from worker.counter import Counter
from worker.delivery import Delivery
from worker.duty import Duty
from worker.engine.events import Event, Picture, PromptRead, RowFailed, RowFinished, RowId, RowStepped
from worker.held import HeldJob, row_owner
from worker.measures import Measures, prompt_seconds, step_seconds
from worker.news import Broken, Ended, EngineLost, Lost, News, StopAsked, StoreAway
from worker.reporter import Report, Reporter, Sketch
from worker.stages import Passage, Stage
from worker.timesheet import Doing

DECODING_S: Final = 10.0
"""A picture that is being decoded for longer is no sign of life; one that hangs makes the worker a hung one."""
CLAIM_PAUSE_S: Final = 0.05
"""Between two claims of a shift that has other work: who joins can wait that long."""
MOST_JOBS_BESIDE_ENGINE: Final = 16
"""Jobs whose pictures are being delivered while others are drawn."""

_logger = logging.getLogger(__name__)


class Drawing(Protocol):
    """The engine, as a shift sees it: `worker.engine.engine.Engine`, or one that fails in a test."""

    @property
    def row_ids(self) -> tuple[RowId, ...]:
        """The rows held."""
        ...

    @property
    def is_idle(self) -> bool:
        """True if it holds no row and has nothing left to tell."""
        ...

    @property
    def decoding_for_s(self) -> float:
        """How long the picture that is being decoded has been at it."""
        ...

    @property
    def decoding_in_all_s(self) -> float:
        """How long pictures have been decoded, all together."""
        ...

    def measure(self, text: str) -> Measure:
        """Find what the encoders see of a text."""
        ...

    def has_room(self, lane: Lane) -> bool:
        """Tell whether another row of this lane would be drawn with those held, or before them."""
        ...

    def admit(self, row_id: RowId, params: GenerationParams, index: int, *, lane: Lane) -> None:
        """Take picture `index` of a job."""
        ...

    def drop(self, row_id: RowId) -> bool:
        """Forget a row."""
        ...

    def step(self) -> Sequence[Event]:
        """Take one denoising step; raises only if the device is lost."""
        ...

    def preview(self, row_id: RowId) -> Picture | None:
        """Show what a row is about to become."""
        ...


@final
class Shift:
    """Works through a model's queue with one engine; run it as often as there is a wake-up."""

    def __init__(
        self,
        counter: Counter,
        engine: Drawing,
        delivery: Delivery,
        reporter: Reporter,
        duty: Duty,
        *,
        drain_s: float,
        preview_s: float,
    ) -> None:
        self._counter = counter
        self._engine = engine
        self._delivery = delivery
        self._reporter = reporter
        self._duty = duty
        self._drain_s = drain_s
        self._preview_s = preview_s
        self._timesheet = duty.timesheet
        self._measures = Measures(duty.meters, counter.pool)
        duty.stages.listen(self._measures.passed)
        duty.stages.listen(duty.attempts.passed)
        self._jobs: dict[JobId, HeldJob] = {}
        self._claim_again_at = 0.0
        self._step_s = 0.0

    def run(self) -> None:
        """Work until no job waits, or the worker is told to stop or to begin nothing more.

        Raises what the engine raises when its device is lost. The jobs then stay leased and charged:
        they go to others when the leases end, and if one of them is to blame, not for ever.
        """
        self._timesheet.turn(Doing.BETWEEN)
        while True:
            if self._engine.decoding_for_s < DECODING_S:
                self._duty.pulse.beat()
            self._read_inbox()
            left_s = min(rule.time_left_s(self._drain_s) for rule in (self._duty.stop, self._duty.wish))
            if left_s < float("inf"):
                self._drain(left_s)
            elif self._duty.wish.mode is Mode.WORK or self._counter.is_in_doubt:
                self._take_jobs()
            if not self._jobs and not (self._counter.is_in_doubt and left_s == float("inf")):
                self._duty.pulse.rest()
                self._timesheet.turn(Doing.IDLE)
                return
            if not self._engine.is_idle and self._delivery.has_room:
                self._draw()
            else:
                self._wait()

    def _take_jobs(self) -> None:
        """Claim while the engine has room for another row. An empty queue is asked again later, or at the end."""
        while (
            self._engine.has_room(Lane.INTERACTIVE)
            and sum(not held.rows for held in self._jobs.values()) < MOST_JOBS_BESIDE_ENGINE
            and (not self._jobs or time.monotonic() >= self._claim_again_at)
        ):
            is_in_vain = self._delivery.store_is_away and not self._counter.is_in_doubt
            lane = None if self._engine.has_room(Lane.BULK) else Lane.INTERACTIVE
            is_busy = bool(self._engine.row_ids)
            claimed = None if is_in_vain else self._counter.claim(lane, is_busy=is_busy)
            if claimed is None:
                self._claim_again_at = time.monotonic() + CLAIM_PAUSE_S
                return
            held = HeldJob(claimed)
            with about(held.about):
                self._admit(held)

    def _admit(self, held: HeldJob) -> None:
        job = held.job
        self._duty.leases.hold(held.lease)
        self._jobs[job.id] = held
        self._duty.attempts.begin(job, held.lease)
        _logger.info("claimed", extra={"pictures": len(held.missing)})
        try:
            held.notes = notes_on(held.params, self._engine.measure)
            self._delivery.expect(held.lease, held.missing, held.notes)
            for row_id, index in held.rows.items():
                self._engine.admit(row_id, held.params, index, lane=job.lane)
            # Now, for who watches; the job's end says them again.
            self._reporter.report(Report(held.lease, held.step, held.notes))
        except Exception as error:
            _logger.exception("could not be begun")
            self._fail(held, _unforeseen(error))

    def _wait(self) -> None:
        """Wait a moment for news: there is no step to take, or no room for what it may bring."""
        decoded_s = self._engine.decoding_in_all_s
        self._timesheet.turn(Doing.DELIVERY if self._jobs else Doing.IDLE)
        self._read_inbox(wait_s=CLAIM_PAUSE_S)
        self._timesheet.assign(Doing.DECODE, self._engine.decoding_in_all_s - decoded_s)
        self._timesheet.turn(Doing.BETWEEN)

    def _draw(self) -> None:
        self._timesheet.turn(Doing.STEPS)
        begun = time.monotonic()
        with about(_about_all(tuple(self._jobs.values()))):
            events = self._engine.step()
        ended = time.monotonic()
        took_s = ended - begun
        self._timesheet.assign(Doing.PROMPTS, prompt_seconds(events))
        self._timesheet.turn(Doing.BETWEEN)
        began = ended - step_seconds(events)
        self._measures.stepped(events)
        self._step_s = took_s if self._step_s == 0 else 0.9 * self._step_s + 0.1 * took_s
        stepped: dict[JobId, RowId] = {}
        for event in events:
            held = self._jobs.get(JobId(row_owner(event.row_id)))
            if held is None:
                continue
            if isinstance(event, RowStepped):
                held.stepped(event.row_id, event.step, event.of, 1000 * event.seconds, began_at=began)
                stepped[held.job.id] = event.row_id
            elif isinstance(event, PromptRead):
                self._note(Stage.PROMPT, held, event.row_id, event.lap.began_at, event.lap.ended_at)
            else:
                if isinstance(event, RowFinished):
                    # By a clock that nobody sets: it may have lasted for minutes.
                    lasted_s, ended_at = ended - held.began_at(event.row_id), time.time()
                    self._note(Stage.DENOISE, held, event.row_id, ended_at - lasted_s, ended_at)
                with about(held.about):
                    self._take_out(held, event)
        for job_id, row_id in stepped.items():
            if (held := self._jobs.get(job_id)) is not None:
                with about(held.about):
                    self._report(held, row_id)

    def _note(self, stage: Stage, held: HeldJob, row_id: RowId, began_at: float, ended_at: float) -> None:
        self._duty.stages.note(Passage(stage, held.lease, held.index_of(row_id), began_at, ended_at))

    def _take_out(self, held: HeldJob, event: RowFinished | RowFailed) -> None:
        """Hand on what leaves the engine."""
        match event:
            case RowFinished():
                index = held.drawn(event.row_id, 1000 * event.decoding_s)
                self._duty.pace.drew(held.params, held.steps_ms(event.row_id))
                self._delivery.deliver(held.job, held.lease, index, event.picture, was_alone=event.was_alone)
            case RowFailed():
                _logger.warning("failed: %s", event.error, exc_info=event.error)
                self._fail(held, JobError(code=event.error.code, message=str(event.error)))

    def _report(self, held: HeldJob, row_id: RowId) -> None:
        sketch = None
        if self._preview_s and time.monotonic() >= held.sketch_again_at and row_id in held.rows:
            try:
                picture = self._engine.preview(row_id)
            except Exception as error:  # noqa: BLE001 (a preview is not worth a job)
                _logger.warning("no preview: %r", error)
                picture = None
            sketch = None if picture is None else Sketch(picture, held.params.size)
            held.sketch_again_at = time.monotonic() + self._preview_s
        self._reporter.report(Report(held.lease, held.step, held.notes, sketch))

    def _read_inbox(self, wait_s: float = 0.0) -> None:
        try:
            news = self._duty.inbox.get(timeout=wait_s) if wait_s else self._duty.inbox.get_nowait()
            while True:
                self._take_in(news)
                news = self._duty.inbox.get_nowait()
        except queue.Empty:
            return

    def _take_in(self, news: News) -> None:
        if isinstance(news, StopAsked):
            return
        if isinstance(news, EngineLost):
            raise news.error
        held = self._jobs.get(news.lease.job_id)
        if held is None or held.lease != news.lease:
            return  # of an attempt that is over
        with about(held.about):
            self._end(held, news)

    def _end(self, held: HeldJob, news: Ended | Lost | Broken | StoreAway) -> None:
        """Be done with a job."""
        match news:
            case Ended():
                self._forget(held)
                if held.is_drawn_whole:  # and well: one that fails is forgotten before its end is told
                    self._duty.pace.did(held.job.work_ms, held.took_ms)
                _logger.info("ended")
            case Lost():
                self._forget(held)
                self._duty.leases.let_go(held.lease)
                self._duty.attempts.end(held.lease, Outcome.LOST)
                _logger.info("canceled, or another's by now")
            case Broken():
                _logger.warning("failed", extra={"code": news.error.code})
                self._fail(held, news.error)
            case StoreAway():
                _logger.warning("handed back, the object store is away")
                self._release(held)

    def _fail(self, held: HeldJob, error: JobError) -> None:
        self._forget(held)
        self._delivery.fail(held.lease, error)  # which lets the lease go

    def _drain(self, left_s: float) -> None:
        """End what takes no longer; hand the rest back."""
        for held in tuple(self._jobs.values()):
            if left_s < 0 or (held.rows and held.steps_to_draw * self._step_s > left_s):
                with about(held.about):
                    _logger.info("handed back, the worker is to stop", extra={"step": held.step})
                    self._release(held)

    def _release(self, held: HeldJob) -> None:
        self._forget(held)
        self._duty.leases.let_go(held.lease)
        self._counter.release(held.lease)
        self._duty.attempts.end(held.lease, Outcome.HANDED_BACK)

    def _forget(self, held: HeldJob) -> None:
        for row_id in held.rows:
            self._engine.drop(row_id)
        self._delivery.forget(held.lease)
        self._jobs.pop(held.job.id, None)


def _about_all(held: Sequence[HeldJob]) -> About:
    """Say what a step is about: the job, if it is one, and in any case what no line of it may quote."""
    if len(held) == 1:
        return held[0].about
    return About(private=tuple(text for one in held for text in one.about.private))


def _unforeseen(error: Exception) -> JobError:
    if isinstance(error, GenerationFailed):
        return JobError(code=error.code, message=str(error))
    message = "Something went wrong that nobody foresaw. The worker's log says what; other parameters may work."
    return JobError(code="internal_error", message=message)
