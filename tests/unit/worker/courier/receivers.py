"""Receivers of webhooks on this machine, each named for what it does."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast


@dataclass
class Receiver:
    """What came, and what is answered: the next of `statuses`, the last one from then on."""

    url: str
    statuses: list[int]
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list[tuple[dict[str, str], bytes]])
    location: str = ""

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.came]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        receiver = cast("_Server", self.server).receiver
        body = self.rfile.read(int(self.headers["content-length"]))
        receiver.came.append(({name.lower(): value for name, value in self.headers.items()}, body))
        status = receiver.statuses.pop(0) if len(receiver.statuses) > 1 else receiver.statuses[0]
        self.send_response(status)
        if receiver.location:
            self.send_header("Location", receiver.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class names it
        del format, args


class _Server(ThreadingHTTPServer):
    receiver: Receiver
    daemon_threads = True


@contextmanager
def receiver(*statuses: int, location: str = "") -> Generator[Receiver]:
    """One that answers."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}/hook"
        server.receiver = Receiver(url, list(statuses) or [200], location=location)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.receiver
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Silent:
    """One that takes connections and says nothing."""

    listening: socket.socket

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}/hook"

    def wait_for_connection(self, limit_s: float = 20) -> None:
        self.listening.settimeout(limit_s)
        self.listening.accept()


@contextmanager
def receiver_that_never_answers() -> Generator[Silent]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        yield Silent(listening)


def _hear_out(connection: socket.socket) -> None:
    """Read a request whole, if it is one: who goes with words unread takes the answer with him."""
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += (came := connection.recv(65536))
        if not came or not heard.startswith(b"POST"):
            return
    head, _, body = heard.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    missing = int(length[1]) - len(body) if length else 0
    while missing > 0 and (came := connection.recv(missing)):
        missing -= len(came)


@contextmanager
def receiver_that_answers(said: bytes, *, stays: bool = False) -> Generator[str]:
    """One that hears whoever comes out, says these bytes, and goes, or `stays` until the other goes; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    _hear_out(connection)
                    connection.sendall(said)
                    if stays:
                        connection.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)
