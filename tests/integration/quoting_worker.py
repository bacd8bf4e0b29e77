"""A worker process whose model fails at some prompts, in words that quote them, as a library's may.

python -m tests.integration.quoting_worker
"""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING, Any, Final, cast

from shared.settings import Settings
from worker.logs import configure_logging

if TYPE_CHECKING:
    from worker.engine.prompts import TextEmbeds

UNREADABLE: Final = "unreadable"
"""A prompt with this word can't be encoded."""


def quote_prompts() -> None:
    """Have the encoder fail."""
    configure_logging("worker", Settings())  # as a worker does, before it imports
    from worker.engine.prompts import PromptEncoder  # noqa: PLC0415

    true_encode = PromptEncoder.encode

    def encode(encoder: PromptEncoder, text: str) -> TextEmbeds:
        if UNREADABLE in text:
            raise ValueError(f"no tokens for {text!r}")
        return true_encode(encoder, text)

    cast("Any", PromptEncoder).encode = encode


if __name__ == "__main__":
    quote_prompts()
    runpy.run_module("worker", run_name="__main__")
