"""One picture after another: the engine beside the stock pipeline's own call.

    python -m bench.engine [--pairs 20]

Both run the model that this machine would serve, in this process, in turn (A B A B ...), with the
model's own defaults and the same seeds, and must draw the same pixels: the comparison is of the
same work. Prints seconds a picture and the engine's ratio to the stock call, pair by pair.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

from shared.generation import GenerationParams, GenerationRequest
from worker.engine.card import card_of
from worker.engine.engine import Engine
from worker.engine.events import Pixels, RowFailed, RowFinished, RowId
from worker.engine.model import best_device, best_dtype, load_model
from worker.engine.source import choose_source, fetch
from worker.engine.warmup import warm

PROMPTS: Final = ("a red circle on a blue background", "a yellow star on black", "a green heart on white")

Draw = Callable[[GenerationParams], Pixels]


def engine_way() -> tuple[Draw, Callable[[str, int], GenerationParams]]:
    """Draw with our loop; also gives what makes a prompt and a seed into parameters."""
    source = choose_source("auto", cuda=torch.cuda.is_available())
    card = card_of(source)
    engine = Engine(load_model(fetch(source, None), card))
    warm(engine)

    def draw(params: GenerationParams) -> Pixels:
        engine.admit(RowId("bench"), params, 0)
        while True:
            for event in engine.step():
                if isinstance(event, RowFinished):
                    return event.picture.pixels()
                if isinstance(event, RowFailed):
                    raise event.error

    return draw, lambda prompt, seed: GenerationRequest(prompt=prompt).resolve(card, drawn_seed=seed)


def stock_way() -> Draw:
    """Draw with `StableDiffusionXLPipeline.__call__`, loaded as its documentation says."""
    device = best_device()
    load = cast("Any", StableDiffusionXLPipeline).from_pretrained
    folder = fetch(choose_source("auto", cuda=torch.cuda.is_available()), None)
    pipeline = load(folder, variant="fp16", use_safetensors=True, add_watermarker=False, dtype=best_dtype(device))
    pipeline.to(device)
    pipeline.set_progress_bar_config(disable=True)

    def draw(params: GenerationParams) -> Pixels:
        drawn = pipeline(
            prompt=params.prompt,
            negative_prompt=params.negative_prompt or None,
            width=params.width,
            height=params.height,
            num_inference_steps=params.num_inference_steps,
            guidance_scale=params.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(params.seed),
            output_type="np",
        ).images[0]
        return (drawn * 255).round().astype(np.uint8)

    return draw


def timed(draw: Draw, params: GenerationParams) -> tuple[float, Pixels]:
    """Draw one picture: wall seconds and the picture."""
    begun = time.perf_counter()
    pixels = draw(params)
    return time.perf_counter() - begun, pixels


def main(pairs: int) -> None:
    """Draw `pairs` pictures both ways, in turn, and print the table."""
    ours, params_of = engine_way()
    stock = stock_way()
    stock(params_of(PROMPTS[0], 0))
    times: list[tuple[float, float]] = []
    differing = 0
    for seed in range(pairs):
        params = params_of(PROMPTS[seed % len(PROMPTS)], seed)
        (stock_s, expected), (ours_s, pixels) = timed(stock, params), timed(ours, params)
        times.append((stock_s, ours_s))
        differing += int(not np.array_equal(expected, pixels))
    stock_s, ours_s = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(ours / stock for stock, ours in times)
    print("| way | s a picture, median | ratio, median of pairs |")
    print("|---|---|---|")
    print(f"| stock pipeline, one after another | {stock_s:.3f} | 1.00 |")
    print(f"| Darkroom's engine, one after another | {ours_s:.3f} | {ratio:.2f} |")
    print(f"\n{pairs} pairs, {torch.get_num_threads()} threads, {differing} pictures differ.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The engine beside the stock pipeline, one picture at a time.")
    parser.add_argument("--pairs", type=int, default=20)
    main(parser.parse_args().pairs)
