"""Prompts in, pictures out, over HTTP alone: the demo model draws what a stranger would ask it for."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from shared.client import Client
from tests.e2e.conftest import Darkroom
from worker.demo_model.classifier import classify
from worker.demo_model.evaluation_prompts import single_prompts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

PROMPTS = 20
RIGHT = 18


def test_twenty_prompts_that_training_never_saw(darkroom: Darkroom) -> None:
    prompts = single_prompts(PROMPTS)
    with Client(darkroom.gateway_url, api_key=darkroom.page_key) as client:
        jobs = [
            client.submit(prompt.text, width=prompt.canvas[0], height=prompt.canvas[1], seed=seed)
            for seed, prompt in enumerate(prompts)
        ]
        ended = [client.wait(job.id) for job in jobs]
        assert [job.status for job in ended] == ["succeeded"] * PROMPTS
        pictures = [Image.open(BytesIO(client.image(job.id, 0))) for job in ended]

    assert [picture.size for picture in pictures] == [prompt.canvas for prompt in prompts]
    seen = [classify(picture) for picture in pictures]
    told = [(one.shape, one.colour, one.background) for one in seen]
    asked = [(prompt.shape, prompt.colour, prompt.ground) for prompt in prompts]
    right = sum(one == other for one, other in zip(told, asked, strict=True))
    assert right >= RIGHT, [pair for pair in zip(asked, told, strict=True) if pair[0] != pair[1]]
