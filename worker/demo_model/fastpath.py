# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Much of torch, diffusers and transformers has no complete types.
# ruff: noqa: ANN401, PLR0917, torch gives a Function its context and takes its arguments by place
"""Faster arithmetic for training on a CPU; the weights and results stay the stock modules' own.

Owns a group normalization for channels-last tensors. Convolutions in bf16 are several times faster
channels last, but torch 2.13's own group normalization is slow there, above all backward.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn

_PICTURES: Final = 4
"""Dimensions of a batch of pictures: (N, C, H, W)."""


class _ChannelsLastGroupNorm(torch.autograd.Function):
    """Group normalization (https://arxiv.org/abs/1803.08494) by sums over the pixels first.

    Seen as (N, H * W, C), a channels-last tensor needs only sums over its middle dimension, and
    one multiply and add with a factor and an offset for each picture and channel.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        rows = x.permute(0, 2, 3, 1).flatten(1, 2)
        count = rows.shape[1] * rows.shape[2] // groups
        total = rows.sum(1, dtype=torch.float32).unflatten(1, (groups, -1)).sum(2, keepdim=True)
        squares = (rows * rows).sum(1, dtype=torch.float32)
        squares = squares.unflatten(1, (groups, -1)).sum(2, keepdim=True)
        mean = total / count
        inverse = (squares / count - mean * mean).clamp_min(0).add(eps).rsqrt()
        scale = inverse * weight.view(groups, -1)
        shift = bias.view(groups, -1) - mean * scale
        scale, shift = scale.flatten(1)[:, None], shift.flatten(1)[:, None]
        ctx.save_for_backward(rows, weight, mean, inverse)
        ctx.groups, ctx.shape = groups, x.shape
        result = torch.addcmul(shift.to(rows.dtype), rows, scale.to(rows.dtype))
        return result.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, mean, inverse = ctx.saved_tensors
        groups = ctx.groups
        grad = outer[0].permute(0, 2, 3, 1).flatten(1, 2)
        count = rows.shape[1] * rows.shape[2] // groups
        grads = grad.sum(1, dtype=torch.float32).unflatten(1, (groups, -1))
        products = (grad * rows).sum(1, dtype=torch.float32).unflatten(1, (groups, -1))
        spread = weight.view(groups, -1)
        normed = (products - mean * grads) * inverse
        sum_grads = (grads * spread).sum(2, keepdim=True) / count
        sum_normed = (normed * spread).sum(2, keepdim=True) / count
        by_grad = (inverse * spread).flatten(1)[:, None].to(rows.dtype)
        by_row = (-inverse * inverse * sum_normed).expand_as(grads)
        constant = -by_row * mean - inverse * sum_grads
        by_row = by_row.flatten(1)[:, None].to(rows.dtype)
        constant = constant.expand_as(grads).flatten(1)[:, None].to(rows.dtype)
        result = torch.addcmul(torch.addcmul(constant, rows, by_row), grad, by_grad)
        result = result.unflatten(1, ctx.shape[2:]).permute(0, 3, 1, 2)
        return result, normed.sum(0).flatten(), grads.sum(0).flatten(), None, None


def use_fast_norms(model: nn.Module) -> None:
    """Let every group normalization of a model on pictures take the channels-last way, in place."""
    for module in model.modules():
        if isinstance(module, nn.GroupNorm):
            module.forward = _fast_forward(module)  # type: ignore[method-assign]


def _fast_forward(norm: nn.GroupNorm) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        if x.ndim != _PICTURES:
            return nn.functional.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.bfloat16)
        return _ChannelsLastGroupNorm.apply(x, norm.weight, norm.bias, norm.num_groups, norm.eps)

    return forward
