"""Jobs, workers and queues to look at, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from shared.contract import Speed, WorkerState
from shared.generation import GenerationParams, Scheduler
from shared.jobs import Job, JobId, JobStatus, Tenant, WorkerId
from shared.lanes import Lane
from shared.scripts import Fleet, Mode, Outlook, RunningWork, WaitingWork

MODEL = "test/tiny"

PARAMS = GenerationParams(
    prompt="a fox",
    width=512,
    height=512,
    num_inference_steps=10,
    guidance_scale=7.5,
    seed=7,
    scheduler=Scheduler.EULER,
)


def params(**changes: object) -> GenerationParams:
    return PARAMS.model_copy(update=changes)


def worker(
    name: str = "w1",
    *,
    state: Literal["warming", "ready", "draining"] = "ready",
    model: str = MODEL,
    pace: float = 1.0,
    store_away: bool = False,
    speeds: tuple[Speed, ...] = (),
    contract: int = 1,
) -> WorkerState:
    return WorkerState(
        id=name,
        state=state,
        model=model,
        device="cpu",
        software_version="0",
        started_at_ms=0,
        pace=pace,
        store_away=store_away,
        speeds=speeds,
        contract=contract,
    )


def speed(
    width: int = 512, height: int = 512, *, guided: bool = True, step_ms: float = 100, picture_ms: float = 50
) -> Speed:
    return Speed(width=width, height=height, guided=guided, step_ms=step_ms, picture_ms=picture_ms)


def fleet(
    *workers: WorkerState,
    mode: Mode = Mode.WORK,
    modes: Mapping[str, Mode] | None = None,
    lost: int = 0,
    kept: tuple[Speed, ...] = (),
    scaled: bool = False,
) -> Fleet:
    speeds = {MODEL: kept} if kept else {}
    asked = frozenset({MODEL} if scaled else ())
    return Fleet((), workers, mode, modes or {}, {MODEL: lost} if lost else {}, speeds=speeds, scaled=asked)


def running(
    name: str = "w1",
    work_ms: int = 1000,
    *,
    lane: Lane = Lane.INTERACTIVE,
    step: int = 0,
    steps: int = 10,
    elapsed_ms: int = 0,
) -> RunningWork:
    return RunningWork(WorkerId(name), lane, work_ms, step, steps, elapsed_ms)


def outlook(*work: RunningWork, waiting: Mapping[Lane, WaitingWork] | None = None) -> Outlook:
    return Outlook({lane: WaitingWork(0, 0) for lane in Lane} | dict(waiting or {}), work, bulk_share=0.2)


def waiting_job(position: int | None = 0, ahead_ms: int = 0, work_ms: int = 1000, **changes: Any) -> Job:  # noqa: ANN401 (a job's fields)
    job = Job(
        id=JobId("0" * 26),
        tenant=Tenant("ann"),
        pool=MODEL,
        params=PARAMS,
        metadata={},
        status=JobStatus.QUEUED,
        version=1,
        created_at_ms=0,
        started_at_ms=None,
        completed_at_ms=None,
        attempt=0,
        worker=None,
        step=0,
        steps=10,
        images=(),
        warnings=(),
        error=None,
        position=position,
        ahead_jobs=position or 0,
        ahead_ms=ahead_ms,
        work_ms=work_ms,
    )
    return replace(job, **changes)


def running_job(name: str = "w1", *, step: int = 0, work_ms: int = 1000) -> Job:
    return waiting_job(None, work_ms=work_ms, status=JobStatus.RUNNING, attempt=1, worker=WorkerId(name), step=step)
