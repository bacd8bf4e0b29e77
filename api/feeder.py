"""Turns batches' lines into jobs, in their order and only so many at a time.

Every gateway does. Which line is next is decided where it is taken, in Redis, so it makes no difference how many feed
the same batch, or whether one of them dies over it.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final, final

from api.acceptance import AWAKE, accept_line
from api.deps import Gateway
from shared.batches import Helping, Line, Place
from shared.compatibility import CONTRACT
from shared.errors import StoreUnavailable, TooMuch
from shared.scripts import feed, put_back

log = logging.getLogger(__name__)

MOST_ACTIVE: Final = 200
"""Jobs of a batch that have not ended: enough for many workers, and all of them can be canceled in one call."""
HELPING: Final = 50
"""Lines of a batch before it is another's turn."""
LOOK_S: Final = 0.25
"""How often it is looked whether there is room for more, in the batch and in the queue."""
HOLD_S: Final = 10.0
"""How long a batch waits for a gateway that died over it."""


@final
class Feeder:
    """Feeds from one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def round(self) -> float:
        """Feed all batches that have room; tell in how many seconds to look again. Raises QueueUnavailable."""
        call = feed(most=HELPING, most_active=MOST_ACTIVE, hold_s=HOLD_S, again_s=LOOK_S)
        while (helping := await self._gateway.run(call)) is not None:
            try:
                again_s = 0.0 if await self._offer(helping) else LOOK_S
            except (TooMuch, StoreUnavailable) as error:
                log.debug("batch %s waits: %s", helping.batch, error)
                again_s = LOOK_S
            await self._gateway.run(put_back(helping.batch, again_s=again_s))
        return LOOK_S

    async def _offer(self, helping: Helping) -> bool:
        """Offer the lines; False if the next one is for a newer gateway than this one.

        Another gateway may be ahead of this one, and has then offered the rest too.
        """
        woken: Counter[str] = Counter()
        for number, said in enumerate(helping.lines, helping.before + 1):
            line = Line.model_validate_json(said)
            if line.needs > CONTRACT:
                return False
            served = await self._gateway.outlooks.fleet()
            submitted = await accept_line(self._gateway, helping.tenant, line, Place(helping.batch, number), served)
            if submitted is None:
                return True
            pool = submitted.job.pool
            ready = sum(worker.state == "ready" and worker.pool == pool for worker in served.workers)
            if submitted.how not in AWAKE and woken[pool] < max(1, ready):
                woken[pool] += 1  # a worker goes on until the queue is empty: one word each is enough
                await self._gateway.waker.wake(pool)
        return True
