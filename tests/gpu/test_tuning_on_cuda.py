"""What makes a GPU fast: each choice, what is said of it, and how far it moves a picture. Not yet run on one."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from shared.generation import ModelCard
from shared.settings import keep_compiled_code
from shared.tuning import Attention, Tuning, VaePrecision
from tests.unit.worker.engine.drawing import PARAMS, ROW, draw, params_with
from worker.engine.card import card_of
from worker.engine.engine import Engine
from worker.engine.model import Model, load_model
from worker.engine.source import choose_source

PLAIN = Tuning(channels_last=False, tf32=False)
NEARLY = 2.0
"""Of 255, on average: fp16 with sums in another order, over all steps."""


@pytest.fixture(autouse=True)
def _arithmetic_of_before() -> Iterator[None]:
    matmul, cudnn = cast("Any", torch.backends.cuda).matmul, cast("Any", torch.backends.cudnn)
    kept = (matmul.allow_tf32, cudnn.allow_tf32, matmul.allow_fp16_accumulation)
    yield
    matmul.allow_tf32, cudnn.allow_tf32, matmul.allow_fp16_accumulation = kept
    cast("Any", torch.compiler).reset()


@pytest.fixture(scope="module")
def card(tiny_checkpoint: Path) -> ModelCard:
    return card_of(choose_source(str(tiny_checkpoint), cuda=True))


@pytest.fixture
def plain(tiny_checkpoint: Path, card: ModelCard) -> Model:
    return load_model(tiny_checkpoint, card, tuning=PLAIN)


def distance(one: Model, other: Model) -> float:
    pictures = [draw(Engine(each), PARAMS).astype(int) for each in (one, other)]
    return float(np.abs(pictures[0] - pictures[1]).mean())


def test_the_defaults_are_the_fast_ones_that_cost_nothing(tiny_checkpoint: Path, card: ModelCard, plain: Model) -> None:
    model = load_model(tiny_checkpoint, card)
    report = model.tuning
    assert (report.precision, report.vae_precision) == ("fp16", "fp32")
    assert (report.channels_last, report.tf32) == (True, True)
    assert (report.fused_qkv, report.compiled, report.fp16_accumulation) == (False, False, False)
    assert report.notes == ()
    assert distance(model, plain) < NEARLY


@pytest.mark.parametrize(
    "wanted",
    [
        {"channels_last": True},
        {"fused_qkv": True},
        {"tf32": True},
        {"fp16_accumulation": True},
        {"vae_precision": VaePrecision.BF16},
    ],
)
def test_each_choice_is_in_effect_and_draws_nearly_the_same(
    tiny_checkpoint: Path, card: ModelCard, plain: Model, wanted: dict[str, Any]
) -> None:
    model = load_model(tiny_checkpoint, card, tuning=PLAIN.model_copy(update=wanted))
    assert {name: getattr(model.tuning, name) for name in wanted} == wanted
    assert model.tuning.notes == ()
    assert distance(model, plain) < NEARLY


@pytest.mark.parametrize("attention", [Attention.FLASH, Attention.EFFICIENT, Attention.CUDNN, Attention.MATH])
def test_the_attentions_kernel_is_the_one_asked_for_or_it_says_why_not(
    tiny_checkpoint: Path, card: ModelCard, plain: Model, attention: Attention
) -> None:
    model = load_model(tiny_checkpoint, card, tuning=PLAIN.model_copy(update={"attention": attention}))
    assert (model.tuning.attention == attention) != bool(model.tuning.notes)
    assert distance(model, plain) < NEARLY


def test_a_vae_that_is_safe_in_fp16_decodes_in_fp16(
    tiny_checkpoint: Path, card: ModelCard, plain: Model, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_checkpoint / "vae", tmp_path / "vae")
    half = folder / "diffusion_pytorch_model.fp16.safetensors"
    half.rename(folder / "diffusion_pytorch_model.safetensors")
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "force_upcast": False}))
    model = load_model(tiny_checkpoint, card, tuning=PLAIN, vae_folder=folder, vae_name="fixed@1")
    assert (model.tuning.vae, model.tuning.vae_precision) == ("fixed@1", "fp16")
    assert distance(model, plain) < NEARLY


def test_compiled_code_serves_every_size_and_the_next_start(
    tiny_checkpoint: Path, card: ModelCard, plain: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # so that it is taken back afterwards
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    keep_compiled_code(tmp_path / "compiled")
    wanted = PLAIN.model_copy(update={"compile": True})

    model = load_model(tiny_checkpoint, card, tuning=wanted)

    assert model.tuning.compiled, model.tuning.notes
    assert distance(model, plain) < NEARLY
    vars(model.unet).pop("forward")  # which would run uncompiled what needs another graph
    with cast("Any", torch.compiler).set_stance("fail_on_recompile"):
        for ratio in card.aspect_ratios:
            for guidance_scale in (1.0, 5.0):
                size = {"width": ratio.size.width, "height": ratio.size.height}
                draw(Engine(model), params_with(**size, guidance_scale=guidance_scale))
    cast("Any", torch.compiler).reset()
    counters.clear()
    again = load_model(tiny_checkpoint, card, tuning=wanted)
    assert again.tuning.compiled
    assert counters["inductor"]["fxgraph_cache_hit"] > 0
    assert counters["inductor"]["fxgraph_cache_miss"] == 0
    assert np.array_equal(draw(Engine(again), PARAMS), draw(Engine(dataclasses.replace(again)), PARAMS))


@pytest.mark.parametrize("wanted", [{}, {"attention": Attention.MATH}, {"compile": True}, {"fused_qkv": True}])
def test_a_tuned_step_does_not_wait_for_the_device(
    tiny_checkpoint: Path, card: ModelCard, wanted: dict[str, Any]
) -> None:
    engine = Engine(load_model(tiny_checkpoint, card, tuning=Tuning(**wanted)))
    engine.admit(ROW, PARAMS, 0)
    engine.step()
    set_mode = cast("Any", torch.cuda).set_sync_debug_mode
    set_mode("error")
    try:
        engine.step()
    finally:
        set_mode("default")
