"""Web pages of other origins: those that the operator has named may ask, and no others."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from tests.conftest import settings_for
from tests.integration.keyholders import bearer, code_of, guarded, make_key
from tests.integration.serving import Hand, Serving
from tests.servers import RedisServer, S3Server

LISTED = ("https://shop.example", "http://localhost:5173")
OTHERS = ("https://evil.example", "https://shop.example:8443", "http://shop.example", "https://a.shop.example", "null")


@pytest.fixture(scope="module")
def keyed(redis_server: RedisServer, s3_server: S3Server) -> Iterator[Serving]:
    settings = settings_for(redis_server, s3_server)
    with guarded(settings, cors_origins=", ".join(LISTED)) as served, Hand(served.settings):
        yield served


@pytest.fixture(scope="module")
def anns(keyed: Serving) -> dict[str, str]:
    return bearer(make_key(keyed, "ann").key)


def cors(response: httpx2.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


def preflight(gateway: Serving, origin: str, method: str = "POST", path: str = "/v1/jobs") -> httpx2.Response:
    asked = "authorization,content-type,idempotency-key,darkroom-visitor,prefer,last-event-id"
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": asked,
        "Access-Control-Request-Private-Network": "true",
        "Sec-Fetch-Site": "cross-site",
    }
    return gateway.http.options(path, headers=headers)


@pytest.mark.parametrize("origin", LISTED)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/jobs"), ("DELETE", "/v1/jobs/x"), ("PUT", "/v1/tenants/x")])
def test_a_listed_page_may_ask_whether_it_may_without_a_key(
    keyed: Serving, origin: str, method: str, path: str
) -> None:
    response = preflight(keyed, origin, method, path)

    assert response.status_code == 200
    told = cors(response)
    assert told["access-control-allow-origin"] == origin
    assert method in told["access-control-allow-methods"]
    assert "authorization" in told["access-control-allow-headers"].lower()
    assert told["access-control-allow-private-network"] == "true"
    assert "access-control-allow-credentials" not in told
    assert response.headers["X-Request-ID"]


@pytest.mark.parametrize("origin", LISTED)
def test_a_listed_page_may_write_and_read(keyed: Serving, anns: dict[str, str], origin: str) -> None:
    headers = {**anns, "Origin": origin, "Sec-Fetch-Site": "cross-site"}

    made = keyed.http.post("/v1/jobs", json={"prompt": "x"}, headers=headers)
    read = keyed.http.get(made.headers["Location"], headers=headers)

    assert (made.status_code, read.status_code) == (202, 200)
    for response in (made, read):
        assert cors(response)["access-control-allow-origin"] == origin
        shown = cors(response)["access-control-expose-headers"]
        for header in ("Location", "Retry-After", "RateLimit-Remaining", "X-Request-ID", "Idempotency-Replayed"):
            assert header in shown


def test_a_listed_page_reads_its_errors_too(keyed: Serving, anns: dict[str, str]) -> None:
    headers = {"Origin": LISTED[0], "Sec-Fetch-Site": "cross-site"}
    large = keyed.http.post("/v1/jobs", json={"prompt": "x" * 300_000}, headers={**anns, **headers})

    for response, code in (
        (keyed.http.get("/v1/jobs", headers=headers), "key_required"),
        (keyed.http.get("/v1/nothing", headers=headers), "not_found"),
        (large, "body_too_large"),
    ):
        assert code_of(response) == code
        assert cors(response)["access-control-allow-origin"] == LISTED[0]


@pytest.mark.parametrize("origin", OTHERS)
def test_any_other_is_told_nothing(keyed: Serving, anns: dict[str, str], origin: str) -> None:
    headers = {**anns, "Origin": origin}

    asked = preflight(keyed, origin)
    written = keyed.http.post("/v1/jobs", json={"prompt": "x"}, headers=headers)
    read = keyed.http.get("/v1/jobs", headers=headers)

    assert (asked.status_code, code_of(asked)) == (405, "method_not_allowed")
    assert (written.status_code, code_of(written)) == (403, "cross_origin")
    for response in (asked, written, read):
        assert not cors(response)


def test_what_is_kept_for_one_origin_is_not_shown_to_another(keyed: Serving, anns: dict[str, str]) -> None:
    for headers in ({}, {"Origin": LISTED[0]}, {"Origin": OTHERS[0]}):
        assert "Origin" in keyed.http.get("/v1/jobs", headers={**anns, **headers}).headers["Vary"]


def test_without_a_list_nobody_is_told_anything(redis_server: RedisServer, s3_server: S3Server) -> None:
    with guarded(settings_for(redis_server, s3_server)) as gateway:
        for origin in (*LISTED, *OTHERS):
            assert preflight(gateway, origin).status_code == 405
            response = gateway.http.get("/v1/jobs", headers={"Origin": origin})
            assert not cors(response)
            assert "Vary" not in response.headers
