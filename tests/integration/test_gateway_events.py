"""A job's stream of events, read as a browser would: over HTTP, from two gateways."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from shared.connection import run
from shared.contract import JobBody, Problem
from shared.events import LAST_EVENT_ID
from shared.jobs import JobStatus, Tenant, new_job_id
from shared.scripts import submit
from tests.conftest import settings_for
from tests.desk import TERMS, new_job
from tests.integration.reading import Heard, Reader
from tests.integration.serving import CARD, Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until


@pytest.fixture(scope="module")
def other_gateway(gateway: Serving) -> Iterator[Serving]:
    """A second one at the same Redis."""
    with serving(gateway.settings) as served:
        yield served


def submitted(gateway: Serving, num_images: int = 1) -> JobBody:
    asked = {"prompt": "x", "num_images": num_images}
    return JobBody.model_validate_json(gateway.http.post("/v1/jobs", json=asked).raise_for_status().content)


def drawn(hand: Hand, num_images: int = 1, *, pause_s: float = 0.0) -> None:
    """Work the next job off, as a worker would."""
    taken = hand.take()
    for index in range(num_images):
        for step in range(1, 4):
            time.sleep(pause_s)
            hand.show(taken, 4 * index + step, f"{index}{step}".encode())
        time.sleep(pause_s)
        hand.draw(taken, index, b"data")
    time.sleep(pause_s)
    hand.finish(taken)


def without_repeats(names: list[str]) -> list[str]:
    return [name for at, name in enumerate(names) if names[at - 1 : at] != [name]]


def whole(reader: Reader) -> bool:
    """True for a job of one picture from its place to its end; a busy machine leaves progress out."""
    names = reader.names
    return (names[0], names[-1]) == ("queued", "end") and names.count("image") == names.count("end") == 1


class TestOneJob:
    def test_is_told_from_its_place_to_its_end(self, gateway: Serving, hand: Hand) -> None:
        job = submitted(gateway, 2)
        with Reader(gateway, job.urls.events) as reader:
            queued = reader.wait_for("queued")
            assert (queued.data["position"], queued.data["reason"]["code"]) == (0, "behind")
            taken = hand.take()
            assert reader.wait_for("progress").data["step"] == 0
            hand.show(taken, 2, b"jpeg")
            wait_until(lambda: reader.events[-1].data.get("step") == 2, limit_s=20, what="a step")
            assert reader.events[-1].data["preview"] is None
            hand.draw(taken, 0, b"data")
            assert reader.wait_for("image").data["image"]["url"] == f"{job.urls.get}/images/0"
            hand.draw(taken, 1, b"data")
            hand.finish(taken)
            reader.wait_for_end()
        assert without_repeats(reader.names) == ["queued", "progress", "image", "end"]
        assert [event.data["image"]["index"] for event in reader.events if event.name == "image"] == [0, 1]
        end = reader.events[-1].body
        assert isinstance(end, JobBody)
        read = JobBody.model_validate_json(gateway.http.get(job.urls.get).content)
        assert end.model_copy(update={"metrics": read.metrics}) == read
        assert all(event.body for event in reader.events)

    def test_shows_previews_to_who_asks_for_them(self, gateway: Serving, hand: Hand) -> None:
        job = submitted(gateway)
        with Reader(gateway, f"{job.urls.events}?previews=true") as reader:
            reader.wait_for("queued")
            taken = hand.take()
            hand.show(taken, 1, b"jpeg")
            wait_until(lambda: reader.events[-1].data.get("step") == 1, limit_s=20, what="a step")
        previews = [event.data["preview"] for event in reader.events if event.name == "progress"]
        assert [preview for preview in previews if preview] == ["data:image/jpeg;base64,anBlZw=="]

    def test_that_goes_back_to_the_queue_waits_again(self, gateway: Serving, hand: Hand) -> None:
        job = submitted(gateway)
        with Reader(gateway, job.urls.events) as reader:
            reader.wait_for("queued")
            hand.release(hand.take())
            wait_until(lambda: reader.events[-1].data["version"] == 3, limit_s=20, what="it waits again")
            assert reader.names[-1] == "queued"
            drawn(hand)
            reader.wait_for("end")

    @pytest.mark.parametrize("how", ["cancel", "fail"])
    def test_ends_however_it_ends(self, gateway: Serving, hand: Hand, how: str) -> None:
        job = submitted(gateway)
        with Reader(gateway, job.urls.events) as reader:
            reader.wait_for("queued")
            if how == "cancel":
                gateway.http.post(job.urls.cancel).raise_for_status()
            else:
                hand.fail(hand.take(), "model_error", "No.")
            reader.wait_for_end()
        status = JobStatus.CANCELED if how == "cancel" else JobStatus.FAILED
        assert reader.events[-1].data["status"] == status

    def test_that_ended_long_ago_is_told_at_once(self, gateway: Serving, hand: Hand) -> None:
        job = submitted(gateway, 2)
        drawn(hand, 2)
        with Reader(gateway, job.urls.events) as reader:
            reader.wait_for_end()
        assert reader.names == ["image", "image", "end"]

    def test_that_is_deleted_is_gone(self, gateway: Serving, hand: Hand) -> None:
        del hand
        job = submitted(gateway)
        with Reader(gateway, job.urls.events) as reader:
            reader.wait_for("queued")
            gateway.http.delete(job.urls.get).raise_for_status()
            reader.wait_for_end()
        assert reader.events[-1] == Heard("gone", reader.events[-2].id, {"job": job.id})

    def test_comes_as_a_stream_that_nobody_keeps_or_collects(self, gateway: Serving, hand: Hand) -> None:
        del hand
        with Reader(gateway, submitted(gateway).urls.events) as reader:
            assert reader.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert reader.headers["cache-control"] == "no-store"
            assert reader.headers["x-accel-buffering"] == "no"
            assert reader.headers["x-request-id"]


class TestWhoMay:
    def test_nobody_follows_what_is_not_theirs(self, gateway: Serving, hand: Hand) -> None:
        theirs = new_job(tenant=Tenant("ann"), model=CARD.id)
        run(hand.redis, submit(theirs, TERMS))
        answers = [gateway.http.get(f"/v1/jobs/{job_id}/events") for job_id in (theirs.id, new_job_id(), "what")]
        assert [answer.status_code for answer in answers] == [404] * 3
        assert {Problem.model_validate_json(answer.content).code for answer in answers} == {"job_not_found"}

    def test_a_wrong_question_is_answered_with_a_problem(self, gateway: Serving, hand: Hand) -> None:
        del hand
        answer = gateway.http.get(submitted(gateway).urls.events, params={"previews": "perhaps"})
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


class TestComingBack:
    def test_after_each_event_at_another_gateway_misses_nothing_and_hears_nothing_twice(
        self, gateway: Serving, other_gateway: Serving, hand: Hand
    ) -> None:
        job = submitted(gateway, 3)
        worker = threading.Thread(target=drawn, args=(hand, 3), kwargs={"pause_s": 0.02})
        worker.start()
        got, last, at = list[Heard](), None, 0
        while not got or got[-1].name != "end":
            at += 1
            with Reader((gateway, other_gateway)[at % 2], job.urls.events, last, most=1) as reader:
                wait_until(lambda here=reader: bool(here.events), limit_s=20, what="an event")
            got, last = [*got, *reader.events], reader.last
        worker.join()
        assert [event.data["image"]["index"] for event in got if event.name == "image"] == [0, 1, 2]
        assert len({event.id for event in got}) == len(got)
        steps = [(event.data["version"], event.data["step"]) for event in got if event.name == "progress"]
        assert steps == sorted(set(steps))
        for one in (gateway, other_gateway):
            assert one.http.get(job.urls.events, headers={LAST_EVENT_ID: last or ""}).status_code == 204

    def test_who_can_send_no_header_says_it_in_the_address(self, gateway: Serving, hand: Hand) -> None:
        job = submitted(gateway)
        drawn(hand)
        with Reader(gateway, job.urls.events) as reader:
            reader.wait_for_end()
        ids = [event.id for event in reader.events]
        with Reader(gateway, f"{job.urls.events}?last_event_id={ids[0]}") as reader:
            reader.wait_for_end()
        assert reader.names == ["end"]
        with Reader(gateway, f"{job.urls.events}?last_event_id={ids[0]}", ids[1]) as reader:
            assert reader.status == 204

    @pytest.mark.parametrize("last", ["", "nonsense", "1-2-3-4-5", "9" * 5000, "999999-0-0"])
    def test_with_an_id_that_fits_nothing_hears_all(self, gateway: Serving, hand: Hand, last: str) -> None:
        job = submitted(gateway)
        drawn(hand)
        with Reader(gateway, job.urls.events, last) as reader:
            reader.wait_for_end()
        assert reader.names == ["image", "end"]


def test_places_are_told_as_they_change_and_not_otherwise(
    gateway: Serving, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.following.ROUND_S", 0.05)
    with serving(gateway.settings) as served:
        jobs = [submitted(served) for _ in range(4)]
        with Reader(served, jobs[3].urls.events) as last, Reader(served, jobs[2].urls.events) as third:
            assert last.wait_for("queued").data["position"] == 3
            hand.take()
            wait_until(lambda: last.events[-1].data["position"] == 2, limit_s=20, what="it moves up")
            served.http.post(jobs[1].urls.cancel).raise_for_status()
            wait_until(lambda: last.events[-1].data["position"] == 1, limit_s=20, what="it moves up again")
            wait_until(lambda: third.events[-1].data["position"] == 0, limit_s=20, what="the other one too")
            served.http.post("/v1/queue/pause").raise_for_status()
            wait_until(lambda: last.events[-1].data["reason"]["code"] == "paused", limit_s=20, what="the reason")
            time.sleep(0.5)  # rounds in which nothing changes
        assert [event.data["position"] for event in last.events] == [3, 2, 1, 1]
        assert len({event.id for event in last.events}) == 4


def test_word_alone_brings_events(gateway: Serving, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.following.ROUND_S", 3600.0)
    monkeypatch.setattr("api.streams.LOOK_ANYWAY_S", 3600.0)
    with serving(gateway.settings) as served:
        job = submitted(served)
        with Reader(served, job.urls.events) as reader:
            reader.wait_for("queued")
            drawn(hand, pause_s=0.1)
            reader.wait_for_end()
        steps = [event.data["step"] for event in reader.events if event.name == "progress"]
        assert steps == sorted(set(steps))
        assert whole(reader)


def test_without_the_right_to_the_channel_events_come_all_the_same(
    own_redis_server: RedisServer, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.following.ROUND_S", 0.05)
    monkeypatch.setattr("api.changes.AGAIN_S", 3600.0)  # else each try to subscribe brings a look
    settings = settings_for(own_redis_server, s3_server)
    with Hand(settings) as hand:
        hand.redis.execute_command(  # pyright: ignore[reportUnknownMemberType]: **kwargs
            "ACL", "SETUSER", "default", "resetchannels"
        )
        with serving(settings) as served:
            job = submitted(served)
            with Reader(served, job.urls.events) as reader:
                reader.wait_for("queued")
                drawn(hand, pause_s=0.2)
                reader.wait_for_end()
            assert whole(reader)


def test_silence_is_broken_by_comments(gateway: Serving, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    del hand
    monkeypatch.setattr("api.streams.HEARTBEAT_S", 0.1)
    with Reader(gateway, submitted(gateway).urls.events) as reader:
        wait_until(lambda: len(reader.comments) > 3, limit_s=20, what="signs of life")
        assert reader.comments[1:3] == ["nothing new"] * 2
        assert reader.names == ["queued"]


class TestOutages:
    def test_a_restart_of_redis_is_waited_out(self, own_redis_server: RedisServer, s3_server: S3Server) -> None:
        settings = settings_for(own_redis_server, s3_server)
        with serving(settings) as served, Hand(settings) as hand:
            job = submitted(served)
            with Reader(served, job.urls.events) as reader:
                reader.wait_for("queued")
                own_redis_server.kill()
                wait_until(lambda: "does not answer" in reader.comments[-1], limit_s=30, what="it is said")
                own_redis_server.start()
                drawn(hand)
                reader.wait_for_end()
            assert whole(reader)

    def test_a_frozen_redis_is_waited_out(
        self, own_redis_server: RedisServer, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.changes.SILENCE_S", 0.2)
        settings = settings_for(own_redis_server, s3_server)
        with serving(settings) as served, Hand(settings) as hand:
            job = submitted(served)
            with Reader(served, job.urls.events) as reader:
                reader.wait_for("queued")
                own_redis_server.signal(signal.SIGSTOP)
                try:
                    time.sleep(1)
                finally:
                    own_redis_server.signal(signal.SIGCONT)
                drawn(hand)
                reader.wait_for_end()
            assert whole(reader)

    def test_of_redis_before_the_first_event_is_a_503(self, own_redis_server: RedisServer, s3_server: S3Server) -> None:
        with serving(settings_for(own_redis_server, s3_server)) as served:
            own_redis_server.kill()
            for path in (f"/v1/jobs/{new_job_id()}/events", "/v1/events"):
                answer = served.http.get(path)
                assert (answer.status_code, answer.json()["code"]) == (503, "queue_unavailable")


def test_a_gateway_that_stops_ends_its_streams_at_once(gateway: Serving, hand: Hand) -> None:
    with serving(gateway.settings) as served:
        job = submitted(served)
        one = Reader(served, job.urls.events)
        all_of_them = Reader(served, "/v1/events")
        one.wait_for("queued")
        wait_until(lambda: all_of_them.status == 200, limit_s=20, what="the other stream")
        stops = time.monotonic()
    one.wait_for_end()
    all_of_them.wait_for_end()
    assert time.monotonic() - stops < 8  # the server itself gives up after ten seconds
    with Reader(gateway, job.urls.events, one.last) as reader:
        drawn(hand)
        reader.wait_for_end()
    assert "queued" not in reader.names
    assert reader.names.count("image") == 1


def test_nobody_is_told_any_more_who_has_left(gateway: Serving, hand: Hand, caplog: pytest.LogCaptureFixture) -> None:
    del hand
    caplog.set_level(logging.DEBUG, "api.edge")
    job = submitted(gateway)
    for path in (job.urls.events, "/v1/events"):
        with Reader(gateway, path):
            pass
        wait_until(lambda at=path: f"GET {at} 200" in caplog.text, limit_s=20, what="the gateway has ended it")
