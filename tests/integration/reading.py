"""A reader of streams of events, in a thread: parses what comes as the HTML standard says, and no more than that."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx2

from shared.events import EVENTS, LAST_EVENT_ID, EventBody
from tests.integration.serving import Serving
from tests.servers import wait_until


@dataclass(frozen=True)
class Heard:
    """An event."""

    name: str
    id: str
    """The last one that was sent, with this event or before."""
    data: dict[str, Any]

    @property
    def body(self) -> EventBody:
        return EVENTS[self.name].model_validate(self.data)


class Reader:
    """Reads from its making on; whatever it gets is in its lists at once."""

    def __init__(
        self, gateway: Serving, path: str, last: str | None = None, *, most: int | None = None, key: str | None = None
    ) -> None:
        self.events: list[Heard] = []
        self.comments: list[str] = []
        self.last = last
        self.status: int | None = None
        self.headers = httpx2.Headers()
        self.has_ended = False
        self._most = most
        """Events after which it hangs up."""
        self._key = key
        self._leaves = False
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(
            target=self._run, args=(gateway.url + path,), name=f"reader of {path}", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        wait_until(lambda: self.status is not None, limit_s=20, what="an answer")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.leave()

    def leave(self) -> None:
        """Hang up."""
        self._leaves = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        assert not self._thread.is_alive()

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]

    def wait_for(self, name: str) -> Heard:
        """Return the last event, once it is of this name."""
        wait_until(lambda: self.names[-1:] == [name], limit_s=30, what=f"a last event {name}, not {self.names}")
        return self.events[-1]

    def wait_for_end(self) -> None:
        wait_until(lambda: self.has_ended, limit_s=30, what="the stream's end")

    def _run(self, url: str) -> None:
        try:
            self._read(url)
        except httpx2.TransportError:
            if not self._leaves:
                raise

    def _read(self, url: str) -> None:
        headers = {} if self.last is None else {LAST_EVENT_ID: self.last}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        with httpx2.stream("GET", url, headers=headers, timeout=60, trust_env=False) as answer:
            self._socket = answer.extensions["network_stream"].get_extra_info("socket")
            self.headers = answer.headers
            self.status = answer.status_code
            name, data = "", ""
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                match field:
                    case "event":
                        name = value
                    case "data":
                        data = value
                    case "id":
                        self.last = value
                    case "" if value:
                        self.comments.append(value)
                    case "" if data:
                        self.events.append(Heard(name, self.last or "", json.loads(data)))
                        name, data = "", ""
                    case _:
                        pass
                if self._leaves or len(self.events) == self._most:
                    return
        self.has_ended = True
