"""A gateway with real servers and a worker that draws whatever comes, for tests that ask it anything."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from pydantic import SecretStr

from api.dialect import DIALECT
from shared.access import NO_LIMITS, OPERATOR
from shared.connection import connect, run
from shared.errors import LeaseLost, QueueUnavailable, StoreUnavailable
from shared.jobs import LeaseToken
from shared.scripts import Claimed, Mode, claim, direct, set_limits
from shared.settings import Settings
from tests.conftest import settings_for
from tests.integration.serving import Hand, Serving, serving
from tests.servers import RedisServer, S3Server
from tests.vocabulary import demo_vocabulary

KEY: Final = "operators-key-of-the-contract"
AUTHORIZED: Final = {"Authorization": f"Bearer {KEY}"}
IDLE_S: Final = 0.02
LEASE_S: Final = 2.0
"""A job that is left running waits again so soon: nobody who is held until its end waits longer."""
JPEG: Final = bytes.fromhex("ffd8ffd9")


class Drawer:
    """Works off every job in a thread of its own: most succeed, some fail, some are left running with a preview.

    Those of the dialects all succeed: their callers wait, and a failed one would be answered with 500, rightly.
    """

    def __init__(self, settings: Settings) -> None:
        self._hand = Hand(settings, vocabulary=demo_vocabulary())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="drawer")

    def start(self) -> None:
        self._hand.arrive()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        self._hand.__exit__(None, None, None)

    def _work(self) -> None:
        number = 0
        while not self._stop.wait(IDLE_S):
            try:
                # Whoever may ask for anything may pause the queue, too, or let its own jobs run one by one, and then
                # nothing would be drawn any more, or not in time for who waits.
                run(self._hand.redis, set_limits(OPERATOR, NO_LIMITS))
                run(self._hand.redis, direct(Mode.WORK))
                run(self._hand.redis, direct(Mode.WORK, self._hand.worker))
                while taken := self._claim():
                    number += 1
                    self._end(taken, number)
            except (LeaseLost, QueueUnavailable):
                continue  # canceled or deleted meanwhile, or a server that a test has stopped

    def _claim(self) -> Claimed | None:
        token = LeaseToken(secrets.token_hex(8))
        return run(self._hand.redis, claim(self._hand.card.id, self._hand.worker, token, lease_s=LEASE_S))

    def _end(self, taken: Claimed, number: int) -> None:
        self._hand.show(taken, 1, JPEG)
        is_awaited = DIALECT in taken.job.metadata
        if number % 8 == 0 and not is_awaited:
            return  # its lease ends by and by
        if number % 5 == 0 and not is_awaited:
            self._hand.fail(taken, "model_error", "The pipeline raised.")
            return
        try:
            for index in range(taken.job.params.num_images):
                self._hand.draw(taken, index, b"a picture")
        except StoreUnavailable as error:
            self._hand.fail(taken, error.code, str(error))  # as a worker does once it has tried for long
        else:
            self._hand.finish(taken)


@contextmanager
def stage(redis_server: RedisServer, s3_server: S3Server) -> Generator[Serving]:
    """Serve a gateway whose operators have a key, and draw its jobs."""
    settings = settings_for(redis_server, s3_server).model_copy(
        update={"operator_key": SecretStr(KEY), "require_keys": True, "max_requests_per_minute": 0}
    )
    with connect(settings) as redis:
        redis.flushall()  # pyright: ignore[reportUnknownMemberType]: **kwargs
    with serving(settings) as served:
        drawer = Drawer(settings)
        drawer.start()
        served.http.headers.update(AUTHORIZED)
        try:
            yield served
        finally:
            drawer.stop()
