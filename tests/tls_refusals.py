"""A TLS server that nobody gets through to, and that says so: asyncio's own breaks off without its alert."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress


@contextmanager
def refusing(context: ssl.SSLContext) -> Generator[int]:
    """Shake hands on a port, as far as it goes; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve, args=(server, context), name="tls refusals")
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _serve(server: socket.socket, context: ssl.SSLContext) -> None:
    with suppress(OSError):
        while True:
            caller, _ = server.accept()
            with caller:
                _meet(caller, context)


def _meet(caller: socket.socket, context: ssl.SSLContext) -> None:
    """Hand bytes between socket and OpenSSL until that refuses, and then see that its alert is read."""
    caller.settimeout(10)
    came, leaves = ssl.MemoryBIO(), ssl.MemoryBIO()
    talk = context.wrap_bio(came, leaves, server_side=True)
    with suppress(OSError):
        while True:
            try:
                talk.do_handshake()
            except ssl.SSLWantReadError:
                caller.sendall(leaves.read())
                if not (data := caller.recv(65536)):
                    return
                came.write(data)
            except ssl.SSLError:
                caller.sendall(leaves.read())
                caller.shutdown(socket.SHUT_WR)
                while caller.recv(65536):
                    continue
                return
            else:
                return
