"""What became of a batch's lines: as JSON Lines, and as an archive of pictures. Reads no faster than it is read."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Final, Protocol, cast

from zipstream import ZipStream  # pyright: ignore[reportMissingTypeStubs]: it has none

from api.deps import Gateway
from api.storage import Download, Storage
from shared.batches import BatchId, FileBody, LineStatus, ManifestLine, Result, ResultBody, has_ended, status_of
from shared.contract import job_body
from shared.errors import ImageNotFound
from shared.jobs import Image, Tenant
from shared.pools import model_in
from shared.scripts import batch_results

LINES_A_PAGE: Final = 100
MANIFEST: Final = "manifest.jsonl"
MANIFEST_IN_MEMORY: Final = 1024 * 1024
"""Beyond that it waits in a file until the pictures have gone out."""
CHUNK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Told:
    """A line, and how it stands."""

    number: int
    """From 1."""
    status: LineStatus
    result: Result


Pages = AsyncGenerator[tuple[Told, ...]]


class _Zip(Protocol):
    """The part of zipstream-ng that is used here; it has no types of its own."""

    def add(self, data: Iterator[bytes], arcname: str, *, size: int | None = None) -> None: ...
    def all_files(self) -> Iterator[bytes]: ...
    def finalize(self) -> Iterator[bytes]: ...


async def pages_of(gateway: Gateway, batch_id: BatchId, tenant: Tenant) -> Pages:
    """Read a batch's lines in their order; each page is as of when it is read.

    The first page is read at once, so that what is wrong with the request is known before an answer begins. Raises
    BatchNotFound, QueueUnavailable.
    """
    pages = _pages(gateway, batch_id, tenant)
    first = await anext(pages)

    async def all_pages() -> Pages:
        async with aclosing(pages):
            yield first
            async for page in pages:
                yield page

    return all_pages()


async def _pages(gateway: Gateway, batch_id: BatchId, tenant: Tenant) -> Pages:
    told = 0
    while True:
        batch, results = await gateway.run(batch_results(batch_id, tenant, skip=told, limit=LINES_A_PAGE))
        yield tuple(Told(number, status_of(batch, one), one) for number, one in enumerate(results, told + 1))
        told += len(results)
        if told >= batch.total:
            return


async def json_lines(pages: Pages, *, with_unended: bool) -> AsyncIterator[bytes]:
    """Say the lines in JSON, those that have ended or all of them."""
    async with aclosing(pages):
        async for page in pages:
            shown = [_result(told) for told in page if with_unended or has_ended(told.status)]
            if shown:
                yield b"".join(one.model_dump_json().encode() + b"\n" for one in shown)


async def archive(storage: Storage, pages: Pages) -> AsyncIterator[bytes]:
    """Make an archive of the pictures of lines that have ended, and behind them a manifest of these lines.

    Raises StoreUnavailable, QueueUnavailable: the answer breaks off then, and no archive without its end can be opened.
    """
    zipped = cast("_Zip", ZipStream())  # stored: pictures are compressed by themselves
    with SpooledTemporaryFile(MANIFEST_IN_MEMORY) as manifest:
        async with aclosing(pages):
            async for told in _ended(pages):
                files: list[FileBody] = []
                for image in told.result.job.images if told.result.job else ():
                    name = f"{told.number:05}-{image.index}.{image.output_format.suffix}"
                    download = await _opened(storage, image)
                    files.append(_file(name, image, missing=download is None))
                    if download is not None:
                        async for part in _entry(storage, zipped, name, download):
                            yield part
                manifest.write(_manifest_line(told, tuple(files)).model_dump_json().encode() + b"\n")
        manifest.seek(0)
        zipped.add(iter(partial(manifest.read, CHUNK_BYTES), b""), MANIFEST)
        async for part in storage.steps(zipped.finalize()):
            yield part


async def _ended(pages: Pages) -> AsyncIterator[Told]:
    async for page in pages:
        for told in page:
            if has_ended(told.status):
                yield told


async def _opened(storage: Storage, image: Image) -> Download | None:
    try:
        return await storage.open(image.key)
    except ImageNotFound:
        return None


async def _entry(storage: Storage, zipped: _Zip, name: str, download: Download) -> AsyncIterator[bytes]:
    """Copy a picture into the archive, and close it, also when its reader goes away."""
    try:
        zipped.add(_parts(download), name, size=download.num_bytes)
        async for part in storage.steps(zipped.all_files()):
            yield part
    finally:
        download.found.close()


def _parts(download: Download) -> Iterator[bytes]:
    yield download.first
    yield from download.found


def _result(told: Told) -> ResultBody:
    job = told.result.job
    now_ms = time.time_ns() // 1_000_000
    return ResultBody(
        line=told.number,
        status=told.status,
        job_id=told.result.job_id,
        job=None if job is None else job_body(job, now_ms=now_ms),
    )


def _manifest_line(told: Told, files: tuple[FileBody, ...]) -> ManifestLine:
    line, job = told.result.line, told.result.job
    return ManifestLine(
        line=told.number,
        status=told.status,
        job_id=told.result.job_id,
        model=model_in(line.model),
        params=line.params,
        metadata=line.metadata,
        files=files,
        error=None if job is None else job.error,
    )


def _file(name: str, image: Image, *, missing: bool) -> FileBody:
    return FileBody(
        name=name,
        seed=image.seed,
        variation_seed=image.variation_seed,
        sha256=image.sha256,
        num_bytes=image.num_bytes,
        missing=missing,
    )
