"""What is handed over reads as the checkpoint's own tokenizers do."""

from __future__ import annotations

from itertools import chain
from typing import Any, cast

import pytest
from transformers import CLIPTokenizer

from shared.reading import TextReader
from shared.vocabulary import Vocabulary
from shared.weights import read_weights
from tests.vocabulary import TEXTS, demo_tokenizers, demo_vocabulary
from worker.engine.vocabulary import vocabulary_of


@pytest.fixture(scope="module")
def tokenizers() -> list[CLIPTokenizer]:
    return demo_tokenizers()


@pytest.fixture(scope="module")
def reader() -> TextReader:
    return TextReader(demo_vocabulary())


@pytest.mark.parametrize("name", TEXTS)
def test_each_encoder_gets_the_tokens_that_its_tokenizer_makes(
    name: str, reader: TextReader, tokenizers: list[CLIPTokenizer]
) -> None:
    text = read_weights(TEXTS[name]).text
    reading = reader.read(TEXTS[name])
    for encoder, tokenizer in enumerate(tokenizers):
        made = cast("list[int]", cast("Any", tokenizer)(text, add_special_tokens=False, verbose=False)["input_ids"])
        seen = list(chain.from_iterable(window[encoder].ids for window in reading.windows))
        assert seen == made[: len(seen)]
        assert (len(seen) == len(made)) == (not reading.measure.cut)
        assert reading.measure.tokens >= len(made)


def test_two_encoders_may_cut_one_text_differently(reader: TextReader) -> None:
    """The second takes `!` for a word of its own, as SDXL's does, though the rest of their words is shared."""
    (((first), (second)),) = reader.read("wow!").windows
    assert first.ids[:-1] == second.ids[:-1]
    assert first.ids[-1] != second.ids[-1] == 0


def test_a_tokenizer_that_was_asked_to_cut_and_pad_is_written_down_as_before(tokenizers: list[CLIPTokenizer]) -> None:
    for tokenizer in tokenizers:
        cast("Any", tokenizer)("a cat", padding="max_length", max_length=77, truncation=True)
    assert vocabulary_of(tokenizers) == demo_vocabulary()


def test_words_that_two_tokenizers_share_are_packed_once() -> None:
    window, (first, second) = demo_vocabulary().unpack()
    assert (window, first.shares, second.shares) == (75, None, 0)
    assert len(second.text) < len(first.text) / 4


def test_tokenizers_of_different_words_keep_their_own(tokenizers: list[CLIPTokenizer]) -> None:
    other = CLIPTokenizer(vocab={"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}, merges=[])
    both = vocabulary_of([tokenizers[0], other])
    assert [one.shares for one in both.unpack()[1]] == [None, None]
    ((first, second),) = TextReader(both).read("a a").windows
    assert (len(first.ids), second.ids) == (2, (2, 2))


@pytest.mark.parametrize(
    "unknown",
    [
        Vocabulary.pack([{"model": {"type": "Of next year"}, "added_tokens": []}], window=75),
        Vocabulary("cut-short", b"x\x9c"),
    ],
    ids=["of another version", "cut short"],
)
def test_what_the_library_cannot_read_is_told(unknown: Vocabulary) -> None:
    with pytest.raises(ValueError, match=unknown.digest):
        TextReader(unknown)
