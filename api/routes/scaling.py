"""`/v1/scaling`: how many workers a pool wants, for a scaler that starts and ends them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.deps import TheGateway, watcher
from api.openapi import problems
from api.scaling import DEFAULT_TARGET_S, LEAST_TARGET_S, MOST_TARGET_S, wanted
from shared.errors import InvalidRequest, QueueUnavailable
from shared.oversight import ScalingBody
from shared.pools import model_in
from shared.scripts import demand, fleet, outlook

router = APIRouter(prefix="/v1/scaling", tags=["Operators"], dependencies=[Depends(watcher)])


@router.get("", summary="How many workers does a model want?", responses=problems(QueueUnavailable, InvalidRequest))
async def show_scaling(
    gateway: TheGateway,
    model: Annotated[
        str,
        Query(
            min_length=1,
            max_length=200,
            description="A model's id; of workers of a GPU class, that and the class: `segmind/SSD-1B@l4`.",
            examples=["segmind/SSD-1B"],
        ),
    ],
    target_s: Annotated[
        float,
        Query(
            ge=LEAST_TARGET_S,
            le=MOST_TARGET_S,
            description="In how many seconds all that waits shall be done, and how long a job may wait.",
        ),
    ] = DEFAULT_TARGET_S,
) -> ScalingBody:
    """Tell how many workers shall run: none while there is nothing to do.

    Ask it every half minute or so: what is known of the model is kept as long as somebody asks, and for a week longer,
    so that its jobs are accepted while it has no worker; they then say that one is `starting`.
    """
    served, ahead, asked = await asyncio.gather(
        gateway.run(fleet()), gateway.run(outlook(model)), gateway.run(demand(model))
    )
    found = wanted(served, model, ahead, asked, target_s=target_s)
    states = Counter[str](worker.state for worker in served.workers if worker.pool == model)
    return ScalingBody(
        model=model_in(model),
        pool=model,
        workers_wanted=found.workers,
        because=found.because,
        workers={state: states[state] for state in ("warming", "ready", "draining")},
        waiting_jobs=asked.jobs,
        running_jobs=len(ahead.running),
        work_s=round(found.work_s, 3),
        oldest_wait_s=asked.oldest_ms / 1000,
        target_s=target_s,
    )
