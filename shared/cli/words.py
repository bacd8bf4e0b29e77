"""How times, places and states are said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from rich.text import Text

from shared.contract import JobBody, Reason, TimeLeft
from shared.jobs import JobStatus

MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S

STYLES: Final = {
    JobStatus.QUEUED: "yellow",
    JobStatus.RUNNING: "cyan",
    JobStatus.SUCCEEDED: "green",
    JobStatus.FAILED: "red",
    JobStatus.CANCELED: "dim",
    JobStatus.EXPIRED: "dim",
}


def duration(seconds: float) -> str:
    """Say a time span in one or two units."""
    whole = max(0, round(seconds))
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S:02d} s"
    return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S:02d} min"


def left(time_left: TimeLeft | None) -> str:
    """Say when a job will have ended, as far as can be told."""
    return "" if time_left is None else f"about {duration(time_left.seconds)} left"


def waiting(position: int | None, reason: Reason | None, time_left: TimeLeft | None) -> str:
    """Say where a job stands in the queue, and why it waits."""
    place = "" if position is None else "goes next" if position == 0 else f"{position} before it"
    # "Behind others" is what the place says already.
    why = "" if reason is None or reason.code == "behind" else reason.message
    return " · ".join(part for part in (place, left(time_left), why) if part) or "waiting"


def state(job: JobBody) -> Text:
    """Say a job's status, and how far it is."""
    text = Text(job.status.value, STYLES.get(job.status, ""))
    if job.status is JobStatus.RUNNING:
        text.append(f" {job.progress.step}/{job.progress.steps}")
    return text


def plain(text: str) -> str:
    """Say somebody's text in one line, without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in " ".join(text.split()))


def since(moment: datetime) -> str:
    """Say how long ago a moment was, in one unit."""
    seconds = max(0, round((datetime.now(tz=UTC) - moment).total_seconds()))
    if seconds < HOUR_S:
        return f"{seconds} s" if seconds < MINUTE_S else f"{seconds // MINUTE_S} min"
    return f"{seconds // HOUR_S} h" if seconds < DAY_S else f"{seconds // DAY_S} d"
