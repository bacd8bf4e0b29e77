"""Tests in this folder need CUDA: each is marked `gpu`, and left out where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.tiny_checkpoint import tiny_checkpoint

__all__ = ["tiny_checkpoint"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    ours = [item for item in items if here in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.gpu)
    if ours and not torch.cuda.is_available():
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if item not in ours]
