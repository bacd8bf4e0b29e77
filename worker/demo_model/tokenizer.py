# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Much of torch, diffusers and transformers has no complete types.
"""The demo model's tokenizer: CLIP's own kind, over the few words of its domain.

Owns `vocab.json` and `merges.txt` and the two tokenizers that read them, as SSD-1B's folder has
them. Any text can be tokenized: unknown words fall into letters.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import regex
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
MAX_LENGTH: Final = 77
"""Tokens to a prompt, as in every CLIP text encoder of Stable Diffusion."""

_WORD: Final = regex.compile(r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")


def write_tokenizer(folder: Path, texts: Iterable[str], *, pad_token: str) -> None:
    """Write one tokenizer folder whose every word in `texts` is a single token."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = learn_merges(texts)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    marks = {"bos_token": START, "eos_token": END, "unk_token": END}
    special = {name: _added_token(content) for name, content in marks.items()}
    config = {
        "add_prefix_space": False,
        **{name: {"__type": "AddedToken", **token} for name, token in special.items()},
        "clean_up_tokenization_spaces": True,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": MAX_LENGTH,
        "pad_token": pad_token,
        "tokenizer_class": "CLIPTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    names = json.dumps({**special, "pad_token": pad_token}, indent=2)
    (folder / "special_tokens_map.json").write_text(names + "\n")


def read_tokenizer(folder: Path) -> CLIPTokenizer:
    """Read a tokenizer folder that `write_tokenizer` made."""
    return CLIPTokenizer.from_pretrained(folder)


def learn_merges(texts: Iterable[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Learn byte-pair merges until each word is one token; return vocabulary and merges.

    Ids follow CLIP: bytes, bytes that end a word, merges, start, end. Source: Sennrich et al. 2016
    (https://arxiv.org/abs/1508.07909), algorithm 1, each word counted once.
    """
    alphabet = _byte_alphabet()
    words = sorted({word for text in texts for word in _WORD.findall(text.lower())})
    spelled = [[*word[:-1], word[-1] + "</w>"] for word in words]
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for pieces in spelled for pair in itertools.pairwise(pieces)):
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        spelled = [_merged(pieces, best) for pieces in spelled]
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    tokens += dict.fromkeys("".join(pair) for pair in merges)
    tokens += [START, END]
    return {token: number for number, token in enumerate(tokens)}, merges


def _merged(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def _added_token(content: str) -> dict[str, str | bool]:
    return {
        "content": content,
        "lstrip": False,
        "normalized": True,
        "rstrip": False,
        "single_word": False,
    }


def _byte_alphabet() -> list[str]:
    """Return GPT-2's letter for each of the 256 bytes, printable ones first, as CLIP orders them.

    Source: `bytes_to_unicode` in openai/gpt-2 `src/encoder.py`.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(others))]
