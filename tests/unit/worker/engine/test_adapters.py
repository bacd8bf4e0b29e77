from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from safetensors import torch as safetensors_torch

from shared.errors import CheckpointUnavailable, ModelError
from tests.tiny_lora import LAYERS, make_tiny_lora
from tests.unit.worker.engine.drawing import CPU, ROW, params_with, run
from worker.engine.adapters import fuse
from worker.engine.batches import Batches
from worker.engine.card import card_of
from worker.engine.engine import Engine
from worker.engine.events import RowFailed, RowFinished, RowId
from worker.engine.loras import fetch_loras
from worker.engine.model import Model, load_model
from worker.engine.source import choose_source
from worker.engine.warmup import warm_other_kinds

PRESET = {
    "name": "fast",
    "title": "Fast",
    "description": "",
    "num_inference_steps": 3,
    "guidance_scale": 1.0,
    "scheduler": "lcm",
    "adapter": "loras/tiny.safetensors",
}


@pytest.fixture(scope="module")
def deltas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    return make_tiny_lora(tmp_path_factory.mktemp("again") / "tiny.safetensors", strength=0.2)


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with a preset that needs a LoRA beside it."""
    folder = shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("adapted") / "tiny")
    make_tiny_lora(folder / "loras" / "tiny.safetensors", strength=0.2)
    file = folder / "darkroom.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "presets": [PRESET], "id": "adapted/tiny"}))
    return folder


@pytest.fixture(scope="module")
def adapted(checkpoint: Path) -> Model:
    card = card_of(choose_source(str(checkpoint), cuda=False))
    return load_model(checkpoint, card, device=CPU, adapters=fetch_loras(card, checkpoint))


@pytest.fixture
def adapter(adapted: Model) -> str:
    return adapted.adapters[0]


def weights(unet: object) -> dict[str, torch.Tensor]:
    return cast("dict[str, torch.Tensor]", cast("Any", unet).state_dict())


class TestFusing:
    def test_it_adds_up_times_down_to_each_weight_and_touches_no_other(
        self, adapted: Model, model: Model, adapter: str, deltas: dict[str, torch.Tensor]
    ) -> None:
        plain, fused = weights(adapted.unet), weights(adapted.unet_of(adapter))

        assert fused.keys() == plain.keys() == weights(model.unet).keys()
        for name, weight in plain.items():
            assert torch.equal(weight, weights(model.unet)[name])
            delta = deltas.get(name.removesuffix(".weight"))
            if delta is None or not name.endswith(".weight"):
                assert torch.equal(fused[name], weight), name
            else:
                assert torch.allclose(fused[name], weight + delta, atol=1e-6), name
                assert not torch.equal(fused[name], weight), name

    def test_the_copy_is_placed_as_the_plain_one_is(self, adapted: Model, adapter: str) -> None:
        fused = cast("Any", adapted.unet_of(adapter))

        assert not fused.training
        assert (fused.device, fused.dtype) == (adapted.device, adapted.dtype)
        assert {type(module) for module in fused.modules()} == {
            type(module) for module in cast("Any", adapted.unet).modules()
        }
        assert adapted.unets == (adapted.unet, adapted.unet_of(adapter))
        assert adapted.unet_of(None) is adapted.unet

    def test_an_adapter_that_is_not_loaded_is_an_error_of_that_row(self, model: Model) -> None:
        with pytest.raises(ModelError, match="DARKROOM_PRESETS"):
            model.unet_of("some/lora@1")

    @pytest.mark.parametrize(
        "stranger", ["lora_unet_down_blocks_9_attentions_0_proj_in", "lora_te1_text_model_x_q_proj", "unet"]
    )
    def test_a_lora_of_another_model_or_of_the_encoders_is_refused(
        self, model: Model, tmp_path: Path, stranger: str
    ) -> None:
        file = tmp_path / "other.safetensors"
        make_tiny_lora(file)
        state = cast("dict[str, torch.Tensor]", cast("Any", safetensors_torch).load_file(file))
        state |= {f"{stranger}.lora_down.weight": torch.ones(1, 32), f"{stranger}.lora_up.weight": torch.ones(32, 1)}
        state |= {f"{stranger}.alpha": torch.tensor(1.0)}
        cast("Any", safetensors_torch).save_file(state, file)

        with pytest.raises(CheckpointUnavailable, match=r"other\.safetensors"):
            fuse(model.unet, file)

    @pytest.mark.parametrize("content", [b"", b"cut short", b"\x08\0\0\0\0\0\0\0{}      "])
    def test_a_file_that_is_no_lora_leaves_the_preset_out_and_the_worker_in(
        self, tiny_checkpoint: Path, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
    ) -> None:
        card = card_of(choose_source(str(checkpoint), cuda=False))
        broken = tmp_path / "broken.safetensors"
        broken.write_bytes(content)
        name = cast("str", card.presets[0].adapter)

        with caplog.at_level(logging.WARNING):
            loaded = load_model(tiny_checkpoint, card, device=CPU, adapters={name: broken})

        assert loaded.adapters == ()
        assert loaded.card.presets == ()
        assert name in caplog.text


class TestDrawing:
    def test_rows_of_both_unets_side_by_side_are_what_each_draws_alone(self, adapted: Model, adapter: str) -> None:
        asked = {
            RowId("plain"): params_with(guidance_scale=1.0),
            RowId("fast"): params_with(guidance_scale=1.0, adapter=adapter),
            RowId("guided"): params_with(adapter=adapter),
        }
        engine = Engine(adapted, batches=Batches(most=4))
        for row_id, params in asked.items():
            engine.admit(row_id, params, 0)
        together = {event.row_id: event.picture.pixels() for event in run(engine) if isinstance(event, RowFinished)}

        alone: dict[RowId, Any] = {}
        for row_id, params in asked.items():
            engine.admit(row_id, params, 0)
            alone |= {event.row_id: event.picture.pixels() for event in run(engine) if isinstance(event, RowFinished)}
        assert together.keys() == asked.keys()
        for row_id, pixels in together.items():
            assert np.abs(pixels.astype(int) - alone[row_id]).max() <= 1, row_id
        assert not np.array_equal(alone[RowId("plain")], alone[RowId("fast")])

    def test_it_is_the_picture_of_the_stock_pipeline_with_the_same_unet(
        self, adapted: Model, adapter: str, checkpoint: Path
    ) -> None:
        loader = cast("Any", StableDiffusionXLPipeline)
        stock = loader.from_pretrained(checkpoint, variant="fp16", dtype=torch.float32, add_watermarker=False)
        stock.unet.load_state_dict(weights(adapted.unet_of(adapter)))
        stock.set_progress_bar_config(disable=True)
        params = params_with(adapter=adapter)
        engine = Engine(adapted)
        engine.admit(ROW, params, 0)
        drawn = run(engine)[-1]

        assert isinstance(drawn, RowFinished)
        expected = stock(
            prompt=params.prompt,
            width=params.width,
            height=params.height,
            num_inference_steps=params.num_inference_steps,
            guidance_scale=params.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(params.seed),
        ).images[0]
        assert np.array_equal(drawn.picture.pixels(), np.asarray(expected))

    def test_its_unet_is_warmed_too(self, adapted: Model, adapter: str) -> None:
        seen: list[int] = []

        def note(*_: object) -> None:
            seen.append(1)

        hook = cast("Any", adapted.fused[adapter]).conv_in.register_forward_hook(note)
        warm_other_kinds(Engine(adapted))
        hook.remove()
        assert seen == [1]

    def test_a_row_whose_adapter_is_not_loaded_fails_alone(self, model: Model) -> None:
        engine = Engine(model, batches=Batches(most=4))
        engine.admit(RowId("lost"), params_with(adapter="some/lora@1"), 0)
        engine.admit(ROW, params_with(), 0)
        events = run(engine)

        assert [event.row_id for event in events if isinstance(event, RowFailed)] == [RowId("lost")]
        assert [event.row_id for event in events if isinstance(event, RowFinished)] == [ROW]


def test_the_layers_are_the_tiny_unets(model: Model) -> None:
    shapes = {name: tuple(weights(model.unet)[f"{name}.weight"].shape) for name in LAYERS}
    assert shapes == LAYERS
