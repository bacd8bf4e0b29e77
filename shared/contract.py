"""The JSON bodies of `/v1`: what the gateway answers and the client reads.

Pydantic models only; turning a `Job` into a `JobBody` is here too, so that its names stand once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from shared.compatibility import FIRST
from shared.errors import FieldError, InvalidRequest
from shared.generation import MAX_PROMPT_CHARS, GenerationParams, GenerationRequest, ModelCard, OutputFormat
from shared.jobs import Image, Job, JobError, JobId, JobStatus, JobWarning, Reading
from shared.lanes import Lane
from shared.pools import model_in
from shared.tuning import TuningInEffect
from shared.words import OR_NEWER

MAX_METADATA_PAIRS: Final = 16
MAX_METADATA_CHARS: Final = 512
MAX_CANCEL_AFTER_S: Final = 7 * 24 * 3600

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
"""The header by which a request that makes a job may be sent again and make one job all the same."""

VISITOR: Final = "Darkroom-Visitor"
"""The header by which a key with the scope `visit` says for whom of its visitors it asks."""
KEY_IS: Final = "Darkroom-Key"
"""The header by which a request says that its key must be one that the gateway knows."""
REQUIRED: Final = "required"
"""What it says."""

KEY_PATTERN: Final = r"^[!-~]{1,255}$"
"""Of an idempotency key: visible ASCII characters."""

MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=MAX_METADATA_CHARS)]


class JobRequest(GenerationRequest):
    """`POST /v1/jobs`."""

    model: str | None = Field(default=None, max_length=200)
    """A model's id from `/v1/models`, or that and a GPU class: `segmind/SSD-1B@l4`; absent: the one that is served."""
    metadata: dict[MetadataKey, MetadataValue] = Field(default_factory=dict, max_length=MAX_METADATA_PAIRS)
    """Yours: kept with the job and given back, never interpreted."""
    lane: Lane = Lane.INTERACTIVE
    """`bulk` for what may take its time: it gets out of the way of those who wait, but never starves."""
    cancel_after: int | None = Field(default=None, ge=1, le=MAX_CANCEL_AFTER_S)
    """Seconds from now after which the job ends, drawn or not; absent: it waits as long as it takes."""
    reuse: bool = True
    """False: draw the pictures even if a job of yours with the very same parameters and seed has drawn them."""


class Body(BaseModel):
    """An answer; readers bear fields and words that they don't know, so that old clients outlive new gateways."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Progress(Body):
    """How far a running job is, over all of its pictures."""

    step: int
    steps: int
    images_done: int
    images: int


class ImageBody(Body):
    """A finished picture."""

    index: int
    seed: int
    variation_seed: int | None = None
    """Null if it is no variation; else this one's own, and `seed` that of the picture which it varies."""
    url: str
    width: int
    height: int
    output_format: OutputFormat
    num_bytes: int
    sha256: str
    alone: bool = True
    """False if it was drawn in company: the same request may give a picture that differs in a few pixels."""


class Metrics(Body):
    """Seconds that the job spent waiting and being worked on, up to now or its end."""

    queue_time: float
    predict_time: float | None
    total_time: float


class Reason(Body):
    """Why a job waits."""

    code: Annotated[
        Literal[
            "behind",
            "no_worker",
            "starting",
            "warming",
            "workers_failing",
            "older_workers",
            "paused",
            "store_away",
            "joined",
            "running_limit",
        ],
        OR_NEWER,
    ]
    message: str
    """A sentence for people."""


class TimeLeft(Body):
    """Seconds until the job will have ended, as far as can be told; four of five end between `low` and `high`."""

    seconds: float
    low: float
    high: float


class Urls(Body):
    """Where to go from here, as paths of this gateway."""

    get: str
    cancel: str
    preview: str
    events: str


class JobBody(Body):
    """A job, in answer to submit, get, list and cancel."""

    id: JobId
    status: JobStatus
    version: int
    model: str
    pool: str | None = None
    """Whose workers it waits for, or was drawn by: the model's, or those of a GPU class, `segmind/SSD-1B@l4`. Null from
    an older gateway."""
    params: GenerationParams
    metadata: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    attempt: int
    position: int | None
    """Place among those that wait for its pool, 0 goes next; null unless it waits for a worker."""
    lane: Lane = Lane.INTERACTIVE
    reason: Reason | None = None
    """Why it waits; null unless queued."""
    time_left: TimeLeft | None = None
    """Null once it has ended, and while nobody can tell."""
    deadline: datetime | None = None
    """When `cancel_after` ends it."""
    retry_of: JobId | None = None
    """The job that this one tries again."""
    reused: bool = False
    """True if its pictures were drawn by another job of yours with the same parameters."""
    progress: Progress
    images: tuple[ImageBody, ...]
    reading: Reading | None = None
    """What the model saw of its texts; null until a worker has begun it."""
    warnings: tuple[JobWarning, ...]
    error: JobError | None
    metrics: Metrics
    urls: Urls

    @property
    def has_ended(self) -> bool:
        """True once nothing can change it any more; also in a status that this version doesn't know."""
        return self.completed_at is not None


class JobPage(Body):
    """`GET /v1/jobs`: newest first."""

    data: tuple[JobBody, ...]
    next_cursor: str | None
    """Hand it back as `cursor` for the next page; null on the last one."""


class Speed(Body):
    """How fast a worker draws pictures of one size: medians of what it measured last."""

    width: int
    height: int
    guided: bool
    step_ms: float
    """A denoising step of one picture."""
    picture_ms: float
    """What a picture takes beside its steps: encoding the prompt, decoding."""


class Batching(Body):
    """How much of a size, and of sizes like it, a worker draws at once, and why."""

    width: int
    height: int
    samples: int
    """At once; a guided row is two, another one."""
    forward_ms: dict[int, float]
    """How long the model took for so many samples; without those that did not fit its memory."""


class Memory(Body):
    """How much memory a worker's device has: the accelerator's, else the machine's."""

    used_bytes: int
    """On an accelerator by everybody; else by the worker alone."""
    total_bytes: int


class Gpu(Body):
    """What the driver says of a worker's GPU, or slice of one; each figure null where it does not tell."""

    uuid: str
    """`GPU-...`, or `MIG-...` of a slice. Workers that share it tell the same one."""
    utilization: float | None = None
    """The part of the last moment in which it worked at anything: 0 to 1."""
    memory: Memory | None = None
    power_w: float | None = None
    """What it draws, in watts."""
    temperature_c: int | None = None


class WorkerState(Body):
    """What a worker says of itself with every heartbeat."""

    id: str
    state: Annotated[Literal["warming", "ready", "draining"], OR_NEWER]
    model: str
    pool: str = ""
    """The model, or that and its GPU class: `segmind/SSD-1B@l4`."""
    device: str
    """Such as `cpu` or `NVIDIA H100 80GB HBM3`."""
    software_version: str
    contract: int = FIRST
    """What it knows of jobs: it takes none that needs a higher one."""
    started_at_ms: int
    jobs: int = 0
    """Held just now."""
    memory: Memory | None = None
    """Null until it is known."""
    gpu: Gpu | None = None
    """Null without a GPU, and where NVML can't be asked."""
    store_away: bool = False
    """True while it takes no job because the object store takes no picture."""
    speeds: tuple[Speed, ...] = ()
    pace: float = 1.0
    """How long its last jobs took, in terms of what was expected of them."""
    batching: tuple[Batching, ...] = ()
    tuning: TuningInEffect | None = None
    """How its model computes; null until it is loaded."""

    @model_validator(mode="before")
    @classmethod
    def _of_a_pool(cls, said: object) -> object:
        """Workers say their pool as their model, so that gateways that know no classes take it for a model's name."""
        if not isinstance(said, Mapping):
            return said
        words = cast("Mapping[str, object]", said)
        model = words.get("model")
        if not isinstance(model, str):
            return words
        pool = words.get("pool")
        if not isinstance(pool, str) or model_in(pool) != model_in(model):
            pool = model
        return {**words, "model": model_in(model), "pool": pool}


class ModelPool(Body):
    """Workers of a model that draw on GPUs of one class."""

    name: str
    """What a request names as its `model` to be drawn here and nowhere else: `segmind/SSD-1B@l4`."""
    gpu_class: str | None
    """Null of workers that said none: they can't be named apart."""
    ready_workers: int
    warming_workers: int
    is_alike: bool
    """False if they serve another revision of it, or other presets, than most do: drawn on only if named."""


class ModelBody(ModelCard):
    """A model in `GET /v1/models`: its card and who serves it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ready_workers: int
    warming_workers: int = 0
    """Workers that load the model now."""
    tunings: tuple[TuningInEffect, ...] = ()
    """How its ready workers compute, each way once: several where they differ."""
    pools: tuple[ModelPool, ...] = ()
    """By GPU class, where workers said one."""
    is_default: bool


class ModelList(Body):
    """`GET /v1/models`."""

    data: tuple[ModelBody, ...]


class Check(Body):
    """One thing that readiness needs."""

    name: Annotated[Literal["redis", "object_store", "worker"], OR_NEWER]
    ok: bool
    message: str


class Readiness(Body):
    """`GET /readyz`: 200 if every check is ok, else 503."""

    ready: bool
    checks: tuple[Check, ...]


class TokensRequest(BaseModel):
    """`POST /v1/tokens`: texts as a job would bring them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = Field(max_length=MAX_PROMPT_CHARS)
    negative_prompt: str | None = Field(default=None, max_length=MAX_PROMPT_CHARS)
    """Absent: it is not told of; the model's default isn't taken for it."""
    model: str | None = Field(default=None, max_length=200)
    """A model's id from `/v1/models`, or that and a GPU class; absent: the one that is served."""


class TokensBody(Body):
    """How a model would read texts; a job with them says the same in `reading` and `warnings`."""

    model: str
    """Whose encoders read."""
    max_windows: int
    """As many windows of a text are read at most; what is beyond the last one is cut."""
    reading: Reading
    """`negative_prompt` is null if none was sent."""
    warnings: tuple[JobWarning, ...]


class FieldProblem(Body):
    """A wrong field in a Problem."""

    field: str
    message: str


class Problem(Body):
    """Every error's body (RFC 9457, `application/problem+json`)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: tuple[FieldProblem, ...] = ()
    """Each wrong field, for `invalid_request`."""
    request_id: str | None = None
    """The answer's `X-Request-ID`: say it when you ask for help, and the log has the rest."""


def checked_key(key: str) -> str:
    """Return an idempotency key that a header can carry. Raises InvalidRequest for any other."""
    if not re.fullmatch(KEY_PATTERN, key):
        raise InvalidRequest((FieldError(IDEMPOTENCY_KEY, "Must be 1 to 255 visible ASCII characters."),))
    return key


def job_body(job: Job, *, now_ms: int, reason: Reason | None = None, time_left: TimeLeft | None = None) -> JobBody:
    """Say a job in JSON's terms; `now_ms` closes the clocks of a job that goes on."""
    start_ms = job.started_at_ms
    # This machine's clock may be behind that of Redis.
    end_ms = job.completed_at_ms or max(now_ms, start_ms or job.created_at_ms)
    base = f"/v1/jobs/{job.id}"
    return JobBody(
        id=job.id,
        status=job.status,
        version=job.version,
        model=job.model,
        pool=job.pool,
        params=job.params,
        metadata=job.metadata,
        created_at=_time(job.created_at_ms),
        started_at=None if start_ms is None else _time(start_ms),
        completed_at=None if job.completed_at_ms is None else _time(job.completed_at_ms),
        attempt=job.attempt,
        position=job.position,
        lane=job.lane,
        reason=reason,
        time_left=time_left,
        deadline=None if job.deadline_ms is None else _time(job.deadline_ms),
        retry_of=job.retry_of,
        reused=job.is_reused,
        progress=Progress(step=job.step, steps=job.steps, images_done=len(job.images), images=job.params.num_images),
        images=tuple(image_body(job, image) for image in job.images),
        reading=job.reading,
        warnings=job.warnings,
        error=job.error,
        metrics=Metrics(
            queue_time=((start_ms or end_ms) - job.created_at_ms) / 1000,
            predict_time=None if start_ms is None else (end_ms - start_ms) / 1000,
            total_time=(end_ms - job.created_at_ms) / 1000,
        ),
        urls=Urls(get=base, cancel=f"{base}/cancel", preview=f"{base}/preview", events=f"{base}/events"),
    )


def image_body(job: Job, image: Image) -> ImageBody:
    """Say a picture in JSON's terms."""
    return ImageBody(
        index=image.index,
        seed=image.seed,
        variation_seed=image.variation_seed,
        url=f"/v1/jobs/{job.id}/images/{image.index}",
        width=image.size.width,
        height=image.size.height,
        output_format=image.output_format,
        num_bytes=image.num_bytes,
        sha256=image.sha256,
        alone=image.alone,
    )


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)
