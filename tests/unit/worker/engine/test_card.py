from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from shared.errors import CheckpointUnavailable
from shared.generation import GenerationRequest, ModelCard, Scheduler, Size
from worker.demo_model.catalog import DEMO_MODEL
from worker.engine.card import card_of
from worker.engine.source import SSD_1B_REVISION, Source, choose_source

CONFIG = Path(__file__).parents[3] / "ssd_1b_config"
HUB = "0123456789abcdef0123456789abcdef01234567"


def size(width: int, height: int) -> Size:
    return Size(width=width, height=height)


@pytest.fixture
def ssd_1b() -> ModelCard:
    return card_of(choose_source("auto", cuda=True))


def test_ssd_1b_offers_what_its_card_advises(ssd_1b: ModelCard) -> None:
    assert (ssd_1b.id, ssd_1b.revision, ssd_1b.is_demo) == ("segmind/SSD-1B", SSD_1B_REVISION, False)
    sizes = {(1024, 1024), (1152, 896), (1216, 832), (1344, 768), (1536, 640)}
    sizes |= {(height, width) for width, height in sizes}
    assert {(ratio.size.width, ratio.size.height) for ratio in ssd_1b.aspect_ratios} == sizes
    assert ssd_1b.defaults.guidance_scale == 9
    assert ssd_1b.defaults.num_inference_steps == 25
    assert ssd_1b.defaults.negative_prompt == "ugly, blurry, poor quality"
    assert ssd_1b.defaults.scheduler is Scheduler.DPMPP_2M_KARRAS
    assert ssd_1b.defaults.size == size(1024, 1024)


@pytest.mark.parametrize(
    ("wanted", "allowed"),
    [
        ((512, 512), True),
        ((640, 1536), True),
        ((1280, 1216), True),
        ((2048, 512), True),
        ((448, 512), False),
        ((1000, 1000), False),
        ((2048, 2048), False),
        ((2112, 512), False),
    ],
)
def test_ssd_1b_takes_other_sizes_in_reason(ssd_1b: ModelCard, wanted: tuple[int, int], *, allowed: bool) -> None:
    assert ssd_1b.allows(size(*wanted)) is allowed


def test_512x512_is_reached_by_resizing_too(ssd_1b: ModelCard) -> None:
    params = GenerationRequest(prompt="a cat", output_size=size(512, 512)).resolve(ssd_1b, drawn_seed=1)
    assert params.size == size(1024, 1024)
    assert params.output_size == size(512, 512)


def test_lcm_is_not_offered_by_checkpoints_that_were_not_made_for_it(ssd_1b: ModelCard) -> None:
    assert set(ssd_1b.schedulers) == set(Scheduler) - {Scheduler.LCM}


def test_the_demo_model_offers_the_sizes_it_was_trained_on() -> None:
    card = card_of(choose_source("demo", cuda=False))
    assert card.is_demo
    assert card.id == DEMO_MODEL.name
    assert [(ratio.name, str(ratio.size)) for ratio in card.aspect_ratios] == [
        ("Square 1:1", "128x128"),
        ("Landscape 5:3", "160x96"),
        ("Portrait 3:5", "96x160"),
    ]
    assert card.custom_sizes is None
    assert card.example_prompts == DEMO_MODEL.example_prompts


def test_another_hub_id_gets_sdxls_card() -> None:
    card = card_of(Source("some/model-xl", HUB, None))
    assert (card.id, card.title, card.revision) == ("some/model-xl", "model-xl", HUB)
    assert card.defaults.guidance_scale == 6
    assert card.defaults.negative_prompt == ""


def test_a_folder_of_ssd_1bs_architecture_gets_its_advice(tmp_path: Path) -> None:
    folder = shutil.copytree(CONFIG, tmp_path / "my-tune")
    card = card_of(Source("my-tune", "digest", folder))
    assert card.id == "my-tune"
    assert card.defaults.guidance_scale == 9


def test_a_folder_brings_its_own_card(tiny_checkpoint: Path) -> None:
    source = choose_source(str(tiny_checkpoint), cuda=False)
    card = card_of(source)
    assert card.id == "darkroom/tiny"
    assert card.revision == source.revision
    assert card.defaults.size == size(64, 64)
    assert card.schedulers == tuple(Scheduler)
    assert card.max_images == 8


@pytest.mark.parametrize("text", ["{", "[]", '{"no_such_field": 1}', json.dumps({"max_steps": "many"})])
def test_a_folder_with_a_wrong_card_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "darkroom.json").write_text(text)
    with pytest.raises(CheckpointUnavailable, match=r"darkroom\.json"):
        card_of(Source("mine", "digest", tmp_path))
