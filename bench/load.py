"""Users: each asks for a picture, waits for it, asks for the next, until the list is drawn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.orders import Order
from bench.pictures import digest

ROUND_LIMIT_S: Final = 900.0

User = Callable[[Order], bytes]
"""Has one picture drawn and returns its file when it is in the user's hands."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One picture: its order, and when it was asked for and there, in Unix seconds."""

    order: Order
    asked_s: float
    there_s: float
    digest: str
    """Of its pixels."""

    @property
    def took_s(self) -> float:
        """What its user waited."""
        return self.there_s - self.asked_s


@dataclass(frozen=True, slots=True)
class Round:
    """A list of pictures, drawn once."""

    drawn: tuple[Drawn, ...]

    @property
    def wall_s(self) -> float:
        """From the first question to the last picture."""
        return max(one.there_s for one in self.drawn) - min(one.asked_s for one in self.drawn)

    @property
    def per_minute(self) -> float:
        """Pictures a minute."""
        return 60 * len(self.drawn) / self.wall_s

    @property
    def median_s(self) -> float:
        """What a user waited, in the middle."""
        return median(one.took_s for one in self.drawn)

    @property
    def digests(self) -> dict[Order, str]:
        """What was drawn for which order."""
        return {one.order: one.digest for one in self.drawn}


def draw_by(users: Sequence[User], orders: Sequence[Order]) -> Round:
    """Have the list drawn by so many users at once, each with one picture at a time.

    Raises what the first user met; TimeoutError after `ROUND_LIMIT_S`.
    """
    waiting: Iterator[Order] = iter(orders)
    lock = threading.Lock()
    drawn: list[tuple[Order, float, float, bytes]] = []
    failures: list[BaseException] = []

    def work(user: User) -> None:
        while not failures:
            with lock:
                order = next(waiting, None)
            if order is None:
                return
            asked_s = time.time()
            try:
                file = user(order)
            except BaseException as error:  # noqa: BLE001 (raised again below, in the main thread)
                failures.append(error)
                return
            drawn.append((order, asked_s, time.time(), file))

    threads = [threading.Thread(target=work, args=(user,), daemon=True) for user in users]
    for thread in threads:
        thread.start()
    until = time.monotonic() + ROUND_LIMIT_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    if failures:
        raise failures[0]
    if any(thread.is_alive() for thread in threads):
        raise TimeoutError(f"Not all of {len(orders)} pictures were there after {ROUND_LIMIT_S:g} s.")
    return Round(tuple(Drawn(order, asked, there, digest(file)) for order, asked, there, file in drawn))
