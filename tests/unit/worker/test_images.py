from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from shared.generation import MAX_PROMPT_CHARS, GenerationParams, OutputFormat, Scheduler, Size
from shared.heads import NotAPicture
from shared.infotext import Infotext, read_infotext, write_infotext
from shared.provenance import Provenance, read_parameters
from worker.images import Pixels, encode_image, encode_preview

FORMATS = list(OutputFormat)

PARAMS = GenerationParams(
    prompt='a red circle, "big"\n<on> a & blue ground: 圆 🎨',
    negative_prompt="ugly, blurry",
    width=64,
    height=48,
    num_inference_steps=25,
    guidance_scale=7.5,
    seed=41,
    num_images=2,
    scheduler=Scheduler.DPMPP_2M_KARRAS,
)


def provenance_of(params: GenerationParams) -> Provenance:
    return Provenance.of(params, 1, model="segmind/SSD-1B", model_revision="60987f37e94c", software="Darkroom 0.1.0")


def gradient(width: int = 64, height: int = 48) -> Pixels:
    across = np.linspace(0, 255, width)[None, :].repeat(height, 0)
    down = np.linspace(0, 255, height)[:, None].repeat(width, 1)
    return np.stack([across, down, 255 - across], axis=-1).round().astype(np.uint8)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_file_tells_its_whole_provenance(output_format: OutputFormat) -> None:
    provenance = provenance_of(PARAMS.model_copy(update={"output_format": output_format}))
    embedded = read_parameters(encode_image(gradient(), provenance).data)
    assert embedded.provenance == provenance
    assert embedded.provenance is not None
    assert embedded.provenance.params.seed == 42


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_file_tells_other_tools_its_parameters(output_format: OutputFormat) -> None:
    params = PARAMS.model_copy(update={"output_format": output_format})
    embedded = read_parameters(encode_image(gradient(), provenance_of(params)).data)
    assert embedded.infotext == Infotext(
        PARAMS.prompt,
        PARAMS.negative_prompt,
        {
            "Steps": "25",
            "Sampler": "DPM++ 2M Karras",
            "CFG scale": "7.5",
            "Seed": "42",
            "Size": "64x48",
            "Model hash": "60987f37e9",
            "Model": "segmind/SSD-1B",
            "Version": "Darkroom 0.1.0",
        },
    )


def test_what_a_preset_chose_is_told_without_its_name_and_not_whether_it_was_drawn_alone() -> None:
    chosen = {"adapter": "some/lora@1", "guidance_cutoff": 0.4}
    params = PARAMS.model_copy(update={**chosen, "preset": "fast", "deterministic": True})
    embedded = read_parameters(encode_image(gradient(), provenance_of(params)).data)
    assert embedded.provenance is not None
    assert embedded.provenance.params == PARAMS.alone(1).model_copy(update=chosen)
    assert embedded.infotext is not None
    assert (embedded.infotext.fields["Adapter"], embedded.infotext.fields["Guided steps"]) == ("some/lora@1", "11")
    by_hand = params.model_copy(update={"preset": None, "deterministic": False})
    assert encode_image(gradient(), provenance_of(params)) == encode_image(gradient(), provenance_of(by_hand))


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_variation_tells_its_own_seed_and_strength_to_us_and_to_other_tools(output_format: OutputFormat) -> None:
    chosen = {"variation_seed": 99, "variation_strength": 0.15, "output_format": output_format}
    embedded = read_parameters(encode_image(gradient(), provenance_of(PARAMS.model_copy(update=chosen))).data)
    assert embedded.provenance is not None
    own = embedded.provenance.params
    assert (own.seed, own.variation_seed, own.variation_strength, own.num_images) == (41, 100, 0.15, 1)
    assert embedded.infotext is not None
    fields = embedded.infotext.fields
    assert (fields["Seed"], fields["Variation seed"], fields["Variation seed strength"]) == ("41", "100", "0.15")
    assert list(fields).index("Variation seed") == list(fields).index("Model") + 1  # where AUTOMATIC1111 has it


@pytest.mark.parametrize("strength", [0.1, 1 / 3, 0.35, 1.0])
def test_an_infotext_tells_a_strength_to_the_last_digit(strength: float) -> None:
    params = PARAMS.model_copy(update={"variation_seed": 99, "variation_strength": strength})
    fields = read_infotext(provenance_of(params).infotext()).fields
    assert float(fields["Variation seed strength"]) == strength


def test_what_is_no_variation_says_nothing_of_one_so_its_bytes_are_those_of_before() -> None:
    provenance = provenance_of(PARAMS)
    assert "ariation" not in provenance.json_text() + provenance.infotext()
    assert Provenance.model_validate_json(provenance.json_text()) == provenance


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("letter", ["&", '"', "🎨", "\n"])
def test_the_longest_prompts_fit_into_every_format(output_format: OutputFormat, letter: str) -> None:
    text = "a" + letter * (MAX_PROMPT_CHARS - 2) + "b"
    params = PARAMS.model_copy(update={"output_format": output_format, "prompt": text, "negative_prompt": text})
    embedded = read_parameters(encode_image(gradient(), provenance_of(params)).data)
    assert embedded.provenance is not None
    assert embedded.provenance.params == params.alone(1)


@pytest.mark.parametrize("output_format", FORMATS)
def test_the_same_pixels_and_provenance_give_the_same_bytes(output_format: OutputFormat) -> None:
    provenance = provenance_of(PARAMS.model_copy(update={"output_format": output_format}))
    assert encode_image(gradient(), provenance) == encode_image(gradient(), provenance)


def test_a_png_keeps_every_pixel() -> None:
    image = opened(encode_image(gradient(), provenance_of(PARAMS)).data)
    assert image.format == "PNG"
    assert np.array_equal(np.asarray(image), gradient())


@pytest.mark.parametrize(("output_format", "name"), [(OutputFormat.JPEG, "JPEG"), (OutputFormat.WEBP, "WEBP")])
def test_lossy_formats_stay_close_to_the_pixels(output_format: OutputFormat, name: str) -> None:
    params = PARAMS.model_copy(update={"output_format": output_format})
    image = opened(encode_image(gradient(), provenance_of(params)).data)
    assert image.format == name
    difference = np.abs(np.asarray(image.convert("RGB")).astype(int) - gradient())
    assert difference.mean() < 3


@pytest.mark.parametrize("size", [Size(width=32, height=24), Size(width=200, height=100)])
def test_a_picture_is_resized_to_the_output_size(size: Size) -> None:
    encoded = encode_image(gradient(), provenance_of(PARAMS.model_copy(update={"output_size": size})))
    assert encoded.size == size
    assert opened(encoded.data).size == (size.width, size.height)


@pytest.mark.parametrize(("width", "height"), [(1024, 1024), (1536, 640), (64, 96)])
def test_a_preview_is_a_small_jpeg_of_the_pictures_shape(width: int, height: int) -> None:
    image = opened(encode_preview(gradient(width // 8, height // 8), Size(width=width, height=height)))
    assert image.format == "JPEG"
    assert max(image.size) == min(256, max(width, height))
    assert abs(image.width / image.height - width / height) < 0.02


@pytest.mark.parametrize("data", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n cut short"])
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    with pytest.raises(NotAPicture):
        read_parameters(data)


def test_a_foreign_picture_says_nothing() -> None:
    file = io.BytesIO()
    Image.fromarray(gradient()).save(file, "PNG")
    embedded = read_parameters(file.getvalue())
    assert embedded.infotext is None
    assert embedded.provenance is None


@pytest.mark.parametrize(
    "infotext",
    [
        Infotext("a cat", "", {"Steps": "5", "Seed": "1", "Size": "8x8"}),
        Infotext("a cat\non a mat", "ugly\nblurry", {"Steps": "5", "Seed": "1", "Model": 'my, "own": model'}),
        Infotext("Steps: slow, mood: calm, light: soft", "", {"Steps": "5", "Seed": "1", "Size": "8x8"}),
    ],
)
def test_an_infotext_reads_as_it_was_written(infotext: Infotext) -> None:
    assert read_infotext(write_infotext(infotext)) == infotext


def test_a_last_line_with_few_pairs_belongs_to_the_prompt() -> None:
    text = "a clock\nTime: noon, Steps: many"
    assert read_infotext(text) == Infotext(text, "", {})
