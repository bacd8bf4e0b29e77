# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Much of torch, diffusers and transformers has no complete types.
"""Several training processes that act as one.

Owns starting them and averaging their gradients. One thread in each is faster than many threads
in one: a busy neighbour then delays one exchange a step instead of every operation.
"""

import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.multiprocessing.spawn import spawn


@dataclass(frozen=True, slots=True)
class Team:
    """One process's place among those that train together."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Tell whether this process is the one that shows progress and writes files."""
        return self.rank == 0

    def share(self, batch: int) -> int:
        """Return this process's part of a batch."""
        return max(1, batch // self.size)

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its mean over the team."""
        if self.size == 1:
            return
        gradients = [weight.grad for weight in parameters if weight.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.size
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def work_together(size: int, task: Callable[..., None], *arguments: object) -> None:
    """Call `task(team, *arguments)` in `size` processes and wait for all of them."""
    if size == 1:
        task(Team(), *arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        spawn(_begin, args=(size, meeting, task, arguments), nprocs=size)


def _begin(rank: int, size: int, meeting: Path, task: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // size))
    distributed.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=size)
    try:
        task(Team(rank, size), *arguments)
    finally:
        distributed.destroy_process_group()
