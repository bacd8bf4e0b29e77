"""`Prefer: wait`: a submit's answer that is held until the job has ended."""

from __future__ import annotations

import time

import httpx2
import pytest

from shared.jobs import JobStatus
from tests.integration.artist import Artist
from tests.integration.serving import Hand, Serving
from tests.servers import wait_until

APPLIED = "Preference-Applied"


def submit(gateway: Serving, *prefer: str, path: str = "/v1/jobs", **headers: str) -> httpx2.Response:
    preferences = [("Prefer", value) for value in prefer]
    return gateway.http.post(path, json={"prompt": "x"}, headers=[*preferences, *headers.items()])


def test_a_job_that_ends_in_time_is_answered_with_200(gateway: Serving, hand: Hand) -> None:
    with Artist(hand):
        answer = submit(gateway, "wait=30")

    assert (answer.status_code, answer.headers[APPLIED]) == (200, "wait=30")
    assert (answer.json()["status"], len(answer.json()["images"])) == (JobStatus.SUCCEEDED, 1)
    assert answer.headers["Location"] == answer.json()["urls"]["get"]


def test_a_job_that_fails_has_ended_too(gateway: Serving, hand: Hand) -> None:
    with Artist(hand, fails=("out_of_memory", "Ask for a smaller one.")):
        answer = submit(gateway, "wait=30")

    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["error"]["code"]) == (JobStatus.FAILED, "out_of_memory")


def test_a_job_that_goes_on_when_the_time_is_over_is_answered_with_202(gateway: Serving, hand: Hand) -> None:
    del hand
    began = time.monotonic()
    answer = submit(gateway, "wait=1")

    assert (answer.status_code, answer.headers[APPLIED]) == (202, "wait=1")
    assert answer.json()["status"] == JobStatus.QUEUED
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        (["wait"], "wait=60"),
        (["wait=600"], "wait=60"),
        (['WAIT="5"'], "wait=5"),
        (["respond-async, wait = 07 ; x=y"], "wait=7"),
        (["respond-async", "wait=3"], "wait=3"),
    ],
)
def test_preferences_are_read_as_they_may_be_written(
    gateway: Serving, hand: Hand, prefer: list[str], applied: str
) -> None:
    with Artist(hand):
        answer = submit(gateway, *prefer)

    assert (answer.status_code, answer.headers[APPLIED]) == (200, applied)


@pytest.mark.parametrize("prefer", ["wait=0", "wait=", "wait=-1", "wait=1.5", "wait=soon", "waiting=5", ";;,=,", '"'])
def test_what_can_not_be_read_is_as_good_as_not_said(gateway: Serving, hand: Hand, prefer: str) -> None:
    del hand
    answer = submit(gateway, prefer)

    assert answer.status_code == 202
    assert APPLIED not in answer.headers


def test_a_request_that_is_sent_again_waits_for_the_job_that_is_there(gateway: Serving, hand: Hand) -> None:
    key = {"Idempotency-Key": "one"}
    first = submit(gateway, **key)
    with Artist(hand):
        again = submit(gateway, "wait=30", **key)

    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["Idempotency-Replayed"] == "true"


def test_a_retry_can_be_waited_for(gateway: Serving, hand: Hand) -> None:
    job = submit(gateway).json()
    gateway.http.post(job["urls"]["cancel"]).raise_for_status()
    with Artist(hand):
        answer = submit(gateway, "wait=30", path=f"/v1/jobs/{job['id']}/retry")

    assert (answer.status_code, answer.json()["status"]) == (200, JobStatus.SUCCEEDED)


def test_a_job_goes_on_when_who_waits_has_left(gateway: Serving, hand: Hand) -> None:
    with pytest.raises(httpx2.ReadTimeout):
        gateway.http.post("/v1/jobs", json={"prompt": "x"}, headers={"Prefer": "wait=60"}, timeout=0.3)
    with Artist(hand):
        wait_until(
            lambda: [job["status"] for job in gateway.http.get("/v1/jobs").json()["data"]] == ["succeeded"],
            limit_s=20,
            what="the job was drawn",
        )
