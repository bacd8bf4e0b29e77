"""The presets of the models that are known by name, and which of them a worker offers. Needs no torch."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Final

from shared.generation import Defaults, ModelCard, Preset, Scheduler, Size
from worker.demo_model.catalog import DEMO_MODEL
from worker.engine.loras import lora_of

SSD_1B_LCM: Final = "latent-consistency/lcm-lora-ssd-1b@6c01ee5a9a5dbc4eb3433cd02c4e8ab213259517"
"""SSD-1B's LCM-LoRA (Luo et al. 2023, arXiv:2311.05556; openrail++), 210 MB; its weights were committed once."""

_NEGATIVE: Final = "ugly, blurry, poor quality"

SSD_1B_PRESETS: Final = (
    Preset(
        name="quality",
        title="Quality",
        description="As SSD-1B's makers advise: every step guided, the finest pictures and the longest wait.",
        num_inference_steps=25,
        guidance_scale=9.0,
        scheduler=Scheduler.DPMPP_2M_KARRAS,
        negative_prompt=_NEGATIVE,
    ),
    Preset(
        name="fast",
        title="Fast",
        description="Six steps with the LCM-LoRA: an eighth of the work. Follows the prompt less closely, "
        "and takes no notice of the negative prompt.",
        num_inference_steps=6,
        guidance_scale=1.0,
        scheduler=Scheduler.LCM,
        adapter=SSD_1B_LCM,
    ),
    Preset(
        name="draft",
        title="Draft",
        description="Twelve steps, guided for the first half: two fifths of the work, and rough in places.",
        num_inference_steps=12,
        guidance_scale=7.0,
        guidance_cutoff=0.5,
        scheduler=Scheduler.DPMPP_2M_KARRAS,
        negative_prompt=_NEGATIVE,
    ),
)
"""`quality` as the checkpoint's card advises, `fast` as the LoRA's does; how `draft` looks has not been measured."""

SDXL_PRESETS: Final = (
    SSD_1B_PRESETS[0].model_copy(
        update={
            "description": "Every step guided: the finest pictures and the longest wait.",
            "num_inference_steps": 30,
            "guidance_scale": 6.0,
            "negative_prompt": "",
        }
    ),
    SSD_1B_PRESETS[2].model_copy(
        update={
            "description": "Twelve steps, guided for the first half: a third of the work, and rough in places.",
            "guidance_scale": 6.0,
            "negative_prompt": "",
        }
    ),
)

DEMO_PRESETS: Final = (
    Preset(
        name="quality",
        title="Quality",
        description="What the demo model was made for: every step guided.",
        num_inference_steps=DEMO_MODEL.num_inference_steps,
        guidance_scale=DEMO_MODEL.guidance_scale,
        scheduler=Scheduler.EULER,
    ),
    Preset(
        name="fast",
        title="Fast",
        description="Eight steps: half the work, and plain objects come out as well.",
        num_inference_steps=8,
        guidance_scale=DEMO_MODEL.guidance_scale,
        scheduler=Scheduler.EULER,
    ),
    Preset(
        name="draft",
        title="Draft",
        description="Eight steps, of which three are guided: a third of the work.",
        num_inference_steps=8,
        guidance_scale=DEMO_MODEL.guidance_scale,
        guidance_cutoff=0.25,
        scheduler=Scheduler.EULER,
    ),
)
"""How good they are stands in the demo model's README; with six steps (DPM++ 2M Karras) shapes begin to fail."""

_logger = logging.getLogger(__name__)


def defaults_of(preset: Preset, size: Size) -> Defaults:
    """Make a card's defaults of its first choice among the presets."""
    return Defaults(
        size=size,
        num_inference_steps=preset.num_inference_steps,
        guidance_scale=preset.guidance_scale,
        scheduler=preset.scheduler,
        negative_prompt=preset.negative_prompt,
        preset=preset.name,
    )


def offering(
    card: ModelCard, *, names: Collection[str] | None = None, adapters: Collection[str] | None = None
) -> ModelCard:
    """Leave on a card the presets of these names, and those that need no other adapters than these; None: any."""
    kept = tuple(
        preset
        for preset in card.presets
        if (names is None or preset.name in names)
        and (adapters is None or preset.adapter is None or preset.adapter in adapters)
    )
    default = card.defaults.preset if card.defaults.preset in {preset.name for preset in kept} else None
    return card.model_copy(update={"presets": kept, "defaults": card.defaults.model_copy(update={"preset": default})})


def chosen_presets(card: ModelCard, setting: str) -> ModelCard:
    """Read the setting of presets: `all`, or names with commas between them; empty: none."""
    if setting.strip() == "all":
        return card
    names = {name.strip() for name in setting.split(",")} - {""}
    unknown = names - {preset.name for preset in card.presets}
    if unknown:
        known = ", ".join(preset.name for preset in card.presets) or "none"
        _logger.warning("DARKROOM_PRESETS has %s; %s has %s", ", ".join(sorted(unknown)), card.title, known)
    return offering(card, names=names)


def with_revisions(card: ModelCard, folder: Path) -> ModelCard:
    """Name every adapter with its revision."""
    presets = tuple(
        preset
        if preset.adapter is None
        else preset.model_copy(update={"adapter": lora_of(preset.adapter, folder).name})
        for preset in card.presets
    )
    return card.model_copy(update={"presets": presets})
