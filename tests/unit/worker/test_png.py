from __future__ import annotations

import io
import logging
import struct
import sys
import zlib
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from worker.png import EncodePng, Pixels, choose_encoder, encode_png, encode_with_igzip, encode_with_pillow

ENCODERS = pytest.mark.parametrize("encode", [encode_with_igzip, encode_with_pillow])


def texts(**named: str) -> PngInfo:
    info = PngInfo()
    for name, text in named.items():
        info.add_text(name, text)
    return info


def noise(height: int, width: int, seed: int = 0, values: int = 256) -> Pixels:
    return np.random.default_rng(seed).integers(0, values, (height, width, 3), dtype=np.uint8)


def chunks_of(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Read chunks as the PNG specification says, and check their lengths and checksums."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at = 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + length]
        assert len(body) == 4 + length
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(body),)
        yield body[:4], body[4:]
        at += 12 + length


def pixels_in(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


@st.composite
def pictures(draw: st.DrawFn) -> Pixels:
    height, width = draw(st.tuples(st.integers(1, 70), st.integers(1, 70)) | st.sampled_from([(1, 3000), (3000, 1)]))
    seed = draw(st.integers(0, 2**32 - 1))
    kind = draw(st.sampled_from(["noise", "few values", "flat", "columns", "rows", "slope"]))
    match kind:
        case "noise":
            return noise(height, width, seed)
        case "few values":
            return noise(height, width, seed, values=3) * np.uint8(127)
        case "flat":
            return np.broadcast_to(noise(1, 1, seed), (height, width, 3))
        case "columns":
            return np.broadcast_to(noise(1, width, seed), (height, width, 3))
        case "rows":
            return np.broadcast_to(noise(height, 1, seed), (height, width, 3))
        case _:
            steps = np.add.outer(np.arange(height), np.arange(width))[..., None] * noise(1, 1, seed, values=5)
            return steps.astype(np.uint8)


@ENCODERS
@given(pixels=pictures())
@example(pixels=np.zeros((1, 1, 3), np.uint8))
@example(pixels=np.full((1, 1, 3), 255, np.uint8))
@example(pixels=noise(801, 603))
@settings(max_examples=150, deadline=None)
def test_every_pixel_comes_back(encode: EncodePng, pixels: Pixels) -> None:
    assert np.array_equal(pixels_in(encode(pixels, texts())), pixels)


@given(pixels=pictures(), text=st.text(max_size=300))
@settings(deadline=None)
def test_a_strict_reader_finds_nothing_wrong(pixels: Pixels, text: str) -> None:
    data = encode_with_igzip(pixels, texts(parameters=text))
    chunks = list(chunks_of(data))
    assert [kind for kind, _ in chunks[:1] + chunks[2:]] == [b"IHDR", b"IDAT", b"IEND"]
    assert chunks[1][0] in {b"tEXt", b"iTXt"}
    height, width, _ = pixels.shape
    assert chunks[0][1] == struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = zlib.decompressobj()
    rows = packed.decompress(chunks[2][1])
    assert packed.eof
    assert not packed.unused_data
    assert len(rows) == height * (1 + 3 * width)
    Image.open(io.BytesIO(data)).verify()


@ENCODERS
@pytest.mark.parametrize("text", ["a cat", "ein Käse\nSteps: 5", "圆 🎨", "x" * 100_000])
def test_the_texts_are_seen_before_the_picture_is_loaded(encode: EncodePng, text: str) -> None:
    info = texts(parameters=text)
    info.add_itxt("darkroom", '{"seed": 1}')
    with Image.open(io.BytesIO(encode(noise(8, 8), info))) as image:
        seen = dict(cast("dict[str, Any]", image.info))
    assert seen == {"parameters": text, "darkroom": '{"seed": 1}'}


@ENCODERS
def test_pixels_may_lie_anyhow_in_memory(encode: EncodePng) -> None:
    pixels = noise(40, 30)[::-2, 3:20, ::-1]
    assert np.array_equal(pixels_in(encode(pixels, texts())), pixels)


@ENCODERS
def test_the_same_pixels_and_texts_give_the_same_bytes(encode: EncodePng) -> None:
    pixels, info = noise(300, 200, values=40), texts(parameters="a cat")
    assert encode(pixels, info) == encode(pixels.copy(), texts(parameters="a cat"))


def test_smooth_pictures_are_compressed() -> None:
    slope = np.add.outer(np.arange(256), np.arange(256)).astype(np.uint8)[..., None].repeat(3, axis=-1)
    assert len(encode_png(slope, texts())) < slope.nbytes / 20


def test_igzip_is_chosen_where_it_is_installed() -> None:
    assert choose_encoder() is encode_with_igzip


def test_pillow_is_chosen_where_isal_does_not_load(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    with caplog.at_level(logging.WARNING, "worker.png"):
        encode = choose_encoder()
        assert np.array_equal(pixels_in(encode(noise(5, 5), texts())), noise(5, 5))
    assert encode is encode_with_pillow
    assert len(caplog.records) == 1
