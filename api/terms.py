"""On which terms jobs are accepted, by the operator's settings, and when one that was refused may come again."""

from __future__ import annotations

import math
from typing import Final

from shared.errors import FieldError
from shared.generation import GenerationParams
from shared.jobs import Terms
from shared.scripts import Outlook
from shared.scripts.jobs import FULL_RETRY_AFTER_S
from shared.settings import Settings

LONGEST_RETRY_AFTER_S: Final = 300


def terms_of(settings: Settings) -> Terms:
    """Make the terms of every tenant, as long as there are no keys."""
    return Terms(
        keep_s=settings.keep_finished_s,
        bulk_percent=settings.bulk_percent,
        max_waiting=settings.max_waiting,
        max_tenant_waiting=settings.max_tenant_waiting,
        max_tenant_running=settings.max_tenant_running,
    )


def too_costly(params: GenerationParams, most: int) -> tuple[FieldError, ...]:
    """Say what is wrong with a job that costs more than one may; nothing if it doesn't."""
    if params.cost <= most:
        return ()
    message = (
        f"This costs {params.cost}, and one job may cost {most}: thousands of pixels times steps, twice with guidance, "
        "over all pictures. Ask for fewer pictures or steps, a smaller size, or a guidance_scale of 1 or less."
    )
    return (FieldError("cost", message),)


def room_in_s(ahead: Outlook, ready_workers: int) -> int:
    """Tell in how many seconds a full queue has room: when one waiting job of average work is done."""
    jobs = sum(lane.jobs for lane in ahead.waiting.values())
    if not jobs or not ready_workers:
        return FULL_RETRY_AFTER_S
    work_ms = sum(lane.work_ms for lane in ahead.waiting.values())
    return min(max(1, math.ceil(work_ms / jobs / ready_workers / 1000)), LONGEST_RETRY_AFTER_S)
