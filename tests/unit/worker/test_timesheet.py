from __future__ import annotations

import threading
from dataclasses import dataclass

from worker.timesheet import Doing, Timesheet

SECOND = 10**9


@dataclass
class Clock:
    at_ns: int = 0

    def __call__(self) -> int:
        return self.at_ns

    def pass_by(self, seconds: float) -> None:
        self.at_ns += int(seconds * SECOND)


def test_each_moment_goes_to_what_was_done() -> None:
    clock = Clock()
    sheet = Timesheet(clock)
    clock.pass_by(3)
    sheet.turn(Doing.STEPS)
    clock.pass_by(2)
    sheet.assign(Doing.PROMPTS, 0.5)
    sheet.turn(Doing.IDLE)
    clock.pass_by(10)
    assert sheet.take() == {Doing.START: 3, Doing.PROMPTS: 0.5, Doing.STEPS: 1.5, Doing.IDLE: 10}
    clock.pass_by(1)
    assert sheet.take() == {Doing.IDLE: 1}


def test_no_more_is_assigned_than_there_was() -> None:
    clock = Clock()
    sheet = Timesheet(clock)
    sheet.turn(Doing.DELIVERY)
    clock.pass_by(4)
    assert sheet.take()[Doing.DELIVERY] == 4
    clock.pass_by(1)
    sheet.assign(Doing.DECODE, 3)
    sheet.assign(Doing.DECODE, -1)
    sheet.turn(Doing.BETWEEN)
    taken = sheet.take()
    assert (taken[Doing.DECODE], taken[Doing.DELIVERY]) == (1, 0)


def test_whoever_takes_and_whenever_the_parts_are_the_whole() -> None:
    clock, taken, is_over = Clock(), list[float](), threading.Event()
    sheet = Timesheet(clock)

    def take() -> None:
        while not is_over.is_set():
            taken.extend(sheet.take().values())

    taker = threading.Thread(target=take)
    taker.start()
    for n in range(5_000):
        sheet.turn(Doing.STEPS if n % 3 else Doing.BETWEEN)
        clock.pass_by(0.25)
        sheet.assign(Doing.PROMPTS, 0.125)
    is_over.set()
    taker.join()
    taken.extend(sheet.take().values())
    assert sum(taken) == 5_000 * 0.25
