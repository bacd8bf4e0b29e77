"""Pictures that no job has any more: found and, if asked for, deleted. For after a Redis that was lost or restored.

    python -m api.orphans                  counts them
    python -m api.orphans --delete         deletes them

What a running system deletes late is on a list of its own (`trash`, api/retention.py) and needs none of this.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import redis
from pydantic import ValidationError

from shared.connection import connect, run
from shared.errors import DarkroomError
from shared.jobs import ID_PATTERN, IMAGES, JobId
from shared.object_store import ObjectStore, Stored
from shared.scripts import orphans
from shared.settings import Settings, wrong_settings

MOST_JOBS: Final = 200
"""Of a call: Redis serves nobody else meanwhile."""
LEAST_AGE_H: Final = 24.0
"""Longer than a job may take, so that what is just being stored is left alone, whatever the store's clock says."""

_OURS: Final = re.compile(rf"{IMAGES}[^/]+/(?P<job>{ID_PATTERN})/[0-9]+\.[a-z]+")


@dataclass(frozen=True, slots=True)
class Found:
    """What the store holds under our prefix."""

    owned: int = 0
    """Pictures of jobs that are there."""
    young: int = 0
    """Not looked at: stored lately."""
    strange: int = 0
    """Not looked at: keys of another form than ours."""
    orphans: int = 0
    num_bytes: int = 0
    """Of the orphans."""

    def __add__(self, other: Found) -> Found:
        return Found(
            self.owned + other.owned,
            self.young + other.young,
            self.strange + other.strange,
            self.orphans + other.orphans,
            self.num_bytes + other.num_bytes,
        )


class Search:
    """Goes through the store, and asks Redis whose each picture is."""

    def __init__(self, queue: redis.Redis, store: ObjectStore, *, stored_before: datetime) -> None:
        self._queue = queue
        self._store = store
        self._stored_before = stored_before

    def count(self) -> Found:
        """Tell what is there. Raises StoreUnavailable, QueueUnavailable."""
        return sum((found for found, _ in self._look()), Found())

    def delete(self) -> int:
        """Delete the orphans, each page of them right after Redis was asked; tell how many. Raises as `count`."""
        deleted = 0
        for _, keys in self._look():
            self._store.delete(keys)
            deleted += len(keys)
        return deleted

    def _look(self) -> Iterator[tuple[Found, list[str]]]:
        """Tell of each page of the store what is there, and the orphans' keys."""
        for page in self._store.pages(IMAGES):
            young, strange = 0, 0
            by_job: dict[JobId, list[Stored]] = {}
            for one in page:
                match = _OURS.fullmatch(one.key)
                if match is None:
                    strange += 1
                elif one.at > self._stored_before:
                    young += 1
                else:
                    by_job.setdefault(JobId(match["job"]), []).append(one)
            gone = [one for job in self._without_job(by_job) for one in by_job[job]]
            owned = sum(map(len, by_job.values())) - len(gone)
            num_bytes = sum(one.num_bytes for one in gone)
            yield Found(owned, young, strange, len(gone), num_bytes), [one.key for one in gone]

    def _without_job(self, jobs: Iterable[JobId]) -> Iterator[JobId]:
        left = list(jobs)
        for first in range(0, len(left), MOST_JOBS):
            yield from sorted(run(self._queue, orphans(left[first : first + MOST_JOBS])))


def refusal(found: Found) -> str | None:
    """Say why these are better not deleted yet; None if they may be."""
    if found.orphans and not found.owned:
        return (
            "Redis knows none of the pictures' jobs. Is it the right one, and has it read all of its data? "
            "If it is, say --all too."
        )
    return None


def main() -> None:
    """Count, and delete if told to; exit with 1 and a sentence if that can't be."""
    parser = argparse.ArgumentParser(
        prog="python -m api.orphans", description="Find pictures in the object store that no job has any more."
    )
    parser.add_argument("--delete", action="store_true", help="delete them; without it they are only counted")
    parser.add_argument("--all", action="store_true", help="even if that is every picture that there is")
    parser.add_argument(
        "--older-than", type=float, default=LEAST_AGE_H, metavar="HOURS", help=f"({LEAST_AGE_H:g}) leave younger ones"
    )
    told = parser.parse_args()
    if not told.older_than >= 0:
        parser.error("--older-than must be 0 or more")
    try:
        settings = Settings()
        with connect(settings) as queue:
            store = ObjectStore.from_settings(settings)
            before = datetime.now(tz=UTC) - timedelta(hours=told.older_than)
            search = Search(queue, store, stored_before=before)
            found = search.count()
            sys.stdout.write(f"{found.orphans} pictures of no job, {found.num_bytes / 2**20:.1f} MiB\n")
            sys.stdout.write(f"{found.owned} of jobs that are there\n")
            sys.stdout.write(f"not looked at: {found.young} younger than {told.older_than:g} h, ")
            sys.stdout.write(f"{found.strange} other files\n")
            if told.delete:
                if (why := refusal(found)) and not told.all:
                    sys.exit(f"Nothing was deleted. {why}")
                sys.stdout.write(f"{search.delete()} deleted\n")
    except ValidationError as error:
        sys.exit(f"The settings are wrong:\n{wrong_settings(error)}")
    except DarkroomError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
