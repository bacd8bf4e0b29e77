"""Bytes that are no request, or nearly one: answered with a problem or let go, in time, and nothing is harmed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from api.edge import MAX_BODY_BYTES, MAX_HEAD_BYTES
from shared.network import KEEP_ALIVE_S
from tests.conftest import settings_for
from tests.contract.asking import Operation, operations_of
from tests.contract.conftest import DOCUMENT
from tests.contract.raw import Talk, answers_in, exchange
from tests.contract.stage import AUTHORIZED, stage
from tests.integration.serving import Serving, serving
from tests.servers import RedisServer, S3Server

IMPATIENCE_S: Final = 0.4
"""For heads, bodies and idle connections in these tests, so that they end soon."""
HEAD: Final = f"Host: localhost\r\nConnection: close\r\nAuthorization: {AUTHORIZED['Authorization']}\r\n".encode()
JSON: Final = HEAD + b"Content-Type: application/json\r\n"
AT_ONCE: Final = 25
"""Mutated requests that are sent side by side."""


class Complaints(logging.Handler):
    """Keeps what the gateway, the server below it or the event loop report as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != "api.upkeep":  # which tells of the jobs that the drawer leaves running
            self.heard.append(self.format(record))


@pytest.fixture(scope="module")
def impatient(redis_server: RedisServer, s3_server: S3Server) -> Iterator[Serving]:
    """A gateway that waits for nothing long."""
    with pytest.MonkeyPatch.context() as patch:
        limits = (
            "api.wire.HEAD_WITHIN_S",
            "api.wire.KEEP_ALIVE_S",
            "api.edge.BODY_WITHIN_S",
            "api.edge.BATCH_WITHIN_S",
        )
        for name in limits:
            patch.setattr(name, IMPATIENCE_S)
        with stage(redis_server, s3_server) as served:
            served.http.headers["Connection"] = "close"  # else the gateway may close one just as it is used again
            yield served


@pytest.fixture
def keeping(redis_server: RedisServer, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    """A gateway that waits long for the next request, and for nothing else."""
    monkeypatch.setattr("api.wire.HEAD_WITHIN_S", IMPATIENCE_S)
    monkeypatch.setattr("api.wire.KEEP_ALIVE_S", KEEP_ALIVE_S)  # which `impatient` has made short
    with serving(settings_for(redis_server, s3_server)) as served:
        yield served


@pytest.fixture
def gateway(impatient: Serving) -> Iterator[Serving]:
    """The gateway, which reports no error during a test and serves after it as before."""
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    try:
        yield impatient
        is_well(impatient)
    finally:
        logging.getLogger().removeHandler(complaints)
    assert not complaints.heard


def is_well(gateway: Serving) -> None:
    assert gateway.http.get("/healthz").status_code == 200
    assert gateway.http.post("/v1/jobs", json={"prompt": "a fox"}).status_code == 202


def submit(body: bytes, *headers: bytes) -> bytes:
    """A submit, whole."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"POST /v1/jobs HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n%b" % (JSON, lines, len(body), body)


def chunked(*chunks: bytes) -> bytes:
    """A submit in chunks, without its end."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"POST /v1/jobs HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n%b" % (JSON, framed)


def get(target: bytes, *headers: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET %b %b\r\n%b%b\r\n" % (target, version, HEAD, b"".join(header + b"\r\n" for header in headers))


ODDITIES: Final[dict[str, tuple[bytes, int]]] = {
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /healthz\r\n\r\n", 421),
    "HTTP/1.0 without a host": (b"GET /healthz HTTP/1.0\r\n\r\n", 421),
    "an unknown method": (b"BREW /v1/jobs HTTP/1.1\r\n%b\r\n" % HEAD, 400),
    "CONNECT": (b"CONNECT evil.example:443 HTTP/1.1\r\n%b\r\n" % HEAD, 400),
    "a lower-case method": (b"get /healthz HTTP/1.1\r\n%b\r\n" % HEAD, 400),
    "the server as a whole": (b"OPTIONS * HTTP/1.1\r\n%b\r\n" % HEAD, 404),
    "an absolute address": (get(b"http://localhost/healthz"), 200),
    "a fragment": (get(b"/healthz#x"), 200),
    "two slashes": (get(b"//healthz"), 404),
    "dots": (get(b"/v1/../../etc/passwd"), 404),
    "raw UTF-8 in the path": (get("/v1/jobs/ä".encode()), 400),
    "no UTF-8 in the path": (get(b"/v1/jobs/%ff%fe"), 404),
    "a null byte in the path": (get(b"/v1/jobs/%00"), 404),
    "a line in the path": (get(b"/v1/jobs/%0d%0aX-Evil:%20yes"), 404),
    "an absurd job id": (get(b"/v1/jobs/" + b"9" * 5000), 404),
    "an absurd picture": (get(b"/v1/jobs/5r0z9k2m4c7q8x1t6w3v0h2j9n/images/" + b"9" * 5000), 422),
    "no UTF-8 in the query": (get(b"/v1/jobs?cursor=%ff"), 422),
    "an absurd limit": (get(b"/v1/jobs?limit=1e9999"), 422),
    "an absurd wait": (get(b"/v1/jobs/5r0z9k2m4c7q8x1t6w3v0h2j9n?wait=nan"), 422),
    "an endless wait": (get(b"/v1/jobs/5r0z9k2m4c7q8x1t6w3v0h2j9n?wait=inf"), 422),
    "many parameters": (get(b"/v1/jobs?" + b"&".join([b"a=b"] * 5000)), 200),
    "a long address": (get(b"/v1/jobs?x=" + b"x" * MAX_HEAD_BYTES), 431),
    "a long header": (get(b"/healthz", b"X: " + b"x" * MAX_HEAD_BYTES), 431),
    "a million bytes of header": (get(b"/healthz", b"X: " + b"x" * 1_000_000), 431),
    "many headers": (get(b"/healthz", *[b"X: y"] * 6000), 431),
    "a head without an end": (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 1_000_000, 431),
    "an address without an end": (b"GET /" + b"x" * 1_000_000, 431),
    "a head that is cut": (b"GET /healthz HTTP/1.1\r\nHost: loc", 408),
    "a folded header": (get(b"/healthz", b"X: y\r\n z"), 400),
    "a header without a name": (get(b"/healthz", b": y"), 400),
    "a null byte in a header": (get(b"/healthz", b"X: a\x00b"), 400),
    "Latin-1 in a header": (get(b"/healthz", b"X-Request-ID: \xff"), 200),
    "two hosts": (get(b"/healthz", b"Host: evil.example"), 200),
    "a request to become a WebSocket": (
        get(b"/healthz", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
        200,
    ),
    "a GET with a body": (get(b"/healthz", b"Content-Length: 2") + b"{}", 413),
    "a held GET with chunks": (
        get(b"/v1/jobs/5r0z9k2m4c7q8x1t6w3v0h2j9n?wait=60", b"Transfer-Encoding: chunked") + b"1\r\nx\r\n",
        413,
    ),
    "a DELETE with a body": (
        b"DELETE /v1/jobs/x HTTP/1.1\r\n%bContent-Length: 2\r\n\r\n{}" % HEAD,
        404,
    ),
    "a length that is too long": (submit(b'{"prompt": "a fox"}').replace(b"Length: 19", b"Length: 20"), 408),
    "a length that is too short": (submit(b'{"prompt": "a fox"}').replace(b"Length: 19", b"Length: 18"), 422),
    "a negative length": (submit(b"{}").replace(b"Length: 2", b"Length: -2"), 400),
    "a length that is no number": (submit(b"{}").replace(b"Length: 2", b"Length: two"), 400),
    "a length beyond numbers": (submit(b"{}").replace(b"Length: 2", b"Length: " + b"9" * 400), 400),
    "a length of terabytes": (submit(b"{}").replace(b"Length: 2", b"Length: 9999999999999"), 413),
    "a length behind zeros": (submit(b'{"prompt": "a fox"}').replace(b"Length: 19", b"Length: 00019"), 202),
    "a length of zeros alone": (get(b"/healthz", b"Content-Length: " + b"0" * 5000), 200),
    "a body beyond the limit behind zeros": (
        submit(b"x" * (MAX_BODY_BYTES + 1)).replace(b"Length: ", b"Length: " + b"0" * 20),
        413,
    ),
    "two lengths": (submit(b"{}", b"Content-Length: 3"), 400),
    "a length and chunks": (submit(b"{}", b"Transfer-Encoding: chunked"), 400),
    "an unknown coding": (submit(b"{}", b"Transfer-Encoding: rot13"), 400),
    "chunks": (chunked(b'{"prompt": ', b'"a fox"}') + b"0\r\n\r\n", 202),
    "chunks with trailers": (chunked(b'{"prompt": "a fox"}') + b"0\r\n" + b"X: y\r\n" * 3 + b"\r\n", 202),
    "chunks without an end": (chunked(b'{"prompt": "a fox"}'), 408),
    "a chunk that is none": (chunked(b'{"prompt": ') + b"zz\r\n", 400),
    "chunks beyond the limit": (chunked(*[b"x" * 1000] * (MAX_BODY_BYTES // 1000 + 1)) + b"0\r\n\r\n", 413),
    "a body beyond the limit": (submit(b"x" * (MAX_BODY_BYTES + 1)), 413),
    "no body": (submit(b""), 422),
    "no JSON": (submit(b"prompt=a fox"), 422),
    "no object": (submit(b"[1, 2]"), 422),
    "no UTF-8": (submit(b'{"prompt": "\xff\xfe"}'), 422),
    "UTF-16": (submit('{"prompt": "a fox"}'.encode("utf-16")), 422),
    "a byte order mark": (submit(b"\xef\xbb\xbf" + b'{"prompt": "a fox"}'), 422),
    "a lone surrogate": (submit(b'{"prompt": "\\ud800"}'), 422),
    "a null byte": (submit(b'{"prompt": "a\\u0000 fox"}'), 202),
    "null bytes alone": (submit(b"\x00" * 1000), 422),
    "NaN": (submit(b'{"prompt": "a fox", "guidance_scale": NaN}'), 422),
    "Infinity": (submit(b'{"prompt": "a fox", "guidance_scale": -Infinity}'), 422),
    "1e999": (submit(b'{"prompt": "a fox", "guidance_scale": 1e999}'), 422),
    "a number of 100,000 digits": (submit(b'{"prompt": "a fox", "seed": %b}' % (b"9" * 100_000)), 422),
    "a fraction of 100,000 digits": (submit(b'{"prompt": "a fox", "guidance_scale": 2.%b}' % (b"0" * 100_000)), 202),
    "the same field twice": (submit(b'{"prompt": "a fox", "prompt": "a hen"}'), 202),
    "deep lists": (submit(b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), 422),
    "deep objects": (submit(b'{"metadata": ' + b'{"a": ' * 20_000 + b"1" + b"}" * 20_000 + b"}"), 422),
    "a comment": (submit(b'{"prompt": "a fox"} // please'), 422),
    "forty thousand fields": (submit(json.dumps({f"f{at}": 1 for at in range(18_000)}).encode()), 422),
    "a form": (submit(b"prompt=a", b"X: y").replace(b"application/json", b"application/x-www-form-urlencoded"), 415),
    "gzip": (submit(b"\x1f\x8b\x08\x00", b"Content-Encoding: gzip"), 415),
    "a key that is no ASCII": (submit(b'{"prompt": "a fox"}', b"Idempotency-Key: \xff"), 422),
    "two keys": (submit(b'{"prompt": "a fox"}', b"Idempotency-Key: a", b"Idempotency-Key: b"), 422),
    "an expectation": (submit(b'{"prompt": "a fox"}', b"Expect: 100-continue"), 202),
    "another expectation": (submit(b'{"prompt": "a fox"}', b"Expect: the-unexpected"), 202),
}


@pytest.mark.parametrize(("sent", "status"), ODDITIES.values(), ids=ODDITIES)
def test_what_is_odd_gets_an_answer(gateway: Serving, sent: bytes, status: int) -> None:
    (said,) = exchange(gateway.url, [Talk((sent,))])

    (answer,) = answers_in(said)
    answer.check()
    assert answer.status == status, answer


class TestTime:
    def test_a_connection_that_says_nothing_is_closed(self, gateway: Serving) -> None:
        assert exchange(gateway.url, [Talk(())]) == [b""]

    def test_a_head_that_drips_is_given_up(self, gateway: Serving) -> None:
        drops = tuple(bytes([byte]) for byte in get(b"/healthz"))

        began = time.monotonic()
        (said,) = exchange(gateway.url, [Talk(drops, pause_s=0.05)])

        assert answers_in(said)[0].code == "request_timeout"
        assert time.monotonic() - began < IMPATIENCE_S + 5

    def test_empty_lines_instead_of_a_request_are_given_up(self, gateway: Serving) -> None:
        assert exchange(gateway.url, [Talk((b"\r\n",) * 100, pause_s=0.05)]) == [b""]

    def test_a_body_that_drips_is_given_up(self, gateway: Serving) -> None:
        whole = submit(b'{"prompt": "' + b"x" * 1000 + b'"}')
        drops = (whole[:200], *(bytes([byte]) for byte in whole[200:]))

        (said,) = exchange(gateway.url, [Talk(drops, pause_s=0.05)])

        assert answers_in(said)[0].code == "request_timeout"

    def test_a_body_that_drips_after_its_answer_is_given_up(self, gateway: Serving) -> None:
        head = b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"

        (said,) = exchange(gateway.url, [Talk((head, *[b"x"] * 100), pause_s=0.05)])

        assert answers_in(said)[0].code == "not_found"

    def test_a_slow_reader_of_a_held_answer_is_not_given_up(self, gateway: Serving) -> None:
        """The limits are of what a caller sends; an answer takes as long as it takes."""
        job = gateway.http.post("/v1/jobs", json={"prompt": "a fox", "reuse": False}).json()
        sent = get(job["urls"]["get"].encode() + b"?version=99&wait=1")

        (said,) = exchange(gateway.url, [Talk((sent,))])

        assert answers_in(said)[0].status == 200


class TestBetweenRequests:
    def test_a_connection_is_kept_for_longer_than_a_head_may_take(self, keeping: Serving) -> None:
        first = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

        (said,) = exchange(keeping.url, [Talk((first, get(b"/healthz")), pause_s=2 * IMPATIENCE_S)])

        assert [answer.status for answer in answers_in(said)] == [200, 200]

    def test_a_head_that_began_while_another_was_answered_is_given_up(self, keeping: Serving) -> None:
        sent = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + b"GET /healthz HTTP/1.1\r\nHost: loc"

        (said,) = exchange(keeping.url, [Talk((sent,))])

        assert [answer.status for answer in answers_in(said)] == [200, 408]

    def test_a_body_whose_rest_never_comes_after_its_answer_is_given_up(self, keeping: Serving) -> None:
        head = b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"

        (said,) = exchange(keeping.url, [Talk((head,))])

        assert [answer.code for answer in answers_in(said)] == ["not_found"]


class TestPipelines:
    def test_requests_in_one_piece_are_answered_in_order(self, gateway: Serving) -> None:
        sent = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3 + get(b"/nothing")

        (said,) = exchange(gateway.url, [Talk((sent,))])

        assert [answer.status for answer in answers_in(said)] == [200, 200, 200, 404]

    def test_what_follows_a_request_does_not_take_its_answer(self, gateway: Serving) -> None:
        sent = submit(b'{"prompt": "a fox"}').replace(b"Connection: close\r\n", b"") + b"\x00\x01 nonsense\r\n\r\n"

        (said,) = exchange(gateway.url, [Talk((sent,))])

        assert [answer.status for answer in answers_in(said)] == [202]

    def test_an_expectation_is_met_before_the_body_comes(self, gateway: Serving) -> None:
        whole = submit(b'{"prompt": "a fox"}', b"Expect: 100-continue")
        head, body = whole[:-19], whole[-19:]

        (said,) = exchange(gateway.url, [Talk((head, body), pause_s=0.2)])

        assert said.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 ")

    def test_what_is_too_large_is_not_asked_for(self, gateway: Serving) -> None:
        whole = submit(b"x" * (MAX_BODY_BYTES + 1), b"Expect: 100-continue")

        (said,) = exchange(gateway.url, [Talk((whole[:300],))])

        assert said.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("cut", [1, 30, 150, 230])
def test_a_caller_who_hangs_up_in_the_middle_is_let_go(gateway: Serving, cut: int) -> None:
    """Silently: `gateway` sees to it that no error is reported."""
    whole = submit(b'{"prompt": "a fox"}', b"X-Padding: " + b"x" * 40)
    assert cut < len(whole)

    exchange(gateway.url, [Talk((whole[:cut],), half_closes=True)] * 5)


def requests_of(operation: Operation) -> bytes:
    """An operation's example as bytes."""
    body = b"" if operation.body is None else json.dumps(operation.body).encode()
    headers = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(body)), **AUTHORIZED}
    if body:
        headers["Content-Type"] = "application/json"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    target = operation.address(job_id="5r0z9k2m4c7q8x1t6w3v0h2j9n")
    return f"{operation.method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body


WHOLE: Final = tuple(requests_of(operation) for operation in operations_of(DOCUMENT))
MORSELS: Final = (
    b"\r\n", b"\n", b"\r", b"\x00", b"\xff", b" ", b":", b"%", b"%00", b"\xc3\x28", b"{", b"}", b'"', b"[", b",", b"-1",
    b"1e999", b"NaN", b"null", b"chunked", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 0\r\n", b"HTTP/1.1",
    b"Expect: 100-continue\r\n", b"Connection: keep-alive\r\n", b"Upgrade: websocket\r\n", b"0\r\n\r\n",
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> Talk:
    """A request of the document, with a few bytes of it lost, doubled, replaced or put in; in a few pieces."""
    whole = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(whole)))
        end = min(len(whole), at + draw(st.integers(0, 20)))
        match draw(st.sampled_from(["lose", "double", "put in", "replace", "cut", "flip"])):
            case "lose":
                del whole[at:end]
            case "double":
                whole[at:at] = whole[at:end]
            case "put in":
                whole[at:at] = draw(st.sampled_from(MORSELS) | st.binary(min_size=1, max_size=8))
            case "replace":
                whole[at:end] = draw(st.sampled_from(MORSELS))
            case "cut":
                del whole[max(at, 1) :]
            case _:
                if at < len(whole):
                    whole[at] ^= 1 << draw(st.integers(0, 7))
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=2)))
    pieces = tuple(bytes(whole[begin:end]) for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True))
    return Talk(pieces, pause_s=draw(st.sampled_from([0.0, 0.01])), half_closes=draw(st.integers(0, 9)) == 0)


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # shrinking twenty-five requests at once would take longer than reading them
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(talks=st.lists(mutated(), min_size=AT_ONCE, max_size=AT_ONCE))
def test_requests_that_went_wrong_harm_nobody(gateway: Serving, talks: list[Talk]) -> None:
    for talk, said in zip(talks, exchange(gateway.url, talks), strict=True):
        is_head = talk.sent.lstrip(b"\r\n").startswith(b"HEAD ")
        answers = [] if talk.half_closes and not said else answers_in(said, method="HEAD" if is_head else "GET")
        for answer in answers:
            answer.check(has_body=not is_head)
        if talk.sent.strip(b"\r\n") and not talk.half_closes:
            assert answers, talk
    is_well(gateway)


def test_the_strategy_makes_requests_that_are_right_and_wrong(gateway: Serving) -> None:
    """Else the fuzz would show nothing: unharmed requests are accepted."""
    statuses: dict[str, Any] = {}
    for whole, said in zip(WHOLE, exchange(gateway.url, [Talk((whole,)) for whole in WHOLE]), strict=True):
        statuses[whole.split(b"\r\n", 1)[0].decode()] = answers_in(said)[0].status

    assert set(statuses.values()) <= {200, 201, 202, 204, 404, 422}
    assert statuses["POST /v1/jobs HTTP/1.1"] == 202
