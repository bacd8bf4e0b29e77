"""An outage of the gateway, as every visitor's looks share it. Knows nothing of what a look asks for."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from shared.errors import GatewayUnavailable, Unavailable


class Outage:
    """Keeps looks from piling up at a gateway that hangs: one at a time asks, and the others hear its error.

    Each look has a thread, and the server has few: all could wait for time-outs, and no visitor see the page.
    """

    def __init__(self) -> None:
        self._error: GatewayUnavailable | Unavailable | None = None
        self._asking = threading.Lock()

    @contextmanager
    def turn(self) -> Generator[None]:
        """Note how a look goes; during an outage raise the last look's error at once if another one asks now."""
        error = self._error
        if error is not None and not self._asking.acquire(blocking=False):
            raise type(error).quoted(str(error))
        try:
            yield
            self._error = None
        except (GatewayUnavailable, Unavailable) as met:
            self._error = type(met).quoted(str(met))  # without the frames that `met` keeps alive
            raise
        finally:
            if error is not None:
                self._asking.release()
