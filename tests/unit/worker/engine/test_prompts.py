from __future__ import annotations

import logging
from typing import Any, cast

import pytest
import torch

from tests.unit.worker.engine.drawing import params_with
from worker.engine.model import Model
from worker.engine.prompts import PromptEncoder


@pytest.fixture
def encoder(model: Model) -> PromptEncoder:
    return PromptEncoder(model)


def test_a_text_is_both_encoders_penultimate_states_side_by_side(encoder: PromptEncoder) -> None:
    embeds = encoder.encode("a cat")
    assert embeds.prompt_embeds.shape == (1, 77, 64)
    assert embeds.pooled.shape == (1, 32)


def test_without_guidance_only_the_prompt_steers(encoder: PromptEncoder) -> None:
    conditioning = encoder.condition(params_with(guidance_scale=1.0, negative_prompt="ugly"))
    assert not conditioning.is_guided
    assert conditioning.prompt_embeds.shape == (1, 77, 64)


def test_an_absent_negative_is_zeros_and_a_given_one_comes_first(encoder: PromptEncoder) -> None:
    absent = encoder.condition(params_with(negative_prompt=""))
    assert not absent.prompt_embeds[0].any()
    assert not absent.pooled[0].any()
    given = encoder.condition(params_with(negative_prompt="ugly"))
    assert torch.equal(given.prompt_embeds[:1], encoder.encode("ugly").prompt_embeds)
    assert torch.equal(given.prompt_embeds[1:], absent.prompt_embeds[1:])


def test_a_known_text_is_not_encoded_again(encoder: PromptEncoder) -> None:
    assert encoder.encode("a cat") is encoder.encode("a cat")


def test_the_oldest_text_is_forgotten_first(encoder: PromptEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.engine.prompts._CACHED_TEXTS", 2)
    first, second = encoder.encode("one"), encoder.encode("two")
    assert encoder.encode("one") is first
    encoder.encode("three")
    assert encoder.encode("one") is first
    assert encoder.encode("two") is not second


def test_a_short_prompt_is_seen_whole(encoder: PromptEncoder) -> None:
    measured = encoder.measure("a cat")
    assert measured.tokens == (4, 4)
    assert measured.window == 75
    assert measured.cut == ""


@pytest.mark.parametrize(("length", "cut"), [(75, ""), (76, "x"), (80, "xxxxx")])
def test_what_lies_beyond_the_window_is_told(encoder: PromptEncoder, length: int, cut: str) -> None:
    measured = encoder.measure("x" * length)
    assert measured.tokens == (length, length)
    assert measured.cut == cut


def test_the_cut_is_told_as_it_was_written(encoder: PromptEncoder, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        measured = encoder.measure("x" * 75 + " On the Mat,\nÉtretat  1 ")
    assert measured.cut == "On the Mat,\nÉtretat  1"
    assert not caplog.records


def test_the_text_before_the_cut_encodes_to_the_same(encoder: PromptEncoder) -> None:
    text = "abc " * 40
    cut = encoder.measure(text).cut
    assert cut == ("abc " * 15).strip()
    seen = text.rstrip().removesuffix(cut)
    assert encoder.measure(seen).cut == ""
    assert torch.equal(encoder.encode(seen).prompt_embeds, encoder.encode(text).prompt_embeds)


def test_tokenizers_pad_as_ssd_1b_does(model: Model) -> None:
    pads = [cast("Any", tokenizer).pad_token for tokenizer in (model.tokenizer, model.tokenizer_2)]
    assert pads == ["<|endoftext|>", "!"]
    assert cast("Any", model.tokenizer_2).pad_token_id == 0
