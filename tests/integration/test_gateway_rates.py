"""How often a tenant may ask."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import httpx2
import pytest

from shared.client import Client
from shared.connection import connect
from shared.errors import RateLimited
from shared.jobs import drawn
from shared.keys import DEFAULT
from tests.conftest import settings_for
from tests.integration.keyholders import OPERATOR_KEY, PAGE_KEY, bearer, code_of, guarded, make_key, set_limits
from tests.integration.serving import Serving, serving
from tests.servers import RedisServer, S3Server, wait_until

PER_MINUTE = 5


@pytest.fixture(scope="module")
def keyed(redis_server: RedisServer, s3_server: S3Server) -> Iterator[Serving]:
    with guarded(settings_for(redis_server, s3_server), max_requests_per_minute=PER_MINUTE) as served:
        yield served


def new_tenant() -> str:
    """Gateways remember for a while how a tenant stands, so each test has its own."""
    return f"t-{drawn(8)}"


def ask(gateway: Serving, headers: dict[str, str], times: int = 1) -> list[httpx2.Response]:
    return [gateway.http.get("/v1/jobs", headers=headers) for _ in range(times)]


def limited(gateway: Serving, requests_per_minute: int) -> str:
    tenant = new_tenant()
    set_limits(gateway, tenant, requests_per_minute=requests_per_minute)
    return tenant


def asked_at_once(headers: dict[str, str], gateways: Sequence[Serving]) -> Counter[int]:
    """The statuses of one request to each."""

    def status(gateway: Serving) -> int:
        return ask(gateway, headers)[0].status_code

    with ThreadPoolExecutor(16) as threads:
        return Counter(threads.map(status, gateways))


def rate_headers(response: httpx2.Response) -> set[str]:
    return {name for name in response.headers if name.startswith("ratelimit-")}


def test_each_answer_says_how_it_stands_and_the_one_too_many_when_to_come_back(keyed: Serving) -> None:
    ann = bearer(make_key(keyed, new_tenant()).key)

    *allowed, refused = ask(keyed, ann, PER_MINUTE + 1)

    assert [answer.status_code for answer in allowed] == [200] * PER_MINUTE
    assert [answer.headers["RateLimit-Remaining"] for answer in allowed] == ["4", "3", "2", "1", "0"]
    for answer in (*allowed, refused):
        assert answer.headers["RateLimit-Limit"] == "5"
        assert answer.headers["RateLimit-Policy"] == "5;w=60"
        assert 1 <= int(answer.headers["RateLimit-Reset"]) <= 60
    assert (refused.status_code, code_of(refused)) == (429, "rate_limited")
    assert refused.headers["RateLimit-Remaining"] == "0"
    assert refused.headers["Retry-After"] == refused.headers["RateLimit-Reset"]
    assert f"Try again in {refused.headers['Retry-After']} s" in refused.json()["detail"]


def test_an_answer_that_is_an_error_says_it_too(keyed: Serving) -> None:
    ann = bearer(make_key(keyed, new_tenant()).key)

    missing = keyed.http.get(f"/v1/jobs/{'0' * 26}", headers=ann)
    forbidden = keyed.http.get("/v1/keys", headers=ann)

    assert (missing.status_code, missing.headers["RateLimit-Remaining"]) == (404, "4")
    assert (forbidden.status_code, forbidden.headers["RateLimit-Remaining"]) == (403, "3")


def test_all_keys_of_a_tenant_count_together_and_no_others(keyed: Serving) -> None:
    tenant = new_tenant()
    first, second = (bearer(make_key(keyed, tenant).key) for _ in range(2))
    bob = bearer(make_key(keyed, new_tenant()).key)

    ask(keyed, first, 3)
    assert ask(keyed, second)[0].headers["RateLimit-Remaining"] == "1"
    assert ask(keyed, bob)[0].headers["RateLimit-Remaining"] == "4"


def test_two_gateways_count_together(keyed: Serving) -> None:
    ann = bearer(make_key(keyed, new_tenant()).key)

    with serving(keyed.settings) as other:
        ask(keyed, ann, 3)
        assert ask(other, ann)[0].headers["RateLimit-Remaining"] == "1"


def test_at_once_no_more_pass_than_one_after_the_other(keyed: Serving) -> None:
    ann = bearer(make_key(keyed, new_tenant()).key)

    statuses = asked_at_once(ann, [keyed] * 40)

    assert statuses == {200: PER_MINUTE, 429: 40 - PER_MINUTE}


def test_a_large_limit_is_counted_ahead_and_kept_to_the_last_one(keyed: Serving) -> None:
    many = bearer(make_key(keyed, limited(keyed, 240)).key)  # four ahead

    *allowed, refused = ask(keyed, many, 241)

    remaining = [int(answer.headers["RateLimit-Remaining"]) for answer in allowed]
    assert remaining == list(range(239, -1, -1))
    assert (refused.status_code, code_of(refused)) == (429, "rate_limited")


def test_two_gateways_that_count_ahead_let_no_more_pass_together(keyed: Serving) -> None:
    many = bearer(make_key(keyed, limited(keyed, 240)).key)

    with serving(keyed.settings) as other:
        statuses = asked_at_once(many, [keyed, other] * 150)

    assert statuses == {200: 240, 429: 60}


def test_each_visitor_is_counted_and_the_page_itself_is_not(keyed: Serving) -> None:
    page = bearer(PAGE_KEY)

    for answer in ask(keyed, page, PER_MINUTE + 3):
        assert answer.status_code == 200
        assert not rate_headers(answer)
    for who in ("v1", "v2"):
        *_, last, refused = ask(keyed, {**page, "Darkroom-Visitor": who}, PER_MINUTE + 1)
        assert (last.status_code, refused.status_code) == (200, 429)


def test_the_operators_key_is_not_counted(keyed: Serving) -> None:
    for _ in range(PER_MINUTE + 3):
        answer = keyed.http.get("/v1/keys", headers=bearer(OPERATOR_KEY))
        assert answer.status_code == 200
        assert not rate_headers(answer)


def test_a_tenant_can_have_a_limit_of_its_own_or_none(keyed: Serving) -> None:
    few, any_number = (
        bearer(make_key(keyed, limited(keyed, requests_per_minute)).key) for requests_per_minute in (1, 0)
    )
    set_limits(keyed, "page", requests_per_minute=2)

    assert [answer.status_code for answer in ask(keyed, few, 2)] == [200, 429]
    assert {answer.status_code for answer in ask(keyed, any_number, PER_MINUTE + 3)} == {200}
    assert [answer.status_code for answer in ask(keyed, bearer(PAGE_KEY), 3)] == [200, 200, 429]
    set_limits(keyed, "page")


def test_who_has_no_key_that_opens_is_not_counted(keyed: Serving) -> None:
    for headers in ({}, bearer("darkroom_000000000000_" + "0" * 32)):
        for answer in ask(keyed, headers, PER_MINUTE + 3):
            assert answer.status_code == 401
            assert not rate_headers(answer)


def test_an_open_gateway_counts_nobody_without_a_key(keyed: Serving) -> None:
    opened = keyed.settings.model_copy(update={"require_keys": False, "operator_key": None, "page_key": None})
    with serving(opened) as gateway:
        for answer in ask(gateway, {}, PER_MINUTE + 3):
            assert answer.status_code == 200
            assert not rate_headers(answer)


def test_the_counters_lie_beside_our_other_keys_and_go_by_themselves(keyed: Serving) -> None:
    ask(keyed, bearer(make_key(keyed, new_tenant()).key))

    with connect(keyed.settings) as client:
        names = cast("list[bytes]", client.keys("*rate:*"))  # pyright: ignore[reportUnknownMemberType]
        assert names
        for name in names:
            assert name.startswith(DEFAULT.prefix.encode() + b"rate:")
            assert 0 < int(str(client.ttl(name))) <= 120


def test_the_client_says_which_error_it_is_and_when_to_come_back(keyed: Serving) -> None:
    with Client(keyed.url, api_key=make_key(keyed, new_tenant()).key) as client:
        for _ in range(PER_MINUTE):
            client.jobs()
        with pytest.raises(RateLimited) as caught:
            client.jobs()

    assert 1 <= caught.value.retry_after_s <= 60


class TestWithoutRedis:
    def test_requests_pass_uncounted_and_are_hardly_held_up(
        self, own_redis_server: RedisServer, s3_server: S3Server
    ) -> None:
        with guarded(settings_for(own_redis_server, s3_server), max_requests_per_minute=PER_MINUTE) as gateway:
            ann = bearer(make_key(gateway, "ann").key)
            assert gateway.http.get("/v1/me", headers=ann).headers["RateLimit-Remaining"] == "4"

            own_redis_server.signal(signal.SIGSTOP)
            try:
                began = time.monotonic()
                answers = [gateway.http.get("/v1/me", headers=ann) for _ in range(PER_MINUTE + 3)]
                took_s = time.monotonic() - began
            finally:
                own_redis_server.signal(signal.SIGCONT)

            assert {answer.status_code for answer in answers} == {200}
            assert not any(rate_headers(answer) for answer in answers)
            assert took_s < 2  # of patience that is not counted anew for each
            wait_until(
                lambda: bool(rate_headers(gateway.http.get("/v1/me", headers=ann))), limit_s=10, what="it counts again"
            )

    def test_the_route_says_itself_that_redis_is_away(self, own_redis_server: RedisServer, s3_server: S3Server) -> None:
        with guarded(settings_for(own_redis_server, s3_server), max_requests_per_minute=1) as gateway:
            ann = bearer(make_key(gateway, "ann").key)
            ask(gateway, ann)
            own_redis_server.kill()

            for answer in ask(gateway, ann, 3):
                assert (answer.status_code, code_of(answer)) == (503, "queue_unavailable")
