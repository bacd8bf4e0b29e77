"""Polls and submits are answered on a short way, with the very answers that their routes give."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import httpx2
import pytest
from fastapi import routing
from starlette.requests import Request

from shared.contract import JobBody
from tests.conftest import settings_for
from tests.integration.keyholders import OPERATOR_KEY, bearer, guarded, make_key
from tests.integration.serving import Hand, Serving
from tests.servers import RedisServer, S3Server, wait_until

Headers = list[tuple[str, str]]
USUALLY = ("Prefer", "respond-async")
"""Says nothing to the gateway, but is no plain way to ask."""
OF_ITS_OWN = {"date", "x-request-id", "ratelimit-remaining", "ratelimit-reset"}
"""Headers that no two answers share."""
CLOCKS = {"created_at", "metrics", "time_left"}
IDENTITY = {"id", "urls", "position", "reason", "params"}
JSON = ("Content-Type", "application/json")


@pytest.fixture(scope="module")
def keyed(redis_server: RedisServer, s3_server: S3Server) -> Iterator[Serving]:
    settings = settings_for(redis_server, s3_server).model_copy(update={"max_requests_per_minute": 100_000})
    with guarded(settings) as served:
        yield served


@pytest.fixture
def drawer(keyed: Serving) -> Iterator[Hand]:
    with Hand(keyed.settings) as hand:
        hand.forget_all()
        hand.arrive()
        yield hand


@pytest.fixture
def asked_usually(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of what FastAPI solved the dependencies of."""
    solve, paths = cast("Callable[..., Awaitable[object]]", vars(routing)["solve_dependencies"]), list[str]()

    async def noted(**said: object) -> object:
        paths.append(cast("Request", said["request"]).url.path)
        return await solve(**said)

    monkeypatch.setattr(routing, "solve_dependencies", noted)
    return paths


def ask(gateway: Serving, method: str, path: str, headers: Headers, content: bytes | None = None) -> httpx2.Response:
    return gateway.http.request(method, path, headers=headers, content=content)


def told(response: httpx2.Response, *, without: set[str]) -> dict[str, Any]:
    """An answer, but for what is its own."""
    body = {name: value for name, value in response.json().items() if name not in without | {"request_id"}}
    headers = {name: value for name, value in response.headers.items() if name not in OF_ITS_OWN}
    if without:
        headers["location"] = re.sub(r"[0-9a-z]{26}", "<id>", headers.get("location", ""))
        headers.pop("content-length")
    return {"status": response.status_code, "headers": headers, "body": body}


def waiting(_hand: Hand) -> None:
    """Leave it."""


def running(hand: Hand) -> None:
    hand.show(hand.take(), 3, b"")


def succeeded(hand: Hand) -> None:
    taken = hand.take()
    hand.draw(taken, 0, b"a picture")
    hand.finish(taken)


def failed(hand: Hand) -> None:
    hand.fail(hand.take(), "model_error", "It did not work.")


class TestReading:
    @pytest.mark.parametrize("stage", [waiting, running, succeeded, failed])
    def test_a_job_is_told_alike(
        self, keyed: Serving, drawer: Hand, asked_usually: list[str], stage: Callable[[Hand], None]
    ) -> None:
        key = bearer(make_key(keyed, "ann").key)
        job = keyed.http.post("/v1/jobs", json={"prompt": "x", "metadata": {"a": "ä"}}, headers=key).json()["id"]
        stage(drawer)
        asked_usually.clear()

        plain = ask(keyed, "GET", f"/v1/jobs/{job}", [*key.items()])
        assert asked_usually == []
        usual = ask(keyed, "GET", f"/v1/jobs/{job}?wait=0", [*key.items()])

        assert asked_usually == [f"/v1/jobs/{job}"]
        assert plain.status_code == 200
        assert told(plain, without=CLOCKS) == told(usual, without=CLOCKS)
        assert [*plain.json()] == [*usual.json()]

    def test_what_is_refused_is_refused_alike(self, keyed: Serving, drawer: Hand, asked_usually: list[str]) -> None:
        del drawer
        ann, bob = (bearer(make_key(keyed, name).key) for name in ("ann", "bob"))
        submits = bearer(make_key(keyed, "ann", scopes=("submit",)).key)
        job = keyed.http.post("/v1/jobs", json={"prompt": "x"}, headers=ann).json()["id"]
        password = base64.b64encode(f":{ann['Authorization'].split()[1]}".encode()).decode()
        heads: list[tuple[int, Headers]] = [
            (200, [("Authorization", f"Basic {password}")]),
            (200, [("authorization", ann["Authorization"].replace("Bearer", "bearer"))]),
            (401, []),
            (401, [("Authorization", "Bearer darkroom_wrong_key")]),
            (401, [("Authorization", "Digest x")]),
            (401, [("Authorization", "Basic ?")]),
            (403, [*submits.items()]),
            (403, [*ann.items(), ("Darkroom-Visitor", "v1")]),
            (404, [*bob.items()]),
            (422, [*ann.items(), ("Darkroom-Visitor", "not a name")]),
        ]
        for status, headers in heads:
            asked_usually.clear()
            plain = ask(keyed, "GET", f"/v1/jobs/{job}", headers)
            assert (plain.status_code, asked_usually) == (status, []), headers
            usual = ask(keyed, "GET", f"/v1/jobs/{job}?wait=0", headers)
            assert told(plain, without=CLOCKS) == told(usual, without=CLOCKS), headers
        nobodys = "0" * 26
        plain, usual = (ask(keyed, "GET", f"/v1/jobs/{nobodys}{query}", [*ann.items()]) for query in ("", "?wait=0"))
        assert (plain.status_code, told(plain, without=set())) == (404, told(usual, without=set()))


class TestSubmitting:
    @pytest.mark.usefixtures("drawer")
    @pytest.mark.parametrize(
        ("status", "content", "headers"),
        [
            (202, b'{"prompt": "x", "seed": 7, "reuse": false}', [JSON]),
            (202, b'{"prompt": "x", "metadata": {"a": "b"}, "lane": "bulk"}', [JSON, ("Idempotency-Key", "one")]),
            (415, b'{"prompt": "x"}', []),
            (415, b'{"prompt": "x"}', [("Content-Type", "text/plain")]),
            (415, b'{"prompt": "x"}', [JSON, ("Content-Encoding", "gzip")]),
            (422, b"", [JSON]),
            (422, b"{", [JSON]),
            (422, b'{"prompt": "", "width": 3, "hat": 1}', [JSON]),
            (422, b'{"prompt": "x", "model": "no/such"}', [JSON]),
            (422, b'{"prompt": "x"}', [JSON, ("Idempotency-Key", "a b")]),
        ],
    )
    def test_it_is_answered_alike(
        self, keyed: Serving, asked_usually: list[str], status: int, content: bytes, headers: Headers
    ) -> None:
        ours = [*headers, *bearer(make_key(keyed, "ann").key).items()]
        theirs = [*headers, *bearer(make_key(keyed, "bob").key).items()]
        asked_usually.clear()

        plain = ask(keyed, "POST", "/v1/jobs", ours, content)
        assert (plain.status_code, asked_usually) == (status, [])
        usual = ask(keyed, "POST", "/v1/jobs", [*theirs, USUALLY], content)

        assert asked_usually == ["/v1/jobs"]
        without = CLOCKS | IDENTITY if status == 202 else set[str]()
        assert told(plain, without=without) == told(usual, without=without)
        if status == 202:
            first, second = plain.json()["params"], usual.json()["params"]
            assert first | {"seed": 0} == second | {"seed": 0}

    @pytest.mark.usefixtures("drawer")
    def test_a_repetition_finds_the_job_whichever_way_it_came(self, keyed: Serving) -> None:
        headers = [*bearer(make_key(keyed, "ann").key).items(), JSON, ("Idempotency-Key", "one")]
        for first, second in ([], [USUALLY]), ([USUALLY], []):
            headers[-1] = ("Idempotency-Key", f"of {len(first)}".replace(" ", "-"))
            made = ask(keyed, "POST", "/v1/jobs", [*headers, *first], b'{"prompt": "x"}')
            again = ask(keyed, "POST", "/v1/jobs", [*headers, *second], b'{"prompt": "x"}')
            other = ask(keyed, "POST", "/v1/jobs", [*headers, *second], b'{"prompt": "y"}')
            assert (made.status_code, again.status_code, other.status_code) == (202, 202, 409)
            assert again.json()["id"] == made.json()["id"]
            assert again.headers["Idempotency-Replayed"] == "true"

    @pytest.mark.usefixtures("drawer")
    def test_who_may_not_is_refused_alike(self, keyed: Serving) -> None:
        reads = bearer(make_key(keyed, "ann", scopes=("read",)).key)
        for headers in (
            [JSON],
            [JSON, *reads.items()],
            [JSON, *bearer(OPERATOR_KEY).items(), ("Darkroom-Visitor", "")],
        ):
            plain, usual = (
                ask(keyed, "POST", "/v1/jobs", [*headers, *more], b'{"prompt": "x"}') for more in ([], [USUALLY])
            )
            assert plain.status_code in {401, 403, 422}
            assert told(plain, without=set()) == told(usual, without=set())


def test_a_model_that_has_just_come_is_known_at_once(keyed: Serving, drawer: Hand) -> None:
    key = bearer(make_key(keyed, "ann").key)
    drawer.forget_all()
    key = bearer(make_key(keyed, "ann").key)
    wait_until(
        lambda: keyed.http.post("/v1/jobs", json={"prompt": "x"}, headers=key).status_code == 503,
        limit_s=5,
        what="the gateway knows of no model",
    )
    drawer.arrive()

    response = keyed.http.post("/v1/jobs", json={"prompt": "x"}, headers=key)

    assert response.status_code == 202, response.text
    assert JobBody.model_validate_json(response.content).model == drawer.card.id
