from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from shared.errors import CheckpointUnavailable
from shared.generation import GenerationParams, GenerationRequest, ModelCard, Scheduler
from worker.engine.card import card_of
from worker.engine.presets import SSD_1B_LCM, chosen_presets, offering
from worker.engine.source import Source, choose_source

SSD_1B = card_of(choose_source("auto", cuda=True))
CARDS = [SSD_1B, card_of(choose_source("demo", cuda=False)), card_of(Source("some/model-xl", "0", None))]


def drawn_by(card: ModelCard, preset: str | None) -> GenerationParams:
    return GenerationRequest(prompt="x", preset=preset).resolve(card, drawn_seed=1)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_a_bare_request_gets_quality_and_every_preset_can_be_drawn(card: ModelCard) -> None:
    assert drawn_by(card, None) == drawn_by(card, "quality")
    costs = {preset.name: drawn_by(card, preset.name).cost for preset in card.presets}
    assert costs["quality"] == max(costs.values())
    assert costs["draft"] < costs["quality"]
    without = card.model_copy(update={"defaults": card.defaults.model_copy(update={"preset": None})})
    assert drawn_by(without, None) == drawn_by(card, None).model_copy(update={"preset": None})


def test_ssd_1bs_presets_are_what_its_makers_and_its_loras_advise() -> None:
    assert [preset.name for preset in SSD_1B.presets] == ["quality", "fast", "draft"]
    quality, fast = drawn_by(SSD_1B, "quality"), drawn_by(SSD_1B, "fast")
    assert (quality.num_inference_steps, quality.guidance_scale) == (25, 9)
    assert (quality.scheduler, quality.negative_prompt) == (Scheduler.DPMPP_2M_KARRAS, "ugly, blurry, poor quality")
    assert quality.adapter is None
    assert 4 <= fast.num_inference_steps <= 8
    assert (fast.scheduler, fast.adapter, fast.is_guided) == (Scheduler.LCM, SSD_1B_LCM, False)
    assert fast.cost * 8 <= quality.cost


def test_only_what_is_chosen_is_offered(caplog: pytest.LogCaptureFixture) -> None:
    assert chosen_presets(SSD_1B, "all") is SSD_1B
    assert [preset.name for preset in chosen_presets(SSD_1B, " draft,quality ").presets] == ["quality", "draft"]
    bare = chosen_presets(SSD_1B, "")
    assert bare.presets == ()
    assert drawn_by(bare, None).num_inference_steps == 25
    with caplog.at_level(logging.WARNING):
        assert [preset.name for preset in chosen_presets(SSD_1B, "fast,best").presets] == ["fast"]
    assert "DARKROOM_PRESETS has best; SSD-1B has quality, fast, draft" in caplog.text


def test_a_preset_without_its_adapter_is_not_offered() -> None:
    assert [preset.name for preset in offering(SSD_1B, adapters=()).presets] == ["quality", "draft"]
    assert offering(SSD_1B, adapters={SSD_1B_LCM}) == SSD_1B
    assert offering(SSD_1B, adapters=()).defaults == SSD_1B.defaults


class TestOfAFolder:
    def preset(self, **changes: object) -> dict[str, object]:
        preset: dict[str, object] = {
            "name": "mine",
            "title": "Mine",
            "description": "",
            "num_inference_steps": 7,
            "guidance_scale": 3.0,
            "scheduler": "lcm",
        }
        return {**preset, **changes}

    def card(self, folder: Path, *presets: dict[str, object]) -> ModelCard:
        defaults = {**SSD_1B.defaults.model_dump(mode="json"), "preset": None}
        (folder / "darkroom.json").write_text(json.dumps({"presets": presets, "defaults": defaults}))
        return card_of(Source("mine", "digest", folder))

    def test_it_brings_its_own(self, tmp_path: Path) -> None:
        (tmp_path / "mine.safetensors").write_bytes(b"weights")
        card = self.card(tmp_path, self.preset(), self.preset(name="other", adapter="mine.safetensors"))
        assert [preset.name for preset in card.presets] == ["mine", "other"]
        assert drawn_by(card, "mine").scheduler is Scheduler.LCM
        assert (drawn_by(card, "other").adapter or "").startswith("mine.safetensors@")

    @pytest.mark.parametrize(
        "changes", [{"adapter": "no.safetensors"}, {"adapter": "some/lora"}, {"name": "A B"}, {"steps": 3}]
    )
    def test_a_wrong_one_is_refused(self, tmp_path: Path, changes: dict[str, object]) -> None:
        with pytest.raises(CheckpointUnavailable, match=r"darkroom\.json"):
            self.card(tmp_path, self.preset(**changes))
