"""`/sdapi/v1`: AUTOMATIC1111's API over our jobs, as far as it draws from text; its clients work unchanged.

Nothing is kept between requests: there are no options to set.
"""

from __future__ import annotations

import base64
import json
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.automatic1111 import (
    CHECKPOINT,
    DIALECT_NAME,
    OUR_NAMES,
    ModelItem,
    Options,
    OptionsRequest,
    ProgressResponse,
    ProgressState,
    SamplerItem,
    SchedulerItem,
    ScriptsList,
    Txt2ImgRequest,
    Txt2ImgResponse,
    card_named,
    info_of,
    is_off,
    timestamp,
)
from api.catalog import default_card, models
from api.deps import Gateway, TheGateway, TheSubmitter, TheTenant
from api.dialect import DIALECT, ERRAND_ERRORS, ERRAND_STATUSES, in_words_of
from api.errand import Errand
from api.faults import AUTOMATIC1111
from api.intake import checked, read_json
from api.openapi import json_body, problems
from api.samplers import AUTOMATIC, samplers_of
from api.waiting import TheStay
from shared.errors import FieldError, InvalidRequest, JobNotFound, ModelNotFound, NoModel, QueueUnavailable
from shared.generation import SUBTLE_VARIATION, ModelCard
from shared.jobs import Job, JobStatus, Tenant
from shared.scripts import Fleet, cancel, fleet, page, preview

router = APIRouter(prefix="/sdapi/v1", tags=["AUTOMATIC1111"])

NEWEST: Final = 100
"""Among so many of the caller's newest jobs those of this dialect are looked for."""

LACKS: Final = (
    "face-restorers",
    "hypernetworks",
    "latent-upscale-modes",
    "loras",
    "prompt-styles",
    "realesrgan-models",
    "sd-vae",
    "upscalers",
)
"""What AUTOMATIC1111 has and Darkroom has not: clients ask for it at their start."""

EXAMPLES: Final = {
    "short": {"summary": "A prompt is enough", "value": {"prompt": "a lighthouse in a storm, oil painting"}},
    "full": {
        "summary": "Everything said",
        "value": {
            "prompt": "a lighthouse in a storm, oil painting",
            "negative_prompt": "blurry",
            "seed": 7,
            "subseed": 1,
            "subseed_strength": SUBTLE_VARIATION,
            "steps": 25,
            "cfg_scale": 9,
            "width": 1024,
            "height": 1024,
            "batch_size": 2,
            "sampler_name": "DPM++ 2M",
            "scheduler": "Karras",
            "override_settings": {"sd_model_checkpoint": "segmind/SSD-1B"},
        },
    },
}


@router.post(
    "/txt2img",
    summary="Generate pictures, AUTOMATIC1111's way",
    response_model=Txt2ImgResponse,
    responses=problems(*ERRAND_ERRORS, statuses=ERRAND_STATUSES, words=AUTOMATIC1111),
    openapi_extra=json_body(Txt2ImgRequest, EXAMPLES),
)
async def txt2img(request: Request, gateway: TheGateway, tenant: TheSubmitter, stay: TheStay) -> Response:
    """Draw pictures and answer with them, as PNG. The answer is held for as long as it takes; who hangs up cancels."""
    asked = checked(Txt2ImgRequest, await read_json(request), strict=False)
    served = await gateway.run(fleet())
    card = card_named(served, asked.checkpoint)
    job_asked = asked.as_job(card)
    with in_words_of(OUR_NAMES):
        errand = await Errand.begin(gateway, tenant, job_asked, served)
    async with errand:
        await errand.wait(request, stay)
        files = await errand.pictures() if asked.send_images else ()
    answer = Txt2ImgResponse(
        images=[base64.b64encode(file).decode("ascii") for file in files],
        parameters=asked.model_dump(),
        info=json.dumps(info_of(errand.job, card, asked), ensure_ascii=False),
    )
    return Response(answer.model_dump_json(), media_type="application/json")


@router.get("/progress", summary="See how far it is", responses=problems(QueueUnavailable, words=AUTOMATIC1111))
async def progress(
    gateway: TheGateway,
    tenant: TheTenant,
    skip_current_image: Annotated[bool, Query(description="Leave out the sketch.")] = False,
) -> ProgressResponse:
    """Tell how far your job of this dialect is: the one that runs, of several the first, else the one that waits."""
    jobs = await _unfinished(gateway, tenant)
    if not jobs:
        return ProgressResponse()
    job = next((job for job in jobs if job.status is JobStatus.RUNNING), jobs[0])
    said = await gateway.outlooks.body(job)
    sketch = None
    if job.status is JobStatus.RUNNING and not skip_current_image:
        sketch = await _sketch(gateway, job)
    return ProgressResponse(
        progress=job.step / job.steps,
        eta_relative=said.time_left.seconds if said.time_left else 0.0,
        state=ProgressState(
            job=job.id,
            job_count=len(jobs),
            job_timestamp=timestamp(job),
            sampling_step=job.step,
            sampling_steps=job.steps,
        ),
        current_image=sketch,
        textinfo=said.reason.message if said.reason else None,
    )


@router.post(
    "/interrupt",
    summary="Cancel what you wait for",
    responses=problems(QueueUnavailable, statuses=(HTTPStatus.FORBIDDEN,), words=AUTOMATIC1111),
)
async def interrupt(gateway: TheGateway, tenant: TheSubmitter) -> dict[str, str]:
    """Cancel your jobs of this dialect that wait or run; nobody else's, and none of yours that came another way."""
    for job in await _unfinished(gateway, tenant):
        try:
            await gateway.run(cancel(job.id, tenant))
        except JobNotFound:  # deleted meanwhile
            continue
    return {}


@router.get("/samplers", summary="List samplers", responses=problems(QueueUnavailable, words=AUTOMATIC1111))
async def list_samplers(gateway: TheGateway, _tenant: TheTenant) -> list[SamplerItem]:
    """List the samplers of the default model."""
    card = _default(await gateway.run(fleet()))
    return [
        SamplerItem(
            name=sampler.name,
            aliases=list(sampler.aliases),
            options={} if sampler.schedule == AUTOMATIC else {"scheduler": sampler.schedule},
        )
        for sampler in (samplers_of(card) if card else ())
    ]


@router.get("/schedulers", summary="List noise schedules", responses=problems(words=AUTOMATIC1111))
async def list_schedulers(_tenant: TheTenant) -> list[SchedulerItem]:
    """List the noise schedules; a sampler takes its own alone."""
    return [
        SchedulerItem(name="automatic", label="Automatic"),
        SchedulerItem(name="karras", label="Karras", default_rho=7.0),
    ]


@router.get(
    "/sd-models",
    name="list_checkpoints",
    summary="List models",
    responses=problems(QueueUnavailable, words=AUTOMATIC1111),
)
async def list_models(gateway: TheGateway, _tenant: TheTenant) -> list[ModelItem]:
    """List the models, the default first."""
    served = await gateway.run(fleet())
    default = _default(served)
    if default is None:
        return []
    return [ModelItem.of(default), *(ModelItem.of(card) for card in models(served) if card.id != default.id)]


@router.get("/options", summary="Read options", responses=problems(QueueUnavailable, words=AUTOMATIC1111))
async def read_options(gateway: TheGateway, _tenant: TheTenant) -> Options:
    """Tell which model is drawn with where a request names none, and that pictures are PNG."""
    return _options(await gateway.run(fleet()))


@router.post(
    "/options",
    summary="Set options",
    responses=problems(
        InvalidRequest, ModelNotFound, QueueUnavailable, NoModel, statuses=ERRAND_STATUSES, words=AUTOMATIC1111
    ),
    openapi_extra=json_body(
        OptionsRequest, {"model": {"summary": "The default model", "value": {CHECKPOINT: "segmind/SSD-1B"}}}
    ),
)
async def set_options(request: Request, gateway: TheGateway, _tenant: TheSubmitter) -> None:
    """Accept what is so already, and refuse the rest: one caller's options would be everybody's."""
    said = checked(OptionsRequest, await read_json(request), strict=False).root
    served = await gateway.run(fleet())
    options = _options(served).model_dump()
    wrong = [
        FieldError(name, "Options can't be set here; a request may say its own.")
        for name, value in said.items()
        if name != CHECKPOINT and value != options.get(name) and not is_off(name, value)
    ]
    if said.get(CHECKPOINT) and card_named(served, str(said[CHECKPOINT])).id != default_card(served).id:
        message = f"Say it with each request: override_settings.{CHECKPOINT}. The default is what most workers serve."
        wrong.append(FieldError(CHECKPOINT, message))
    if wrong:
        raise InvalidRequest(tuple(wrong))


@router.get("/scripts", summary="List scripts", responses=problems(words=AUTOMATIC1111))
async def list_scripts(_tenant: TheTenant) -> ScriptsList:
    """List no scripts: clients look here for extensions."""
    return ScriptsList()


@router.get("/embeddings", summary="List embeddings", responses=problems(words=AUTOMATIC1111))
async def list_embeddings(_tenant: TheTenant) -> dict[str, dict[str, str]]:
    """List no embeddings."""
    return {"loaded": {}, "skipped": {}}


@router.get("/cmd-flags", summary="List flags", responses=problems(words=AUTOMATIC1111))
async def list_flags(_tenant: TheTenant) -> dict[str, str]:
    """List no flags."""
    return {}


@router.post(
    "/refresh-checkpoints",
    summary="Look for models",
    responses=problems(statuses=(HTTPStatus.FORBIDDEN,), words=AUTOMATIC1111),
)
async def refresh_checkpoints(_tenant: TheSubmitter) -> None:
    """Do nothing: the list of models is always as the workers say it."""


async def list_nothing(_tenant: TheTenant) -> list[str]:
    """List nothing: Darkroom has none."""
    return []


for lack in LACKS:
    summary = f"List {lack.replace('-', ' ')}"
    name = f"list_{lack.replace('-', '_')}"
    router.get(f"/{lack}", name=name, summary=summary, responses=problems(words=AUTOMATIC1111))(list_nothing)


def _default(served: Fleet) -> ModelCard | None:
    return default_card(served) if served.cards else None


def _options(served: Fleet) -> Options:
    card = _default(served)
    return Options(
        sd_model_checkpoint=ModelItem.of(card).title if card else None,
        sd_checkpoint_hash=ModelItem.of(card).hash if card else None,
    )


async def _unfinished(gateway: Gateway, tenant: Tenant) -> list[Job]:
    """The caller's jobs of this dialect that wait or run, the oldest first."""
    newest = await gateway.run(page(tenant, cursor=None, limit=NEWEST))
    ours = [job for job in newest.jobs if job.metadata.get(DIALECT) == DIALECT_NAME and not job.status.is_terminal]
    return ours[::-1]


async def _sketch(gateway: Gateway, job: Job) -> str | None:
    try:
        jpeg = await gateway.run(preview(job.id, job.tenant))
    except JobNotFound:
        return None
    return base64.b64encode(jpeg).decode("ascii") if jpeg else None
