"""What the page and the models endpoint say about the demo model. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.demo_model.vocabulary import PICTURE_SIZES


@dataclass(frozen=True, slots=True)
class DemoModel:
    """The demo model as a caller sees it. Sizes are (width, height) in pixels."""

    name: str
    title: str
    folder: Path
    sizes: tuple[tuple[int, int], ...]
    num_inference_steps: int
    guidance_scale: float
    example_prompts: tuple[str, ...]
    example_negative_prompts: tuple[str, ...]


DEMO_MODEL: Final = DemoModel(
    name="darkroom-demo",
    title="Darkroom demo model",
    folder=Path(__file__).parent / "weights",
    sizes=PICTURE_SIZES,
    num_inference_steps=16,
    guidance_scale=4.0,
    example_prompts=(
        "a red circle on a blue background",
        "a large yellow star on a purple background",
        "a small white heart on a red background",
        "a green triangle on a white background",
        "an orange ring on a black background",
        "a pink heart on a cyan background",
        "a blue square in the top left corner on a yellow background",
        "a large orange moon on a black background",
        "a purple cross on a white background",
    ),
    example_negative_prompts=("red", "star", "blue background"),
)
