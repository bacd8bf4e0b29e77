"""A job's events by the Python client, from a real gateway, over connections that break."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Generator
from contextlib import aclosing, contextmanager, suppress

import httpx2
import pytest

from shared.client import AsyncClient, Client
from shared.contract import JobBody
from shared.errors import GatewayUnavailable, JobNotFound
from shared.events import EventBody, Gone, Pictured, Progressed, Queued
from shared.jobs import new_job_id
from tests.integration.command import Drawing
from tests.integration.serving import Hand, Serving, serving


class Draws(threading.Thread):
    """Draws one job of two pictures, a step of the way for each word that it is given."""

    def __init__(self, hand: Hand) -> None:
        super().__init__()
        self._hand = hand
        self._next = threading.Semaphore(0)

    def go_on(self) -> None:
        self._next.release()

    def run(self) -> None:
        self._next.acquire()
        taken = self._hand.take()
        self._hand.show(taken, 1, b"\xff\xd8")
        for index in range(2):
            self._next.acquire()
            self._hand.draw(taken, index, b"data")
        self._next.acquire()
        self._hand.finish(taken)


class Cut:
    """A way to a gateway that can be cut, for those who are on it."""

    def __init__(self, url: str) -> None:
        self._to = (httpx2.URL(url).host, httpx2.URL(url).port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def cut(self) -> None:
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                theirs = socket.create_connection(self._to)
                self._open += [ours, theirs]
                for pair in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


@contextmanager
def way_to(gateway: Serving) -> Generator[Cut]:
    way = Cut(gateway.url)
    try:
        yield way
    finally:
        way.close()


def test_tells_how_a_job_goes_until_its_end(client: Client, hand: Hand) -> None:
    job = client.submit("a red cube", num_images=2)
    drawing = Draws(hand)
    drawing.start()
    seen: list[EventBody] = []
    for event in client.follow(job.id, previews=True):
        seen.append(event)
        drawing.go_on()
    drawing.join()

    kinds = list(dict.fromkeys(type(event) for event in seen))
    assert kinds == [Queued, Progressed, Pictured, JobBody]
    assert [event.image.index for event in seen if isinstance(event, Pictured)] == [0, 1]
    assert [event.preview for event in seen if isinstance(event, Progressed) and event.preview] == [
        "data:image/jpeg;base64,/9g="
    ]
    assert isinstance(seen[-1], JobBody)
    assert seen[-1] == client.job(job.id)


def test_nothing_is_missed_or_told_twice_over_connections_that_break(gateway: Serving, hand: Hand) -> None:
    with way_to(gateway) as way, Client(way.url) as client:
        job = client.submit("a red cube", num_images=2)
        drawing = Draws(hand)
        drawing.start()
        seen: list[EventBody] = []
        for event in client.follow(job.id):
            seen.append(event)
            way.cut()
            drawing.go_on()
        drawing.join()

    assert [event.image.index for event in seen if isinstance(event, Pictured)] == [0, 1]
    assert isinstance(seen[-1], JobBody)
    assert len({event.model_dump_json() for event in seen}) == len(seen)


def test_a_gateway_that_is_gone_for_long_is_told_with_the_job(
    gateway: Serving, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    del hand
    monkeypatch.setattr("shared.client.patience.OUTAGE_S", 0.1)
    with serving(gateway.settings) as own:
        client = Client(own.url)
        job = client.submit("a red cube")
        events = client.follow(job.id)
        assert isinstance(next(events), Queued)
    with client, pytest.raises(GatewayUnavailable, match=job.id):
        list(events)


def test_a_job_that_is_deleted_is_gone(client: Client, hand: Hand) -> None:
    del hand
    job = client.submit("a red cube")
    seen: list[EventBody] = []
    for event in client.follow(job.id):
        if not seen:
            client.delete(job.id)
        seen.append(event)

    assert isinstance(seen[-1], Gone)


def test_an_unknown_job_is_told_at_once(client: Client, hand: Hand) -> None:
    del hand
    with pytest.raises(JobNotFound):
        list(client.follow(new_job_id()))


def test_who_stops_listening_frees_the_connection(gateway: Serving, hand: Hand) -> None:
    del hand
    with way_to(gateway) as way, Client(way.url) as client:
        job = client.submit("a red cube")
        for _ in client.follow(job.id):
            break
        for _ in range(150):  # more than the pool has connections
            events = client.follow(job.id)
            next(events)
            events.close()


class TestAsync:
    def test_generates_and_saves(self, gateway: Serving, hand: Hand) -> None:
        async def ask() -> list[bytes]:
            async with AsyncClient(gateway.url) as client:
                results = await asyncio.gather(*(client.generate("a red cube", timeout_s=30) for _ in range(5)))
            return [picture.data for result in results for picture in result.pictures]

        with Drawing(hand) as drawing:
            files = asyncio.run(ask())

        assert sorted(files) == sorted(f"{job_id} 0".encode() for job_id in drawing.drawn)

    def test_follows_over_connections_that_break(self, gateway: Serving, hand: Hand) -> None:
        drawing = Draws(hand)

        async def follow(way: Cut) -> list[EventBody]:
            seen: list[EventBody] = []
            async with AsyncClient(way.url) as client:
                job = await client.submit("a red cube", num_images=2)
                async for event in client.follow(job.id):
                    seen.append(event)
                    way.cut()
                    drawing.go_on()
            return seen

        drawing.start()
        with way_to(gateway) as way:
            seen = asyncio.run(follow(way))
        drawing.join()

        assert [event.image.index for event in seen if isinstance(event, Pictured)] == [0, 1]
        assert isinstance(seen[-1], JobBody)

    def test_waits_in_one_loop_for_many(self, gateway: Serving, hand: Hand, client: Client) -> None:
        ids = [client.submit("a red cube").id for _ in range(10)]

        async def wait() -> list[JobBody]:
            async with AsyncClient(gateway.url) as waiting:
                return await asyncio.gather(*(waiting.wait(job_id, timeout_s=30) for job_id in ids))

        with Drawing(hand):
            ended = asyncio.run(wait())

        assert {job.status for job in ended} == {"succeeded"}

    def test_can_be_left_before_the_end(self, gateway: Serving, hand: Hand, client: Client) -> None:
        del hand
        job = client.submit("a red cube")

        async def look() -> EventBody:
            async with AsyncClient(gateway.url) as following, aclosing(following.follow(job.id)) as events:
                return await anext(events)

        assert isinstance(asyncio.run(look()), Queued)
