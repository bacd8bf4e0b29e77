"""Readers of many streams of events, in a process of their own; notes when each event was parsed.

    python -m bench.stream_reader PORT NOTES < a line of job ids

Prints `open` when all streams are, and ends with its input. A note is a line of JSON: job, event, what it tells
(step or index of the picture), seconds by the machine's monotonic clock, which all of its processes share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

OPENED_AT_ONCE: Final = 50


class Readers:
    """All streams of one event loop."""

    def __init__(self, port: int) -> None:
        self.notes: list[tuple[str, str, int, float]] = []
        self._port = port
        self._opening = asyncio.Semaphore(OPENED_AT_ONCE)
        self._open = 0
        self.all_open = asyncio.Event()

    async def read(self, job: str, streams: int) -> None:
        """Open a stream and note its events until it ends."""
        async with self._opening:
            reader, writer = await self._opened(job)
        self._open += 1
        if self._open == streams:
            self.all_open.set()
        while chunk := await self._chunk(reader):
            self._note(job, chunk)
        writer.close()

    async def _opened(self, job: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A stream whose first chunk has been read; comes back if a starved gateway says that Redis doesn't answer."""
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            status = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0]
            if b" 200 " in status:
                await self._chunk(reader)
                return reader, writer
            if b" 503 " not in status:
                raise RuntimeError(status.decode())
            writer.close()
            await asyncio.sleep(1)

    async def _chunk(self, reader: asyncio.StreamReader) -> bytes:
        size = int(await reader.readline(), 16)
        return (await reader.readexactly(size + 2))[:-2]

    def _note(self, job: str, chunk: bytes) -> None:
        for block in chunk.decode().split("\n\n"):
            fields = {line.partition(": ")[0]: line.partition(": ")[2] for line in block.splitlines()}
            if "data" not in fields:
                continue
            data: dict[str, Any] = json.loads(fields["data"])
            told = data["image"]["index"] if fields["event"] == "image" else data.get("step", 0)
            self.notes.append((job, fields["event"], told, time.monotonic()))


async def main(port: int) -> Readers:
    """Read."""
    readers = Readers(port)
    jobs = sys.stdin.readline().split()
    tasks = [asyncio.create_task(readers.read(job, len(jobs))) for job in jobs]
    opened = asyncio.create_task(readers.all_open.wait())
    await asyncio.wait([opened, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    return readers


if __name__ == "__main__":
    read = asyncio.run(main(int(sys.argv[1])))
    Path(sys.argv[2]).write_text("\n".join(map(json.dumps, read.notes)), "utf-8")
