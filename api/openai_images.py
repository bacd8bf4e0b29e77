"""OpenAI's words for pictures: what its clients say and read, and what of that means something here.

Fields that mean nothing here and change no picture are accepted (`user`, `moderation`, ...); one that would silently
give another picture than was asked for is refused. Names and shapes are those of the client's `openai.types`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from api.dialect import drawn_at, job_request, size_of
from api.faults import OpenAIErrorBody
from shared.contract import JobRequest
from shared.errors import FieldError, InvalidRequest
from shared.generation import MAX_PROMPT_CHARS, MAX_SEED, ModelCard, OutputFormat
from shared.jobs import Job

DIALECT_NAME: Final = "openai"

FULL_QUALITY: Final = 100

OUR_NAMES: Final = {"num_images": "n", "width": "size", "height": "size", "output_size": "size"}

DrawnQuality = Literal["low", "medium", "high", "xhigh", "max"]
ToldQuality = Literal[DrawnQuality, "auto"]
Quality = Literal[ToldQuality, "standard", "hd"]


class ImagesRequest(BaseModel):
    """`POST /v1/images/generations`."""

    model_config = ConfigDict(extra="forbid")

    prompt: Annotated[str, Field(json_schema_extra={"minLength": 1, "maxLength": MAX_PROMPT_CHARS})]
    model: str | None = None
    """A model's id from `/v1/models`; absent: the one that is served."""
    n: int | None = Field(default=None, json_schema_extra={"minimum": 1})
    """Pictures; absent: 1."""
    size: str | None = None
    """`WIDTHxHEIGHT` or `auto`, the model's own. A size that it doesn't draw itself is drawn in its nearest size of the
    same shape and resized."""
    quality: Quality | None = None
    """Chooses among the model's presets by their work; absent, `auto` and `standard`: its default."""
    response_format: Literal["b64_json", "url"] | None = None
    """Absent: `b64_json`, as OpenAI's models of today answer."""
    output_format: OutputFormat | None = None
    output_compression: Annotated[int, Field(ge=0, le=FULL_QUALITY)] | None = None
    """Only 100, our best: how much JPEG and WebP are compressed is not a request's choice here."""
    stream: bool | None = None
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None
    """Sketches of the picture in the making, at most so many; only in a stream."""
    background: Literal["auto", "opaque", "transparent"] | None = None
    """Never `transparent`: no model here draws that."""
    negative_prompt: str | None = None
    num_inference_steps: int | None = Field(default=None, json_schema_extra={"minimum": 1})
    guidance_scale: float | None = Field(default=None, json_schema_extra={"minimum": 0})
    seed: int | None = Field(default=None, json_schema_extra={"minimum": 0, "maximum": MAX_SEED})
    moderation: Literal["auto", "low"] | None = None
    """Without effect, as the rest: there is none."""
    style: Literal["vivid", "natural"] | None = None
    complexity: Literal["low", "medium", "high"] | None = None
    frame_count: None = None
    """Of a GIF, as the next one and `svg` of an SVG: neither is drawn here, so they can only say nothing."""
    frame_duration_ms: None = None
    svg: None = None
    user: str | None = None
    safety_identifier: str | None = None

    def as_job(self, card: ModelCard) -> JobRequest:
        """Say it as a job's request. Raises InvalidRequest."""
        self._refuse_what_can_not_be()
        return job_request(
            DIALECT_NAME,
            **drawn_at(card, size_of(self.size)),
            prompt=self.prompt,
            model=card.id,
            num_images=self.n,
            output_format=self.output_format,
            preset=preset_of(card, self.quality),
            negative_prompt=self.negative_prompt,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            seed=self.seed,
        )

    def _refuse_what_can_not_be(self) -> None:
        wrong: list[FieldError] = []
        if self.background == "transparent":
            wrong.append(FieldError("background", "No model here draws transparent backgrounds."))
        if self.output_compression not in {None, FULL_QUALITY}:
            wrong.append(FieldError("output_compression", "Only 100: files are stored in the best quality."))
        if self.stream and self.response_format == "url":
            wrong.append(FieldError("response_format", "A stream carries b64_json alone."))
        if self.partial_images and not self.stream:
            wrong.append(FieldError("partial_images", "Only with stream=true."))
        if wrong:
            raise InvalidRequest(tuple(wrong))


class TokenDetails(BaseModel):
    """Of the tokens that went in."""

    image_tokens: int = 0
    text_tokens: int


class Usage(BaseModel):
    """What OpenAI would bill: here the prompt's tokens, as the model's own encoder counts them."""

    input_tokens: int
    input_tokens_details: TokenDetails
    output_tokens: int = 0
    total_tokens: int

    @classmethod
    def of(cls, job: Job) -> Self:
        """Count what a job's worker has read; nothing for one whose worker didn't say."""
        tokens = job.reading.prompt.tokens if job.reading else 0
        return cls(input_tokens=tokens, input_tokens_details=TokenDetails(text_tokens=tokens), total_tokens=tokens)


class ImageData(BaseModel):
    """A picture, by one of the two."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str
    """The prompt that was drawn: cleaned, not rewritten."""


class ImagesResponse(BaseModel):
    """All pictures of a request."""

    created: int
    """Unix seconds."""
    data: list[ImageData]
    background: Literal["opaque"] = "opaque"
    output_format: OutputFormat
    size: str
    quality: DrawnQuality | None = None
    """Absent where what was drawn is none of these."""
    usage: Usage


class ImageEvent(BaseModel):
    """What both events of a stream say."""

    b64_json: str
    background: Literal["opaque"] = "opaque"
    created_at: int
    output_format: OutputFormat
    quality: ToldQuality
    size: str


class PartialImage(ImageEvent):
    """A sketch of a picture in the making: a JPEG of at most 256 pixels a side."""

    type: Literal["image_generation.partial_image"] = "image_generation.partial_image"
    partial_image_index: int


class CompletedImage(ImageEvent):
    """A finished picture."""

    type: Literal["image_generation.completed"] = "image_generation.completed"
    usage: Usage


EVENTS: Final[dict[str, type[BaseModel]]] = {
    "image_generation.partial_image": PartialImage,
    "image_generation.completed": CompletedImage,
    "error": OpenAIErrorBody,
}
"""What a stream tells, by the names that it has there."""


def preset_of(card: ModelCard, quality: Quality | None) -> str | None:
    """The preset for a quality, of those that the model has: low is the least work, high the most."""
    ranked = sorted(card.presets, key=lambda preset: preset.num_forwards)
    match quality:
        case "low":
            chosen = ranked[:1]
        case "medium":
            chosen = ranked[len(ranked) // 2 :]
        case "high" | "hd" | "xhigh" | "max":
            chosen = ranked[-1:]
        case "auto" | "standard" | None:
            chosen = []
    return chosen[0].name if chosen else None


def quality_of(card: ModelCard, job: Job, asked: Quality | None) -> DrawnQuality | None:
    """The quality of a job's pictures: as it was asked for, or else that of their preset, if it is any's."""
    match asked:
        case "low" | "medium" | "high" | "xhigh" | "max":
            return asked
        case _:
            levels: tuple[DrawnQuality, ...] = ("high", "medium", "low")
            drawn = job.params.preset
            return next((level for level in levels if drawn and preset_of(card, level) == drawn), None)
