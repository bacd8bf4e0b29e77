"""Random faults for a while: dealt from a shuffled deck, several at a time, all mended at the end."""

from __future__ import annotations

import threading
import time
import traceback
from random import Random
from typing import Final, final

from deploy.process import StackError
from tests.chaos.faults import DECK, Card, Scene

PAUSE_S: Final = (0.5, 3.0)
MOST_AT_ONCE: Final = 3


@final
class Storm:
    """Runs faults in threads; the same seed deals the same faults in the same order."""

    def __init__(self, scene: Scene, seed: str) -> None:
        self._scene = scene
        self._random = Random(seed)
        self._threads: list[threading.Thread] = []
        self._deck: list[Card] = []
        self.troubles: list[str] = []
        """What could not be mended: a worker that SIGTERM does not end, a server that does not start again."""

    def rage(self, seconds: float) -> None:
        """Deal faults for so long, and return when all is mended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            card = self._deal()
            if card.alone:
                self._calm(0)
            self._calm(MOST_AT_ONCE - 1)
            self._strike(card, Random(self._random.getrandbits(32)))
            if card.alone:
                self._calm(0)
            time.sleep(self._random.uniform(*PAUSE_S))
        self._calm(0)
        for place in self._scene.stack.workers:
            try:
                place.wait_ready()
            except StackError as error:
                self.troubles.append(str(error))

    def _deal(self) -> Card:
        if not self._deck:
            self._deck = self._random.sample(DECK, len(DECK))
        return self._deck.pop()

    def _strike(self, card: Card, random: Random) -> None:
        def work() -> None:
            try:
                card.strike(self._scene, random)
            except Exception:  # noqa: BLE001 (told at the end; the storm goes on)
                self.troubles.append(traceback.format_exc())

        thread = threading.Thread(target=work, name=card.strike.__name__)
        self._threads.append(thread)
        thread.start()

    def _calm(self, most: int) -> None:
        """Wait until at most so many faults are under way."""
        while True:
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            if len(self._threads) <= most:
                return
            time.sleep(0.05)
