"""Speaks TLS on a port and hands the bytes on to a server that doesn't, as the Valkey of the tests, which has none."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.certificates import Certificate
from tests.servers import free_port


@contextmanager
def tls_before(
    port: int, certificate: Certificate, *, clients_of: Path | None = None, host: str = "127.0.0.1"
) -> Generator[int]:
    """Serve TLS before 127.0.0.1:`port`; yields the port, of `host`. With `clients_of`, a CA, clients show a
    certificate too."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.file)
    if clients_of is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients_of)
    outside = free_port()
    loop = asyncio.new_event_loop()
    serving = loop.run_until_complete(_serve((host, outside), port, context))
    thread = threading.Thread(target=loop.run_forever, name="tls proxy", daemon=True)
    thread.start()
    try:
        yield outside
    finally:
        asyncio.run_coroutine_threadsafe(_close(serving), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _serve(outside: tuple[str, int], inside: int, context: ssl.SSLContext) -> asyncio.Server:
    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", inside)
        except OSError:
            writer.close()
            return
        with suppress(asyncio.CancelledError):  # asyncio's server would print it
            await asyncio.gather(_hand_on(reader, there[1]), _hand_on(there[0], writer))

    return await asyncio.start_server(meet, *outside, ssl=context)


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


async def _close(serving: asyncio.Server) -> None:
    serving.close()
    current = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not current]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
