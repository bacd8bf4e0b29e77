"""A container's health check: exit code 0 if its service answers, else 1 and a sentence.

python -m deploy.health http://127.0.0.1:8000/healthz
python -m deploy.health worker      # whether this host's worker has sent a heartbeat lately
python -m deploy.health courier     # the same of its courier
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from typing import Final

from shared.errors import DarkroomError
from shared.parts import COURIER_LIFE_S
from shared.settings import Settings
from shared.worker_id import is_on_this_host

TIMEOUT_S: Final = 4.0


def answers(url: str) -> str | None:
    """Say what is wrong with a service of this container; None if nothing is."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S):  # noqa: S310 the image names the address
            return None
    except (urllib.error.URLError, TimeoutError) as error:
        return f"{url}: {error}"


def has_heartbeat(settings: Settings) -> str | None:
    """Say what is wrong with this host's worker; None if it lives, be it warming, ready or draining."""
    # The page's container, which asks for an address alone, has no Redis client.
    from shared.connection import connect, run  # noqa: PLC0415
    from shared.scripts import fleet  # noqa: PLC0415

    try:
        with connect(settings) as client:
            workers = run(client, fleet()).workers
    except DarkroomError as error:
        return str(error)
    if any(is_on_this_host(worker.id) for worker in workers):
        return None
    return "No worker on this host has sent a heartbeat lately."


def takes_calls(settings: Settings) -> str | None:
    """Say what is wrong with this host's courier; None if it takes calls from the queue."""
    from shared.connection import connect, run  # noqa: PLC0415
    from shared.scripts import couriers  # noqa: PLC0415

    try:
        with connect(settings) as client:
            found = run(client, couriers(life_s=COURIER_LIFE_S))
    except DarkroomError as error:
        return str(error)
    if any(map(is_on_this_host, found)):
        return None
    return "No courier on this host has sent a heartbeat lately."


def main() -> None:
    """Check what the first argument names."""
    match sys.argv[1]:
        case "worker":
            wrong = has_heartbeat(Settings())
        case "courier":
            wrong = takes_calls(Settings())
        case url:
            wrong = answers(url)
    sys.exit(wrong)


if __name__ == "__main__":
    main()
