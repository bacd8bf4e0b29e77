"""What can be asked of a model: parameters, their limits, and the card that a model shows of itself.

The gateway validates by these, the page's controls read them, the engine draws from them. Nothing
here knows of HTTP, Redis or torch.
"""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.errors import FieldError, InvalidRequest
from shared.texts import clean_text
from shared.words import Word

MAX_PROMPT_CHARS: Final = 4_000
"""More than any encoder window holds; a cap on memory, not on meaning."""

MIN_OUTPUT_SIDE: Final = 16
"""Pixels; a smaller thumbnail helps nobody."""

SEED_BITS: Final = 32
MAX_SEED: Final = 2**SEED_BITS - 1
"""Seeds are 32 bits, as AUTOMATIC1111 and most of its clients expect. Picture n uses `seed + n`."""

SUBTLE_VARIATION: Final = 0.15
"""A `variation_strength` at which most pictures keep their composition and colors, and details change."""

STRONG_VARIATION: Final = 0.5
"""A `variation_strength` at which most pictures have another composition, or other colors."""


class Scheduler(Word):
    """Samplers by the names that the API speaks; the engine maps them to diffusers classes."""

    EULER = "euler"
    EULER_ANCESTRAL = "euler_a"
    DPMPP_2M_KARRAS = "dpmpp_2m_karras"
    UNIPC = "unipc"
    DDIM = "ddim"
    LCM = "lcm"


class OutputFormat(Word):
    """File formats of a finished picture."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"

    @property
    def media_type(self) -> str:
        """The MIME type, such as `image/png`."""
        return f"image/{self.value}"

    @property
    def suffix(self) -> str:
        """The file name's ending, without a dot."""
        return "jpg" if self is OutputFormat.JPEG else self.value


class Frozen(BaseModel):
    """A value: immutable. Whoever reads one ignores fields that a newer Darkroom has put beside those it knows."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # a record that can't be read is logged, and no log quotes a prompt
    )


class Size(Frozen):
    """A picture's width and height in pixels. There will never be more to it, so a field beside them is a mistake."""

    model_config = ConfigDict(extra="forbid")

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def num_guided_steps(num_inference_steps: int, guidance_scale: float, guidance_cutoff: float) -> int:
    """How many steps are guided: the first ones.

    Rounds as diffusers' `SDXLCFGCutoffCallback` (0.42), which switches guidance off when step `int(steps * cutoff)` has
    been taken: at least one step of a guided picture is guided.
    """
    if guidance_scale <= 1:
        return 0
    return min(num_inference_steps, int(num_inference_steps * guidance_cutoff) + 1)


class GenerationParams(Frozen):
    """Everything that decides a job's pictures, complete: no default is left to be drawn."""

    prompt: str
    negative_prompt: str = ""
    """Empty: the stock pipeline's `negative_prompt=None`, zero embeddings for SDXL-class models."""
    width: int
    height: int
    """Of the generated picture, in pixels."""
    num_inference_steps: int
    guidance_scale: float
    """1.0 or less switches classifier-free guidance off."""
    seed: int
    num_images: int = 1
    scheduler: Scheduler
    output_format: OutputFormat = OutputFormat.PNG
    output_size: Size | None = None
    """Resize the finished picture to this; None keeps the generated size."""
    preset: str | None = None
    """The card's preset that absent values were taken from; None: from its defaults."""
    adapter: str | None = None
    """Which of the model's UNets draws it: the one with this LoRA fused in; None: the plain one."""
    guidance_cutoff: float = 1.0
    """After this share of the steps guidance is off, which halves the work of a step; 1.0: never."""
    variation_seed: int | None = None
    """The first noise lies between that of `seed` and that of this one; None: it is the seed's."""
    variation_strength: float = 0.0
    """How far on the way from `seed`, where 0 is, to `variation_seed`, where 1 is."""
    deterministic: bool = False
    """Drawn alone in every forward, so that the same request gives the same bytes; else rows may share forwards."""

    @property
    def size(self) -> Size:
        """Width and height as one value."""
        return Size(width=self.width, height=self.height)

    @property
    def is_guided(self) -> bool:
        """True with classifier-free guidance at the first step; it doubles the work of each step that it guides."""
        return self.is_guided_at(0)

    @property
    def num_guided_steps(self) -> int:
        """How many of the steps are guided: the first ones."""
        return num_guided_steps(self.num_inference_steps, self.guidance_scale, self.guidance_cutoff)

    def is_guided_at(self, step: int) -> bool:
        """Tell whether `step`, 0-based, is guided."""
        return step < self.num_guided_steps

    @property
    def cost(self) -> int:
        """Expected work in thousands of pixels times steps, over all pictures; a guided step counts twice.

        By it tenants share and one job is bounded: it depends on the request alone, not on who would draw it.
        """
        forwards = self.num_inference_steps + self.num_guided_steps
        return max(1, round(self.width * self.height * forwards * self.num_images / 1000))

    def seed_of(self, index: int) -> int:
        """The seed of picture `index` (0-based), drawn alone: `seed + index`, or `seed` if each varies that one's."""
        return self.seed if self.is_variation else _seed(self.seed + index)

    def variation_seed_of(self, index: int) -> int | None:
        """The variation seed of picture `index`: `variation_seed + index`; None if it varies no picture."""
        if self.variation_seed is None or self.variation_strength <= 0:
            return None
        return _seed(self.variation_seed + index)

    @property
    def is_variation(self) -> bool:
        """True if its pictures are neighbours of the one that `seed` draws."""
        return self.variation_seed_of(0) is not None

    def alone(self, index: int) -> GenerationParams:
        """What draws picture `index` by itself: its seeds, one picture."""
        seeds = {"seed": self.seed_of(index), "variation_seed": self.variation_seed_of(index)}
        return self.model_copy(update={**seeds, "num_images": 1})


def _seed(number: int) -> int:
    """Keep a seed in 32 bits."""
    return number % (MAX_SEED + 1)


class AspectRatio(Frozen):
    """A named size that the model draws well."""

    name: str
    """Such as `Square 1:1`, for people."""
    size: Size


class Preset(Frozen):
    """A named way to draw: what a request gets that names it, where it says nothing else."""

    name: str = Field(pattern=r"^[a-z0-9_-]{1,40}$")
    """In the API, such as `fast`."""
    title: str
    """For people, as the description."""
    description: str
    num_inference_steps: int
    guidance_scale: float
    guidance_cutoff: float = 1.0
    scheduler: Scheduler
    """It need not be among the card's: the preset's adapter may have made the model fit for it."""
    negative_prompt: str = ""
    adapter: str | None = None
    """The LoRA that its UNet has fused in, as the worker names it: with its revision."""

    @property
    def num_forwards(self) -> int:
        """Its work for a picture: a guided step counts twice."""
        guided = num_guided_steps(self.num_inference_steps, self.guidance_scale, self.guidance_cutoff)
        return self.num_inference_steps + guided


class Defaults(Frozen):
    """What a request gets where it says nothing."""

    size: Size
    num_inference_steps: int
    guidance_scale: float
    scheduler: Scheduler
    negative_prompt: str = ""
    preset: str | None = None
    """The preset of a request that names none, whose values then stand for those above; None: those above do."""


class SizeRule(Frozen):
    """Which sizes beside the named ones are accepted; a model without one takes the named ones only."""

    min_side: int
    max_side: int
    multiple_of: int
    max_pixels: int


class ModelCard(Frozen):
    """What a worker says of the model that it serves; published at its start, kept in Redis."""

    id: str
    """Stable name in the API, such as `segmind/SSD-1B`."""
    title: str
    """For people."""
    revision: str
    """Commit of the hub or a digest of the files; with parameters and seed it fixes the picture."""
    description: str
    is_demo: bool = False
    aspect_ratios: tuple[AspectRatio, ...]
    custom_sizes: SizeRule | None = None
    schedulers: tuple[Scheduler, ...]
    defaults: Defaults
    max_steps: int = 100
    max_guidance: float = 30.0
    max_images: int = 8
    max_output_side: int = 4096
    example_prompts: tuple[str, ...] = ()
    presets: tuple[Preset, ...] = ()
    """Those that the worker can draw."""

    @model_validator(mode="after")
    def _names_its_presets(self) -> Self:
        names = [preset.name for preset in self.presets]
        if len(set(names)) < len(names):
            raise ValueError("Two presets have the same name.")
        if self.defaults.preset is not None and self.defaults.preset not in names:
            raise ValueError(f"The default preset {self.defaults.preset} is none of the card's presets.")
        return self

    def preset(self, name: str) -> Preset | None:
        """Find a preset by its name."""
        return next((preset for preset in self.presets if preset.name == name), None)

    def allows(self, size: Size) -> bool:
        """True if pictures of this size may be asked for."""
        if any(ratio.size == size for ratio in self.aspect_ratios):
            return True
        rule = self.custom_sizes
        return rule is not None and (
            rule.min_side <= min(size.width, size.height)
            and max(size.width, size.height) <= rule.max_side
            and size.width % rule.multiple_of == 0
            and size.height % rule.multiple_of == 0
            and size.width * size.height <= rule.max_pixels
        )


Pixels = Annotated[int, Field(ge=1, le=1_000_000)]
"""A side as a request may name it: no model draws more, and a message can repeat it."""


class GenerationRequest(Frozen):
    """What a client asks for, text cleaned, absent fields absent; `resolve` makes it complete.

    Limits that no model exceeds are in the JSON schema; `resolve` names them together with the model's own.
    """

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(max_length=MAX_PROMPT_CHARS)
    negative_prompt: str | None = Field(default=None, max_length=MAX_PROMPT_CHARS)
    width: Pixels | None = None
    height: Pixels | None = None
    num_inference_steps: int | None = Field(default=None, json_schema_extra={"minimum": 1})
    guidance_scale: float | None = Field(default=None, json_schema_extra={"minimum": 0})
    seed: int | None = Field(default=None, json_schema_extra={"minimum": 0, "maximum": MAX_SEED})
    num_images: int = Field(default=1, json_schema_extra={"minimum": 1})
    scheduler: Scheduler | None = None
    output_format: OutputFormat = OutputFormat.PNG
    output_size: Size | None = None
    preset: str | None = Field(default=None, max_length=200)
    """One of the card's: fills what is absent here."""
    guidance_cutoff: float | None = Field(default=None, json_schema_extra={"minimum": 0, "maximum": 1})
    variation_seed: int | None = Field(default=None, json_schema_extra={"minimum": 0, "maximum": MAX_SEED})
    """None: drawn, if there is a strength."""
    variation_strength: float | None = Field(default=None, json_schema_extra={"minimum": 0, "maximum": 1})
    """None: subtle if a variation seed is named, else 0: no variation."""
    deterministic: bool | None = None
    """None: True if the request names a seed."""

    def resolve(self, card: ModelCard, *, drawn_seed: int) -> GenerationParams:
        """Fill what is absent from the preset, or else from the card's defaults, and check the rest against the card.

        `drawn_seed` is used when the request names none, and the seed after it as the variation's: drawing it is the
        caller's, so that this stays a pure function.

        Raises InvalidRequest with a message for every wrong field.
        """
        errors: list[FieldError] = []

        def require(field: str, holds: bool, message: str, *limits: float) -> None:
            if not holds:
                errors.append(FieldError(field, message.format(*limits)))

        prompt, negative = clean_text(self.prompt), clean_text(self.negative_prompt or "")
        require("prompt", bool(prompt), "Say what to draw: the prompt is empty.")
        preset = self._preset(card, errors)
        base = preset or card.defaults
        steps = base.num_inference_steps if self.num_inference_steps is None else self.num_inference_steps
        require("num_inference_steps", 1 <= steps <= card.max_steps, "Must be from 1 to {}.", card.max_steps)
        guidance = base.guidance_scale if self.guidance_scale is None else self.guidance_scale
        require("guidance_scale", 0 <= guidance <= card.max_guidance, "Must be from 0 to {:g}.", card.max_guidance)
        preset_cutoff = preset.guidance_cutoff if preset else 1.0
        cutoff = preset_cutoff if self.guidance_cutoff is None else self.guidance_cutoff
        require("guidance_cutoff", 0 <= cutoff <= 1, "Must be from 0 to 1: the share of the steps that are guided.")
        seed = drawn_seed if self.seed is None else self.seed
        require("seed", 0 <= seed <= MAX_SEED, "Must be from 0 to {}.", MAX_SEED)
        towards = _seed(drawn_seed + 1) if self.variation_seed is None else self.variation_seed
        require("variation_seed", 0 <= towards <= MAX_SEED, "Must be from 0 to {}.", MAX_SEED)
        usual_strength = 0.0 if self.variation_seed is None else SUBTLE_VARIATION
        strength = usual_strength if self.variation_strength is None else self.variation_strength
        require("variation_strength", 0 <= strength <= 1, "Must be from 0, no variation, to 1.")
        require("num_images", 1 <= self.num_images <= card.max_images, "Must be from 1 to {}.", card.max_images)
        scheduler = self.scheduler or base.scheduler
        if scheduler not in card.schedulers and (preset is None or scheduler != preset.scheduler):
            errors.append(FieldError("scheduler", f"{card.title} has these: {', '.join(card.schedulers)}."))
        size = self._size(card, errors)
        if self.output_size is not None:
            sides = (self.output_size.width, self.output_size.height)
            fits = all(MIN_OUTPUT_SIDE <= side <= card.max_output_side for side in sides)
            require("output_size", fits, f"Each side must be from {MIN_OUTPUT_SIDE} to {card.max_output_side}.")
        if errors:
            raise InvalidRequest(tuple(errors))
        return GenerationParams(
            prompt=prompt,
            negative_prompt=base.negative_prompt if self.negative_prompt is None else negative,
            width=size.width,
            height=size.height,
            num_inference_steps=steps,
            guidance_scale=guidance,
            seed=seed,
            num_images=self.num_images,
            scheduler=scheduler,
            output_format=self.output_format,
            output_size=self.output_size,
            preset=preset and preset.name,
            adapter=preset and preset.adapter,
            guidance_cutoff=cutoff,
            variation_seed=towards if strength > 0 else None,
            variation_strength=strength,
            deterministic=self.seed is not None if self.deterministic is None else self.deterministic,
        )

    def _preset(self, card: ModelCard, errors: list[FieldError]) -> Preset | None:
        """Find what fills absent fields: the preset that is named, or the card's default one, or none."""
        name = self.preset or card.defaults.preset
        if name is None:
            return None
        preset = card.preset(name)
        if preset is None:
            names = ", ".join(preset.name for preset in card.presets)
            errors.append(
                FieldError("preset", f"{card.title} has these: {names}." if names else f"{card.title} has none.")
            )
        return preset

    def _size(self, card: ModelCard, errors: list[FieldError]) -> Size:
        if self.width is None and self.height is None:
            return card.defaults.size
        if self.width is None or self.height is None:
            missing = "width" if self.width is None else "height"
            errors.append(FieldError(missing, "Give both width and height, or neither."))
            return card.defaults.size
        size = Size(width=self.width, height=self.height)
        if not card.allows(size):
            named = ", ".join(str(ratio.size) for ratio in card.aspect_ratios)
            rule = card.custom_sizes
            custom = (
                ""
                if rule is None
                else f", or sides from {rule.min_side} to {rule.max_side} in multiples of {rule.multiple_of}"
                f" with at most {rule.max_pixels} pixels in all"
            )
            errors.append(FieldError("size", f"{card.title} draws {named}{custom}; not {size}."))
        return size
