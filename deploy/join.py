"""`make worker`: this machine's GPUs join a Darkroom elsewhere, by the addresses of its Redis and its store.

    REDIS=rediss://... STORE=https://... CA=... make worker      CA: a CA of one's own, a file or its base64
    make worker JOIN=join.env                                    the same in a file; - reads it from standard input

Both are tried first. Addresses carry keys: so they come in the environment or in a file, never in our own words.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from deploy.keys import write_private
from deploy.process import StackError
from deploy.reach import Found, Unusable, plain_ways, try_both
from deploy.terminal import attend, lock, say, tell
from deploy.workers import LocalSettings, gpus_of, worker_members
from shared.connection import connect, run
from shared.errors import DarkroomError
from shared.scripts import fleet
from shared.settings import PREFIX, wrong_settings
from shared.worker_id import is_on_this_host

WORDS: Final = {"REDIS": "DARKROOM_REDIS_URL", "STORE": "DARKROOM_S3_ENDPOINT", "CA": "DARKROOM_CA_FILE"}
JOIN: Final = "JOIN"
OF_MAKE: Final = ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS")
"""In which make hands on what stood on its command line."""
NOT_OURS: Final = ("DARKROOM_OPERATOR_KEY", "DARKROOM_PAGE_KEY", "DARKROOM_WATCH_KEY", "DARKROOM_VISITOR_SECRET")
"""Workers ask no gateway."""
HOW: Final = (
    "Say where Redis and the store are:\n\n"
    "  REDIS='rediss://:password@host:6380/0' STORE='https://KEY:SECRET@host:8334/bucket' make worker\n"
    "  make worker JOIN=join.env        a file with both\n\n"
    "`make fleet-secrets` on the first machine prints the one and writes the other: docs/operations/machines.md"
)
ANOTHER: Final = "give this one a folder of its own: DARKROOM_DATA=... "


def read_file(name: str) -> dict[str, str]:
    """Read `NAME=value` lines of settings, as `make fleet-secrets` and `make run` write them; `-` is standard input.

    Raises:
        StackError: it can't be read.
    """
    try:
        text = sys.stdin.read() if name == "-" else Path(name).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise StackError(f"JOIN={name} can't be read: {why}.") from None
    lines = (line.strip().partition("=") for line in text.splitlines())
    pairs = ((WORDS.get(key.strip(), key.strip()), value.strip().strip("'\"")) for key, _, value in lines)
    return {key: value for key, value in pairs if key.startswith(PREFIX)}


def take_addresses(environ: MutableMapping[str, str]) -> None:
    """Turn the command's words into settings, and leave nothing in the environment that workers need not know.

    Raises:
        StackError: the file that they name can't be read.
    """
    words = {name: environ.pop(name, "") for name in (*WORDS, JOIN)}
    for name in OF_MAKE:
        environ.pop(name, None)
    environ.update(read_file(words[JOIN]) if words[JOIN] else {})
    environ.update({WORDS[name]: words[name] for name in WORDS if words[name]})
    for name in NOT_OURS:
        environ.pop(name, None)


def environment(settings: LocalSettings, folder: Path) -> dict[str, str]:
    """Say what workers are told beside our own environment; keeps the CA's certificates in a file of this folder."""
    told = {"PYTHONUNBUFFERED": "1"}
    if settings.ca_file is None:
        return told
    kept = folder / "ca.pem"
    write_private(kept, settings.ca_file.read_text(encoding="utf-8"))
    return {**told, "DARKROOM_CA_FILE": str(kept)}


def report(settings: LocalSettings, before: Found, folder: Path, took_s: float) -> str:
    """Say what this machine serves now, and beside whom."""
    address = settings.redis_address
    where = ",".join(one.netloc for one in address.sentinels) or address.netloc or address.path
    lines = [
        "",
        f"  This machine has joined, after {took_s:.0f} s.",
        "",
        f"  queue     {where}",
        f"  store     {settings.s3_endpoint or 'AWS'}, bucket {settings.s3_bucket}",
        *_models(settings, before),
        f"  logs      {folder / 'logs'}",
        "",
        "  Ctrl-C hands back what runs, and ends.",
        "",
    ]
    return "\n".join(lines)


def _models(settings: LocalSettings, before: Found) -> Iterator[str]:
    try:
        with connect(settings) as client:
            now = run(client, fleet()).workers
    except DarkroomError:
        return
    for model in sorted({worker.model for worker in now if is_on_this_host(worker.id)}):
        others = sum(worker.model == model for worker in before.fleet.workers)
        yield f"  model     {model}; {others or 'no'} other {'worker serves' if others == 1 else 'workers serve'} it"
        if before.fleet.workers and not others:
            yield "            Jobs that name no model go where most workers are. DARKROOM_MODEL says what to serve."


def settings_from(environ: Mapping[str, str]) -> LocalSettings:
    """Read the settings.

    Raises:
        StackError: no address is given, or something is wrong.
    """
    if not environ.get("DARKROOM_REDIS_URL") or "DARKROOM_S3_ENDPOINT" not in environ:
        raise StackError(HOW)
    try:
        return LocalSettings()
    except ValidationError as error:
        named = {setting: word for word, setting in WORDS.items()}
        wrong = wrong_settings(error)
        for setting, word in named.items():
            wrong = wrong.replace(f"{setting}:", f"{word} ({setting}):")
        raise StackError(f"These settings are wrong:\n{wrong}") from None


def join(settings: LocalSettings) -> None:
    """Try both addresses, then run workers until a signal.

    Raises:
        Unusable: one of them won't do, and nothing was started.
        StackError: the workers can't be started; the message says what to do.
    """
    begin = time.monotonic()
    found = try_both(settings)
    found.check_model(settings.model, has_gpu=bool(gpus_of(settings)))
    for remark in (*plain_ways(settings), *found.remarks()):
        say("darkroom", remark)
    folder = settings.data / "worker"
    with lock(folder, ANOTHER):
        members = tuple(worker_members(settings, folder / "logs", environment(settings, folder)))
        attend(members, lambda: tell(report(settings, found, folder, time.monotonic() - begin)))


def main() -> None:
    """Join; a mistake that the person can mend ends with a sentence, not a traceback."""
    description = (__doc__ or "").splitlines()[0]
    argparse.ArgumentParser(prog="python -m deploy.join", description=description).parse_args()
    try:
        take_addresses(os.environ)
        join(settings_from(os.environ))
    except (StackError, Unusable) as error:
        sys.exit(f"\n{error}")


if __name__ == "__main__":
    main()
