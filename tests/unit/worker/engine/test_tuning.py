from __future__ import annotations

import copy
import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0, FusedAttnProcessor2_0
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch._dynamo.testing import CompileCounterWithBackend

from shared.generation import GenerationParams, Size
from shared.tuning import Attention, Tuning, TuningInEffect, VaePrecision
from tests.unit.worker.engine.drawing import CPU, PARAMS, draw, params_with
from worker.engine.decode import decode
from worker.engine.engine import Engine
from worker.engine.events import RowId
from worker.engine.model import Model
from worker.engine.prompts import PromptEncoder
from worker.engine.row import Row, predict_noise
from worker.engine.tuning import tune, vae_dtype

SIZES = tuple(Size(width=w, height=h) for w, h in ((64, 64), (96, 64), (64, 96), (80, 64), (128, 32)))
BATCHES = range(1, 9)
A_LEVEL = 1
"""Of 255: how far a pixel may move where the same numbers are added up in another order."""


@pytest.fixture(autouse=True)
def _no_graphs_of_other_tests() -> Iterator[None]:
    """Torch keeps graphs by code, not by model, and eight of them at most."""
    yield
    cast("Any", torch.compiler).reset()


@pytest.fixture
def own(model: Model) -> Model:
    """A model whose networks a test may change."""
    return dataclasses.replace(model, unet=copy.deepcopy(model.unet), vae=copy.deepcopy(model.vae))


@pytest.fixture
def layered(model: Model) -> Model:
    """A model with a UNet in SSD-1B's layout: attention at two widths, none in the middle, uneven depths."""
    random = cast("Any", torch.random)
    with random.fork_rng(devices=[]):
        random.manual_seed(0)
        unet = cast("Any", UNet2DConditionModel)(
            sample_size=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            mid_block_type="UNetMidBlock2D",
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(8, 16, 32),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=(1, 2, 4),
            transformer_layers_per_block=(1, 1, 2),
            reverse_transformer_layers_per_block=[[1, 3], [2, 1], 1],
            cross_attention_dim=cast("Any", model.unet).config.cross_attention_dim,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=cast("Any", model.unet).config.projection_class_embeddings_input_dim,
        )
    return dataclasses.replace(model, unet=unet.eval())


def tuned(model: Model, compiler: str | Callable[..., Any] = "eager", **wanted: object) -> TuningInEffect:
    return tune((model.unet,), model.vae, Tuning.model_validate(wanted), sizes=SIZES[:1], compiler=compiler)


def rows(model: Model, size: Size, batch: int, guidance_scale: float) -> list[Row]:
    params = params_with(width=size.width, height=size.height, guidance_scale=guidance_scale)
    with torch.inference_mode():
        conditioning = PromptEncoder(model).condition(params)
        return [Row(RowId(str(at)), params, at, model=model, conditioning=conditioning) for at in range(batch)]


def predict(model: Model) -> list[torch.Tensor]:
    """The UNet's word on rows of five sizes, in batches of 1 to 8, with and without guidance."""
    with torch.inference_mode():
        return [
            noise
            for size in SIZES
            for batch in BATCHES
            for guidance_scale in (1.0, 5.0)
            for _, noise in predict_noise(model, rows(model, size, batch, guidance_scale))
        ]


def moved(one: Model, other: Model, params: GenerationParams = PARAMS) -> int:
    """The most that a pixel of the picture differs, of 255."""
    first, second = (draw(Engine(each), params).astype(int) for each in (one, other))
    return int(np.abs(first - second).max())


def test_on_a_cpu_nothing_is_touched_by_default(model: Model) -> None:
    unet = cast("Any", model.unet)

    assert model.tuning == TuningInEffect(precision="fp32", vae_precision="fp32", attention="flash")
    assert "forward" not in vars(unet)
    assert {type(processor) for processor in unet.attn_processors.values()} == {AttnProcessor2_0}
    for network in (model.unet, model.vae):
        assert all(weight.is_contiguous() for weight in cast("torch.nn.Module", network).parameters())


def test_channels_last_moves_no_pixel_by_more_than_a_level(own: Model, model: Model) -> None:
    report = tuned(own, channels_last=True)

    assert report.channels_last
    for network in (own.unet, own.vae):
        weights = [weight for weight in cast("torch.nn.Module", network).parameters() if weight.ndim == 4]
        assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    assert moved(own, model) <= A_LEVEL


def test_fused_projections_move_no_pixel_by_more_than_a_level(own: Model, model: Model) -> None:
    weights = sum(weight.numel() for weight in cast("torch.nn.Module", own.unet).parameters())

    report = tuned(own, fused_qkv=True)

    assert report.fused_qkv
    for network in (own.unet, own.vae):
        processors = cast("Any", network).attn_processors.values()
        assert {type(processor) for processor in processors} == {FusedAttnProcessor2_0}
    assert sum(weight.numel() for weight in cast("torch.nn.Module", own.unet).parameters()) == weights
    assert moved(own, model) <= A_LEVEL


def test_projections_are_not_fused_over_a_lora(own: Model) -> None:
    cast("Any", own.unet).conv_in.add_module("lora_A", torch.nn.Identity())

    with pytest.raises(ValueError, match="Fuse the LoRA"):
        tuned(own, fused_qkv=True)


def test_the_attentions_kernel_is_chosen_for_the_unet_alone(own: Model, model: Model) -> None:
    seen: list[bool] = []
    flash_is_on = cast("Callable[[], bool]", cast("Any", torch.backends.cuda).flash_sdp_enabled)

    def look(*_: object) -> None:
        seen.append(flash_is_on())

    for network in (own.unet, cast("Any", own.vae).decoder):
        cast("Any", network).conv_in.register_forward_hook(look)

    report = tuned(own, attention=Attention.MATH)
    distance = moved(own, model)

    assert report.attention == "math"
    assert seen == [False] * PARAMS.num_inference_steps + [True]
    assert flash_is_on()
    assert distance <= A_LEVEL


def test_a_picture_that_is_decoded_beside_a_step_waits_for_the_kernel_to_be_its_own_again(own: Model) -> None:
    flash_is_on = cast("Callable[[], bool]", cast("Any", torch.backends.cuda).flash_sdp_enabled)
    seen: list[bool] = []
    latents = torch.zeros(1, own.latent_channels, 8, 8)
    beside = threading.Thread(target=decode, args=(own, latents))

    def look_while_decoding(*_: object) -> None:
        seen.append(flash_is_on())

    def decode_beside(*_: object) -> None:
        if beside.ident is None:
            beside.start()
            beside.join(0.5)
            assert not seen

    tuned(own, attention=Attention.MATH)
    cast("Any", own.vae).decoder.conv_in.register_forward_hook(look_while_decoding)
    own.unet.conv_in.register_forward_hook(decode_beside)
    draw(Engine(own), PARAMS)
    beside.join(60)

    assert seen == [True, True]


@pytest.mark.parametrize("attention", [Attention.EFFICIENT, Attention.CUDNN])
def test_a_kernel_that_the_device_has_not_is_left_to_torch(own: Model, model: Model, attention: Attention) -> None:
    report = tuned(own, attention=attention)

    assert report.attention == "flash"
    assert str(attention) in report.notes[0]
    assert moved(own, model) == 0


def test_four_graphs_serve_five_sizes_and_batches_of_one_to_eight(layered: Model) -> None:
    expected = predict(layered)
    counter = CompileCounterWithBackend("eager")

    report = tuned(layered, counter, compile=True)
    vars(layered.unet).pop("forward")  # which would run uncompiled what needs another graph
    with cast("Any", torch.compiler).set_stance("fail_on_recompile"):
        predictions = predict(layered)

    assert report.compiled
    assert not report.notes
    assert 1 <= counter.frame_count <= 4
    for one, other in zip(predictions, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_the_graphs_of_one_size_serve_the_others_and_a_second_unet(own: Model) -> None:
    counter = CompileCounterWithBackend("eager")
    second = copy.deepcopy(own.unet)

    tune((own.unet, second), own.vae, Tuning(compile=True), sizes=SIZES[:1], compiler=counter)
    with torch.inference_mode(), cast("Any", torch.compiler).set_stance("fail_on_recompile"):
        vars(own.unet).pop("forward")  # which would run what needs another graph uncompiled
        predict_noise(own, rows(own, SIZES[1], 3, 5.0))
        vars(second).pop("forward")
        predict_noise(dataclasses.replace(own, unet=second), rows(own, SIZES[2], 1, 1.0))

    assert counter.frame_count == 2  # attention at one width; batches of one, and of more


def test_a_call_that_no_graph_fits_runs_uncompiled(own: Model) -> None:
    counter = CompileCounterWithBackend("eager")
    tuned(own, counter, compile=True)
    at_the_start = counter.frame_count
    two = rows(own, SIZES[0], 2, 5.0)

    with torch.no_grad():  # graphs are kept for inference mode, in which the engine draws
        outside = predict_noise(own, two)
    with torch.inference_mode():
        inside = predict_noise(own, two)

    assert counter.frame_count == at_the_start
    for (_, one), (_, other) in zip(outside, inside, strict=True):
        torch.testing.assert_close(one, other)


def test_a_compiled_picture_is_the_same_within_a_level(own: Model, model: Model) -> None:
    report = tuned(own, "aot_eager", compile=True, fused_qkv=True, channels_last=True)

    assert report.compiled
    assert moved(own, model) <= A_LEVEL


def test_where_the_compiler_fails_the_worker_draws_without_and_says_so(own: Model, model: Model) -> None:
    def broken(*_: object) -> None:
        raise OSError("Failed to find C compiler. Please specify via CC environment variable.\nand more")

    report = tuned(own, broken, compile=True)

    assert not report.compiled
    assert "Failed to find C compiler" in report.notes[0]
    assert "and more" not in report.notes[0]
    assert moved(own, model) == 0


@pytest.mark.parametrize("wanted", [{"attention": Attention.MATH}, {"compile": True}])
def test_a_copy_of_a_tuned_unet_computes_with_its_own_weights(own: Model, wanted: dict[str, Any]) -> None:
    tuned(own, **wanted)
    twin = dataclasses.replace(own, unet=copy.deepcopy(own.unet))

    assert moved(own, twin) == 0
    with torch.no_grad():
        cast("Any", twin.unet).conv_out.weight.zero_()
    assert moved(own, twin) > 0


def test_what_only_cuda_has_is_noted(own: Model) -> None:
    report = tuned(own, fp16_accumulation=True, vae_precision=VaePrecision.BF16)

    assert not report.fp16_accumulation
    assert not report.tf32
    assert [note.split(":")[0] for note in report.notes] == ["vae_precision=bf16", "fp16_accumulation"]


@pytest.mark.parametrize(
    ("force_upcast", "dtype", "wanted", "chosen"),
    [
        (True, torch.float32, VaePrecision.AUTO, torch.float32),
        (True, torch.float16, VaePrecision.AUTO, torch.float32),
        (False, torch.float16, VaePrecision.AUTO, torch.float16),
        (True, torch.bfloat16, VaePrecision.AUTO, torch.bfloat16),
        (True, torch.float16, VaePrecision.FP16, torch.float32),
        (False, torch.float16, VaePrecision.FP16, torch.float16),
        (True, torch.float16, VaePrecision.BF16, torch.bfloat16),
        (False, torch.float16, VaePrecision.FP32, torch.float32),
    ],
)
def test_the_vae_is_never_given_what_it_overflows_in(
    *, force_upcast: bool, dtype: torch.dtype, wanted: VaePrecision, chosen: torch.dtype
) -> None:
    assert vae_dtype({"force_upcast": force_upcast}, dtype, wanted, CPU) is chosen
