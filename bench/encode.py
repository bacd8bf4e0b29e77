"""How long a PNG takes and how large it is: ours beside Pillow's and other packages'.

    python -m bench.encode [--rounds 15]

Processor time of one thread, 512x512 and 1024x1024, all encoders in turn on each picture, so that ratios are of one
moment. "With upload" adds the file's size at 50 MB/s. A package that is not installed is left out: zlib-ng, deflate,
opencv-python-headless, imagecodecs, fpng.

The pictures: a smooth ground with noise that grows with the light, as a sensor's does (standard deviation 0.5, 2 and 6
of 255 at half light); noise with the spectrum of natural pictures; black text; a picture that the demo model draws,
enlarged; two photographs that come with Gradio, cut square and resized (at 1024x1024: enlarged).

"GIL free": the processor time that another thread of Python, which would always run, has while one picture of
3072x3072 is encoded, to the encoder's own; 0 where it stands still, 1 where it is not held up. On a busy machine less
than 1 in any case.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any, Final, cast

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from bench.engine import engine_way
from worker.png import Pixels, encode_with_igzip, encode_with_pillow

SIZES: Final = (512, 1024)
UPLOAD_BYTES_PER_S: Final = 50e6
NOISE: Final = (0.5, 2.0, 6.0)
PHOTOGRAPHS: Final = ("media_assets/images/tower.jpg", "test_data/cheetah2.jpg")
BASE: Final = "Pillow, level 1"

Encode = Callable[[Pixels], bytes]


@dataclass(frozen=True, slots=True)
class Measured:
    """One encoder on one picture."""

    seconds: tuple[float, ...]
    """Of processor time, each round."""
    size: int
    """Of the file, in bytes."""


def encoders() -> dict[str, Encode]:
    """Name the encoders that this machine has."""
    ours: dict[str, Encode] = {
        BASE: lambda pixels: encode_with_pillow(pixels, PngInfo()),
        "Pillow, level 6": _pillow_6,
        "Up + igzip, level 1 (ours)": lambda pixels: encode_with_igzip(pixels, PngInfo()),
        "Up + Python's zlib, level 1": lambda pixels: zlib.compress(_up(pixels).data, 1),
    }
    others: dict[str, tuple[str, Callable[[Any], Encode]]] = {
        "Up + zlib-ng, level 2": ("zlib_ng.zlib_ng", lambda ng: lambda pixels: ng.compress(_up(pixels), 2)),
        "Up + libdeflate, level 1": ("deflate", lambda package: lambda pixels: package.zlib_compress(_up(pixels), 1)),
        "OpenCV": ("cv2", _opencv),
        "imagecodecs, level 1": ("imagecodecs", lambda codecs: partial(codecs.png_encode, level=1)),
        "fpng": ("fpng", lambda fpng: fpng.from_ndarray),
    }
    for name, (module, way) in others.items():
        if find_spec(module.partition(".")[0]) is not None:
            ours[name] = way(import_module(module))
    return ours


def pictures(side: int, drawn: Pixels) -> dict[str, Pixels]:
    """Make the test pictures, (side, side, 3), as the module says."""
    random = np.random.default_rng(1)
    found = {f"smooth, noise {strength}": _smooth(side, strength, random) for strength in NOISE}
    found |= {"natural spectrum": _natural(side, random), "text": _text(side), "demo model": _square(drawn, side)}
    spec = find_spec("gradio")
    if spec is not None and spec.origin is not None:
        for name in PHOTOGRAPHS:
            with Image.open(Path(spec.origin).parent / name) as image:
                found[f"photograph {Path(name).stem}"] = _square(np.asarray(image.convert("RGB")), side)
    return found


def measure(ways: dict[str, Encode], pixels: Pixels, rounds: int) -> dict[str, Measured]:
    """Encode one picture in all ways in turn, `rounds` times after one to warm up."""
    sizes = {name: len(encode(pixels)) for name, encode in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, encode in ways.items():
            begun = time.thread_time()
            encode(pixels)
            seconds[name].append(time.thread_time() - begun)
    return {name: Measured(tuple(seconds[name]), sizes[name]) for name in ways}


def gil_free(encode: Encode, pixels: Pixels) -> float:
    """Tell how much another thread of Python can work while this one encodes: 0, not at all, to 1, as it likes."""
    at_work, closing = threading.Event(), threading.Event()
    beside_s: list[float] = []

    def work_beside() -> None:
        begun = time.thread_time()
        while not closing.is_set():
            at_work.set()
            time.sleep(0)  # hands the GIL over, so that the encoder never waits for it
        beside_s.append(time.thread_time() - begun)

    beside = threading.Thread(target=work_beside)
    beside.start()
    at_work.wait()
    begun = time.thread_time()
    encode(pixels)
    own_s = time.thread_time() - begun
    closing.set()
    beside.join()
    return min(1.0, beside_s[0] / own_s)


def report(side: int, ways: dict[str, Encode], found: dict[str, Pixels], rounds: int) -> None:
    """Print one table of encoders, and one of pictures."""
    results = {name: measure(ways, pixels, rounds) for name, pixels in found.items()}
    print(f"\n| {side}x{side} | ms | time to {BASE} | size to {BASE} | ms with upload |")
    print("|---|---|---|---|---|")
    for way in ways:
        ms = median(1000 * median(result[way].seconds) for result in results.values())
        times = [_ratio(result[way], result[BASE]) for result in results.values()]
        sizes = [result[way].size / result[BASE].size for result in results.values()]
        upload = median(
            1000 * (median(result[way].seconds) + result[way].size / UPLOAD_BYTES_PER_S) for result in results.values()
        )
        print(f"| {way} | {ms:.1f} | {_spread(times)} | {_spread(sizes)} | {upload:.0f} |")
    print(f"\n| {side}x{side} | KB, {BASE} | ours, time | ours, size |\n|---|---|---|---|")
    for name, result in results.items():
        base, ours = result[BASE], result["Up + igzip, level 1 (ours)"]
        print(f"| {name} | {base.size / 1000:.0f} | {_ratio(ours, base):.2f} | {ours.size / base.size:.2f} |")


def main(rounds: int = 15) -> None:
    """Draw the demo model's picture, encode everything, print the tables."""
    draw, params_of = engine_way()
    drawn = draw(params_of("a red circle on a blue background", 1))
    ways = encoders()
    large = np.tile(pictures(1024, drawn)[f"smooth, noise {NOISE[1]}"], (3, 3, 1))
    print("| encoder | GIL free |\n|---|---|")
    for name, encode in ways.items():
        print(f"| {name} | {gil_free(encode, large):.2f} |", flush=True)
    for side in SIZES:
        report(side, ways, pictures(side, drawn), rounds)
    print(f"\n{rounds} rounds; Python {sys.version.split()[0]}; upload at {UPLOAD_BYTES_PER_S / 1e6:.0f} MB/s.")


def _ratio(measured: Measured, base: Measured) -> float:
    """Time, round by round."""
    return median(one / other for one, other in zip(measured.seconds, base.seconds, strict=True))


def _spread(ratios: list[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _pillow_6(pixels: Pixels) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _opencv(package: object) -> Encode:
    cv2 = cast("Any", package)
    cv2.setNumThreads(1)
    return lambda pixels: cv2.imencode(".png", pixels)[1]


def _up(pixels: Pixels) -> Pixels:
    """Filter each row by PNG's "Up"; without the filter's number, a byte a row, which changes nothing here."""
    rows = pixels.reshape(len(pixels), -1)
    filtered = rows.copy()
    np.subtract(rows[1:], rows[:-1], out=filtered[1:])
    return filtered


def _square(pixels: Pixels, side: int) -> Pixels:
    height, width, _ = pixels.shape
    least = min(height, width)
    top, left = (height - least) // 2, (width - least) // 2
    cut = Image.fromarray(pixels[top : top + least, left : left + least])
    return np.asarray(cut.resize((side, side), Image.Resampling.LANCZOS))


def _smooth(side: int, strength: float, random: np.random.Generator) -> Pixels:
    y, x = np.mgrid[0:side, 0:side] / side
    waves = np.stack([np.sin(3 * x + 2 * y), np.cos(2 * x - 3 * y), np.sin(4 * x * y + 1)], axis=-1)
    light = 255 * (0.5 + 0.4 * waves)
    noisy = light + strength * np.sqrt(light / 128) * random.normal(size=light.shape)
    return noisy.clip(0, 255).round().astype(np.uint8)


def _natural(side: int, random: np.random.Generator) -> Pixels:
    """Noise whose amplitude falls with frequency ** 1.3, lightness more than colour."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = np.inf
    shape = (3, *frequency.shape)
    spectrum = (random.normal(size=shape) + 1j * random.normal(size=shape)) / frequency**1.3
    fields = np.fft.irfft2(spectrum, (side, side))
    light, red, blue = fields / fields.std(axis=(1, 2), keepdims=True)
    mixed = np.stack([light + 0.3 * red, light - 0.1 * red + 0.1 * blue, light - 0.3 * blue], axis=-1)
    return (128 + 45 * mixed).clip(0, 255).round().astype(np.uint8)


def _text(side: int) -> Pixels:
    image = Image.new("RGB", (side, side), (250, 248, 240))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(18)
    for top in range(8, side, 26):
        pen.text((10, top), "The quick brown fox jumps over the lazy dog 0123456789 " * 3, font=font, fill=(20, 20, 60))
    return np.asarray(image)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="PNG encoders: time, size, and how long they hold the GIL.")
    parser.add_argument("--rounds", type=int, default=15)
    main(parser.parse_args().rounds)
