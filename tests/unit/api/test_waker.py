"""Wake-ups are sent beside the answers, and hold none up for long."""

from __future__ import annotations

import asyncio
import threading

from api.upkeep import Waker
from shared.errors import QueueUnavailable


def test_a_wake_up_is_on_its_way_before_the_answer_is_made() -> None:
    sent: list[str] = []
    waker = Waker(sent.append)
    asyncio.run(waker.wake("m"))
    waker.close()
    assert sent == ["m"]


def test_a_queue_that_hangs_holds_no_answer_up() -> None:
    answers, sent = threading.Event(), threading.Event()

    def send(_model: str) -> None:
        answers.wait()
        sent.set()

    waker = Waker(send)
    asyncio.run(waker.wake("m"))
    assert not sent.is_set()
    answers.set()
    waker.close()
    assert sent.is_set()


def test_a_wake_up_that_fails_is_the_sweeps_to_send_again() -> None:
    def send(_model: str) -> None:
        raise QueueUnavailable("away")

    waker = Waker(send)
    asyncio.run(waker.wake("m"))
    waker.close()
