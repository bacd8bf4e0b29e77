"""How long a gateway takes to count a prompt's tokens, and to learn a vocabulary: `python -m bench.tokens [FOLDER]`.

FOLDER is a checkpoint's, of which only `tokenizer` and `tokenizer_2` are read; absent: the demo model's. A real gateway
and a real Valkey; one connection asks for one count after the other. The text changes with each, as it does in typing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import psutil
from transformers import CLIPTokenizer

from bench.gateway import CARD
from bench.host import Stolen
from bench.site import ROOT, Site
from bench.table import markdown
from shared.client import Client
from shared.connection import connect, run
from shared.reading import TextReader
from shared.scripts import announce
from worker.engine.vocabulary import vocabulary_of

DEMO: Final = ROOT / "worker" / "demo_model" / "weights"
WORDS: Final = "an (old lighthouse)1.2 on a cliff in a storm, oil painting, warm evening light, "
LENGTHS: Final = (8, 40, 160, 640)
"""Words."""


@dataclass(frozen=True, slots=True)
class Counted:
    """One length."""

    tokens: int
    characters: int
    answer_ms: tuple[float, ...]
    cpu_ms: float
    """Of the gateway, an answer."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.tokens", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=DEMO, help="a checkpoint (default: the demo model)")
    parser.add_argument("--counts", type=int, default=200, help="of each length (default 200)")
    asked = parser.parse_args()
    vocabulary = vocabulary_of(
        [cast("Any", CLIPTokenizer).from_pretrained(asked.folder / name) for name in ("tokenizer", "tokenizer_2")]
    )
    parse_s = _cpu_s(lambda: TextReader(vocabulary))
    before = Stolen.now()
    with tempfile.TemporaryDirectory(prefix="bench-tokens-") as folder, Site(Path(folder), model=CARD.id) as site:
        url = site.gateway()
        gateway = psutil.Process(site.gateway_process.pid)
        with connect(site.settings) as redis, Client(url) as client:
            run(redis, announce(CARD, vocabulary))
            bare_mib = gateway.memory_info().rss / 2**20
            begun = time.perf_counter()
            client.count_tokens("a first count, for which the vocabulary is fetched")
            first_ms = (time.perf_counter() - begun) * 1000
            grown_mib = gateway.memory_info().rss / 2**20 - bare_mib
            rows = [_count(client, gateway, length, asked.counts) for length in LENGTHS]
    print(
        f"{len(vocabulary.packed) / 1e6:.2f} MB packed; {parse_s * 1000:.0f} ms of processor to parse; "
        f"first count {first_ms:.0f} ms, {grown_mib:.0f} MiB; the host took {before.share_since():.1%}\n"
    )
    head = ("tokens", "characters", "answer, ms: median", "p95", "gateway's processor, ms")
    table = [
        (
            str(row.tokens),
            str(row.characters),
            statistics.median(row.answer_ms),
            statistics.quantiles(row.answer_ms, n=20)[-1],
            row.cpu_ms,
        )
        for row in rows
    ]
    print(markdown(head, table))


def _count(client: Client, gateway: psutil.Process, length: int, counts: int) -> Counted:
    words = (WORDS * (1 + length // len(WORDS.split()))).split()
    text = " ".join(words[:length])
    prompt = client.count_tokens(text).reading.prompt
    before = sum(gateway.cpu_times()[:2])
    answer_ms: list[float] = []
    for number in range(counts):
        begun = time.perf_counter()
        client.count_tokens(f"{text} {number}")
        answer_ms.append((time.perf_counter() - begun) * 1000)
    cpu_ms = (sum(gateway.cpu_times()[:2]) - before) / counts * 1000
    return Counted(prompt.tokens, len(text), tuple(answer_ms), cpu_ms)


def _cpu_s(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


if __name__ == "__main__":
    main()
