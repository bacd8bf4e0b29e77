"""The stream of all of a tenant's jobs."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from shared.connection import run
from shared.contract import JobBody
from shared.jobs import NewJob, Tenant
from shared.scripts import submit
from tests.desk import TERMS, new_job
from tests.integration.reading import Heard, Reader
from tests.integration.serving import CARD, Hand, Serving, serving
from tests.servers import wait_until

PATH = "/v1/events"


@pytest.fixture(scope="module")
def other_gateway(gateway: Serving) -> Iterator[Serving]:
    """A second one at the same Redis."""
    with serving(gateway.settings) as served:
        yield served


def submitted(gateway: Serving, num_images: int = 1) -> JobBody:
    asked = {"prompt": "x", "num_images": num_images}
    return JobBody.model_validate_json(gateway.http.post("/v1/jobs", json=asked).raise_for_status().content)


def of_tenant(hand: Hand, tenant: Tenant, num_images: int = 1) -> NewJob:
    job = new_job(tenant=tenant, model=CARD.id, num_images=num_images)
    run(hand.redis, submit(job, TERMS))
    return job


def drawn(hand: Hand, number: int = 1, *, pause_s: float = 0.0) -> None:
    """Work the next jobs off, as a worker would."""
    for _ in range(number):
        taken = hand.take()
        for index in range(taken.job.params.num_images):
            time.sleep(pause_s)
            hand.show(taken, index + 1, b"jpeg")
            time.sleep(pause_s)
            hand.draw(taken, index, b"data")
        hand.finish(taken)


def job_in(event: Heard) -> str:
    return event.data["id"] if event.name == "end" else event.data["job"]


def told_of(events: list[Heard], job: JobBody) -> list[str]:
    return [event.name for event in events if job_in(event) == job.id]


class TestAllJobs:
    def test_are_told_those_of_later_too(self, gateway: Serving, hand: Hand) -> None:
        with Reader(gateway, PATH) as reader:
            jobs = [submitted(gateway, 2), submitted(gateway)]
            wait_until(lambda: reader.names == ["queued"] * 2, limit_s=20, what="both")
            drawn(hand, 2, pause_s=0.1)
            reader.wait_for("end")
            gateway.http.delete(jobs[0].urls.get).raise_for_status()
            reader.wait_for("gone")
        assert told_of(reader.events, jobs[0])[0] == "queued"
        assert Counter(told_of(reader.events, jobs[0]))["image"] == 2
        assert told_of(reader.events, jobs[0])[-2:] == ["end", "gone"]
        assert Counter(told_of(reader.events, jobs[1]))["image"] == 1
        assert told_of(reader.events, jobs[1])[-1] == "end"
        assert all(event.body for event in reader.events)
        ids = [int(event.id) for event in reader.events]
        assert ids == sorted(ids)

    def test_begin_now_without_an_id(self, gateway: Serving, hand: Hand) -> None:
        submitted(gateway)
        with Reader(gateway, PATH) as reader:
            wait_until(lambda: reader.last is not None, limit_s=20, what="a number to go on from")
            drawn(hand)
            reader.wait_for("end")
        assert "queued" not in reader.names

    def test_are_all_told_from_the_beginning(
        self, gateway: Serving, hand: Hand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("shared.scripts.changes.MOST_CHANGED", 3)
        jobs = [submitted(gateway) for _ in range(10)]
        drawn(hand, 2)
        with Reader(gateway, f"{PATH}?last_event_id=0") as reader:
            wait_until(lambda: len(reader.events) == 12, limit_s=20, what="all")
        assert [(job_in(event), event.name) for event in reader.events] == [
            *((job.id, "queued") for job in jobs[2:]),
            *((job.id, name) for job in jobs[:2] for name in ("image", "end")),
        ]

    def test_are_told_to_nobody_else(self, gateway: Serving, hand: Hand) -> None:
        with Reader(gateway, PATH) as reader:
            theirs = of_tenant(hand, Tenant("ann"))
            drawn(hand, pause_s=0.1)
            ours = submitted(gateway)
            drawn(hand)
            reader.wait_for("end")
        with Reader(gateway, PATH, "0") as again:
            again.wait_for("end")
        assert {job_in(event) for event in [*reader.events, *again.events]} == {ours.id}
        assert theirs.id not in str(reader.events + again.events)

    def test_that_run_already_are_told_of_with_their_next_progress(self, gateway: Serving, hand: Hand) -> None:
        submitted(gateway, 2)
        taken = hand.take()
        hand.draw(taken, 0, b"data")
        with Reader(gateway, PATH) as reader:
            wait_until(lambda: reader.last is not None, limit_s=20, what="the stream")
            hand.show(taken, 5, b"jpeg")
            reader.wait_for("progress")
            hand.draw(taken, 1, b"data")
            hand.finish(taken)
            reader.wait_for("end")
        assert [event.data["image"]["index"] for event in reader.events if event.name == "image"] == [0, 1]


class TestComingBack:
    def test_after_each_event_at_another_gateway_misses_no_picture_and_no_end(
        self, gateway: Serving, other_gateway: Serving, hand: Hand
    ) -> None:
        with Reader(gateway, PATH) as reader:
            wait_until(lambda: reader.last is not None, limit_s=20, what="a number to go on from")
        last = reader.last
        jobs = [submitted(gateway, 2) for _ in range(3)]
        worker = threading.Thread(target=drawn, args=(hand, 3), kwargs={"pause_s": 0.03})
        worker.start()
        got, cuts = list[Heard](), 0
        # It may be told again what came after the last id, so it hangs up after ever more events.

        def is_over(events: list[Heard]) -> bool:
            return Counter(event.name for event in events)["end"] >= 3

        while not is_over(got):
            cuts += 1
            with Reader((gateway, other_gateway)[cuts % 2], PATH, last, most=1 + cuts % 4) as reader:
                wait_until(
                    lambda one=reader, had=got, most=1 + cuts % 4: (
                        len(one.events) >= most or is_over([*had, *one.events])
                    ),
                    limit_s=5,
                    what="events",
                )
            got, last = [*got, *reader.events], reader.last
        worker.join()
        for job in jobs:
            pictures = [event for event in got if event.name == "image" and job_in(event) == job.id]
            assert {event.data["image"]["index"] for event in pictures} == {0, 1}
            assert told_of(got, job)[-1] == "end"
        with Reader(other_gateway, PATH, last) as reader:
            drawn_later = submitted(gateway)
            reader.wait_for("queued")
        assert {job_in(event) for event in reader.events} == {drawn_later.id}

    def test_with_a_number_from_before_redis_lost_its_data_hears_all(self, gateway: Serving, hand: Hand) -> None:
        del hand
        job = submitted(gateway)
        with Reader(gateway, PATH, "123456789") as reader:
            assert job_in(reader.wait_for("queued")) == job.id

    @pytest.mark.parametrize("last", ["", "-1", "1.5", "nan", "1e3", "9" * 16, "(0"])
    def test_with_what_is_no_number_begins_now(self, gateway: Serving, hand: Hand, last: str) -> None:
        del hand
        submitted(gateway)
        with Reader(gateway, PATH, last) as reader:
            later = submitted(gateway)
            reader.wait_for("queued")
        assert [job_in(event) for event in reader.events] == [later.id]


def test_its_silence_is_broken_too(gateway: Serving, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    del hand
    monkeypatch.setattr("api.streams.HEARTBEAT_S", 0.1)
    with Reader(gateway, PATH) as reader:
        wait_until(lambda: len(reader.comments) > 3, limit_s=20, what="signs of life")
    assert reader.names == []
