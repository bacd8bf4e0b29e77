"""Who the client says that it is."""

from __future__ import annotations

import httpx2
import pytest

from shared.client import Client
from shared.errors import InvalidRequest

MODELS = b'{"data": []}'


def sent_by(api_key: str, visitor: str | None = None) -> httpx2.Headers:
    """The headers of a request that such a client sends."""
    seen: list[httpx2.Headers] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers)
        return httpx2.Response(200, content=MODELS)

    with Client(
        "http://gateway.test", api_key=api_key, visitor=visitor, transport=httpx2.MockTransport(answer)
    ) as client:
        client.models()
    return seen[0]


def test_a_key_and_a_visitor_go_with_each_request() -> None:
    headers = sent_by(api_key="darkroom_1_2", visitor="v-7")

    assert headers["Authorization"] == "Bearer darkroom_1_2"
    assert headers["Darkroom-Visitor"] == "v-7"


def test_one_client_acts_for_many_over_its_connections() -> None:
    seen: list[tuple[str | None, str | None]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append((request.headers.get("Authorization"), request.headers.get("Darkroom-Visitor")))
        return httpx2.Response(200, content=MODELS)

    with Client("http://gateway.test", api_key="k", transport=httpx2.MockTransport(answer)) as client:
        client.acting(visitor="v-7").models()
        client.acting(api_key="own").models()
        client.models()

    assert seen == [("Bearer k", "v-7"), ("Bearer own", None), ("Bearer k", None)]


def test_who_has_none_says_nothing() -> None:
    headers = sent_by(api_key="")

    assert "Authorization" not in headers
    assert "Darkroom-Visitor" not in headers


def test_the_key_stays_with_the_gateway_when_a_picture_is_elsewhere() -> None:
    seen: dict[str, str | None] = {}

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen[request.url.host] = request.headers.get("Authorization")
        if request.url.host == "gateway.test":
            return httpx2.Response(307, headers={"Location": "http://store.test/picture?signed"})
        return httpx2.Response(200, content=b"png")

    with Client("http://gateway.test", api_key="k", transport=httpx2.MockTransport(answer)) as client:
        assert client.image("5r0z9k2m4c7q8x1t6w3v0h2j9n", 0) == b"png"
    assert seen == {"gateway.test": "Bearer k", "store.test": None}


@pytest.mark.parametrize("key", ["a\nb", "schl\u00fcssel"])
def test_what_no_header_can_hold_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Client("http://gateway.test", api_key=key)

    assert [error.field for error in caught.value.errors] == ["Authorization"]
    assert key not in str(caught.value)
