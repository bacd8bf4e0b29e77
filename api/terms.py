"""On which terms a tenant's jobs are accepted, how often it may ask, and when a job that was refused may come again."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from shared.access import Limits
from shared.errors import FieldError
from shared.generation import GenerationParams
from shared.jobs import Terms
from shared.scripts import Outlook
from shared.scripts.jobs import FULL_RETRY_AFTER_S
from shared.settings import Settings

LONGEST_RETRY_AFTER_S: Final = 300


def terms_of(settings: Settings, limits: Limits) -> Terms:
    """Make a tenant's terms: what was set for it, and the settings for the rest."""
    return Terms(
        keep_s=settings.keep_finished_s,
        weight=1.0 if limits.weight is None else limits.weight,
        bulk_percent=settings.bulk_percent,
        max_waiting=settings.max_waiting,
        max_tenant_waiting=settings.max_tenant_waiting if limits.max_waiting is None else limits.max_waiting,
        max_tenant_running=settings.max_tenant_running if limits.max_running is None else limits.max_running,
    )


def terms_of_line(terms: Terms) -> Terms:
    """Make the terms of a batch's job: half of the queue at most, so that a batch never keeps single jobs out."""
    return replace(
        terms, max_waiting=max(1, terms.max_waiting // 2), max_tenant_waiting=max(1, terms.max_tenant_waiting // 2)
    )


def rate_of(settings: Settings, limits: Limits, *, is_limited: bool) -> int:
    """Tell how many requests a minute a tenant may send; 0: any number.

    `is_limited` is false for whom the settings' limit is not meant.
    """
    if limits.requests_per_minute is not None:
        return limits.requests_per_minute
    return settings.max_requests_per_minute if is_limited else 0


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
