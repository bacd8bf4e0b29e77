"""How a worker computes: what an operator may choose, and what a worker says that it does.

The engine obeys the one and reports the other; nothing here knows of torch. What each choice is worth
and what it does to the pixels: docs/operators.md.
"""

from __future__ import annotations

from shared.generation import Frozen
from shared.words import Word


class Attention(Word):
    """Which of torch's kernels for scaled dot product attention the UNet uses."""

    AUTO = "auto"
    """Torch chooses by device, type and shape."""
    FLASH = "flash"
    EFFICIENT = "efficient"
    CUDNN = "cudnn"
    MATH = "math"


class VaePrecision(Word):
    """The VAE's arithmetic."""

    AUTO = "auto"
    """The UNet's; fp32 where the VAE would overflow in fp16 (`force_upcast`)."""
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Tuning(Frozen):
    """What an operator wants. None: what is good on the worker's device."""

    channels_last: bool | None = None
    """On CUDA yes, on a CPU no."""
    fused_qkv: bool = False
    attention: Attention = Attention.AUTO
    compile: bool = False
    fp16_accumulation: bool = False
    tf32: bool = True
    """CUDA only, and only what computes in fp32: the VAE."""
    vae_precision: VaePrecision = VaePrecision.AUTO


class TuningInEffect(Frozen):
    """What a worker really does, which is less than was asked for where its device can't do it."""

    precision: str
    """Of UNet and encoders, such as `fp16`."""
    vae: str | None = None
    """Which VAE serves instead of the checkpoint's own, as `name@revision`."""
    vae_precision: str
    channels_last: bool = False
    fused_qkv: bool = False
    attention: str
    """The kernel that the UNet's attention runs on, such as `flash`; with `attention=auto` torch's own choice."""
    compiled: bool = False
    fp16_accumulation: bool = False
    tf32: bool = False
    notes: tuple[str, ...] = ()
    """What was asked for and could not be had, and why: one sentence each."""
