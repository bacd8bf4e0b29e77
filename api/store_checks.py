"""What can be wrong with the object store though it answers: what it refuses us, and what it allows to strangers.

One small object is stored, read and deleted. Blocking: for a thread.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Final

from shared.checks import Finding, ok, unknown, warning, wrong
from shared.errors import DarkroomError, StoreUnavailable
from shared.object_store import ObjectStore, is_denial, is_refusal
from shared.settings import Settings

FOLDER: Final = "checks/"
"""Not that of pictures: nobody takes what is left here for one."""
SLOW_S: Final = 1.0
"""For some bytes there and back; pictures are a thousand times as large."""
MEDIA_TYPE: Final = "text/plain"

_RIGHTS: Final = (
    "On this gateway: are DARKROOM_S3_ENDPOINT, DARKROOM_S3_BUCKET and the keys right, and may they put, get and "
    "delete there? docs/operations/keys.md#who-may-what tells which rights are needed."
)


def examine(store: ObjectStore, settings: Settings) -> Iterator[Finding]:
    """Tell what is to be said of the store. Takes seconds if it hangs."""
    key, data = f"{FOLDER}{secrets.token_hex(8)}", secrets.token_bytes(64)
    begun = time.monotonic()
    try:
        store.put(key, data, MEDIA_TYPE)
    except StoreUnavailable as error:
        yield wrong("store writes", str(error), _RIGHTS)
        if not is_refusal(error):  # it may have been stored all the same
            with suppress(StoreUnavailable):
                store.delete((key,))
        return
    try:
        came = store.get(key)
        took_s = time.monotonic() - begun
        yield from _strangers(settings, key)
    except DarkroomError as error:
        yield wrong("store writes", f"It took an object, and does not give it back. {error}", _RIGHTS)
        with suppress(StoreUnavailable):
            store.delete((key,))
        return
    try:
        store.delete((key,))
    except StoreUnavailable as error:
        yield wrong("store writes", f"It deletes nothing: pictures of forgotten jobs stay. {error}", _RIGHTS)
        return
    yield _written(came == data, took_s)


def _written(is_same: bool, took_s: float) -> Finding:
    what, took = "store writes", f"{took_s * 1000:.0f} ms"
    if not is_same:
        return wrong(what, "What was read back is not what was stored.", "Another store, or one that is broken?")
    if took_s > SLOW_S:
        return warning(
            what,
            f"It stored and gave back 64 bytes in {took}, which is long.",
            "Is it far away, or busy? Workers wait for it before they take more jobs.",
        )
    return ok(what, f"It stored, gave back (both in {took}) and deleted an object.")


def _strangers(settings: Settings, key: str) -> Iterator[Finding]:
    """Try the doors without a key, at the address that browsers are given if there is one."""
    what = "store strangers"
    with closing(ObjectStore.of_a_stranger(settings)) as stranger:
        tries: dict[str, Callable[[], object]] = {
            "list": lambda: next(stranger.pages(FOLDER)),
            "read": lambda: stranger.get(key),
            "write": lambda: stranger.put(key, b"", MEDIA_TYPE),
        }
        may: list[str] = []
        for verb, attempt in tries.items():
            try:
                attempt()
            except StoreUnavailable as error:
                if not is_denial(error):
                    yield unknown(what, f"It can't be asked from here without a key. {error}")
                    return
            except DarkroomError:  # no such picture: it looked for one
                may.append(verb)
            else:
                may.append(verb)
    if may:
        yield wrong(
            what,
            f"Without any key one may {' and '.join(may)} what is in the bucket {settings.s3_bucket}.",
            "Take away what lets everybody in: a public policy or ACL of the bucket, a store without keys.",
        )
    else:
        yield ok(what, "Who has no key may not list, read or write what is in the bucket.")
