"""What a gateway remembers of keys and limits: for how long, how much, and what it forgets at a word."""

from __future__ import annotations

import asyncio

import pytest

from api import access
from api.access import FRESH_S, Remembered


class Answers:
    """Answers with how often it was asked, when it is let."""

    def __init__(self) -> None:
        self.asked = list[str]()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, what: str) -> int | None:
        self.asked.append(what)
        await self.may_answer.wait()
        return None if what == "nobody" else len(self.asked)


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(access, "time", clock)
    return clock


def told(remembered: Remembered[str, int | None], what: str) -> int | None:
    return asyncio.run(remembered.of(what))


def test_an_answer_is_taken_for_true_for_a_while(clock: Clock) -> None:
    remembered = Remembered(Answers())

    assert told(remembered, "a") == 1
    clock.now += FRESH_S - 0.01
    assert told(remembered, "a") == 1
    clock.now += 0.02
    assert told(remembered, "a") == 2


def test_so_is_one_that_there_is_nobody(clock: Clock) -> None:
    answers = Answers()
    remembered = Remembered(answers)

    assert [told(remembered, "nobody") for _ in range(3)] == [None] * 3
    assert answers.asked == ["nobody"]
    clock.now += FRESH_S
    told(remembered, "nobody")
    assert len(answers.asked) == 2


def test_the_latest_are_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_REMEMBERED", 3)
    answers = Answers()
    remembered = Remembered(answers)

    for name in "abcd" + "bcd":
        told(remembered, name)
    assert answers.asked == list("abcd")
    told(remembered, "a")
    assert answers.asked == list("abcda")


@pytest.mark.parametrize("is_all", [True, False])
def test_what_was_asked_before_a_word_to_forget_is_not_remembered(*, is_all: bool) -> None:
    answers = Answers()
    remembered = Remembered(answers)

    async def ask_and_forget() -> int | None:
        answers.may_answer.clear()
        asking = asyncio.create_task(remembered.of("a"))
        await asyncio.sleep(0)
        remembered.forget_all() if is_all else remembered.forget("a")
        answers.may_answer.set()
        return await asking

    assert asyncio.run(ask_and_forget()) == 1
    assert told(remembered, "a") == 2


def test_what_is_forgotten_is_that_alone() -> None:
    answers = Answers()
    remembered = Remembered(answers)
    for name in "ab":
        told(remembered, name)

    remembered.forget("a")

    for name in "ab":
        told(remembered, name)
    assert answers.asked == list("aba")
