"""The card of a checkpoint: its sizes, limits, defaults and presets. Needs no torch and none of the weights.

A folder may carry a `darkroom.json` beside its `model_index.json`: any fields of
`shared.generation.ModelCard` except `revision`, which replace what is found here. So a fine-tune
brings its own defaults, sizes and presets; how a preset names its LoRA is told in `worker.engine.loras`.
The demo model's card comes from `worker.demo_model.catalog`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final, cast

from pydantic import ValidationError

from shared.errors import CheckpointUnavailable
from shared.generation import AspectRatio, ModelCard, Scheduler, Size, SizeRule
from worker.demo_model.catalog import DEMO_MODEL
from worker.engine.presets import DEMO_PRESETS, SDXL_PRESETS, SSD_1B_PRESETS, defaults_of, with_revisions
from worker.engine.source import SSD_1B, Source

OVERRIDES: Final = "darkroom.json"

_SIDES: Final = (
    ("Square 1:1", 1024, 1024),
    ("Landscape 9:7", 1152, 896),
    ("Landscape 3:2", 1216, 832),
    ("Wide 16:9", 1344, 768),
    ("Panorama 12:5", 1536, 640),
    ("Portrait 7:9", 896, 1152),
    ("Portrait 2:3", 832, 1216),
    ("Tall 9:16", 768, 1344),
    ("Tower 5:12", 640, 1536),
)
SDXL_RATIOS: Final = tuple(AspectRatio(name=name, size=Size(width=w, height=h)) for name, w, h in _SIDES)
"""The sizes that SSD-1B's card advises; SDXL was trained on them too. Names are the nearest plain ratio."""

SDXL_CUSTOM_SIZES: Final = SizeRule(min_side=512, max_side=2048, multiple_of=64, max_pixels=1536 * 1024)
"""512x512 works but draws worse than 1024x1024 resized (`output_size`); far above a megapixel, motifs repeat."""

SCHEDULERS: Final = tuple(scheduler for scheduler in Scheduler if scheduler is not Scheduler.LCM)
"""LCM draws mush from a checkpoint that wasn't distilled for it: a `darkroom.json` may add it back."""

_SIDE: Final = Size(width=1024, height=1024)

EXAMPLES: Final = (
    "An astronaut riding a green horse, oil painting, warm evening light",
    "A cosy reading corner by a rain-streaked window, soft lamp light, watercolour",
    "Portrait of an old fisherman, weathered face, 85mm photograph, shallow depth of field",
    "Isometric cutaway of a tiny greenhouse full of ferns, clean 3D render",
    "Misty pine forest at dawn seen from above, aerial photograph",
)


def card_of(source: Source) -> ModelCard:
    """Make the card of a checkpoint.

    Raises CheckpointUnavailable if its `darkroom.json` is no valid card.
    """
    if source.is_demo:
        return _demo_card(source.revision)
    card = _card(source)
    if source.folder is None or not (source.folder / OVERRIDES).is_file():
        return card
    file = source.folder / OVERRIDES
    try:
        overrides = cast("dict[str, Any]", json.loads(file.read_text("utf-8")))
        whole = {**card.model_dump(), **overrides, "revision": source.revision}
        return with_revisions(ModelCard.model_validate(whole, extra="forbid"), source.folder)
    except (ValueError, TypeError, ValidationError, CheckpointUnavailable) as error:
        raise CheckpointUnavailable(f"{file} is no valid model card: {error}") from error


def _card(source: Source) -> ModelCard:
    is_ssd_1b = source.name == SSD_1B or (source.folder is not None and _is_of_ssd_1b(source.folder))
    if source.name == SSD_1B:
        title, description = "SSD-1B", "Segmind's distilled SDXL: half the size, 60 % faster. Apache-2.0."
    else:
        kind = "SSD-1B" if is_ssd_1b else "SDXL"
        title, description = source.name.rpartition("/")[2], f"A checkpoint of {kind}'s class."
    presets = SSD_1B_PRESETS if is_ssd_1b else SDXL_PRESETS
    return ModelCard(
        id=source.name,
        title=title,
        revision=source.revision,
        description=description,
        aspect_ratios=SDXL_RATIOS,
        custom_sizes=SDXL_CUSTOM_SIZES,
        schedulers=SCHEDULERS,
        defaults=defaults_of(presets[0], _SIDE),
        presets=presets,
        example_prompts=EXAMPLES,
    )


def _demo_card(revision: str) -> ModelCard:
    """Only the sizes that it was trained on: from 192 pixels up objects repeat, at 64 they break."""
    ratios = tuple(
        AspectRatio(name=_ratio_name(width, height), size=Size(width=width, height=height))
        for width, height in DEMO_MODEL.sizes
    )
    return ModelCard(
        id=DEMO_MODEL.name,
        title=DEMO_MODEL.title,
        revision=revision,
        description=(
            "A tiny model that draws plain shapes on plain grounds, so that everything can be tried without a GPU. "
            "It shows how Darkroom works, not what SSD-1B draws."
        ),
        is_demo=True,
        aspect_ratios=ratios,
        schedulers=SCHEDULERS,
        defaults=defaults_of(DEMO_PRESETS[0], ratios[0].size),
        presets=DEMO_PRESETS,
        example_prompts=DEMO_MODEL.example_prompts,
    )


def _ratio_name(width: int, height: int) -> str:
    shape = "Square" if width == height else "Landscape" if width > height else "Portrait"
    divisor = math.gcd(width, height)
    return f"{shape} {width // divisor}:{height // divisor}"


def _is_of_ssd_1b(folder: Path) -> bool:
    """Know SSD-1B's UNet, also in a fine-tune, by its pruned transformer depths."""
    try:
        config = cast("dict[str, Any]", json.loads((folder / "unet" / "config.json").read_text("utf-8")))
    except (OSError, ValueError):
        return False
    return config.get("reverse_transformer_layers_per_block") == [[4, 4, 10], [2, 1, 1], 1]
