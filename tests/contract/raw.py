"""Bytes to the gateway and bytes back: what no well-behaved client can send."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPResponse
from io import BytesIO
from typing import Final
from urllib.parse import urlsplit

from api.edge import SECURITY_HEADERS
from api.errors import MEDIA_TYPE
from shared.contract import Problem
from tests.contract.asking import EVENTS

ENDS_WITHIN_S: Final = 15.0
"""The gateway has closed the connection by then, on a busy machine too; else it hangs."""

STREAM: Final = re.compile(rb"\r\ncontent-type: text/event-stream.*\r\n\r\n", re.IGNORECASE | re.DOTALL)
"""The head of an answer that need not end: no more is read of it."""


@dataclass(frozen=True)
class Answer:
    """One answer off the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return Problem.model_validate_json(self.body).code

    def check(self, *, has_body: bool = True) -> None:
        """Hold the answer to what every answer has."""
        assert self.status < 500, (self.status, self.body)
        assert b"Traceback" not in self.body
        assert self.headers["x-request-id"]
        for name, value in SECURITY_HEADERS.items():
            assert self.headers[name.lower()] == value, name
        if self.status < 400:
            return
        assert "json" in self.headers["content-type"], self.headers
        if self.headers["content-type"] == MEDIA_TYPE and has_body:
            problem = Problem.model_validate_json(self.body)
            assert (problem.status, problem.request_id) == (self.status, self.headers["x-request-id"])


@dataclass(frozen=True)
class Talk:
    """What to send: pieces with a pause after each; then maybe no more, and the answers are read to their end."""

    pieces: tuple[bytes, ...]
    pause_s: float = 0.0
    half_closes: bool = False

    @property
    def sent(self) -> bytes:
        return b"".join(self.pieces)


class _Tape(BytesIO):
    """Bytes that http.client takes for a socket; reading one answer leaves the next ones."""

    def makefile(self, _mode: str) -> _Tape:
        return self

    def close(self) -> None:
        """Stay open for the next answer."""


def answers_in(raw: bytes, *, method: str = "GET") -> list[Answer]:
    """All answers of a connection. Raises if one is cut short."""
    return list(_answers(_Tape(raw), len(raw), method))


def _answers(tape: _Tape, length: int, method: str) -> Iterator[Answer]:
    while tape.tell() < length:
        response = HTTPResponse(tape, method=method)  # pyright: ignore[reportArgumentType]: no socket
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        if headers.get("content-type", "").startswith(EVENTS):
            yield Answer(response.status, headers, b"")
            return  # what is left was read out of a stream
        yield Answer(response.status, headers, response.read())


def _talk(url: str, talk: Talk) -> bytes:
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=ENDS_WITHIN_S) as connection:
        # The gateway may have heard enough before all is sent; what it said is still to be read.
        with suppress(OSError):
            for piece in talk.pieces:
                connection.sendall(piece)
                time.sleep(talk.pause_s)
            if talk.half_closes:
                connection.shutdown(socket.SHUT_WR)
        received = bytearray()
        try:
            while (piece := connection.recv(65536)) and not STREAM.search(received):
                received += piece
        except ConnectionResetError:
            pass
        except TimeoutError:
            raise AssertionError(f"the gateway did not end this within {ENDS_WITHIN_S:g} s: {talk}") from None
        return bytes(received)


def exchange(url: str, talks: Sequence[Talk]) -> list[bytes]:
    """Have many talks at once; what was said to each, until the gateway closed the connection."""
    with ThreadPoolExecutor(len(talks)) as threads:
        return list(threads.map(_talk, [url] * len(talks), talks))
