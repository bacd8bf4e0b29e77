"""Prompts as the UNet reads them, and how much of a prompt the encoders see.

Encodes as `StableDiffusionXLPipeline.encode_prompt` of diffusers 0.42 does, one text at a time:
one window of 77 tokens an encoder, what lies beyond is cut. `measure` tells what was.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from transformers import CLIPTokenizer

from shared.generation import GenerationParams
from worker.engine.model import Model

_CACHED_TEXTS: Final = 128
"""An SDXL text is 77 x 2048 numbers: 0.3 MB in fp16, 40 MB for the whole cache."""


@dataclass(frozen=True, slots=True, eq=False)
class TextEmbeds:
    """One text, encoded."""

    prompt_embeds: torch.Tensor
    """(1, 77, D): penultimate hidden states of both encoders, side by side."""
    pooled: torch.Tensor
    """(1, P): pooled and projected output of the second encoder."""


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """What steers one row: `(1, ...)` without guidance, `(2, ...)`, negative first, with it."""

    prompt_embeds: torch.Tensor
    pooled: torch.Tensor
    is_guided: bool


@dataclass(frozen=True, slots=True)
class PromptMeasure:
    """How much of a text the encoders see."""

    tokens: tuple[int, int]
    """Tokens for each encoder, without the two markers, before anything is cut."""
    window: int
    """Tokens that one encoder sees: 75."""
    cut: str
    """The text beyond the window, as it was written; empty if all of it is seen."""


class PromptEncoder:
    """Encodes texts with a model's two encoders and remembers the latest."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._cache: OrderedDict[str, TextEmbeds] = OrderedDict()

    def condition(self, params: GenerationParams) -> Conditioning:
        """Encode a job's prompt and, with guidance, its negative prompt."""
        positive = self.encode(params.prompt)
        if params.guidance_scale <= 1:
            return Conditioning(positive.prompt_embeds, positive.pooled, is_guided=False)
        if params.negative_prompt or not self._model.force_zeros_for_empty_prompt:
            negative = self.encode(params.negative_prompt)
        else:
            negative = TextEmbeds(torch.zeros_like(positive.prompt_embeds), torch.zeros_like(positive.pooled))
        return Conditioning(
            torch.cat([negative.prompt_embeds, positive.prompt_embeds]),
            torch.cat([negative.pooled, positive.pooled]),
            is_guided=True,
        )

    @torch.inference_mode()
    def encode(self, text: str) -> TextEmbeds:
        """Encode one text, or recall it."""
        known = self._cache.get(text)
        if known is not None:
            self._cache.move_to_end(text)
            return known
        model = self._model
        first = model.text_encoder(_input_ids(model.tokenizer, text, model), output_hidden_states=True)
        second = model.text_encoder_2(_input_ids(model.tokenizer_2, text, model), output_hidden_states=True)
        embeds = TextEmbeds(torch.concat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1), second[0])
        self._cache[text] = embeds
        if len(self._cache) > _CACHED_TEXTS:
            self._cache.popitem(last=False)
        return embeds

    def measure(self, text: str) -> PromptMeasure:
        """Count a text's tokens and find what lies beyond the window."""
        return measure(text, self._model.tokenizer, self._model.tokenizer_2)


def measure(text: str, tokenizer: CLIPTokenizer, tokenizer_2: CLIPTokenizer) -> PromptMeasure:
    """Count a text's tokens for both encoders and find what lies beyond either's window."""
    counts: list[int] = []
    starts: list[int] = []
    window = min(_length(tokenizer), _length(tokenizer_2)) - 2
    for each in (tokenizer, tokenizer_2):
        tokens = cast(
            "Any", each(text, add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False)
        )
        offsets = cast("list[tuple[int, int]]", tokens["offset_mapping"])
        counts.append(len(offsets))
        if len(offsets) > window:
            starts.append(offsets[window][0])
    return PromptMeasure((counts[0], counts[1]), window, text[min(starts) :].strip() if starts else "")


def _length(tokenizer: CLIPTokenizer) -> int:
    """Tokens that the encoder sees, markers and all: 77."""
    return int(cast("Any", tokenizer).model_max_length)


def _input_ids(tokenizer: CLIPTokenizer, text: str, model: Model) -> torch.Tensor:
    """(1, 77) int64, padded and cut to the encoder's window."""
    tokens = cast(
        "Any",
        tokenizer(text, padding="max_length", max_length=_length(tokenizer), truncation=True, return_tensors="pt"),
    )
    return cast("torch.Tensor", tokens.input_ids.to(model.device))
