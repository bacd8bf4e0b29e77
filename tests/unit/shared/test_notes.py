from __future__ import annotations

from dataclasses import replace

import pytest

from shared.generation import GenerationParams, Scheduler
from shared.jobs import Reading, TextReading, WeightedPassage
from shared.notes import notes_on
from shared.reading import PromptMeasure

PARAMS = GenerationParams(
    prompt="p",
    negative_prompt="n",
    width=64,
    height=64,
    num_inference_steps=4,
    guidance_scale=5.0,
    seed=7,
    scheduler=Scheduler.EULER,
)
PLAIN = PromptMeasure(tokens=3, window=75, windows=1, passages=(), unread=(), cut="")
CUT = PromptMeasure(
    tokens=310, window=75, windows=4, passages=(("red", 1.1**2),), unread=("(cat)5", "<lora:x:1>"), cut="the end"
)


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_plain_texts_leave_nothing_to_warn_of(guidance_scale: float) -> None:
    notes = notes_on(PARAMS.model_copy(update={"guidance_scale": guidance_scale}), lambda _: PLAIN)
    read = TextReading(tokens=3, window=75, windows=1)
    assert notes.reading == Reading(prompt=read, negative_prompt=read if guidance_scale > 1 else None)
    assert notes.warnings == ()


def test_what_was_cut_or_not_understood_is_told_of_each_text() -> None:
    notes = notes_on(PARAMS, {"p": PLAIN, "n": CUT}.__getitem__)
    assert notes.reading is not None
    assert notes.reading.negative_prompt == TextReading(
        tokens=310, window=75, windows=4, weights=(WeightedPassage(text="red", weight=1.21),), cut="the end"
    )
    cut, unread = notes.warnings
    assert (cut.code, unread.code) == ("negative_prompt_truncated", "negative_prompt_syntax_unread")
    assert cut.message.endswith("it did not see: the end")
    assert "(cat)5, <lora:x:1>" in unread.message


def test_a_long_rest_is_quoted_by_its_beginning_and_kept_whole() -> None:
    rest = "far too long " * 100
    notes = notes_on(PARAMS, {"p": replace(CUT, cut=rest), "n": PLAIN}.__getitem__)
    assert notes.reading is not None
    assert notes.reading.prompt.cut == rest
    message = notes.warnings[0].message
    assert message.endswith("far too long far t...")
    assert len(message) < 300


def test_a_negative_that_is_not_read_is_not_measured() -> None:
    notes = notes_on(PARAMS.model_copy(update={"guidance_scale": 1.0}), {"p": CUT}.__getitem__)
    assert [warning.code for warning in notes.warnings] == ["prompt_truncated", "prompt_syntax_unread"]
