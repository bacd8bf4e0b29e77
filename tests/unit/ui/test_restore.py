"""Settings out of picture files: ours as a worker writes them, AUTOMATIC1111's as its documentation has them."""

from __future__ import annotations

import asyncio
import io
import json
import random
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image, PngImagePlugin
from starlette.testclient import TestClient
from starlette.types import Message
from starlette.types import Scope as Exchange

from shared.client import Client
from shared.contract import ModelBody
from shared.errors import InvalidRequest
from shared.generation import GenerationParams, OutputFormat, Scheduler, Size
from shared.infotext import read_infotext
from shared.provenance import MAX_TEXT_CHARS, Provenance
from tests.unit.ui.test_form import SDXL, STYLES, body
from ui.app import create_app
from ui.fitting import Fitted, fitted
from ui.form import FIELDS, check, request_of
from ui.restore import MAX_FILE_BYTES, MOST_HELD, PATIENCE_S, Restored, settings_of, settings_route
from ui.visitors import Person
from worker.images import encode_image

CARD = body(SDXL)
FAST = next(preset for preset in SDXL.presets if preset.name == "fast")
PARAMS = GenerationParams(
    prompt='a fox, "red" <in> snow\nsecond line',
    negative_prompt="ugly: very",
    width=1152,
    height=896,
    num_inference_steps=31,
    guidance_scale=6.5,
    seed=4_000_000_000,
    scheduler=Scheduler.UNIPC,
)
A1111 = (
    "a castle on a hill, (dramatic:1.2)\nNegative prompt: people\n"
    "Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 965400086, Size: 832x1216, "
    "Model hash: 31e35c80fc, Model: sd_xl_base_1.0, Version: v1.8.0"
)


def ours(params: GenerationParams, model: str = SDXL.id) -> bytes:
    """The file that a worker makes of these parameters, with few pixels."""
    provenance = Provenance.of(params, 0, model=model, model_revision=SDXL.revision, software="Darkroom 0.1.0")
    return encode_image(np.zeros((8, 12, 3), np.uint8), provenance).data


def png(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for keyword, text in texts.items():
        info.add_text(keyword, text)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def jpeg(comment: bytes) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif.tobytes())
    return file.getvalue()


def webp(*, exif: bytes = b"", xmp: bytes = b"") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "WEBP", exif=exif, xmp=xmp)
    return file.getvalue()


def exif_saying(text: str) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
    return exif.tobytes()


def tangled_exif(entries: int, num_bytes: int) -> bytes:
    """A directory whose every entry is the same bytes, as many as there are."""
    after = 8 + 2 + 12 * entries + 4
    data = num_bytes - after
    directory = b"".join(struct.pack(">HHLL", tag, 7, data, after) for tag in range(1, entries + 1))
    head = b"MM\0\x2a" + struct.pack(">LH", 8, entries)
    return b"Exif\0\0" + head + directory + struct.pack(">L", 0) + bytes(data)


def into_form(restored: Restored, draft: Mapping[str, object] | None = None, *models: ModelBody) -> Fitted:
    return fitted(restored, models or (CARD,), CARD, draft or {}, STYLES)


def values(taken: Fitted) -> dict[str, object]:
    return {field: taken.controls[field].value for field in FIELDS}


class TestOurs:
    @pytest.mark.parametrize("output_format", OutputFormat)
    def test_a_file_gives_back_to_the_letter_what_drew_it(self, output_format: OutputFormat) -> None:
        params = PARAMS.model_copy(update={"output_format": output_format, "output_size": Size(width=300, height=200)})

        taken = into_form(settings_of(ours(params)))
        again = request_of(values(taken), STYLES).resolve(SDXL, drawn_seed=1)

        assert taken.notes == ()
        assert again.model_copy(update={"preset": None, "deterministic": False}) == params

    def test_a_presets_lora_and_end_of_guidance_come_back_by_the_preset(self) -> None:
        drawn = PARAMS.model_copy(
            update={
                "adapter": FAST.adapter,
                "guidance_cutoff": FAST.guidance_cutoff,
                "scheduler": FAST.scheduler,
                "guidance_scale": FAST.guidance_scale,
            }
        )

        taken = into_form(settings_of(ours(drawn)))
        again = request_of(values(taken), STYLES).resolve(SDXL, drawn_seed=1)

        assert values(taken)["preset"] == "fast"
        assert (again.adapter, again.guidance_cutoff) == (FAST.adapter, FAST.guidance_cutoff)

    def test_an_unknown_lora_and_another_model_are_told(self) -> None:
        taken = into_form(settings_of(ours(PARAMS.model_copy(update={"adapter": "some/lora@1"}), model="other/model")))

        assert any("some/lora@1, which is not offered" in note for note in taken.notes)
        assert any("other/model, which is not served here" in note for note in taken.notes)

    def test_the_model_of_the_file_is_chosen_where_it_is_served(self) -> None:
        other = CARD.model_copy(update={"id": "other/model", "title": "Other"})

        taken = into_form(settings_of(ours(PARAMS, model="other/model")), None, CARD, other)

        assert (taken.card.id, values(taken)["model"], taken.notes) == ("other/model", "other/model", ())
        assert values(taken)["num_inference_steps"] == PARAMS.num_inference_steps

    def test_that_it_was_a_variation_is_told(self) -> None:
        varied = PARAMS.model_copy(update={"variation_seed": 5, "variation_strength": 0.15})

        (note,) = into_form(settings_of(ours(varied))).notes

        assert "a variation of the picture of seed 4000000000" in note

    def test_what_a_damaged_json_loses_the_infotext_beside_it_has(self) -> None:
        whole = ours(PARAMS.model_copy(update={"output_format": OutputFormat.JPEG}))
        restored = settings_of(whole.replace(b'"model_revision"', b'"model_revisioN"'))

        assert restored.fields["num_inference_steps"] == PARAMS.num_inference_steps
        assert restored.fields["scheduler"] == "unipc"


class TestAutomatic1111:
    @pytest.mark.parametrize(
        "data",
        [
            png(parameters=A1111),
            jpeg(b"UNICODE\0" + A1111.encode("utf-16-be")),
        ],
        ids=["png", "jpeg"],
    )
    def test_a_file_fills_the_form(self, data: bytes) -> None:
        said = values(taken := into_form(settings_of(data)))

        assert (
            said
            | {
                "prompt": "a castle on a hill, (dramatic:1.2)",
                "negative_prompt": "people",
                "num_inference_steps": 28,
                "guidance_scale": 7.5,
                "seed": 965400086,
                "seed_locked": True,
                "scheduler": "dpmpp_2m_karras",
                "size": "832x1216",
                "exact": False,
                "style": "",
            }
            == said
        )
        assert len(taken.notes) == 1
        assert "sd_xl_base_1.0, which is not served here" in taken.notes[0]
        assert check(said, SDXL, STYLES) == {}

    @pytest.mark.parametrize(
        ("said", "scheduler", "note"),
        [
            ("Sampler: DPM++ 2M, Schedule type: Karras", "dpmpp_2m_karras", ""),
            ("Sampler: DPM++ 2M, Schedule type: Exponential", "dpmpp_2m_karras", "Noise schedule 'Exponential'"),
            ("Sampler: euler a", "euler_a", ""),
            ("Sampler: Euler, Schedule type: Automatic", "euler", ""),
            ("Sampler: Heun", None, "Sampler 'Heun' is not offered here: left as it was."),
        ],
    )
    def test_samplers_are_known_by_their_names_of_before_and_after_1_9(
        self, said: str, scheduler: str | None, note: str
    ) -> None:
        restored = settings_of(png(parameters=f"a cat\nSteps: 20, {said}, Seed: 1, Size: 512x512"))

        assert restored.fields.get("scheduler") == scheduler
        assert [one[: len(note)] for one in restored.notes] == ([note] if note else [])

    @pytest.mark.parametrize(
        ("size", "shown", "is_exact"),
        [("576x704", "896x1152", True), ("512x512", "1024x1024", True), ("1000x700", "1216x832", False)],
    )
    def test_a_size_becomes_a_shape_an_exact_size_or_the_nearest_shape(
        self, size: str, shown: str, is_exact: bool
    ) -> None:
        taken = into_form(settings_of(png(parameters=f"a cat\nSteps: 20, Seed: 1, Size: {size}, Sampler: Euler")))
        said = values(taken)

        assert (said["size"], said["exact"]) == (shown, is_exact)
        if is_exact:
            assert f"{said['width']}x{said['height']}" == size
        else:
            assert taken.notes == (f"SSD-1B does not draw {size}: set to the nearest shape, {shown}.",)

    def test_what_the_form_can_not_ask_for_is_told(self) -> None:
        taken = into_form(
            settings_of(
                png(
                    parameters="a <lora:detail:0.8> cat\nSteps: 999, Sampler: Euler, CFG scale: x, Seed: 1, "
                    "Variation seed: 3, Hires upscale: 2, Clip skip: 2"
                )
            )
        )
        told = "\n".join(taken.notes)

        for words in ("CFG scale 'x'", "variation", "second pass", "clip skip", "LoRAs", "Steps 999 is not offered"):
            assert words in told

    def test_what_the_file_does_not_say_stays_as_it_was(self) -> None:
        restored = settings_of(png(parameters="a cat\nSteps: 20, Seed: 1, CFG scale: 4"))
        draft = {"model": SDXL.id, "scheduler": "ddim", "size": "1344x768", "num_images": 3, "output_format": "webp"}

        said = values(into_form(restored, draft))

        assert said | draft == said
        assert said["num_inference_steps"] == 20


class TestOthers:
    def test_invokeais_chunk_is_read(self) -> None:
        said = {
            "positive_prompt": "a cat",
            "negative_prompt": "dog",
            "width": 1024,
            "height": 1024,
            "seed": 12,
            "cfg_scale": 5.5,
            "steps": 22,
            "scheduler": "heun",
            "model": {"name": "SSD-1B"},
        }

        restored = settings_of(png(invokeai_metadata=json.dumps(said)))

        assert restored.fields["prompt"] == "a cat"
        assert (restored.fields["seed"], restored.fields["size"]) == (12, "1024x1024")
        assert (into_form(restored).notes) == ("Sampler 'heun' is another program's: left as it was.",)

    def test_fooocus_json_is_read(self) -> None:
        said = {"prompt": "a cat", "resolution": "(1152, 896)", "seed": "77", "steps": 30, "guidance_scale": 4.0}

        fields = settings_of(png(parameters=json.dumps(said), fooocus_scheme="fooocus")).fields

        assert (fields["size"], fields["seed"], fields["guidance_scale"]) == ("1152x896", 77, 4.0)

    def test_comfyuis_graph_is_named_as_what_it_is(self) -> None:
        with pytest.raises(InvalidRequest, match="ComfyUI"):
            settings_of(png(prompt="{}", workflow="{}"))


class TestRefusals:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "no PNG, JPEG or WebP"),
            (b"GIF89a" + bytes(100), "no PNG, JPEG or WebP"),
            (b"\x89PNG\r\n\x1a\n cut short", "no PNG, JPEG or WebP"),
            (png(), "does not say how it was made"),
            (png(parameters="just a prompt, without any parameters"), "does not say how it was made"),
            (png(parameters=""), "does not say how it was made"),
            (png(parameters="a" * (MAX_TEXT_CHARS + 1)), "too long"),
            (png(parameters='{"prompt"' * 20_000), "too long"),
            (png(parameters="[" * 50_000), "does not say how it was made"),
            (png(parameters='{"a":' * 15_000), "does not say how it was made"),
            (bytes(MAX_FILE_BYTES + 1), "32 MB at most"),
        ],
    )
    def test_a_file_without_settings_is_told_why(self, data: bytes, message: str) -> None:
        with pytest.raises(InvalidRequest, match=message):
            settings_of(data)

    def test_a_decompression_bomb_is_never_inflated(self) -> None:
        header = struct.pack(">IIBBBBB", 13_000, 13_000, 8, 2, 0, 0, 0)
        chunks = [
            (b"IHDR", header),
            (b"tEXt", b"parameters\0" + A1111.encode()),
            (b"IDAT", zlib.compress(bytes(10**7))),
        ]
        file = b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in (*chunks, (b"IEND", b""))
        )

        assert settings_of(file).fields["seed"] == 965400086

    def test_a_text_that_inflates_without_end_is_refused(self) -> None:
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", "a" * 20_000_000, zip=True)
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)

        with pytest.raises(InvalidRequest, match="too long"):
            settings_of(file.getvalue())

    @pytest.mark.parametrize("field", ["prompt", "base_model", "sampler"])
    def test_half_a_character_is_no_text(self, field: str) -> None:
        said = json.dumps({"prompt": "a cube", "steps": 3} | {field: "\ud800"})

        with pytest.raises(InvalidRequest):
            settings_of(png(parameters=said))

    @pytest.mark.parametrize("output_format", OutputFormat)
    def test_damaged_files_are_read_or_refused_never_more(self, output_format: OutputFormat) -> None:
        whole = ours(PARAMS.model_copy(update={"output_format": output_format}))
        draw = random.Random(7)
        for _ in range(300):
            data = bytearray(whole[: draw.randrange(len(whole))] if draw.random() < 0.4 else whole)
            for _ in range(draw.randrange(1, 6)):
                if data:
                    data[draw.randrange(len(data))] = draw.randrange(256)
            with suppress(InvalidRequest):
                into_form(settings_of(bytes(data)))

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (webp(xmp=b"<darkroom:parameters>" * 500_000), "does not say how it was made"),
            (webp(xmp=b"<darkroom:parameters>" + bytes(MAX_TEXT_CHARS + 1) + b"</darkroom:parameters>"), "too long"),
            (webp(exif=exif_saying(f"{'<lora:' * 500_000} cat\nSteps: 20, Seed: 1, CFG scale: 4")), "too long"),
            (webp(exif=exif_saying("a, " * 500_000)), "too long"),
            (webp(exif=tangled_exif(60_000, 16 * 2**20)), "too long"),
        ],
        ids=["no end", "long", "loras", "commas", "tangled"],
    )
    def test_a_file_that_says_much_costs_little(self, data: bytes, message: str) -> None:
        with pytest.raises(InvalidRequest, match=message):
            settings_of(data)

    def test_a_jpegs_exif_is_one_segment(self) -> None:
        segments = tangled_exif(5_000, 6_000_000)
        head, one = b"Exif\0\0", exif_saying(A1111)
        more = b"".join(
            b"\xff\xe1" + struct.pack(">H", 2 + len(head) + len(part)) + head + part
            for part in (segments[at : at + 65_000] for at in range(6, len(segments), 65_000))
        )
        plain = io.BytesIO()
        Image.new("RGB", (8, 8)).save(plain, "JPEG", exif=one)
        whole = plain.getvalue()
        end = whole.index(b"\xff\xdb")  # where the tables begin

        with pytest.raises(InvalidRequest, match="too long"):
            settings_of(whole[:end] + more + whole[end:])
        assert settings_of(whole + more).fields["seed"] == 965400086  # a second picture behind the first

    def test_a_prompt_of_nothing_but_loras_is_read(self) -> None:
        restored = settings_of(png(parameters=f"{'<lora:' * 15_000} cat\nSteps: 20, Seed: 1, CFG scale: 4"))

        assert (restored.fields["seed"], restored.notes) == (1, ())

    def test_a_line_of_a_hundred_thousand_words_is_no_riddle(self) -> None:
        assert read_infotext("word " * 20_000).fields == {}


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(Client("http://127.0.0.1:9"), secret="a secret of the page's")


@pytest.fixture
def browser(app: FastAPI) -> TestClient:
    browser = TestClient(app, base_url="http://127.0.0.1:7860")
    browser.get("/")
    return browser


Answer = tuple[int, bytes]
"""Status and body."""


@pytest.fixture
def person() -> Person:
    return Person(Client("http://127.0.0.1:9"))


def app_of(person: Person, *, patience_s: float = PATIENCE_S) -> FastAPI:
    app = FastAPI()
    app.include_router(settings_route(lambda _: person, patience_s=patience_s))
    return app


class Drop:
    """A file on its way: its first half comes at once, the other once it is `sent`, or None: its sender goes away."""

    def __init__(self, app: FastAPI, data: bytes, sent: asyncio.Event | None) -> None:
        self.begun = asyncio.Event()
        """Somebody waits for the other half."""
        self._app = app
        self._size = len(data)
        self._halves = [data[: len(data) // 2], data[len(data) // 2 :]]
        self._sent = sent
        self._said: list[Message] = []

    async def answer(self) -> Answer:
        scope: Exchange = {
            "type": "http",
            "method": "POST",
            "path": "/settings",
            "query_string": b"",
            "headers": [(b"content-length", str(self._size).encode())],
        }
        await self._app(scope, self._receive, self._send)
        start, *rest = self._said
        return start["status"], b"".join(message.get("body", b"") for message in rest)

    async def _receive(self) -> Message:
        half = self._halves.pop(0)
        if not self._halves:
            self.begun.set()
            if self._sent is None:
                return {"type": "http.disconnect"}
            await self._sent.wait()
        return {"type": "http.request", "body": half, "more_body": bool(self._halves)}

    async def _send(self, message: Message) -> None:
        self._said.append(message)


class TestRoute:
    def test_a_file_is_answered_with_its_settings(self, browser: TestClient) -> None:
        answer = browser.post("/settings", content=ours(PARAMS))

        restored = Restored.model_validate(answer.json())
        assert (answer.status_code, restored.model) == (200, SDXL.id)
        assert restored == settings_of(ours(PARAMS))

    def test_who_has_not_opened_the_page_is_refused(self, app: FastAPI) -> None:
        stranger = TestClient(app, base_url="http://127.0.0.1:7860")

        answer = stranger.post("/settings", content=ours(PARAMS))

        assert (answer.status_code, answer.text.startswith("This page needs a cookie")) == (403, True)

    def test_a_refusal_is_a_sentence(self, browser: TestClient) -> None:
        answer = browser.post("/settings", content=b"nothing")

        assert answer.status_code == 422
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert answer.text == "This file is no PNG, JPEG or WebP picture that can be read."

    def test_too_much_is_refused_by_its_length_alone(self, browser: TestClient) -> None:
        answer = browser.post("/settings", content=b"", headers={"Content-Length": str(MAX_FILE_BYTES + 1)})

        assert (answer.status_code, answer.text) == (413, "A file may have 32 MB at most.")

    def test_a_body_of_unsaid_length_is_refused(self, browser: TestClient) -> None:
        def endless() -> Iterator[bytes]:
            yield b"x"

        assert browser.post("/settings", content=endless()).status_code == 411

    def test_only_so_many_files_are_in_memory_and_the_next_is_told(self, person: Person) -> None:
        async def drops() -> tuple[list[Answer], Answer, Answer]:
            app, sent = app_of(person), asyncio.Event()
            held = [Drop(app, ours(PARAMS), sent) for _ in range(MOST_HELD)]
            answers = [asyncio.create_task(drop.answer()) for drop in held]
            for drop in held:
                await drop.begun.wait()
            refused = await Drop(app, ours(PARAMS), sent).answer()
            sent.set()
            served = list(await asyncio.gather(*answers))
            return served, refused, await Drop(app, ours(PARAMS), sent).answer()

        served, refused, later = asyncio.run(drops())

        assert refused == (503, b"Many pictures are being read just now. Try again in a moment.")
        assert [status for status, _ in (*served, later)] == [200] * (MOST_HELD + 1)

    def test_a_file_that_never_ends_gives_its_place_back(self, person: Person) -> None:
        async def drops() -> tuple[list[Answer], Answer]:
            app, never, sent = app_of(person, patience_s=0.01), asyncio.Event(), asyncio.Event()
            sent.set()
            slow = await asyncio.gather(*(Drop(app, ours(PARAMS), never).answer() for _ in range(MOST_HELD)))
            return slow, await Drop(app, ours(PARAMS), sent).answer()

        slow, later = asyncio.run(drops())

        assert slow == [(408, b"The file took too long to get here. Try again.")] * MOST_HELD
        assert later[0] == 200

    def test_who_goes_away_gives_the_place_back(self, person: Person) -> None:
        async def drops() -> Answer:
            app, sent = app_of(person), asyncio.Event()
            sent.set()
            for _ in range(MOST_HELD):
                await Drop(app, ours(PARAMS), None).answer()
            return await Drop(app, ours(PARAMS), sent).answer()

        assert asyncio.run(drops())[0] == 200
