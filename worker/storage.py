"""The object store as a worker uses it: it takes pictures, or it counts as away and no job is claimed.

Away from the first picture that is not taken until a probe is: HEAD may answer while PUT is refused, by a
full disk or a key that may only read. One thread finds out, whoever asks reads what it found, and no
picture is sent meanwhile, which might hang for half a minute. Knows no jobs.
"""

from __future__ import annotations

import logging
import random
import threading
from typing import Final, final

from shared.errors import StoreUnavailable
from shared.meters import STORE_CALL_SECONDS, STORE_ERRORS, Meters
from shared.object_store import ObjectStore
from worker.measures import PART

PROBE_KEY: Final = "images/.probe"
"""Among the pictures: the rights of a key may end there."""
PROBE_BYTES: Final = 1024 * 1024
"""As large as a picture: a disk that is all but full still takes a small file."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 2.0
CLOSE_LIMIT_S: Final = 2.0

_logger = logging.getLogger(__name__)


@final
class Storage:
    """One object store; for many threads."""

    def __init__(self, store: ObjectStore, meters: Meters | None = None) -> None:
        self._store = store
        self._meters = meters or Meters()
        self._lock = threading.Lock()
        self._trouble: StoreUnavailable | None = None
        self._closing = threading.Event()
        self._prober: threading.Thread | None = None

    @property
    def is_away(self) -> bool:
        """True while a new picture would not be taken, as far as is known."""
        return self._trouble is not None

    def prepare(self) -> None:
        """Make the bucket unless it is there; if that fails, the store counts as away."""
        try:
            self._store.ensure_bucket()
        except StoreUnavailable as error:
            self._note_away(error)

    def put(self, key: str, data: bytes, media_type: str) -> None:
        """Store a picture. Raises StoreUnavailable, and then the store counts as away; at once while it does."""
        trouble = self._trouble
        if trouble is not None:
            raise StoreUnavailable(str(trouble)) from trouble.__cause__
        try:
            with self._meters.timed(STORE_CALL_SECONDS, PART, "put"):
                self._store.put(key, data, media_type)
        except StoreUnavailable as error:
            self._meters.count(STORE_ERRORS, PART, "put")
            self._note_away(error)
            raise

    def close(self) -> None:
        """Probe no more; a probe that does not answer is left behind."""
        self._closing.set()
        if self._prober is not None:
            self._prober.join(CLOSE_LIMIT_S)

    def _note_away(self, error: StoreUnavailable) -> None:
        with self._lock:
            was_away, self._trouble = self.is_away, error
            if was_away:
                return
            self._prober = threading.Thread(target=self._probe, name="storage", daemon=True)
            self._prober.start()
        _logger.warning("no job is claimed until the object store takes pictures: %s", error)

    def _probe(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._closing.wait(pause_s * random.uniform(0.5, 1.0)):  # by chance: a fleet shall not come at once
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            try:
                self._store.ensure_bucket()  # it may be gone
                self._store.put(PROBE_KEY, bytes(PROBE_BYTES), "application/octet-stream")
            except StoreUnavailable as error:
                with self._lock:
                    self._trouble = error
                continue
            except Exception:
                _logger.exception("a probe of the object store failed; the next one comes")
                continue
            with self._lock:
                self._trouble = None
            _logger.info("the object store takes pictures again")
            return
