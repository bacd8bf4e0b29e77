"""Wake-ups are sent beside the answers, and hold none up for long."""

from __future__ import annotations

import asyncio
import threading

import pytest

from api.upkeep import Waker
from shared.errors import QueueUnavailable


def test_a_wake_up_is_sent_before_the_answer_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.upkeep.HEAD_START_S", 60.0)
    begun = threading.Event()
    sent: list[str] = []

    def send(model: str) -> None:
        begun.wait(0.2)  # that the loop would use to go on
        sent.append(model)

    async def answer() -> list[str]:
        await waker.wake("m")
        return list(sent)

    waker = Waker(send)
    assert asyncio.run(answer()) == ["m"]
    waker.close()


def test_a_queue_that_hangs_holds_no_answer_up() -> None:
    answers = threading.Event()
    sent: list[str] = []

    def send(model: str) -> None:
        answers.wait(60)
        sent.append(model)

    async def answer() -> list[str]:
        async with asyncio.timeout(30):
            await waker.wake("m")
        return list(sent)

    waker = Waker(send)
    assert asyncio.run(answer()) == []
    answers.set()
    waker.close()
    assert sent == ["m"]


def test_a_wake_up_that_fails_is_the_sweeps_to_send_again() -> None:
    def send(_model: str) -> None:
        raise QueueUnavailable("away")

    waker = Waker(send)
    asyncio.run(waker.wake("m"))
    waker.close()
