"""Tokens of the tiny model: a letter is one token."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from shared.reading import MAX_WINDOWS, Reading, TextReader
from worker.engine.model import Model
from worker.engine.vocabulary import vocabulary_of


@pytest.fixture
def reader(model: Model) -> Reader:
    return Reader(model)


class Reader:
    """Reads texts for the tiny model's encoders."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._reader = TextReader(vocabulary_of((model.tokenizer, model.tokenizer_2)))

    def __call__(self, text: str) -> Reading:
        return self._reader.read(text)

    def words(self, text: str) -> list[str]:
        """The text of each window."""
        reading = self(text)
        decode = cast("Any", self._model.tokenizer).decode
        return [str(decode(list(window[0].ids))).strip() for window in reading.windows]


def sizes(reading: Reading) -> list[int]:
    return [len(window[0].ids) for window in reading.windows]


def test_a_short_text_is_seen_whole(reader: Reader) -> None:
    measure = reader("a cat").measure
    assert (measure.tokens, measure.window, measure.windows, measure.cut) == (4, 75, 1, "")


def test_an_empty_text_is_one_empty_window(reader: Reader) -> None:
    reading = reader("")
    assert (sizes(reading), reading.measure.tokens, reading.measure.windows) == ([0], 0, 1)


@pytest.mark.parametrize(
    ("length", "expected", "cut"),
    [(75, [75], ""), (76, [75, 1], ""), (300, [75] * 4, ""), (301, [75] * 4, "x"), (310, [75] * 4, "x" * 10)],
)
def test_a_text_goes_on_in_the_next_window_until_there_is_none(
    reader: Reader, length: int, expected: list[int], cut: str
) -> None:
    reading = reader("x" * length)
    assert sizes(reading) == expected
    assert (reading.measure.tokens, reading.measure.windows, reading.measure.cut) == (length, len(expected), cut)


def test_a_window_ends_with_a_phrase_if_one_ends_near(reader: Reader) -> None:
    assert reader.words("b" * 60 + ", cc " + "d" * 30) == ["b" * 60 + " ,", "cc " + "d" * 30]


def test_else_with_a_word(reader: Reader) -> None:
    assert reader.words("b" * 70 + " cc " + "d" * 30) == ["b" * 70 + " cc", "d" * 30]


def test_else_where_it_is_full(reader: Reader) -> None:
    assert sizes(reader("a, " + "b" * 100)) == [75, 27]


def test_the_last_window_is_filled_to_its_end(reader: Reader) -> None:
    reading = reader("abc " * 110)
    assert sizes(reading) == [75, 75, 75, 75]
    assert reading.measure.cut == ("abc " * 10).strip()
    reading = reader("abcd " * 110)
    assert sizes(reading) == [72, 72, 72, 75]
    assert reading.measure.cut == "d " + ("abcd " * 37).strip()


def test_a_character_of_several_tokens_is_not_torn_apart(reader: Reader) -> None:
    assert sizes(reader("x" * 74 + "é" * 10)) == [74, 20]


def test_the_cut_is_told_as_it_was_written(reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        measure = reader("x" * 300 + " On the (Mat,)1.3\nÉtretat  1 ").measure
    assert measure.cut == "On the (Mat,)1.3\nÉtretat  1"
    assert not caplog.records


def test_the_text_before_the_cut_reads_the_same(reader: Reader) -> None:
    text = "abc (def)1.2 " * 60
    cut = reader(text).measure.cut
    seen = text.rstrip().removesuffix(cut)
    assert cut
    assert reader(seen).measure.cut == ""
    assert reader(seen).windows == reader(text).windows


def test_each_token_has_the_weight_of_its_passage(reader: Reader) -> None:
    ((tokens, tokens_2),) = reader("ab (cd)1.5 e").windows
    assert tokens.weights == tokens_2.weights == (1, 1, 1.5, 1.5, 1)


def test_a_weight_reaches_over_the_end_of_a_window(reader: Reader) -> None:
    reading = reader("(" + "x" * 80 + ")1.5")
    assert [set(window[0].weights) for window in reading.windows] == [{1.5}, {1.5}]


def test_both_encoders_read_the_same_words(reader: Reader) -> None:
    windows = reader("a red circle, on (blue)1.3 ground. " * 20).windows
    assert len(windows) == MAX_WINDOWS
    assert all(first == second for first, second in windows)
