"""Way 2: a Gradio page around the stock pipeline, with Gradio's own queue: what most people would put up.

    python -m bench.baselines.gradio_page CHECKPOINT PORT

The queue runs one event at a time (`default_concurrency_limit` is 1), because a pipeline is not thread-safe.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import gradio
import torch
from PIL import Image

from bench.baselines.stock import Stock
from bench.orders import Order


def main() -> None:
    """Load, then serve until killed."""
    stock = Stock(Path(sys.argv[1]))

    def draw(*said: Any) -> Image.Image:  # noqa: ANN401 (what the components below give, in their order)
        return stock.draw(Order(*said))

    page = cast("Any", gradio).Interface(
        draw,
        inputs=[
            gradio.Textbox(label="Prompt"),
            gradio.Textbox(label="Negative prompt"),
            *(gradio.Number(label=label, precision=0) for label in ("Width", "Height", "Steps")),
            gradio.Number(label="Guidance"),
            gradio.Number(label="Seed", precision=0),
        ],
        outputs=gradio.Image(format="png"),
        api_name="draw",
        flagging_mode="never",
    )
    page.queue().launch(
        server_name="127.0.0.1", server_port=int(sys.argv[2]), quiet=True, show_error=True, prevent_thread_lock=True
    )
    print(f"ready, {torch.get_num_threads()} threads", flush=True)
    page.block_thread()


if __name__ == "__main__":
    main()
