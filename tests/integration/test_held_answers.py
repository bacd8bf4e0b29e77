"""Answers that are held: how many may be, and that they end with the key by which they were asked for."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx2
import pytest

from shared.client import Client
from shared.contract import JobBody
from shared.jobs import JobStatus
from shared.settings import Settings
from tests.conftest import settings_for
from tests.integration.keyholders import OPERATOR_KEY, PAGE_KEY, bearer, code_of, guarded, make_key, set_limits
from tests.integration.reading import Reader
from tests.integration.serving import Hand, Serving
from tests.servers import RedisServer, S3Server, wait_until

AT_ONCE_S = 2.0
"""Word of a revoked key takes milliseconds; the rest is a slow machine's."""
OPENAI_REQUEST = {"prompt": "x", "stream": True}


@pytest.fixture(scope="module")
def settings(redis_server: RedisServer, s3_server: S3Server) -> Settings:
    return settings_for(redis_server, s3_server)


@pytest.fixture(scope="module")
def pair(settings: Settings) -> Iterator[tuple[Serving, Serving]]:
    """Two gateways on one Redis."""
    with guarded(settings) as one, guarded(settings) as other:
        yield one, other


@pytest.fixture(scope="module")
def narrow(settings: Settings) -> Iterator[Serving]:
    with guarded(settings, max_tenant_held=3, max_held=5) as served:
        yield served


@pytest.fixture(autouse=True)
def drawer(settings: Settings) -> Iterator[Hand]:
    with Hand(settings) as one:
        one.forget_all()
        one.arrive()
        yield one


def submit(gateway: Serving, key: str, **headers: str) -> httpx2.Response:
    return gateway.http.post("/v1/jobs", json={"prompt": "x"}, headers={**bearer(key), **headers})


def job_of(response: httpx2.Response) -> JobBody:
    return JobBody.model_validate_json(response.raise_for_status().content)


def revoke(gateway: Serving, key_id: str) -> float:
    """Revoke a key; when, by the monotonic clock."""
    gateway.http.delete(f"/v1/keys/{key_id}", headers=bearer(OPERATOR_KEY)).raise_for_status()
    return time.monotonic()


@contextmanager
def asked(gateway: Serving, method: str, path: str, key: str, **more: object) -> Generator[Future[httpx2.Response]]:
    """Ask in a thread."""
    with ThreadPoolExecutor(1) as executor:
        yield executor.submit(gateway.http.request, method, path, headers=bearer(key), timeout=60, **more)  # pyright: ignore[reportArgumentType]: any of httpx2's


def wait_for_a_job(gateway: Serving, key: str) -> None:
    with Client(gateway.url, api_key=key) as client:
        wait_until(lambda: len(client.jobs().data) == 1, limit_s=20, what="the job is accepted")


def is_held_no_more(answer: Future[httpx2.Response]) -> bool:
    return answer.done()


def is_held(answer: Future[httpx2.Response]) -> bool:
    """True if no answer has come for a while."""
    time.sleep(0.3)
    return not answer.done()


class TestARevokedKey:
    """At another gateway than the one that is told."""

    @pytest.fixture(autouse=True)
    def word_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the looks that make good for lost word."""
        for name in ("api.access.FRESH_S", "api.stays.FRESH_S"):
            monkeypatch.setattr(name, 3600.0)

    @pytest.mark.parametrize("path", ["/v1/jobs/{id}/events", "/v1/events"])
    def test_ends_its_streams_and_no_others(self, pair: tuple[Serving, Serving], path: str) -> None:
        near, far = pair
        made, other = make_key(near, "ann"), make_key(near, "ann")
        job = job_of(submit(near, made.key))
        path = path.format(id=job.id)
        with Reader(far, path, key=made.key) as reader, Reader(far, path, key=other.key) as beside:
            revoked_at = revoke(near, made.id)
            reader.wait_for_end()
            assert time.monotonic() - revoked_at < AT_ONCE_S
            assert not beside.has_ended
            near.http.post(f"/v1/jobs/{job.id}/cancel", headers=bearer(other.key)).raise_for_status()
            beside.wait_for("end")

    def test_ends_streams_of_the_visitors_for_whom_it_asked(self, pair: tuple[Serving, Serving]) -> None:
        near, far = pair
        host = make_key(near, "shop", scopes=["read", "submit", "visit"])
        with Client(far.url, api_key=host.key, visitor="v1") as visitor:
            job = visitor.submit("x")
            with visitor_stream(far, job, host.key, "v1") as lines:
                revoked_at = revoke(near, host.id)
                assert not [line for line in lines if line.startswith("event: end")]
                assert time.monotonic() - revoked_at < AT_ONCE_S

    def test_ends_a_held_read_as_refused(self, pair: tuple[Serving, Serving]) -> None:
        near, far = pair
        made = make_key(near, "ann")
        job = job_of(submit(near, made.key))
        with asked(far, "GET", f"/v1/jobs/{job.id}?wait=60", made.key) as answer:
            assert is_held(answer)
            revoked_at = revoke(near, made.id)
            response = answer.result(30)
            assert time.monotonic() - revoked_at < AT_ONCE_S
            assert (response.status_code, code_of(response)) == (401, "key_refused")

    def test_ends_a_submit_that_waits_with_the_job_that_was_accepted(self, pair: tuple[Serving, Serving]) -> None:
        near, far = pair
        made, other = make_key(near, "ann"), make_key(near, "ann")
        with ThreadPoolExecutor(1) as executor:
            answer = executor.submit(submit, far, made.key, Prefer="wait=60")
            wait_for_a_job(near, other.key)
            assert is_held(answer)
            revoked_at = revoke(near, made.id)
            response = answer.result(30)
            assert time.monotonic() - revoked_at < AT_ONCE_S
        assert (response.status_code, job_of(response).status) == (202, JobStatus.QUEUED)

    @pytest.mark.parametrize(
        ("path", "body"), [("/generate-image", {"text": "x"}), ("/sdapi/v1/txt2img", {"prompt": "x"})]
    )
    def test_ends_a_call_in_a_dialect_and_cancels_its_job(
        self, pair: tuple[Serving, Serving], path: str, body: dict[str, object]
    ) -> None:
        near, far = pair
        made, other = make_key(near, "ann"), make_key(near, "ann")
        with asked(far, "POST", path, made.key, json=body) as answer:
            wait_for_a_job(near, other.key)
            assert is_held(answer)
            revoked_at = revoke(near, made.id)
            response = answer.result(30)
            assert time.monotonic() - revoked_at < AT_ONCE_S
            assert (response.status_code, code_of(response)) == (401, "key_refused")
        with Client(near.url, api_key=other.key) as client:
            (job,) = client.jobs().data
            assert job.status is JobStatus.CANCELED

    def test_ends_an_openai_stream_with_an_error(self, pair: tuple[Serving, Serving]) -> None:
        near, far = pair
        made, other = make_key(near, "ann"), make_key(near, "ann")
        with asked(far, "POST", "/v1/images/generations", made.key, json=OPENAI_REQUEST) as answer:
            wait_for_a_job(near, other.key)
            assert is_held(answer)
            revoked_at = revoke(near, made.id)
            text = answer.result(30).text
            assert time.monotonic() - revoked_at < AT_ONCE_S
        assert "event: error" in text
        assert '"code":"key_refused"' in text
        with Client(near.url, api_key=other.key) as client:
            assert [job.status for job in client.jobs().data] == [JobStatus.CANCELED]

    def test_is_not_let_in_by_a_request_that_began_before(self, pair: tuple[Serving, Serving]) -> None:
        near, far = pair
        made = make_key(near, "ann")
        assert far.http.get("/v1/me", headers=bearer(made.key)).status_code == 200
        revoke(near, made.id)
        wait_until(lambda: stream_status(far, made.key) == 401, limit_s=AT_ONCE_S, what="it opens no stream")


def test_limits_that_were_changed_hold_at_other_gateways_at_once(
    pair: tuple[Serving, Serving], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.access.FRESH_S", 3600.0)
    near, far = pair
    with Client(far.url, api_key=make_key(near, "ann").key) as client:
        set_limits(near, "ann", max_waiting=7)
        wait_until(lambda: client.me().limits.max_waiting == 7, limit_s=AT_ONCE_S, what="the first limit")
        set_limits(near, "ann", max_waiting=8)
        wait_until(lambda: client.me().limits.max_waiting == 8, limit_s=AT_ONCE_S, what="the second limit")


class TestWithoutWord:
    def test_a_lost_word_is_made_good_for(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        async def never_listens(_changes: object) -> None:
            return

        monkeypatch.setattr("api.changes.Changes._listen", never_listens)
        for name in ("api.access.FRESH_S", "api.stays.FRESH_S"):
            monkeypatch.setattr(name, 0.5)
        with guarded(settings) as near, guarded(settings) as far:
            made = make_key(near, "ann")
            job = job_of(submit(near, made.key))
            with Reader(far, f"/v1/jobs/{job.id}/events", key=made.key) as reader:
                revoked_at = revoke(near, made.id)
                wait_until(
                    lambda: far.http.get("/v1/me", headers=bearer(made.key)).status_code == 401,
                    limit_s=3,
                    what="it is refused",
                )
                reader.wait_for_end()
                assert time.monotonic() - revoked_at < 4  # at worst a look just before what was remembered is old

    def test_a_key_that_expires_ends_its_streams(
        self, pair: tuple[Serving, Serving], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("api.access.FRESH_S", "api.stays.FRESH_S"):
            monkeypatch.setattr(name, 0.2)
        near, far = pair
        made = make_key(near, "ann", expires_after=2)
        job = job_of(submit(near, made.key))
        with Reader(far, f"/v1/jobs/{job.id}/events", key=made.key) as reader:
            begun = time.monotonic()
            reader.wait_for_end()
            assert time.monotonic() - begun < 8


class TestHowManyThereMayBe:
    def test_one_more_is_refused_until_one_is_closed(self, narrow: Serving) -> None:
        key = make_key(narrow, "ann").key
        job = job_of(submit(narrow, key))
        path = f"/v1/jobs/{job.id}/events"
        for _ in range(2):  # the second time shows that nothing was left behind
            with ExitStack() as open_streams:
                readers = [open_streams.enter_context(Reader(narrow, path, key=key)) for _ in range(2)]
                readers.append(open_streams.enter_context(Reader(narrow, "/v1/events", key=key)))

                refused = narrow.http.get("/v1/events", headers=bearer(key))
                assert (refused.status_code, code_of(refused)) == (429, "rate_limited")
                assert int(refused.headers["Retry-After"]) > 0
                assert "3 answers are held open for you" in refused.json()["detail"]

                readers[0].leave()
                wait_until(lambda: stream_status(narrow, key) == 200, limit_s=5, what="room for another")

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "/v1/jobs/{id}?wait=30", None),
            ("GET", "/v1/jobs/{id}/events", None),
            ("POST", "/v1/images/generations", {"prompt": "x"}),
            ("POST", "/sdapi/v1/txt2img", {"prompt": "x"}),
            ("POST", "/generate-image", {"text": "x"}),
        ],
    )
    def test_all_that_is_held_counts(
        self, narrow: Serving, method: str, path: str, body: dict[str, object] | None
    ) -> None:
        key = make_key(narrow, "ann").key
        job = job_of(submit(narrow, key))
        with ExitStack() as open_streams:
            for _ in range(3):
                open_streams.enter_context(Reader(narrow, "/v1/events", key=key))
            refused = narrow.http.request(method, path.format(id=job.id), json=body, headers=bearer(key))
            assert (refused.status_code, code_of(refused)) == (429, "rate_limited")
            with Client(narrow.url, api_key=key) as client:
                assert [one.id for one in client.jobs().data] == [job.id]  # nothing was accepted
                assert client.job(job.id).status is JobStatus.QUEUED  # what is not held is not refused

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "/v1/jobs/{id}?wait=30", None),
            ("POST", "/v1/images/generations", {"prompt": "x", "stream": True}),
            ("POST", "/v1/images/generations", {"prompt": "x"}),
            ("POST", "/sdapi/v1/txt2img", {"prompt": "x"}),
            ("POST", "/generate-image", {"text": "x"}),
        ],
    )
    def test_each_counts_as_long_as_it_is_held(
        self, narrow: Serving, method: str, path: str, body: dict[str, object] | None
    ) -> None:
        key = make_key(narrow, "ann").key
        job = job_of(submit(narrow, key))
        with ExitStack() as answers:
            held = [
                answers.enter_context(asked(narrow, method, path.format(id=job.id), key, json=body)) for _ in range(3)
            ]
            wait_until(lambda: stream_status(narrow, key) == 429, limit_s=5, what="it is full")
            assert not any(map(is_held_no_more, held))
            with Client(narrow.url, api_key=key) as client:
                for one in client.jobs().data:
                    client.cancel(one.id)
        wait_until(lambda: stream_status(narrow, key) == 200, limit_s=5, what="room again")

    def test_a_wait_that_is_only_preferred_is_left_unheeded(self, narrow: Serving) -> None:
        key = make_key(narrow, "ann").key
        with ExitStack() as open_streams:
            for _ in range(3):
                open_streams.enter_context(Reader(narrow, "/v1/events", key=key))
            response = submit(narrow, key, Prefer="wait=60")
            assert response.status_code == 202
            assert "Preference-Applied" not in response.headers

    def test_others_have_their_own_until_the_gateway_is_full(self, narrow: Serving) -> None:
        ann, bob = (make_key(narrow, tenant).key for tenant in ("ann", "bob"))
        with ExitStack() as open_streams:
            for key in (ann, ann, ann, bob, bob):
                open_streams.enter_context(Reader(narrow, "/v1/events", key=key))
            refused = narrow.http.get("/v1/events", headers=bearer(bob))
            assert (refused.status_code, code_of(refused)) == (429, "rate_limited")
            assert "This gateway holds 5 answers open" in refused.json()["detail"]
        wait_until(lambda: stream_status(narrow, bob) == 200, limit_s=5, what="room for another")

    def test_a_refused_or_finished_answer_holds_no_place(self, narrow: Serving) -> None:
        key = make_key(narrow, "ann").key
        job = job_of(submit(narrow, key))
        for _ in range(4):
            assert narrow.http.get("/v1/jobs/00000000000000000000000000/events", headers=bearer(key)).status_code == 404
            assert narrow.http.get(f"/v1/jobs/{job.id}?wait=0.01", headers=bearer(key)).status_code == 200
            assert narrow.http.post("/generate-image", json={"text": ""}, headers=bearer(key)).status_code == 422

    def test_each_visitor_has_their_own(self, narrow: Serving) -> None:
        with ExitStack() as open_streams:
            for visitor in ("v1", "v1", "v1", "v2"):
                assert open_streams.enter_context(stream(narrow, PAGE_KEY, visitor)).status_code == 200
            assert open_streams.enter_context(stream(narrow, PAGE_KEY, "v1")).status_code == 429
            assert open_streams.enter_context(stream(narrow, PAGE_KEY, "v2")).status_code == 200


@contextmanager
def stream(
    gateway: Serving, key: str, visitor: str | None = None, path: str = "/v1/events"
) -> Generator[httpx2.Response]:
    headers = bearer(key) | ({} if visitor is None else {"Darkroom-Visitor": visitor})
    with httpx2.stream("GET", gateway.url + path, headers=headers, timeout=30, trust_env=False) as response:
        yield response


@contextmanager
def visitor_stream(gateway: Serving, job: JobBody, key: str, visitor: str) -> Generator[Iterator[str]]:
    """The lines of a job's stream, of which the first has come."""
    with stream(gateway, key, visitor, f"/v1/jobs/{job.id}/events") as response:
        assert response.status_code == 200
        lines = response.iter_lines()
        next(lines)
        yield lines


def stream_status(gateway: Serving, key: str) -> int:
    """What is answered to who opens a stream; it is closed at once."""
    with stream(gateway, key) as response:
        return response.status_code
