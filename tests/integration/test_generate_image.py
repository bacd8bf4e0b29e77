"""`POST /generate-image`: a text in, a picture out."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from PIL import Image

from api.routes.generate_image import prefers_json
from shared.contract import Problem
from tests.integration.artist import STUDIO_CARD, Artist
from tests.integration.serving import Hand, Serving
from tests.servers import wait_until


@pytest.fixture(scope="module")
def worker(gateway: Serving) -> Iterator[Hand]:
    with Hand(gateway.settings, STUDIO_CARD) as one:
        yield one


def ask(gateway: Serving, accept: str = "*/*", **fields: object) -> httpx2.Response:
    return gateway.http.post("/generate-image", json={"text": "a red cube", **fields}, headers={"Accept": accept})


def jobs(gateway: Serving) -> list[dict[str, Any]]:
    return gateway.http.get("/v1/jobs").json()["data"]


def test_a_text_gives_a_picture(gateway: Serving, hand: Hand) -> None:
    with Artist(hand):
        answer = ask(gateway)

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(answer.content)).size == (64, 64)
    (job,) = jobs(gateway)
    assert (job["status"], job["metadata"], job["params"]["prompt"]) == (
        "succeeded",
        {"dialect": "generate-image"},
        "a red cube",
    )
    assert gateway.http.get(answer.headers["Content-Location"]).content == answer.content


def test_who_prefers_json_gets_the_pictures_address(gateway: Serving, hand: Hand) -> None:
    with Artist(hand):
        answer = ask(gateway, "application/json", seed=7, size="128x64", negative_prompt="ugly")

    (job,) = jobs(gateway)
    assert answer.json() == {
        "id": job["id"],
        "url": f"{gateway.url}/v1/jobs/{job['id']}/images/0",
        "seed": 7,
    }
    assert gateway.http.get(answer.json()["url"]).content.startswith(b"\x89PNG")
    assert (job["params"]["negative_prompt"], job["params"]["width"], job["params"]["height"]) == ("ugly", 128, 64)


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("", False),
        ("*/*", False),
        ("image/png", False),
        ("text/html", False),
        ("application/json, */*", False),
        ("application/json, */*;q=0.8", True),
        ("application/json;q=0.5, image/*", False),
        ("Application/*", True),
        ("application/json;q=0", False),
        ("image/png;q=zero, application/json;q=0.1", True),
    ],
)
def test_json_only_where_it_is_liked_better(accept: str, *, is_json: bool) -> None:
    assert prefers_json(accept) is is_json


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"text": ""}, "text"), ({"text": 5}, "text"), ({"size": "1x"}, "size"), ({"seed": -1}, "seed"), ({"n": 2}, "n")],
)
def test_a_wrong_field_is_named_as_it_was_said(
    gateway: Serving, hand: Hand, fields: dict[str, object], field: str
) -> None:
    del hand
    answer = gateway.http.post("/generate-image", json={"text": "a red cube", **fields})

    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert [error.field for error in Problem.model_validate_json(answer.content).errors] == [field]
    assert jobs(gateway) == []


def test_a_failure_is_a_problem_with_its_own_code(gateway: Serving, hand: Hand) -> None:
    with Artist(hand, fails=("model_error", "The pipeline raised.")):
        answer = ask(gateway)

    problem = Problem.model_validate_json(answer.content)
    assert (answer.status_code, problem.code, problem.detail) == (500, "model_error", "The pipeline raised.")


def test_who_hangs_up_cancels_the_job(gateway: Serving, hand: Hand) -> None:
    del hand
    with pytest.raises(httpx2.ReadTimeout):
        gateway.http.post("/generate-image", json={"text": "x"}, timeout=0.5)

    wait_until(lambda: [job["status"] for job in jobs(gateway)] == ["canceled"], limit_s=20, what="it is canceled")
