"""A worker whose model brings presets with LoRAs, one of which is damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from shared import scripts
from shared.jobs import JobStatus
from shared.provenance import read_parameters
from tests.integration.worker.system import LIMIT_S, System
from tests.servers import wait_until

pytestmark = pytest.mark.timeout(900)  # a worker imports torch for seconds, on a busy machine for a minute


@pytest.fixture
def presetted(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    from tests.tiny_lora import make_tiny_lora  # noqa: PLC0415 (imports torch: seconds)

    folder = shutil.copytree(tiny_checkpoint, tmp_path / "presetted")
    make_tiny_lora(folder / "fast.safetensors", strength=0.2)
    (folder / "lost.safetensors").write_bytes(b"cut short")
    preset = {"title": "", "description": "", "num_inference_steps": 3, "guidance_scale": 1.0, "scheduler": "lcm"}
    presets = [
        {**preset, "name": "plain"},
        {**preset, "name": "fast", "adapter": "fast.safetensors"},
        {**preset, "name": "lost", "adapter": "lost.safetensors"},
    ]
    file = folder / "darkroom.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "presets": presets}))
    return folder


def test_what_can_be_drawn_is_offered_and_drawn(system: System, presetted: Path) -> None:
    worker = system.ready_worker(model=str(presetted))
    wait_until(
        lambda: [preset.name for preset in system.card.presets] == ["plain", "fast"],
        limit_s=LIMIT_S,
        what="the card has no preset that the worker can't draw",
    )
    assert "the adapter lost.safetensors@" in worker.log

    plain, fast = (system.wait_ended(system.submit(preset=name)) for name in ("plain", "fast"))

    assert (plain.status, fast.status) == (JobStatus.SUCCEEDED, JobStatus.SUCCEEDED)
    assert plain.images[0].sha256 != fast.images[0].sha256
    provenance = read_parameters(system.store.get(fast.images[0].key)).provenance
    assert provenance is not None
    assert provenance.params == fast.params.model_copy(update={"preset": None, "deterministic": False})
    assert (fast.params.adapter or "").startswith("fast.safetensors@")
    assert system(scripts.fleet()).cards[0].presets[1].adapter == fast.params.adapter
