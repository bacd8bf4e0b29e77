"""Who sends more than the gateway reads hears why, whether he looks while he sends or only afterwards."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.conftest import settings_for
from tests.contract.raw import Answer, answers_in
from tests.integration.serving import Serving, serving
from tests.servers import RedisServer, S3Server, wait_until

MIB: Final = 1 << 20
HEAD: Final = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"


@pytest.fixture
def gateway(redis_server: RedisServer, s3_server: S3Server) -> Iterator[Serving]:
    with serving(settings_for(redis_server, s3_server)) as served:
        yield served


@pytest.fixture
def caller(gateway: Serving) -> Iterator[socket.socket]:
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=20) as connection:
        yield connection


def told(caller: socket.socket) -> Answer:
    received = bytearray()
    while piece := caller.recv(65536):
        received += piece
    (answer,) = answers_in(bytes(received))
    answer.check()
    return answer


def is_gone(caller: socket.socket) -> bool:
    try:
        caller.sendall(b"x" * 65536)
    except OSError:
        return True
    return False


def test_a_large_body_is_sent_whole_before_its_refusal_is_read(caller: socket.socket) -> None:
    caller.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (16 * MIB))
    for _ in range(16):
        caller.sendall(b" " * MIB)

    assert told(caller).code == "body_too_large"


def test_so_are_chunks_beyond_the_limit(caller: socket.socket) -> None:
    caller.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(16):
        caller.sendall(b"%x\r\n%b\r\n" % (MIB, b" " * MIB))
    caller.sendall(b"0\r\n\r\n")

    assert told(caller).code == "body_too_large"


def test_and_a_head_beyond_it(caller: socket.socket) -> None:
    caller.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
    for _ in range(4):
        caller.sendall(b"x" * MIB)

    assert told(caller).code == "headers_too_large"


def test_what_comes_without_an_end_is_cut_off(caller: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.lingering.LINGER_BYTES", MIB)
    caller.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (1024 * MIB))

    wait_until(lambda: is_gone(caller), limit_s=20, what="it is closed")


def test_who_falls_silent_is_not_waited_for(caller: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.lingering.SILENCE_S", 0.001)
    caller.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (1024 * MIB))

    assert told(caller).code == "body_too_large"
    wait_until(lambda: is_gone(caller), limit_s=20, what="it is closed")


def test_nor_who_drips(caller: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.lingering.LINGER_S", 0.5)
    caller.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (1024 * MIB))

    wait_until(lambda: is_gone(caller), limit_s=20, what="it is closed")


def test_who_is_still_sending_does_not_keep_a_gateway_from_stopping(
    redis_server: RedisServer, s3_server: S3Server
) -> None:
    with serving(settings_for(redis_server, s3_server)) as served:
        address = urlsplit(served.url)
        connection = socket.create_connection((address.hostname or "", address.port or 0), timeout=20)
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (1024 * MIB))
        answer = told(connection)
    with connection, suppress(OSError):
        wait_until(lambda: is_gone(connection), limit_s=20, what="it is closed")

    assert answer.status == 413
