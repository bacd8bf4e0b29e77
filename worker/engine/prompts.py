"""Prompts as the UNet reads them.

A text of one window without weights is encoded as `StableDiffusionXLPipeline.encode_prompt` of diffusers 0.42 does, bit
for bit. The windows of a longer one are encoded side by side, in one run of each encoder, and joined. Weights are
compel 2.5's arithmetic (`CompelForSDXL`), on tokens that `shared.reading` found: compel's own parser rewrites
plain text and raises where it can't parse, and its pooled output would see the weighting syntax.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, Final, cast

import torch
from compel.embeddings_provider import (  # pyright: ignore[reportMissingTypeStubs]: compel ships no types
    EmbeddingsProvider,
    ReturnedEmbeddingsType,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from shared.generation import GenerationParams
from shared.reading import PromptMeasure, TextReader, Tokens
from worker.engine.model import Model
from worker.engine.vocabulary import length_of, vocabulary_of

_CACHED_BYTES: Final = 64 * 2**20
"""A window of SDXL's is 77 x 2048 numbers, 0.3 MB in fp16: some 200 texts of one window, or 50 of four."""

_MOST_MASKED: Final = 16
"""Passages of a text with a weight below 1 that are masked, each for one more run of the encoders over its window."""

_READINGS: Final = 64

_LEAST: Final = 1e-5
"""compel's: a weight of 0 would blend with an infinity."""


@dataclass(frozen=True, slots=True, eq=False)
class TextEmbeds:
    """One text, encoded."""

    prompt_embeds: torch.Tensor
    """(1, 77 W, D): penultimate hidden states of both encoders, side by side, for W windows."""
    pooled: torch.Tensor
    """(1, P): pooled and projected output of the second encoder for the first window, without weights."""

    @property
    def num_bytes(self) -> int:
        """Memory that it holds on the device."""
        return self.prompt_embeds.nbytes + self.pooled.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """What steers one row: `(1, ...)` without guidance, `(2, ...)`, negative first, with it."""

    prompt_embeds: torch.Tensor
    pooled: torch.Tensor
    is_guided: bool
    recalled: int = 0
    """Of its texts, those that were remembered."""
    encoded: int = 0
    """The others."""


class PromptEncoder:
    """Encodes texts with a model's two encoders and remembers the latest. One thread at a time, as the model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        tokenizers = (model.tokenizer, model.tokenizer_2)
        encoders = (model.text_encoder, model.text_encoder_2)
        length = min(map(length_of, tokenizers))
        self._encoders = tuple(
            _Encoder(encoder, tokenizer, length, model.device)
            for encoder, tokenizer in zip(encoders, tokenizers, strict=True)
        )
        self._memory = _Memory(_CACHED_BYTES, kept=("", model.card.defaults.negative_prompt))
        self.vocabulary = vocabulary_of(tokenizers)
        # A text is measured first and encoded a moment later. What is read by is what others get to read by, too.
        self._read = lru_cache(_READINGS)(TextReader(self.vocabulary).read)

    def condition(self, params: GenerationParams) -> Conditioning:
        """Encode a job's prompt and, with guidance, its negative prompt; the shorter is padded with empty windows."""
        is_guided = params.guidance_scale > 1
        has_negative = is_guided and bool(params.negative_prompt or not self._model.force_zeros_for_empty_prompt)
        texts = {params.prompt, params.negative_prompt} if has_negative else {params.prompt}
        recalled = sum(text in self._memory for text in texts)
        encoded = len(texts) - recalled
        positive = self.encode(params.prompt)
        if not is_guided:
            return Conditioning(
                positive.prompt_embeds, positive.pooled, is_guided=False, recalled=recalled, encoded=encoded
            )
        if has_negative:
            negative = self.encode(params.negative_prompt)
        else:
            negative = TextEmbeds(torch.zeros_like(positive.prompt_embeds), torch.zeros_like(positive.pooled))
        length = max(positive.prompt_embeds.shape[1], negative.prompt_embeds.shape[1])
        return Conditioning(
            torch.cat([self._padded(negative.prompt_embeds, length), self._padded(positive.prompt_embeds, length)]),
            torch.cat([negative.pooled, positive.pooled]),
            is_guided=True,
            recalled=recalled,
            encoded=encoded,
        )

    @torch.inference_mode()
    def encode(self, text: str) -> TextEmbeds:
        """Encode one text, or recall it."""
        known = self._memory.get(text)
        if known is not None:
            return known
        reading = self._read(text)
        encode = _Encoder.encode_weighted if reading.is_weighted else _Encoder.encode
        runs = [
            encode(encoder, tuple(window[at] for window in reading.windows))
            for at, encoder in enumerate(self._encoders)
        ]
        embeds = TextEmbeds(torch.concat([run.states for run in runs], dim=-1), runs[-1].pooled)
        self._memory.put(text, embeds)
        return embeds

    def measure(self, text: str) -> PromptMeasure:
        """Count a text's tokens and find what lies beyond the windows."""
        return self._read(text).measure

    def _padded(self, prompt_embeds: torch.Tensor, length: int) -> torch.Tensor:
        """Fill up to `length` tokens with empty windows, as compel does."""
        if prompt_embeds.shape[1] == length:
            return prompt_embeds
        empty = self.encode("").prompt_embeds
        missing = (length - prompt_embeds.shape[1]) // empty.shape[1]
        return torch.cat([prompt_embeds, *[empty] * missing], dim=1)


class _Memory:
    """The latest texts, up to a number of bytes, and for ever those that are `kept`, which don't count."""

    def __init__(self, most_bytes: int, *, kept: Iterable[str]) -> None:
        self._most_bytes = most_bytes
        self._kept: dict[str, TextEmbeds | None] = dict.fromkeys(kept)
        self._latest: OrderedDict[str, TextEmbeds] = OrderedDict()
        self._num_bytes = 0

    def __contains__(self, text: str) -> bool:
        return self._kept.get(text) is not None or text in self._latest

    def get(self, text: str) -> TextEmbeds | None:
        if text in self._kept:
            return self._kept[text]
        if text in self._latest:
            self._latest.move_to_end(text)
        return self._latest.get(text)

    def put(self, text: str, embeds: TextEmbeds) -> None:
        """Remember a text that isn't known; the one that was asked for longest ago goes first."""
        if text in self._kept:
            self._kept[text] = embeds
            return
        self._latest[text] = embeds
        self._num_bytes += embeds.num_bytes
        while self._num_bytes > self._most_bytes:
            self._num_bytes -= self._latest.popitem(last=False)[1].num_bytes


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What an encoder says of a text."""

    states: torch.Tensor
    """(1, 77 W, D)"""
    pooled: torch.Tensor
    """(1, P) of the first window; of the first encoder, which has none, something else that nobody reads."""


class _Encoder:
    """One encoder with its tokenizer's markers and padding, and compel's weights."""

    def __init__(
        self,
        encoder: CLIPTextModel | CLIPTextModelWithProjection,
        tokenizer: CLIPTokenizer,
        length: int,
        device: torch.device,
    ) -> None:
        self._encoder = cast("Any", encoder)
        self._tokenizer = cast("Any", tokenizer)
        self._length = length
        self._device = device
        self._heard: torch.Tensor | None = None
        self._weigher = cast("Any", EmbeddingsProvider)(
            tokenizer=tokenizer,
            text_encoder=self._overhear,
            truncate=False,
            returned_embeddings_type=ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
            device=device,
            model_max_length=length,
        )

    def encode(self, windows: Sequence[Tokens]) -> _Run:
        """Encode windows as they are, all in one run."""
        ids = torch.stack([self._ids(window) for window in windows])
        output = self._encoder(ids.to(self._device), output_hidden_states=True)
        return _Run(output.hidden_states[-2].flatten(0, 1)[None], output[0][:1])

    def encode_weighted(self, windows: Sequence[Tokens]) -> _Run:
        """Encode windows with their weights as compel does, one after another.

        Each token's state is moved away from that of an empty text, or towards it. A passage with a weight below 1
        is masked as well, the more the lower it is; beyond `_MOST_MASKED` passages they are only moved.
        """
        _ = self._weigher.empty_z  # now, so that what is overheard below is of the text
        passages = [(at, *run) for at, window in enumerate(windows) for run in _low_runs(window.weights)][:_MOST_MASKED]
        pulls = [math.tan((1 - max(_LEAST, weight)) * math.pi / 2) for *_, weight in passages]
        states: list[torch.Tensor] = []
        pooled: list[torch.Tensor] = []
        for number, window in enumerate(windows):
            ids, weights = self._ids(window).to(self._device), self._weights(window).to(self._device)
            variants = [self._weigher.build_weighted_embedding_tensor(ids, weights, None, self._device)]
            pooled.append(cast("torch.Tensor", self._heard))
            blend = [1.0]
            for (at, begin, end, _), pull in zip(passages, pulls, strict=True):
                if at == number:
                    mask = torch.ones_like(ids)
                    mask[1 + begin : 1 + end] = 0
                    variants.append(self._weigher.build_weighted_embedding_tensor(ids, weights, mask, self._device))
                    blend.append(pull)
                else:
                    blend[0] += pull  # a window is the same without a passage of another
            states.append(EmbeddingsProvider.apply_embedding_weights(torch.stack(variants, 1), blend, normalize=True))
        self._heard = None
        return _Run(torch.cat(states, dim=1).to(self._encoder.dtype), pooled[0])

    def _overhear(self, *args: object, **options: object) -> object:
        """Run the encoder for compel, and keep the pooled output, which it would run it again for."""
        output = self._encoder(*args, **options)
        self._heard = output[0]
        return output

    def _ids(self, window: Tokens) -> torch.Tensor:
        """(77,) int64: the window's tokens between the markers, padded."""
        tokenizer = self._tokenizer
        ids = [tokenizer.bos_token_id, *window.ids, tokenizer.eos_token_id]
        return torch.tensor(ids + [tokenizer.pad_token_id] * (self._length - len(ids)))

    def _weights(self, window: Tokens) -> torch.Tensor:
        """(77,) float32: markers and padding weigh 1."""
        weights = torch.ones(self._length)
        weights[1 : 1 + len(window.weights)] = torch.tensor(window.weights)
        return weights


def _low_runs(weights: Sequence[float]) -> list[tuple[int, int, float]]:
    """Begin, end and weight of the runs of tokens that share a weight below 1."""
    runs = (list(run) for _, run in groupby(enumerate(weights), lambda pair: pair[1]))
    return [(run[0][0], run[-1][0] + 1, run[0][1]) for run in runs if run[0][1] < 1]
