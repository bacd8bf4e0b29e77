"""`Idempotency-Key`: a request that is sent again makes no second job, whatever has happened meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from shared.contract import Problem
from shared.keys import DEFAULT
from tests.integration.serving import CARD, Hand, Serving, serving

KEY = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

pytestmark = pytest.mark.usefixtures("hand")


def submit(gateway: Serving, key: str, **fields: object) -> httpx2.Response:
    return gateway.http.post("/v1/jobs", json={"prompt": "a red cube", **fields}, headers={KEY: key})


def job_ids(gateway: Serving) -> list[str]:
    return [job["id"] for job in gateway.http.get("/v1/jobs").json()["data"]]


def refused_field(response: httpx2.Response) -> str:
    assert response.status_code == 422, response.text
    (error,) = Problem.model_validate_json(response.content).errors
    return error.field


def test_the_same_request_under_the_same_key_gives_the_same_job(gateway: Serving) -> None:
    first = submit(gateway, "one", metadata={"order": "1138"})
    again = submit(gateway, "one", metadata={"order": "1138"})

    assert first.status_code == again.status_code == 202
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["params"] == first.json()["params"]  # the drawn seed too
    assert again.headers["Location"] == first.headers["Location"]
    assert (first.headers.get(REPLAYED), again.headers.get(REPLAYED)) == (None, "true")
    assert job_ids(gateway) == [first.json()["id"]]


def test_another_key_or_none_makes_another_job(gateway: Serving) -> None:
    submit(gateway, "one")
    submit(gateway, "other")
    gateway.http.post("/v1/jobs", json={"prompt": "a red cube"}).raise_for_status()

    assert len(job_ids(gateway)) == 3


def test_another_request_under_the_same_key_is_refused_and_nothing_accepted(gateway: Serving) -> None:
    first = submit(gateway, "one")

    response = submit(gateway, "one", num_images=2)

    assert response.status_code == 409
    assert Problem.model_validate_json(response.content).code == "idempotency_mismatch"
    assert job_ids(gateway) == [first.json()["id"]]


def test_sixteen_at_once_make_one_job(gateway: Serving) -> None:
    def ask(key: str) -> httpx2.Response:
        return submit(gateway, key)

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, ["one"] * 16))

    assert len({answer.json()["id"] for answer in answers}) == len(job_ids(gateway)) == 1
    assert sum(REPLAYED not in answer.headers for answer in answers) == 1


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "tab\there", b"\xfcml\xe4ut"])
def test_a_key_that_is_none_is_named(gateway: Serving, key: str | bytes) -> None:
    headers = [(KEY.encode(), key.encode() if isinstance(key, str) else key)]

    response = gateway.http.post("/v1/jobs", json={"prompt": "x"}, headers=headers)

    assert refused_field(response) == KEY
    assert job_ids(gateway) == []


def test_two_keys_are_no_key(gateway: Serving) -> None:
    response = gateway.http.post("/v1/jobs", json={"prompt": "x"}, headers=[(KEY, "one"), (KEY, "other")])

    assert refused_field(response) == KEY


@pytest.mark.parametrize("key", ["!", "~" * 255, 'w"o,r=d;'])
def test_any_visible_characters_are_a_key(gateway: Serving, key: str) -> None:
    assert submit(gateway, key).json()["id"] == submit(gateway, key).json()["id"]


def test_a_wrong_request_uses_no_key_up(gateway: Serving) -> None:
    assert refused_field(submit(gateway, "one", seed=-1)) == "seed"

    assert submit(gateway, "one", seed=1).status_code == 202


def test_a_repetition_is_answered_though_no_new_job_could_be_accepted(
    gateway: Serving, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.outlook.FRESH_S", 0.0)
    monkeypatch.setattr("api.outlook.MOST_S", 0.0)
    limits = {"max_waiting": 1, "max_tenant_waiting": 1}
    with serving(gateway.settings.model_copy(update=limits)) as full:
        first = submit(full, "one").json()["id"]
        assert submit(full, "other").status_code == 429
        hand.redis.delete(f"{DEFAULT.prefix}card:{CARD.id}")
        assert submit(full, "other").status_code == 503
    with serving(gateway.settings.model_copy(update={"max_job_cost": 1})) as frugal:
        again = submit(frugal, "one")

    assert (again.status_code, again.json()["id"]) == (202, first)


def test_a_repetition_tells_of_the_job_as_it_stands_now(gateway: Serving, hand: Hand) -> None:
    submit(gateway, "one")
    taken = hand.take()
    hand.draw(taken, 0, b"data")
    hand.finish(taken)

    again = submit(gateway, "one").json()

    assert (again["status"], len(again["images"])) == ("succeeded", 1)


def test_the_key_of_a_deleted_job_makes_a_new_one(gateway: Serving) -> None:
    first = submit(gateway, "one").json()["id"]
    gateway.http.delete(f"/v1/jobs/{first}").raise_for_status()

    again = submit(gateway, "one", num_images=2)

    assert again.status_code == 202
    assert REPLAYED not in again.headers
    assert job_ids(gateway) == [again.json()["id"]] != [first]
