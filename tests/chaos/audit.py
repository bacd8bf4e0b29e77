"""After the storm: hold what the ledger says against the store's bytes and the workers' logs."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from shared.errors import GatewayUnavailable, ImageNotFound, JobNotFound, Unavailable
from shared.jobs import JobStatus
from shared.object_store import ObjectStore
from tests.chaos.doors import Door
from tests.chaos.ledger import Ledger, Promise, Stored

READERS: Final = 4
ANSWER_LIMIT_S: Final = 60.0
"""All is mended when it is asked, but the machine may be busy."""
_ENDED: Final = re.compile(r" ended job=(\w+)")
_ALARMING: Final = ("Traceback", " CRITICAL ")


@dataclass(frozen=True, slots=True)
class Pictures:
    """What the store has of the pictures that jobs say they have."""

    checked: int
    missing: tuple[str, ...]
    different: tuple[str, ...]


def look_for_lost(ledger: Ledger, doors: Mapping[str, Door]) -> None:
    """Read every promised job once more, by its id; note in the ledger those that nobody knows."""
    for promise in ledger.accepted():
        job = promise.last
        deadline = time.monotonic() + ANSWER_LIMIT_S
        while True:
            try:
                ledger.see(doors[job.tenant].look(job.job_id))
            except JobNotFound:
                ledger.lose(job.job_id)
            except (GatewayUnavailable, Unavailable):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
                continue
            break


def check_pictures(promises: Iterable[Promise], store: ObjectStore) -> Pictures:
    """Read every picture of every job that succeeded, and compare its checksum with the job's."""
    pictures: list[Stored] = [
        picture
        for promise in promises
        if promise.last.status is JobStatus.SUCCEEDED
        for picture in promise.last.pictures
    ]

    def checksum(picture: Stored) -> str | None:
        try:
            return sha256(store.get(picture.key)).hexdigest()
        except ImageNotFound:
            return None

    with ThreadPoolExecutor(READERS) as readers:
        found = list(readers.map(checksum, pictures))
    pairs = list(zip(pictures, found, strict=True))
    return Pictures(
        len(pictures),
        tuple(picture.key for picture, stored in pairs if stored is None),
        tuple(picture.key for picture, stored in pairs if stored not in {None, picture.sha256}),
    )


def ended_by_two(lines: Iterable[str]) -> list[str]:
    """Jobs that more than one worker, or one worker twice, says to have ended."""
    ends = Counter(match[1] for line in lines if (match := _ENDED.search(line)))
    return [job_id for job_id, times in ends.items() if times > 1]


def alarms(lines: Sequence[str]) -> list[str]:
    """Lines of logs that tell of what nobody foresaw, each with the line after it."""
    return [
        " | ".join(lines[at : at + 2]).strip()
        for at, line in enumerate(lines)
        if any(word in line for word in _ALARMING)
    ]
