"""How the page bears an outage of the gateway: few ask, and the others hear at once. Knows nothing of what is asked."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, TypeVar

import httpx2

from shared.client import Client
from shared.client.drivers import Driver
from shared.client.http import TIMEOUT
from shared.client.steps import Flow
from shared.errors import GatewayUnavailable, InvalidRequest, JobNotFound, QueueUnavailable

MOST_ASKING: Final = 24
"""Of the 40 threads that the page's server has; the others serve what asks the gateway for nothing."""
PATIENCE_S: Final = 2.0
"""If so many ask and none is answered within this time, the gateway hangs."""

T = TypeVar("T")


class Outage:
    """Keeps requests from piling up at a gateway that hangs: one at a time asks, and the others hear its error.

    Each holds a thread, and the server has few: all could wait for time-outs, and no visitor see the page. The first
    answer ends the outage.
    """

    def __init__(self) -> None:
        self._error: GatewayUnavailable | QueueUnavailable | None = None
        self._places = threading.Semaphore(MOST_ASKING)
        self._scout = threading.Lock()

    @contextmanager
    def turn(self) -> Generator[None]:
        """Note how a request goes; during an outage raise the last one's error at once if another one asks now."""
        place = self._place()
        met = None
        try:
            yield
        except (GatewayUnavailable, QueueUnavailable) as error:
            met = type(error).quoted(str(error))  # without the frames that `error` keeps alive
            raise
        except (InvalidRequest, JobNotFound):
            met = self._error  # it tells nothing: what can't be an id is refused before anything is sent
            raise
        finally:
            self._error = met  # any other error was an answer, as whatever succeeds
            place.release()

    def _place(self) -> threading.Semaphore | threading.Lock:
        """Take a place among those who ask; in an outage there is one."""
        error = self._error
        if error is None:
            if self._places.acquire(timeout=PATIENCE_S):
                return self._places
            error = self._error = GatewayUnavailable(
                f"The gateway has answered none of {MOST_ASKING} requests for {PATIENCE_S:g} s."
            )
        elif self._scout.acquire(blocking=False):
            return self._scout
        raise type(error).quoted(str(error))


class SteadyClient(Client):
    """A gateway's client whose requests, whoever of the page's people they are for, share one `Outage`.

    Every verb but those that stream raises at once what the last request met while an outage lasts; such an error has
    no cause, and nothing was sent.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: httpx2.Timeout = TIMEOUT,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._outage = Outage()
        super().__init__(base_url, api_key=api_key, timeout=timeout, transport=transport)

    def _ask_through(self, driver: Driver) -> None:
        super()._ask_through(driver)
        self._run = self._run_in_turn

    def _run_in_turn(self, flow: Flow[T]) -> T:
        with self._outage.turn():
            return self._driver.run(flow)
