from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from compel.convenience_wrappers import CompelForSDXL  # pyright: ignore[reportMissingTypeStubs]: compel ships no types

from tests.unit.worker.engine.drawing import CPU, params_with
from worker.engine.model import Model, load_model
from worker.engine.prompts import PromptEncoder


@pytest.fixture
def encoder(model: Model) -> PromptEncoder:
    return PromptEncoder(model)


@pytest.fixture
def reference(model: Model) -> CompelForSDXL:
    """compel's own way from a prompt to embeddings; of the pipeline it wants these four parts alone."""
    parts = ("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2")
    return cast("Any", CompelForSDXL)(SimpleNamespace(**{part: getattr(model, part) for part in parts}))


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


def test_it_is_told_which_texts_were_known(encoder: PromptEncoder) -> None:
    def counted(prompt: str, **changes: object) -> tuple[int, int]:
        said = encoder.condition(params_with(prompt=prompt, **changes))
        return said.recalled, said.encoded

    assert counted("one", negative_prompt="ugly") == (0, 2)
    assert counted("two", negative_prompt="ugly") == (1, 1)
    assert counted("two", negative_prompt="ugly") == (2, 0)
    assert counted("two", negative_prompt="") == (1, 0)  # zeros, which nothing encodes
    assert counted("three", negative_prompt="unread", guidance_scale=1.0) == (0, 1)
    assert counted("four", negative_prompt="four") == (0, 1)


def test_the_text_that_was_asked_for_longest_ago_is_forgotten_first(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = 4 * (77 * 64 + 32)
    monkeypatch.setattr("worker.engine.prompts._CACHED_BYTES", 2 * window)
    encoder = PromptEncoder(model)
    first, second = encoder.encode("one"), encoder.encode("two")
    assert (first.num_bytes, encoder.encode("one")) == (window, first)
    encoder.encode("three")
    assert encoder.encode("one") is first
    assert encoder.encode("two") is not second


def test_a_long_text_takes_the_place_of_several(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.engine.prompts._CACHED_BYTES", 4 * (3 * 77 * 64 + 2 * 32))
    encoder = PromptEncoder(model)
    first = encoder.encode("one")
    long = encoder.encode("x" * 100)
    assert encoder.encode("one") is first
    encoder.encode("three")
    assert encoder.encode("x" * 100) is not long


def test_the_empty_and_the_default_negative_are_never_forgotten(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.engine.prompts._CACHED_BYTES", 0)
    encoder = PromptEncoder(model)
    kept = {text: encoder.encode(text) for text in ("", model.card.defaults.negative_prompt)}
    assert encoder.encode("another") is not encoder.encode("another")
    assert all(encoder.encode(text) is embeds for text, embeds in kept.items())


LONG = "a red circle on blue ground and " * 4


def test_each_window_of_a_long_text_is_encoded_as_a_text_of_its_own(encoder: PromptEncoder) -> None:
    first, second = LONG[:96].rstrip(), LONG[96:].rstrip()
    whole = encoder.encode(f"{first} {second}")
    assert whole.prompt_embeds.shape == (1, 154, 64)
    alone = encoder.encode(first), encoder.encode(second)
    torch.testing.assert_close(whole.prompt_embeds, torch.cat([text.prompt_embeds for text in alone], dim=1))
    torch.testing.assert_close(whole.pooled, alone[0].pooled)


@pytest.mark.parametrize(
    "text",
    [
        "a (red)1.5 circle",
        "a (red)0.5 circle",
        "a (red)0 circle",
        "(a red circle)0",
        "a red++ circle--",
        "a (red (big)1.3 dot)0.7 on (blue)0.6",
        LONG,
        f"(red)1.4 {LONG}",
        f"(red)0.6 {LONG} (dot)0.4",
    ],
)
def test_weights_and_windows_are_those_of_compel(encoder: PromptEncoder, reference: CompelForSDXL, text: str) -> None:
    with torch.inference_mode():
        theirs = cast("Any", reference)(text).embeds
    torch.testing.assert_close(encoder.encode(text).prompt_embeds, theirs)


@pytest.mark.parametrize("text", ["a cat", "a (red)1.5 circle", "a (red)0 circle", LONG])
def test_embeddings_have_the_numbers_of_the_encoders(tiny_checkpoint: Path, model: Model, text: str) -> None:
    half = load_model(tiny_checkpoint, model.card, dtype=torch.bfloat16, device=CPU)
    embeds = PromptEncoder(half).encode(text)
    assert (embeds.prompt_embeds.dtype, embeds.pooled.dtype) == (torch.bfloat16, torch.bfloat16)
    assert embeds.prompt_embeds.isfinite().all()


@pytest.mark.parametrize("text", ["a red++ circle", "a (red:1.21) circle", "a (red)1.21 circle"])
def test_a_weight_can_be_written_in_several_ways(encoder: PromptEncoder, text: str) -> None:
    expected = encoder.encode("a (red)++ circle").prompt_embeds
    torch.testing.assert_close(encoder.encode(text).prompt_embeds, expected)


@pytest.mark.parametrize("text", ["a (red)1 circle", r"a \(red\) circle"])
def test_syntax_that_weighs_nothing_only_goes_away(encoder: PromptEncoder, text: str) -> None:
    plain = "a (red) circle" if "\\" in text else "a red circle"
    assert torch.equal(encoder.encode(text).prompt_embeds, encoder.encode(plain).prompt_embeds)


def test_what_comes_before_a_weight_does_not_feel_it_and_what_is_pooled_neither(encoder: PromptEncoder) -> None:
    weighted, plain = encoder.encode("a cat (red)0.3 circle"), encoder.encode("a cat red circle")
    assert not torch.equal(weighted.prompt_embeds, plain.prompt_embeds)
    torch.testing.assert_close(weighted.prompt_embeds[:, :5], plain.prompt_embeds[:, :5])
    assert torch.equal(weighted.pooled, plain.pooled)


def test_many_low_weights_cost_a_bounded_number_of_runs(encoder: PromptEncoder, model: Model) -> None:
    runs: list[int] = []

    def count(*_: object) -> None:
        runs.append(1)

    with model.text_encoder.register_forward_hook(count):
        encoder.encode("(a)0.5 b " * 130)
    assert len(runs) <= 4 + 16 + 1


def test_the_shorter_of_two_texts_is_padded_with_empty_windows(encoder: PromptEncoder) -> None:
    for prompt, negative in ((LONG, "ugly"), ("ugly", LONG)):
        conditioning = encoder.condition(params_with(prompt=prompt, negative_prompt=negative))
        assert conditioning.prompt_embeds.shape == (2, 154, 64)
        short = conditioning.prompt_embeds[0 if negative == "ugly" else 1]
        assert torch.equal(short[:77], encoder.encode("ugly").prompt_embeds[0])
        assert torch.equal(short[77:], encoder.encode("").prompt_embeds[0])


def test_an_absent_negative_is_zeros_as_long_as_the_prompt(encoder: PromptEncoder) -> None:
    conditioning = encoder.condition(params_with(prompt=LONG, negative_prompt=""))
    assert conditioning.prompt_embeds.shape == (2, 154, 64)
    assert not conditioning.prompt_embeds[0].any()


def test_an_absent_negative_of_a_model_that_wants_none_zeroed_is_the_empty_text(model: Model) -> None:
    encoder = PromptEncoder(replace(model, force_zeros_for_empty_prompt=False))
    conditioning = encoder.condition(params_with(prompt=LONG, negative_prompt=""))
    empty = encoder.encode("").prompt_embeds[0]
    assert torch.equal(conditioning.prompt_embeds[0], torch.cat([empty, empty]))


def test_nothing_is_printed_or_logged(
    encoder: PromptEncoder, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.WARNING):
        for text in (LONG * 4, f"(red)0.6 {LONG * 4}", "(cat)5 <lora:x:1>"):
            encoder.measure(text)
            encoder.encode(text)
    captured = capfd.readouterr()
    assert (caplog.records, captured.out, captured.err) == ([], "", "")


def test_tokenizers_pad_as_ssd_1b_does(model: Model) -> None:
    pads = [cast("Any", tokenizer).pad_token for tokenizer in (model.tokenizer, model.tokenizer_2)]
    assert pads == ["<|endoftext|>", "!"]
    assert cast("Any", model.tokenizer_2).pad_token_id == 0
