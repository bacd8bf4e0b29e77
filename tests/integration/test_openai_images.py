"""OpenAI's own client, unchanged, against a real gateway."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types import ImageGenCompletedEvent, ImageGenPartialImageEvent, ImagesResponse
from PIL import Image

from shared.errors import OutOfMemory
from tests.integration.artist import STUDIO_CARD, Artist
from tests.integration.serving import Hand, Serving


@pytest.fixture(scope="module")
def worker(gateway: Serving) -> Iterator[Hand]:
    with Hand(gateway.settings, STUDIO_CARD) as one:
        yield one


@pytest.fixture
def client(gateway: Serving) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0, timeout=30) as one:
        yield one


def jobs(gateway: Serving) -> list[dict[str, object]]:
    return gateway.http.get("/v1/jobs").json()["data"]


def opened(b64_json: str | None) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(b64_json or "")))
    image.load()
    return image


class TestGenerate:
    def test_a_prompt_is_enough(self, gateway: Serving, client: OpenAI, hand: Hand) -> None:
        with Artist(hand):
            answer = client.images.generate(prompt="a red cube")

        assert answer.data is not None
        (picture,) = answer.data
        assert opened(picture.b64_json).format == "PNG"
        assert (picture.revised_prompt, answer.size, answer.output_format) == ("a red cube", "64x64", "png")
        (job,) = jobs(gateway)
        assert (job["status"], job["metadata"]) == ("succeeded", {"dialect": "openai"})

    def test_everything_said_is_drawn(self, gateway: Serving, client: OpenAI, hand: Hand) -> None:
        with Artist(hand):
            answer = client.images.generate(
                prompt="a red cube",
                model=STUDIO_CARD.id,
                n=2,
                size="128x64",
                quality="low",
                output_format="webp",
                output_compression=100,
                background="opaque",
                moderation="low",
                style="natural",
                user="somebody",
                extra_body={"negative_prompt": "ugly", "num_inference_steps": 3, "guidance_scale": 1.5, "seed": 7},
            )

        assert answer.data is not None
        assert [opened(picture.b64_json).size for picture in answer.data] == [(128, 64)] * 2
        assert [opened(picture.b64_json).format for picture in answer.data] == ["WEBP"] * 2
        params = jobs(gateway)[0]["params"]
        assert isinstance(params, dict)
        said = {"negative_prompt": "ugly", "num_inference_steps": 3, "guidance_scale": 1.5, "seed": 7, "num_images": 2}
        assert said.items() <= params.items()
        assert params["preset"] == "draft"

    def test_a_picture_can_be_fetched_by_its_url(self, client: OpenAI, hand: Hand) -> None:
        with Artist(hand):
            answer = client.images.generate(prompt="a red cube", response_format="url", extra_body={"seed": 7})

        assert answer.data is not None
        url = answer.data[0].url
        assert url is not None
        assert answer.data[0].b64_json is None
        assert httpx2.get(url, trust_env=False).content.startswith(b"\x89PNG")

    @pytest.mark.parametrize(
        ("size", "drawn"), [("1024x1024", (64, 64)), ("1536x1024", (96, 64)), ("96x96", (96, 96)), ("auto", (64, 64))]
    )
    def test_a_size_of_other_models_is_drawn_in_the_same_shape_and_resized(
        self, gateway: Serving, client: OpenAI, hand: Hand, size: str, drawn: tuple[int, int]
    ) -> None:
        with Artist(hand):
            answer = client.images.generate(prompt="a red cube", size=size)

        params = jobs(gateway)[0]["params"]
        assert isinstance(params, dict)
        assert (params["width"], params["height"]) == drawn
        assert answer.size == ("64x64" if size == "auto" else size)
        assert answer.data is not None
        assert "x".join(str(side) for side in opened(answer.data[0].b64_json).size) == answer.size

    @pytest.mark.parametrize(
        ("quality", "preset", "told"),
        [
            ("low", "draft", "low"),
            ("medium", "fast", "medium"),
            ("high", "quality", "high"),
            ("xhigh", "quality", "xhigh"),
            ("hd", "quality", "high"),
            ("standard", "quality", "high"),
            ("auto", "quality", "high"),
        ],
    )
    def test_quality_chooses_a_preset_by_its_work_and_the_answer_tells_it(
        self, gateway: Serving, client: OpenAI, hand: Hand, *, quality: str, preset: str, told: str
    ) -> None:
        with Artist(hand):
            answer = client.images.generate(prompt="a red cube", quality=quality)  # pyright: ignore[reportCallIssue, reportArgumentType]

        params = jobs(gateway)[0]["params"]
        assert isinstance(params, dict)
        assert (params["preset"], answer.quality) == (preset, told)

    @pytest.mark.parametrize("quality", ["hd", "low", None])
    def test_answers_and_events_are_of_the_clients_own_types(
        self, gateway: Serving, hand: Hand, quality: str | None
    ) -> None:
        body = {"prompt": "a red cube", "quality": quality}
        with Artist(hand, step_s=0.1):
            answer = gateway.http.post("/v1/images/generations", json=body)
            told = gateway.http.post("/v1/images/generations", json={**body, "stream": True, "partial_images": 1}).text

        # The client itself checks nothing of what it gets.
        ImagesResponse.model_validate_json(answer.content, strict=True)
        partial, completed = (line.removeprefix("data: ") for line in told.splitlines() if line.startswith("data: "))
        ImageGenPartialImageEvent.model_validate_json(partial, strict=True)
        ImageGenCompletedEvent.model_validate_json(completed, strict=True)

    def test_the_prompts_tokens_are_told_as_in_a_stream(self, client: OpenAI, hand: Hand) -> None:
        with Artist(hand):
            answer = client.images.generate(prompt="a red cube")
            (event,) = client.images.generate(prompt="a red cube", stream=True)

        assert answer.usage is not None
        assert event.type == "image_generation.completed"
        assert answer.usage.input_tokens == event.usage.input_tokens

    def test_what_is_null_is_not_said(self, client: OpenAI, hand: Hand) -> None:
        with Artist(hand):
            answer = client.images.generate(
                prompt="a red cube",
                background=None,
                complexity=None,
                frame_count=None,
                frame_duration_ms=None,
                moderation=None,
                n=None,
                output_format=None,
                partial_images=None,
                quality=None,
                response_format=None,
                size=None,
                stream=None,
                extra_body={"svg": None},
            )

        assert len(answer.data or []) == 1

    def test_the_async_client_works_too(self, gateway: Serving, hand: Hand) -> None:
        async def ask() -> list[int]:
            async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none") as client:
                answers = await asyncio.gather(*(client.images.generate(prompt=f"cube {n}") for n in range(3)))
            return [len(answer.data or []) for answer in answers]

        with Artist(hand):
            assert asyncio.run(ask()) == [1, 1, 1]

    def test_models_are_listed(self, client: OpenAI, hand: Hand) -> None:
        del hand
        assert [model.id for model in client.models.list()] == [STUDIO_CARD.id]


class TestStream:
    def test_sketches_come_before_the_picture(self, client: OpenAI, hand: Hand) -> None:
        with Artist(hand, step_s=0.1):
            events = list(client.images.generate(prompt="a red cube", stream=True, partial_images=2))

        assert [event.type for event in events] == [
            "image_generation.partial_image",
            "image_generation.partial_image",
            "image_generation.completed",
        ]
        assert [opened(event.b64_json).format for event in events] == ["JPEG", "JPEG", "PNG"]
        assert [event.partial_image_index for event in events if event.type == "image_generation.partial_image"] == [
            0,
            1,
        ]
        assert len({event.b64_json for event in events}) == 3
        assert {event.size for event in events} == {"64x64"}

    def test_without_sketches_there_is_the_picture_alone(self, client: OpenAI, hand: Hand) -> None:
        with Artist(hand):
            (event,) = client.images.generate(prompt="a red cube", stream=True, extra_body={"seed": 7})

        assert event.type == "image_generation.completed"
        assert opened(event.b64_json).format == "PNG"

    def test_each_of_several_pictures_comes_as_an_event(self, client: OpenAI, hand: Hand) -> None:
        with Artist(hand):
            events = list(client.images.generate(prompt="a red cube", n=3, stream=True, extra_body={"seed": 7}))

        assert len({event.b64_json for event in events}) == 3
        assert {event.type for event in events} == {"image_generation.completed"}

    def test_the_async_client_streams_too(self, gateway: Serving, hand: Hand) -> None:
        async def ask() -> list[str]:
            async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none") as client:
                stream = await client.images.generate(prompt="a red cube", stream=True, partial_images=1)
                return [event.type async for event in stream]

        with Artist(hand, step_s=0.1):
            assert asyncio.run(ask()) == ["image_generation.partial_image", "image_generation.completed"]

    def test_a_failure_on_the_way_is_an_error(self, client: OpenAI, hand: Hand) -> None:
        with (
            Artist(hand, fails=(OutOfMemory.code, "Ask for a smaller one.")),
            pytest.raises(openai.APIError, match="Ask for a smaller one") as caught,
        ):
            list(client.images.generate(prompt="a red cube", stream=True))

        assert (caught.value.code, caught.value.type) == ("out_of_memory", "server_error")

    def test_a_wrong_request_is_refused_before_the_stream_begins(self, client: OpenAI, hand: Hand) -> None:
        del hand
        with pytest.raises(openai.BadRequestError):
            client.images.generate(prompt="", stream=True)


def test_pictures_are_those_that_were_drawn(client: OpenAI, gateway: Serving, hand: Hand) -> None:
    with Artist(hand):
        answer = client.images.generate(prompt="a red cube", n=2, extra_body={"seed": 7})

    (job,) = gateway.http.get("/v1/jobs").json()["data"]
    assert job["params"]["seed"] == 7
    assert answer.data is not None
    files = [base64.b64decode(picture.b64_json or "") for picture in answer.data]
    assert [len(file) for file in files] == [image["num_bytes"] for image in job["images"]]
    assert len(set(files)) == 2
