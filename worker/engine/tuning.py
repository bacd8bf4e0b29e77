"""Makes a model's networks compute as the operator wants, as far as the device can, and says what came of it.

Memory format, fused projections, the attention's kernel, the compiler, reduced arithmetic. By default on a
CPU nothing is touched: one row alone equals the stock pipeline bit for bit. What is for CUDA only is written
from the source of torch 2.13 and diffusers 0.42 and not yet measured on a GPU.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from diffusers.models.attention_processor import Attention as AttentionModule
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch.nn import functional
from torch.nn.attention import SDPBackend

from shared.generation import Size
from shared.tuning import Attention, Tuning, TuningInEffect, VaePrecision
from worker.engine.attention import attending

Compiler = str | Callable[..., Any]
"""A backend of `torch.compile`."""

_logger = logging.getLogger(__name__)

_KERNELS: Final = {
    Attention.FLASH: SDPBackend.FLASH_ATTENTION,
    Attention.EFFICIENT: SDPBackend.EFFICIENT_ATTENTION,
    Attention.CUDNN: SDPBackend.CUDNN_ATTENTION,
    Attention.MATH: SDPBackend.MATH,
}
_NAMES: Final = {int(cast("Any", kernel)): name.value for name, kernel in _KERNELS.items()}
_PRECISIONS: Final = {
    VaePrecision.FP32: torch.float32,
    VaePrecision.BF16: torch.bfloat16,
    VaePrecision.FP16: torch.float16,
}
_WINDOW: Final = 77
"""Tokens of a prompt that fits the encoders; the graphs take any number."""
_BATCHES: Final = (1, 2)
"""Torch makes a graph of its own for a batch of one (a row without guidance); another serves all from two on."""


def vae_dtype(config: dict[str, Any], dtype: torch.dtype, wanted: VaePrecision, device: torch.device) -> torch.dtype:
    """Choose the VAE's arithmetic from its configuration; `dtype` is the UNet's.

    Never fp16 for a VAE that overflows in it (`force_upcast`), nor bf16 on a GPU that only emulates it (before
    Ampere): fp32 instead.
    """
    overflows = bool(config.get("force_upcast", True))
    chosen = _PRECISIONS.get(wanted, dtype)
    if chosen is torch.float16 and overflows:
        return torch.float32
    if chosen is torch.bfloat16 and device.type == "cuda":
        has_bf16 = cast("Any", torch.cuda).is_bf16_supported(including_emulation=False)
        return chosen if has_bf16 else torch.float32
    return chosen


def tune(
    unets: Sequence[UNet2DConditionModel],
    vae: AutoencoderKL,
    wanted: Tuning,
    *,
    sizes: Sequence[Size],
    vae_name: str | None = None,
    compiler: Compiler = "inductor",
) -> TuningInEffect:
    """Change the networks in place, warm what was compiled at these sizes, and say what is in effect.

    The UNets are of one shape, on their device, with no LoRA left to fuse. TF32 and fp16 accumulation hold for
    the whole process. What can't be had is logged and noted, and the rest goes on without it.

    Raises ValueError if a UNet still carries LoRA layers: a fused projection would leave them out.
    """
    device, dtype = cast("Any", unets[0]).device, cast("torch.dtype", cast("Any", unets[0]).dtype)
    on_cuda = device.type == "cuda"
    notes = list(_missing(vae, dtype, wanted, on_cuda=on_cuda))
    channels_last = on_cuda if wanted.channels_last is None else wanted.channels_last
    if on_cuda:
        _set_arithmetic(wanted)
    for network in (*unets, vae):
        if channels_last:
            cast("Any", network).to(memory_format=torch.channels_last)
        if wanted.fused_qkv:
            _fuse_qkv(network)
    kernel = _kernel(unets[0], wanted.attention)
    if kernel is None and wanted.attention is not Attention.AUTO:
        notes.append(f"attention={wanted.attention}: torch has no such kernel for this device and UNet; it chooses.")
    forwards = [_Forward(unet, kernel) for unet in unets]
    problem = _compile(forwards, vae, sizes, compiler) if wanted.compile else None
    if problem is not None:
        notes.append(f"compile: {problem} The UNet runs uncompiled.")
    for note in notes:
        _logger.warning("not in effect: %s", note)
    return TuningInEffect(
        precision=_short(dtype),
        vae=vae_name,
        vae_precision=_short(cast("Any", vae).dtype),
        channels_last=channels_last,
        fused_qkv=wanted.fused_qkv,
        attention=_attention_of(unets[0], kernel),
        compiled=wanted.compile and problem is None,
        fp16_accumulation=wanted.fp16_accumulation and on_cuda and dtype is torch.float16,
        tf32=wanted.tf32 and on_cuda,
        notes=tuple(notes),
    )


def _missing(vae: AutoencoderKL, dtype: torch.dtype, wanted: Tuning, *, on_cuda: bool) -> Iterator[str]:
    """Say what was asked of the arithmetic in vain."""
    asked, got = wanted.vae_precision, cast("torch.dtype", cast("Any", vae).dtype)
    if asked is not VaePrecision.AUTO and got is not _PRECISIONS[asked]:
        why = "this VAE overflows in it" if asked is VaePrecision.FP16 else "this device only emulates it"
        yield f"vae_precision={asked}: {why}; it computes in {_short(got)}."
    if wanted.fp16_accumulation and not (on_cuda and dtype is torch.float16):
        yield "fp16_accumulation: only for a UNet in fp16 on CUDA."


def _set_arithmetic(wanted: Tuning) -> None:
    """Set what torch keeps for the whole process.

    TF32 serves what computes in fp32, which is the VAE: ten bits of mantissa, as fp16 has. Torch allows it to
    convolutions on its own, not to matrix products. The older switches, since torch keeps the newer
    `fp32_precision` in step with them and not the other way round. fp16 accumulation (torch 2.7): GeForce cards
    multiply twice as fast with it, and sums of large numbers may overflow.
    """
    cuda, cudnn = cast("Any", torch.backends.cuda), cast("Any", torch.backends.cudnn)
    cuda.matmul.allow_tf32 = wanted.tf32
    cudnn.allow_tf32 = wanted.tf32
    cuda.matmul.allow_fp16_accumulation = wanted.fp16_accumulation


def _fuse_qkv(network: UNet2DConditionModel | AutoencoderKL) -> None:
    """Make one projection of query, key and value (of key and value where the text is looked at).

    Diffusers keeps the projections that the fused one replaces; they would hold a fifth of SSD-1B's UNet twice.
    """
    module = cast("torch.nn.Module", network)
    if any("lora_" in name for name, _ in cast("Iterator[tuple[str, object]]", module.named_modules())):
        raise ValueError("Fuse the LoRA and unload its layers first: a fused projection knows nothing of them.")
    cast("Any", network).fuse_qkv_projections()
    for attention in _attentions(module):
        replaced = ("to_k", "to_v") if attention.is_cross_attention else ("to_q", "to_k", "to_v")
        for name in replaced:
            delattr(attention, name)


def _attentions(module: torch.nn.Module) -> list[Any]:
    return [each for each in module.modules() if isinstance(each, AttentionModule)]


def _kernel(unet: UNet2DConditionModel, wanted: Attention) -> SDPBackend | None:
    """The kernel that was asked for, if it can do this UNet's attention here; None: torch shall choose."""
    kernel = _KERNELS.get(wanted)
    if kernel is None:
        return None
    try:
        with torch.inference_mode(), attending(kernel), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says in many lines what the exception says in one
            for query, key in _samples(unet):
                functional.scaled_dot_product_attention(query, key, key)
    except RuntimeError:
        return None
    return kernel


def _attention_of(unet: UNet2DConditionModel, kernel: SDPBackend | None) -> str:
    """Ask torch which kernel it takes, for each shape of head and for both kinds of attention: `flash`."""
    choose = cast("Callable[..., int]", cast("Any", torch)._fused_sdp_choice)  # noqa: SLF001 - no public name
    with attending(kernel):
        chosen = {choose(query, key, key) for query, key in _samples(unet)}
    return "+".join(sorted(_NAMES.get(each, "other") for each in chosen))


def _samples(unet: UNet2DConditionModel) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Query and key of each shape of head: (2, heads, tokens, width) on the UNet's device."""
    device, dtype = cast("Any", unet).device, cast("Any", unet).dtype
    modules = _attentions(cast("torch.nn.Module", unet))
    for heads, width in sorted({(int(each.heads), int(each.inner_dim // each.heads)) for each in modules}):
        query = torch.zeros(2, heads, 256, width, device=device, dtype=dtype)
        yield query, query
        yield query, query[:, :, :_WINDOW]


@dataclass(slots=True, eq=False)
class _Forward:
    """Stands in for a UNet's `forward`: the same, under the operator's choices.

    An object and no closure, so that a deep copy of the UNet gets one of its own.
    """

    unet: UNet2DConditionModel
    kernel: SDPBackend | None
    is_compiled: bool = False

    def __post_init__(self) -> None:
        """Take the place of `forward` if there is something to do."""
        if self.kernel is not None:
            self._install()

    def _install(self) -> None:
        cast("Any", self.unet).forward = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the library's signature
        with ExitStack() as during:
            # Around the compiler too: it writes torch's choice down when it traces, and never looks again.
            during.enter_context(attending(self.kernel))
            if self.is_compiled:
                # What the warm-up has not seen runs uncompiled: nobody waits for a compiler.
                during.enter_context(cast("Any", torch.compiler).set_stance("eager_on_recompile"))
            return cast("Any", type(self.unet)).forward(self.unet, *args, **kwargs)

    def compile(self, compiler: Compiler) -> None:
        """Compile the blocks that repeat, not the whole: 4 graphs serve SSD-1B at any size and batch."""
        cast("Any", self.unet).compile_repeated_blocks(fullgraph=True, dynamic=True, backend=compiler)

    def seal(self) -> None:
        """Compile no more from now on."""
        self.is_compiled = True
        self._install()

    def undo(self) -> None:
        """Call the blocks themselves again, as if they had never been compiled."""
        self.is_compiled = False
        for module in cast("torch.nn.Module", self.unet).modules():
            vars(module).pop("_compiled_call_impl", None)  # what nn.Module.compile sets


def _compile(forwards: Sequence[_Forward], vae: AutoencoderKL, sizes: Sequence[Size], compiler: Compiler) -> str | None:
    """Compile the UNets and let each graph be made now; None if all went well, else what went wrong.

    Without duck shapes, by which torch takes two lengths that happen to be equal in the first picture for the
    same one: with them a fifth graph is needed. The code that was kept from the last start is told apart by the
    attention's kernel, which torch writes into it but leaves out of its key: it took `math` for `flash` (2.13).

    Not the VAE: decoding is a twentieth of a picture's work, and most of it is convolutions, which are cuDNN's.
    """
    from torch.compiler import config as caches  # noqa: PLC0415 - takes seconds that only compiling needs
    from torch.fx.experimental import _config as shapes  # noqa: PLC0415 - it has no public name

    begun = time.monotonic()
    tag = f"attention={_attention_of(forwards[0].unet, forwards[0].kernel)}"
    scale = 2 ** (len(cast("Any", vae.config).block_out_channels) - 1)
    try:
        with cast("Any", shapes).patch(use_duck_shape=False), cast("Any", caches).patch(cache_key_tag=tag):
            for forward in forwards:
                forward.compile(compiler)
                for size in sizes:
                    for batch in _BATCHES:
                        _run(forward, batch, size.height // scale, size.width // scale)
    except Exception as error:
        for forward in forwards:
            forward.undo()
        _logger.debug("the compiler failed", exc_info=True)
        cause = getattr(error, "inner_exception", error)  # of BackendCompilerFailed
        return f"{type(cause).__name__}: {_first_line(cause)}"
    for forward in forwards:
        forward.seal()
    _logger.info("compiled", extra={"seconds": round(time.monotonic() - begun, 1)})
    return None


@torch.inference_mode()
def _run(forward: _Forward, batch: int, height: int, width: int) -> None:
    """One pass over nothing, in the mode in which pictures are drawn: graphs are kept for one mode."""
    unet = cast("Any", forward.unet)
    config = unet.config
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    zeros = torch.zeros(1, device=unet.device, dtype=unet.dtype)
    unet(
        zeros.new_zeros(batch, config.in_channels, height, width),
        torch.zeros(batch, device=unet.device),
        encoder_hidden_states=zeros.new_zeros(batch, _WINDOW, config.cross_attention_dim),
        added_cond_kwargs={"text_embeds": zeros.new_zeros(batch, pooled), "time_ids": zeros.new_zeros(batch, 6)},
        return_dict=False,
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{lines[0].rstrip('.')[:200]}." if lines else "no reason given."


def _short(dtype: torch.dtype) -> str:
    return {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}.get(dtype, str(dtype))
