"""AUTOMATIC1111's words: what its clients say and read, and what of that means something here.

What would silently give another picture than was asked for is refused; what changes no picture here is accepted, and so
is everything that is off or at its default. Names and shapes are stable-diffusion-webui's, of `modules/api/models.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, RootModel

from api.catalog import default_card, models
from api.dialect import drawn_at, in_words_of, job_request
from api.samplers import scheduler_of
from shared.contract import JobRequest
from shared.errors import FieldError, InvalidRequest, ModelNotFound
from shared.generation import GenerationParams, ModelCard, Size
from shared.infotext import SAMPLERS, SHORT_HASH, infotext_of
from shared.jobs import Job
from shared.scripts import Fleet
from shared.version import VERSION

DIALECT_NAME: Final = "automatic1111"
RANDOM_SEED: Final = -1

OUR_NAMES: Final = {
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "num_images": "batch_size",
    "scheduler": "sampler_name",
    "variation_seed": "subseed",
    "variation_strength": "subseed_strength",
    "size": "width",
    "output_size": "width",
}

WITHOUT_EFFECT: Final = frozenset(
    {
        "comments",
        "denoising_strength",  # of the second pass, which `enable_hr` asks for
        "disable_extra_networks",
        "do_not_save_grid",
        "do_not_save_samples",
        "force_task_id",
        "override_settings_restore_afterwards",
        "refiner_switch_at",  # of `refiner_checkpoint`
        "save_images",
        "script_args",  # of `script_name`
    }
)
"""Fields that change no picture, whatever they say, and those that say more of another one, which is refused itself."""
WITHOUT_EFFECT_PREFIXES: Final = ("firstphase_", "hr_")
"""Of the second pass too."""

DEFAULTS: Final[Mapping[str, frozenset[object]]] = {
    "clip_skip": frozenset({1}),
    "eta": frozenset({1}),  # as ancestral samplers have it anyway; webuiapi says so with every request
    "s_noise": frozenset({1}),
    "s_tmax": frozenset({float("inf")}),
    "seed_resize_from_h": frozenset({-1}),
    "seed_resize_from_w": frozenset({-1}),
    "CLIP_stop_at_last_layers": frozenset({1}),
    "samples_format": frozenset({"png"}),
    "sd_vae": frozenset({"Automatic", "None"}),
}
"""What says as little as `false`, `0`, `null` or nothing at all, which each other field may say."""

CHECKPOINT: Final = "sd_model_checkpoint"

NOT_DONE: Final[Mapping[str, object]] = {
    "restore_faces": False,
    "face_restoration_model": None,
    "sd_vae_name": None,
    "sd_vae_hash": None,
    "seed_resize_from_w": -1,
    "seed_resize_from_h": -1,
    "denoising_strength": None,
    "extra_generation_params": {},
    "styles": [],
    "clip_skip": 1,
    "is_using_inpainting_conditioning": False,
}
"""What `info` says beside what was drawn: clients look there for each of `Processed.js`'s names."""


class Txt2ImgRequest(BaseModel):
    """`POST /sdapi/v1/txt2img`; what is absent comes from the model's defaults."""

    model_config = ConfigDict(extra="allow")

    prompt: Annotated[str, Field(json_schema_extra={"minLength": 1})]
    negative_prompt: str | None = None
    seed: int | None = None
    """-1 or absent: drawn."""
    subseed: int | None = None
    """-1 or absent: drawn. Without effect if the strength is 0."""
    subseed_strength: float | None = Field(default=None, json_schema_extra={"minimum": 0, "maximum": 1})
    """0 or absent: none."""
    steps: int | None = None
    cfg_scale: float | None = None
    width: int | None = None
    height: int | None = None
    batch_size: Annotated[int, Field(ge=1)] = 1
    """Pictures are `batch_size` times `n_iter`."""
    n_iter: Annotated[int, Field(ge=1)] = 1
    sampler_name: str | None = None
    sampler_index: str | None = None
    """The sampler's older name."""
    scheduler: str | None = None
    """The noise schedule: `automatic`, or the sampler's own."""
    send_images: bool = True
    override_settings: dict[str, Any] | None = None
    """`sd_model_checkpoint` alone."""
    alwayson_scripts: dict[str, Any] | None = Field(default=None, json_schema_extra={"maxProperties": 0})
    """There are none."""
    script_name: str | None = Field(default=None, json_schema_extra={"maxLength": 0})

    @property
    def checkpoint(self) -> str | None:
        """The model that it names."""
        named = (self.override_settings or {}).get(CHECKPOINT)
        return str(named) if named else None

    def as_job(self, card: ModelCard) -> JobRequest:
        """Say it as a job's request. Raises InvalidRequest."""
        if wrong := self._asks_in_vain():
            raise InvalidRequest(wrong)
        scheduler = scheduler_of(card, self.sampler_name or self.sampler_index, self.scheduler)
        size = None if self.width is None or self.height is None else Size(width=self.width, height=self.height)
        sides = drawn_at(card, size) if size else {"width": self.width, "height": self.height}
        varies = bool(self.subseed_strength)
        with in_words_of(OUR_NAMES):
            return job_request(
                DIALECT_NAME,
                **sides,
                prompt=self.prompt,
                negative_prompt=self.negative_prompt,
                model=card.id,
                num_inference_steps=self.steps,
                guidance_scale=self.cfg_scale,
                seed=None if self.seed == RANDOM_SEED else self.seed,
                variation_seed=self.subseed if varies and self.subseed != RANDOM_SEED else None,
                variation_strength=self.subseed_strength if varies else None,
                num_images=self.batch_size * self.n_iter,
                scheduler=scheduler,
            )

    def _asks_in_vain(self) -> tuple[FieldError, ...]:
        wrong = [
            FieldError(name, "Darkroom does not do that: leave it out, or off.")
            for name, value in (self.model_extra or {}).items()
            if name not in WITHOUT_EFFECT and not name.startswith(WITHOUT_EFFECT_PREFIXES) and not is_off(name, value)
        ]
        wrong += [
            FieldError(f"override_settings.{name}", f"Only {CHECKPOINT} can be said here.")
            for name, value in (self.override_settings or {}).items()
            if name != CHECKPOINT and not is_off(name, value)
        ]
        wrong += [
            FieldError("alwayson_scripts", f"always on script {name[:100]} not found")
            for name in self.alwayson_scripts or {}
        ]
        if self.script_name:
            wrong.append(FieldError("script_name", f"Script '{self.script_name[:100]}' not found"))
        return tuple(wrong)


class Txt2ImgResponse(BaseModel):
    """The pictures, Base64."""

    images: list[str]
    parameters: dict[str, Any]
    """What was asked for, as it was said."""
    info: str
    """JSON: what was drawn, with `seed`, `all_seeds` and `infotexts`."""


class ProgressState(BaseModel):
    """AUTOMATIC1111's state."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    """The job's id."""
    job_count: int = 0
    """Your jobs of this dialect that wait or run."""
    job_timestamp: str = "0"
    job_no: int = 0
    sampling_step: int = 0
    """Over all of the job's pictures, as the next one."""
    sampling_steps: int = 0


class ProgressResponse(BaseModel):
    """How far the caller's job is."""

    progress: float = 0.0
    """0 to 1; 0 while it waits, and without a job."""
    eta_relative: float = 0.0
    """Seconds left, as far as can be told."""
    state: ProgressState = ProgressState()
    current_image: str | None = None
    """A sketch, Base64 of a JPEG."""
    textinfo: str | None = None
    """Why it waits."""


class SamplerItem(BaseModel):
    """A sampler."""

    name: str
    aliases: list[str]
    options: dict[str, str]


class SchedulerItem(BaseModel):
    """A noise schedule."""

    name: str
    label: str
    aliases: list[str] | None = None
    default_rho: float = -1
    need_inner_model: bool = False


class ModelItem(BaseModel):
    """A model: `title`, `model_name` and `hash` are all names of it."""

    title: str
    model_name: str
    hash: str
    sha256: None = None
    filename: str
    config: None = None

    @classmethod
    def of(cls, card: ModelCard) -> ModelItem:
        """Say a model's card."""
        short = card.revision[:SHORT_HASH]
        return cls(title=f"{card.id} [{short}]", model_name=card.id, hash=short, filename=card.id)


class Options(BaseModel):
    """What can't be set."""

    sd_model_checkpoint: str | None
    """The default model; null before the first worker's start."""
    sd_checkpoint_hash: str | None
    samples_format: str = "png"
    sd_vae: str = "Automatic"
    CLIP_stop_at_last_layers: int = 1


class OptionsRequest(RootModel[dict[str, Any]]):
    """Options to set."""


class ScriptsList(BaseModel):
    """There are none."""

    txt2img: list[str] = []
    img2img: list[str] = []


def card_named(served: Fleet, name: str | None) -> ModelCard:
    """The card that any of a model's names means; None: the default's. Raises NoModel, ModelNotFound."""
    default = default_card(served)
    if name is None:
        return default
    for card in (*models(served), *served.cards):
        item = ModelItem.of(card)
        if name.casefold() in {item.title.casefold(), item.model_name.casefold(), item.hash.casefold()}:
            return card
    known = ", ".join(card.id for card in models(served))
    raise ModelNotFound(f"Model not found. Known: {known}.")


def info_of(job: Job, card: ModelCard, asked: Txt2ImgRequest) -> dict[str, object]:
    """What was drawn, by the names of AUTOMATIC1111's `Processed.js`."""
    params, pictures = job.params, range(job.params.num_images)
    software = f"Darkroom {VERSION}"
    size = params.output_size or params.size
    return {
        **NOT_DONE,
        "prompt": params.prompt,
        "all_prompts": [params.prompt for _ in pictures],
        "negative_prompt": params.negative_prompt,
        "all_negative_prompts": [params.negative_prompt for _ in pictures],
        "seed": params.seed,
        "all_seeds": [params.seed_of(index) for index in pictures],
        "subseed": _subseed(params, 0),
        "all_subseeds": [_subseed(params, index) for index in pictures],
        "subseed_strength": params.variation_strength,
        "width": size.width,
        "height": size.height,
        "sampler_name": SAMPLERS[params.scheduler],
        "cfg_scale": params.guidance_scale,
        "steps": params.num_inference_steps,
        "batch_size": asked.batch_size,
        "sd_model_name": card.id,
        "sd_model_hash": card.revision[:SHORT_HASH],
        "index_of_first_image": 0,
        "infotexts": [
            infotext_of(params.alone(index), model=job.model, model_revision=card.revision, software=software)
            for index in pictures
        ],
        "job_timestamp": timestamp(job),
        "version": software,
    }


def _subseed(params: GenerationParams, index: int) -> int:
    drawn = params.variation_seed_of(index)
    return RANDOM_SEED if drawn is None else drawn


def timestamp(job: Job) -> str:
    """When the job was submitted, as AUTOMATIC1111 writes times."""
    return f"{datetime.fromtimestamp(job.created_at_ms / 1000, tz=UTC):%Y%m%d%H%M%S}"


def is_off(name: str, value: object) -> bool:
    """True for what says as little as if it were not said."""
    return not value or (isinstance(value, int | float | str) and value in DEFAULTS.get(name, ()))
