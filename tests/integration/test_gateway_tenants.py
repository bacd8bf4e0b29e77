"""What holds for each route that there is, found in the gateway's own document: keys, scopes, whose job it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2
import pytest

from api.app import create_app
from shared.contract import JobBody
from shared.jobs import new_job_id
from shared.settings import Settings
from tests.conftest import settings_for
from tests.integration.keyholders import OPERATOR_KEY, PAGE_KEY, bearer, code_of, guarded, make_key
from tests.integration.serving import Hand, Serving
from tests.servers import RedisServer, S3Server

OPEN = {"/", "/healthz", "/readyz"}
"""Served without a key: who watches over the gateway has none."""
FILLED_IN = {
    "order": "pause",
    "worker_id": "w1",
    "key_id": "0" * 12,
    "name": "ann",
    "batch_id": "0" * 26,
    "webhook_id": "0" * 26,
    "delivery_id": f"{'0' * 26}.{'0' * 26}",
}
"""What stands for the path's parameters; for any other a 0."""
BODIES = {"/v1/jobs": {"prompt": "x"}, "/v1/keys": {"name": "x", "tenant": "x"}, "/v1/tenants/{name}": {}}
ANY_KEY = {("get", "/v1/me")}
"""Needs a key and no scope."""
FOR_OPERATORS = ("/v1/checks", "/v1/workers", "/v1/queue", "/v1/keys", "/v1/tenants")
FOR_WATCHERS = {"/metrics", "/v1/scaling"}


@dataclass(frozen=True)
class Route:
    method: str
    path: str

    @property
    def scope(self) -> str | None:
        if (self.method, self.path) in ANY_KEY:
            return None
        if self.path.startswith(FOR_OPERATORS):
            return "admin"
        if self.path in FOR_WATCHERS:
            return "watch"
        return "read" if self.method == "get" else "submit"

    def send(self, http: httpx2.Client, headers: dict[str, str], *, job_id: str = "0" * 26) -> httpx2.Response:
        names = re.findall(r"{(\w+)}", self.path)
        path = self.path.format_map({name: FILLED_IN.get(name, "0") for name in names} | {"job_id": job_id})
        body = None if self.method == "get" else BODIES.get(self.path)
        with http.stream(self.method, path, headers=headers, json=body) as response:
            if response.is_error:  # what is right may be a stream without an end
                response.read()
        return response


def routes() -> list[Route]:
    document = create_app(Settings()).openapi()
    return [Route(method, path) for path, methods in document["paths"].items() for method in methods]


ROUTES = [route for route in routes() if route.path not in OPEN]
OF_A_JOB = [route for route in ROUTES if "{job_id}" in route.path and route.scope != "admin"]
"""What a tenant does with its own; operators send failed jobs again, whose ever they are."""


def named(route: object) -> str:
    assert isinstance(route, Route)
    return f"{route.method} {route.path}"


@pytest.fixture(scope="module")
def keyed(redis_server: RedisServer, s3_server: S3Server) -> Iterator[Serving]:
    with guarded(settings_for(redis_server, s3_server)) as served, Hand(served.settings):
        yield served


@pytest.fixture(scope="module")
def anns(keyed: Serving) -> dict[str, str]:
    return bearer(make_key(keyed, "ann").key)


@pytest.fixture(scope="module")
def bobs(keyed: Serving) -> dict[str, str]:
    return bearer(make_key(keyed, "bob").key)


def submit(gateway: Serving, headers: dict[str, str], **fields: object) -> JobBody:
    response = gateway.http.post("/v1/jobs", json={"prompt": "a red cube", **fields}, headers=headers)
    assert response.status_code == 202, response.text
    return JobBody.model_validate_json(response.content)


def listed(gateway: Serving, headers: dict[str, str]) -> set[str]:
    response = gateway.http.get("/v1/jobs", params={"limit": 100}, headers=headers)
    return {job["id"] for job in response.raise_for_status().json()["data"]}


def test_there_are_routes_to_look_at() -> None:
    assert len(ROUTES) > 15
    assert len(OF_A_JOB) >= 6


@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_no_route_is_served_without_a_key(keyed: Serving, route: Route) -> None:
    response = route.send(keyed.http, {})

    assert (response.status_code, code_of(response)) == (401, "key_required")
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("route", ROUTES, ids=named)
@pytest.mark.parametrize(
    "key", ["x", "darkroom_000000000000_" + "0" * 32, OPERATOR_KEY + "x", OPERATOR_KEY[:-1], PAGE_KEY.upper()]
)
def test_no_route_is_served_for_a_key_that_is_none(keyed: Serving, route: Route, key: str) -> None:
    response = route.send(keyed.http, bearer(key))

    assert (response.status_code, code_of(response)) == (401, "key_refused")


@pytest.mark.parametrize("route", ROUTES, ids=named)
@pytest.mark.parametrize("scope", ["read", "submit", "admin", "visit", "watch"])
def test_a_scope_opens_its_routes_and_no_others(keyed: Serving, route: Route, scope: str) -> None:
    key = bearer(make_key(keyed, f"only-{scope}", scopes=[scope]).key)

    response = route.send(keyed.http, key)

    if route.scope in {scope, None}:
        assert response.status_code not in {401, 403}
    else:
        assert (response.status_code, code_of(response)) == (403, "scope_missing")
        assert f"`{route.scope}`" in response.text
    keyed.http.post("/v1/queue/resume", headers=bearer(OPERATOR_KEY)).raise_for_status()


@pytest.mark.parametrize("route", OF_A_JOB, ids=named)
def test_anothers_job_is_answered_as_one_that_never_was(
    keyed: Serving, route: Route, anns: dict[str, str], bobs: dict[str, str]
) -> None:
    anns_job = submit(keyed, anns)

    theirs, nobodys = (route.send(keyed.http, bobs, job_id=job_id) for job_id in (anns_job.id, new_job_id()))

    assert theirs.status_code == nobodys.status_code == 404
    changing = {"request_id", "detail"}
    assert {k: v for k, v in theirs.json().items() if k not in changing} == {
        k: v for k, v in nobodys.json().items() if k not in changing
    }
    assert theirs.json()["detail"].replace(anns_job.id, "") == nobodys.json()["detail"].replace(
        nobodys.url.path.split("/")[3], ""
    )
    still = keyed.http.get(f"/v1/jobs/{anns_job.id}", headers=anns).json()
    assert (still["status"], still["version"]) == ("queued", 1)


def test_each_tenant_lists_its_own_jobs(keyed: Serving, anns: dict[str, str], bobs: dict[str, str]) -> None:
    anns_job, bobs_job = submit(keyed, anns), submit(keyed, bobs)

    assert anns_job.id in listed(keyed, anns) - listed(keyed, bobs)
    assert bobs_job.id in listed(keyed, bobs) - listed(keyed, anns)


def test_two_keys_of_a_tenant_see_the_same_jobs(keyed: Serving, anns: dict[str, str]) -> None:
    job = submit(keyed, anns)

    assert job.id in listed(keyed, bearer(make_key(keyed, "ann").key))


def test_an_operators_key_does_not_show_others_jobs(keyed: Serving, anns: dict[str, str]) -> None:
    job = submit(keyed, anns)

    response = keyed.http.get(f"/v1/jobs/{job.id}", headers=bearer(OPERATOR_KEY))

    assert (response.status_code, code_of(response)) == (404, "job_not_found")


def test_an_idempotency_key_and_a_result_are_the_tenants_own(
    keyed: Serving, anns: dict[str, str], bobs: dict[str, str]
) -> None:
    once = {"Idempotency-Key": "one-key-two-tenants"}
    first = submit(keyed, {**anns, **once}, seed=7)
    again = submit(keyed, {**anns, **once}, seed=7)
    other = submit(keyed, {**bobs, **once}, seed=7)

    assert first.id == again.id != other.id
    assert other.reason is None or other.reason.code != "joined"


class TestVisitors:
    def test_each_is_a_tenant_of_its_own(self, keyed: Serving) -> None:
        page = bearer(PAGE_KEY)
        jobs = {who: submit(keyed, {**page, **who_is(who)}) for who in ("v1", "V1", "v.2_-")}
        jobs[""] = submit(keyed, page)

        for who, own in jobs.items():
            assert listed(keyed, {**page, **who_is(who)}) == {own.id}
            for other, job in jobs.items():
                response = keyed.http.get(f"/v1/jobs/{job.id}", headers={**page, **who_is(who)})
                assert response.status_code == (200 if other == who else 404)

    def test_those_of_two_pages_are_strangers(self, keyed: Serving) -> None:
        shop = bearer(make_key(keyed, "shop", scopes=["submit", "read", "visit"]).key)
        job = submit(keyed, {**shop, **who_is("v1")})

        assert job.id in listed(keyed, {**shop, **who_is("v1")})
        assert job.id not in listed(keyed, {**bearer(PAGE_KEY), **who_is("v1")})

    def test_a_key_without_the_scope_has_none(self, keyed: Serving, anns: dict[str, str]) -> None:
        response = keyed.http.get("/v1/jobs", headers={**anns, **who_is("v1")})

        assert (response.status_code, code_of(response)) == (403, "scope_missing")

    def test_what_is_done_for_one_is_no_operators_work(self, keyed: Serving) -> None:
        headers = {**bearer(OPERATOR_KEY), **who_is("v1")}

        assert keyed.http.get("/v1/jobs", headers=headers).status_code == 200
        assert keyed.http.get("/v1/keys", headers=headers).status_code == 403

    @pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a/b", "a~b", "a:b", "\u00e4"])
    def test_a_name_that_is_none_is_refused(self, keyed: Serving, name: str) -> None:
        headers = {**{k.encode(): v.encode() for k, v in bearer(PAGE_KEY).items()}, b"Darkroom-Visitor": name.encode()}

        response = keyed.http.get("/v1/jobs", headers=headers)

        assert response.status_code == 422
        assert [error["field"] for error in response.json()["errors"]] == ["Darkroom-Visitor"]

    def test_no_tenant_can_be_named_like_one(self, keyed: Serving) -> None:
        body = {"name": "x", "tenant": "page~0123"}

        response = keyed.http.post("/v1/keys", json=body, headers=bearer(OPERATOR_KEY))

        assert response.status_code == 422


def who_is(visitor: str) -> dict[str, str]:
    return {"Darkroom-Visitor": visitor} if visitor else {}
