"""What an answer looks like: one for each body, shown in /openapi.json wherever that body is answered."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel

from api.automatic1111 import (
    ModelItem,
    Options,
    ProgressResponse,
    SamplerItem,
    SchedulerItem,
    ScriptsList,
    Txt2ImgResponse,
)
from api.openai_images import ImageData, ImagesResponse, TokenDetails, Usage
from api.routes.generate_image import PictureAnswer
from api.routes.health import Alive, Index
from shared.access import KeyId, Scope
from shared.batches import Batch, BatchBody, BatchId, BatchPage, BatchStatus, batch_body
from shared.contract import (
    Batching,
    Check,
    Gpu,
    JobBody,
    JobPage,
    Memory,
    ModelBody,
    ModelList,
    Readiness,
    Reason,
    Speed,
    TimeLeft,
    TokensBody,
    job_body,
)
from shared.generation import AspectRatio, Defaults, GenerationParams, OutputFormat, Preset, Scheduler, Size
from shared.history import Outcome
from shared.jobs import Image, Job, JobError, JobId, JobStatus, Reading, Tenant, TextReading, WeightedPassage, WorkerId
from shared.keyring import KeyBody, KeyList, LimitsBody, Me, NewKeyBody, TenantBody, TenantList
from shared.lanes import Lane
from shared.oversight import (
    DrawingBody,
    EndedBody,
    EndsBody,
    FailedList,
    HistoryBody,
    LaneBody,
    LineBody,
    PeriodBody,
    PoolBody,
    QueueBody,
    ResultCache,
    RetriedJob,
    ScalingBody,
    SetAsideList,
    TimesBody,
    WorkerBody,
    WorkerList,
    failed_job,
    set_aside_job,
)
from shared.tuning import TuningInEffect
from shared.webhooks import (
    ALL_ENDS,
    AttemptBody,
    DeliveryBody,
    DeliveryId,
    DeliveryPage,
    DeliveryStatus,
    WebhookBody,
    WebhookEvent,
    WebhookId,
    WebhookList,
    WebhookWithSecret,
)

_MODEL: Final = "segmind/SSD-1B"
_NOON_MS: Final = 1_795_348_800_000

_PARAMS: Final = GenerationParams(
    prompt="a (lighthouse)1.2 in a storm, oil painting",
    negative_prompt="blurry, text",
    width=1152,
    height=896,
    num_inference_steps=25,
    guidance_scale=9.0,
    seed=7,
    scheduler=Scheduler.DPMPP_2M_KARRAS,
    preset="quality",
    deterministic=True,
)

_READING: Final = Reading(
    prompt=TextReading(tokens=8, window=75, windows=1, weights=(WeightedPassage(text="lighthouse", weight=1.2),)),
    negative_prompt=TextReading(tokens=3, window=75, windows=1),
)

_ENDED: Final = Job(
    id=JobId("5r0z9k2m4c7q8x1t6w3v0h2j9n"),
    tenant=Tenant("local"),
    model=_MODEL,
    params=_PARAMS,
    metadata={"order": "1138"},
    status=JobStatus.SUCCEEDED,
    version=3,
    created_at_ms=_NOON_MS,
    started_at_ms=_NOON_MS + 180,
    completed_at_ms=_NOON_MS + 3_410,
    attempt=1,
    worker=WorkerId("gpu1-4711-a1b2c3"),
    step=25,
    steps=25,
    images=(
        Image(
            index=0,
            seed=7,
            key="images/local/5r0z9k2m4c7q8x1t6w3v0h2j9n/0.png",
            size=Size(width=1152, height=896),
            output_format=OutputFormat.PNG,
            num_bytes=1_482_913,
            sha256="b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c",
        ),
    ),
    warnings=(),
    error=None,
    position=None,
    reading=_READING,
)

_TUNING: Final = TuningInEffect(
    precision="fp16", vae_precision="fp32", channels_last=True, attention="flash", tf32=True
)

_JOB: Final = job_body(_ENDED, now_ms=_NOON_MS + 3_410)

_WORKER: Final = WorkerBody(
    id="gpu1-4711-a1b2c3",
    state="ready",
    model=_MODEL,
    device="NVIDIA H100 80GB HBM3",
    software_version="0.1.0",
    started_at_ms=_NOON_MS,
    jobs=1,
    memory=Memory(used_bytes=9_663_676_416, total_bytes=85_520_809_984),
    gpu=Gpu(
        uuid="GPU-3f2c8b1e-9d4a-4f6b-8c57-2a1e0d9b7c64",
        utilization=0.97,
        memory=Memory(used_bytes=9_663_676_416, total_bytes=85_520_809_984),
        power_w=412.0,
        temperature_c=62,
    ),
    speeds=(Speed(width=1024, height=1024, guided=True, step_ms=31.5, picture_ms=140.0),),
    pace=1.02,
    batching=(Batching(width=1024, height=1024, samples=4, forward_ms={1: 21.0, 2: 31.0, 4: 54.0}),),
    tuning=_TUNING,
    mode="work",
    silent_s=0.4,
    drawing=(DrawingBody(lane=Lane.INTERACTIVE, step=12, steps=25, elapsed_s=0.7),),
)

_GIVEN_UP: Final = Job(
    id=JobId("2m8q4t6w0c5r9z1x7v3h2j9k0n"),
    tenant=Tenant("local"),
    model=_MODEL,
    params=_PARAMS,
    metadata={},
    status=JobStatus.FAILED,
    version=7,
    created_at_ms=_NOON_MS,
    started_at_ms=_NOON_MS + 180,
    completed_at_ms=_NOON_MS + 41_000,
    attempt=3,
    worker=None,
    step=0,
    steps=25,
    images=(),
    warnings=(),
    error=JobError(code="worker_lost", message="Every worker that took this job died before it was done."),
    position=None,
    lost_workers=(WorkerId("gpu1-4711-a1b2c3"), WorkerId("gpu2-99-d4e5f6"), WorkerId("gpu1-5120-0a1b2c")),
)

_WAITING: Final = _JOB.model_copy(
    update={
        "status": JobStatus.QUEUED,
        "version": 1,
        "started_at": None,
        "completed_at": None,
        "attempt": 0,
        "position": 2,
        "reason": Reason(code="behind", message="2 jobs go before it."),
        "time_left": TimeLeft(seconds=9.4, low=7.9, high=12.5),
        "progress": _JOB.progress.model_copy(update={"step": 0, "images_done": 0}),
        "images": (),
        "reading": None,
        "metrics": _JOB.metrics.model_copy(update={"queue_time": 0.4, "predict_time": None, "total_time": 0.4}),
    }
)

_NOON: Final = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

_KEY: Final = KeyBody(
    id=KeyId("4m8q2t6w0c5r"),
    name="the shop's server",
    tenant="shop",
    scopes=(Scope.READ, Scope.SUBMIT),
    created_at=_NOON,
    expires_at=None,
    last_used_at=_NOON,
)
_LIMITS: Final = LimitsBody(weight=2.0, max_waiting=500, max_running=4, requests_per_minute=600)

_WEBHOOK: Final = WebhookBody(
    id=WebhookId("7v3h2j9k0n5r0z9x1t6w2m8q4c"),
    url="https://shop.example/darkroom",
    events=ALL_ENDS,
    description="The shop's pictures",
    created_at=_NOON,
    enabled=True,
)
_DELIVERY: Final = DeliveryBody(
    id=DeliveryId(f"{_WEBHOOK.id}.{_ENDED.id}"),
    event=WebhookEvent.SUCCEEDED,
    job=_ENDED.id,
    status=DeliveryStatus.DELIVERED,
    created_at=_NOON,
    next_try_at=None,
    attempts=(AttemptBody(at=_NOON, took_ms=84, status=204, error=""),),
)

_DIALECTS: Final[Mapping[type[BaseModel], BaseModel]] = {
    ImagesResponse: ImagesResponse(
        created=1_795_348_803,
        output_format=OutputFormat.PNG,
        size="1152x896",
        quality="high",
        usage=Usage(input_tokens=12, input_tokens_details=TokenDetails(text_tokens=12), total_tokens=12),
        data=[ImageData(url=f"http://127.0.0.1:8000{_JOB.images[0].url}", revised_prompt=_PARAMS.prompt)],
    ),
    Txt2ImgResponse: Txt2ImgResponse(images=["iVBORw0KGgo="], parameters={"prompt": "a fox"}, info='{"seed": 7}'),
    ProgressResponse: ProgressResponse(progress=0.4, eta_relative=1.9),
    SamplerItem: SamplerItem(name="Euler a", aliases=["k_euler_a"], options={}),
    SchedulerItem: SchedulerItem(name="karras", label="Karras", default_rho=7.0),
    ModelItem: ModelItem(title=f"{_MODEL} [60987f37e9]", model_name=_MODEL, hash="60987f37e9", filename=_MODEL),
    Options: Options(sd_model_checkpoint=f"{_MODEL} [60987f37e9]", sd_checkpoint_hash="60987f37e9"),
    ScriptsList: ScriptsList(),
    PictureAnswer: PictureAnswer(id=_ENDED.id, url=f"http://127.0.0.1:8000{_JOB.images[0].url}", seed=7),
}

_BATCH: Final = batch_body(
    Batch(
        id=BatchId("9k2m4c7q8x1t6w3v0h2j9n5r0z"),
        name="shapes",
        status=BatchStatus.RUNNING,
        created_at_ms=_NOON_MS,
        completed_at_ms=None,
        total=5000,
        entered=1200,
        active=200,
        succeeded=998,
        failed=2,
        canceled=0,
        expired=0,
    )
)

_ENDED_LATELY: Final = EndedBody(
    outcomes={Outcome.SUCCEEDED: EndsBody(jobs=18, pictures=24), Outcome.FAILED: EndsBody(jobs=1, pictures=1)},
    waited=TimesBody(jobs=19, median_s=0.42, p90_s=1.9),
    drew=TimesBody(jobs=18, median_s=2.1, p90_s=2.6),
)

EXAMPLES: Final[Mapping[type[BaseModel], BaseModel]] = {
    Alive: Alive(),
    Index: Index(),
    Readiness: Readiness(
        ready=True,
        checks=(
            Check(name="redis", ok=True, message="Redis answers."),
            Check(name="object_store", ok=True, message="The object store answers and has the bucket."),
            Check(name="worker", ok=True, message=f"1 ready: {_MODEL} on NVIDIA H100 80GB HBM3."),
        ),
    ),
    JobBody: _JOB,
    BatchBody: _BATCH,
    BatchPage: BatchPage(data=(_BATCH,), next_cursor=None),
    JobPage: JobPage(data=(_WAITING, _JOB), next_cursor="s1041"),
    ModelList: ModelList(
        data=(
            ModelBody(
                id=_MODEL,
                title="SSD-1B",
                revision="60987f37e94cd59c36b1cba832b9f97b57395a10",
                description="Segmind's distilled SDXL.",
                aspect_ratios=(AspectRatio(name="Square 1:1", size=Size(width=1024, height=1024)),),
                schedulers=(Scheduler.DPMPP_2M_KARRAS, Scheduler.EULER, Scheduler.DDIM),
                defaults=Defaults(
                    size=Size(width=1024, height=1024),
                    num_inference_steps=25,
                    guidance_scale=9.0,
                    scheduler=Scheduler.DPMPP_2M_KARRAS,
                    preset="quality",
                ),
                presets=(
                    Preset(
                        name="quality",
                        title="Quality",
                        description="The best that the model can do.",
                        num_inference_steps=25,
                        guidance_scale=9.0,
                        scheduler=Scheduler.DPMPP_2M_KARRAS,
                        negative_prompt="ugly, blurry, poor quality",
                    ),
                ),
                ready_workers=1,
                tunings=(_TUNING,),
                is_default=True,
            ),
        )
    ),
    TokensBody: TokensBody(model=_MODEL, max_windows=4, reading=_READING, warnings=()),
    WorkerList: WorkerList(mode="work", data=(_WORKER,)),
    WorkerBody: _WORKER,
    ScalingBody: ScalingBody(
        model=_MODEL,
        workers_wanted=3,
        because="work",
        workers={"warming": 1, "ready": 1, "draining": 0},
        waiting_jobs=48,
        running_jobs=2,
        work_s=170.2,
        oldest_wait_s=12.1,
        target_s=60.0,
    ),
    QueueBody: QueueBody(
        mode="work",
        models=(
            PoolBody(
                model=_MODEL,
                waiting={
                    Lane.INTERACTIVE: LaneBody(
                        jobs=2,
                        work_s=6.5,
                        tenants=1,
                        lines=(LineBody(tenant="shop", jobs=2, work_s=6.5, running=1, waited_s=1.2),),
                    ),
                    Lane.BULK: LaneBody(jobs=140, work_s=455.0, tenants=3),
                },
                running=3,
                workers={"warming": 0, "ready": 1, "draining": 0},
            ),
        ),
        results=ResultCache(new=950, joined=10, reused=40, hit_rate=0.05),
    ),
    FailedList: FailedList(data=(failed_job(_GIVEN_UP),)),
    RetriedJob: RetriedJob(
        id=_WAITING.id,
        retry_of=_GIVEN_UP.id,
        tenant=_GIVEN_UP.tenant,
        model=_MODEL,
        lane=Lane.BULK,
        status=JobStatus.QUEUED,
    ),
    HistoryBody: HistoryBody(
        minutes=60,
        period_s=60,
        until=datetime.fromtimestamp(_NOON_MS / 1000, tz=UTC),
        total={Lane.INTERACTIVE: _ENDED_LATELY},
        periods=(
            PeriodBody(
                at=datetime.fromtimestamp(_NOON_MS / 1000 - 60, tz=UTC), lanes={Lane.INTERACTIVE: _ENDED_LATELY}
            ),
        ),
    ),
    SetAsideList: SetAsideList(data=(set_aside_job(_GIVEN_UP),)),
    NewKeyBody: NewKeyBody(**dict(_KEY), key=f"darkroom_{_KEY.id}_shown-once"),
    KeyList: KeyList(data=(_KEY,)),
    TenantBody: TenantBody(name="shop", limits=_LIMITS),
    TenantList: TenantList(data=(TenantBody(name="shop", limits=_LIMITS),)),
    Me: Me(tenant="shop", key=_KEY.id, scopes=_KEY.scopes, limits=_LIMITS),
    WebhookBody: _WEBHOOK,
    WebhookWithSecret: WebhookWithSecret(**dict(_WEBHOOK), secret="whsec_shown-once"),  # noqa: S106 - an example
    WebhookList: WebhookList(data=(_WEBHOOK,)),
    DeliveryBody: _DELIVERY,
    DeliveryPage: DeliveryPage(data=(_DELIVERY,), next_cursor=None),
    **_DIALECTS,
}
