"""One message to one receiver: what is sent, what is not followed, where nothing is sent at all."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest
from standardwebhooks import Webhook

from shared.network import Reach
from shared.webhooks import new_secret
from tests.servers import free_port
from tests.unit.worker.courier.receivers import (
    receiver,
    receiver_that_answers,
    receiver_that_never_answers,
)
from worker.courier.rounds import MOST_ROUNDS
from worker.courier.sender import MOST_ANSWER_BYTES, Answer, Sender

LOCAL = Reach.of(["127.0.0.0/8"])
SECRET = new_secret()
Found = tuple[int, int, int, str, tuple[str, int]]
"""What `socket.getaddrinfo` gives."""


def send(url: str, *, reach: Reach = LOCAL, timeout_s: float = 5.0, body: bytes = b'{"a":1}') -> Answer:
    async def sent() -> Answer:
        async with Sender(reach, timeout_s=timeout_s) as sender:
            return await sender.send(url, "id-1", body, [SECRET])

    return asyncio.run(sent())


def test_a_receiver_gets_the_message_signed_and_its_2xx_takes_it() -> None:
    with receiver(204) as there:
        answer = send(there.url)
    assert (answer.status, answer.error) == (204, "")
    ((headers, body),) = there.came
    assert Webhook(SECRET.get_secret_value()).verify(body, headers) == {"a": 1}
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == "id-1"


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
def test_any_other_answer_takes_nothing(status: int) -> None:
    with receiver(status) as there:
        answer = send(there.url)
    assert answer.status == status
    assert str(status) in answer.error


def test_a_redirect_is_not_followed() -> None:
    with receiver() as target, receiver(307, location=target.url) as there:
        answer = send(there.url)
    assert (answer.status, target.came) == (307, [])
    assert "redirects are not followed" in answer.error


def test_one_that_never_answers_is_given_up() -> None:
    with receiver_that_never_answers() as there:
        answer = send(there.url, timeout_s=0.3)
    assert (answer.status, answer.error) == (None, "No answer within 0.3 s.")


def test_one_that_is_not_there_is_said_so() -> None:
    answer = send(f"http://127.0.0.1:{free_port()}/")
    assert (answer.status, answer.error) == (None, "No connection: refused, or nobody is there.")


@pytest.mark.parametrize(
    "said", [b"", b"hello\r\n\r\n", b"HTTP/1.1 999999 x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"]
)
def test_one_that_speaks_no_http_is_said_so(said: bytes) -> None:
    with receiver_that_answers(said) as url:
        answer = send(url)
    assert (answer.status, answer.error) == (None, "The connection broke, or what came was no HTTP.")


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    length = 100 * MOST_ANSWER_BYTES
    said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + b"x" * (2 * MOST_ANSWER_BYTES)
    with receiver_that_answers(said) as url:
        answer = send(url)
    assert (answer.status, answer.error) == (200, "")


def test_an_answer_that_breaks_off_has_said_enough() -> None:
    with receiver_that_answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx") as url:
        answer = send(url)
    assert (answer.status, answer.error) == (200, "")


def test_an_answer_that_never_ends_has_said_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.courier.sender.MOST_ANSWER_S", 0.1)
    with receiver_that_answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", stays=True) as url:
        answer = send(url)
    assert (answer.status, answer.error) == (200, "")


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1/", "https://10.0.0.1/", "https://[::1]/", "https://169.254.169.254/", "http://example.com/"],
)
def test_an_address_that_is_not_public_is_not_connected_to(url: str) -> None:
    answer = send(url, reach=Reach())
    assert answer.status is None
    assert answer.error.startswith("The URL is not permitted: it must")


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let each look-up of a name have the next of these addresses; tells what was looked up."""
    asked: list[str] = []

    def look_up(host: str, port: int, *_: object, **__: object) -> list[Found]:
        asked.append(host)
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        found = answers[min(len(asked), len(answers)) - 1]
        return [(family[":" in one], socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr("worker.courier.guard.socket.getaddrinfo", look_up)
    return asked


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:127.0.0.1"], ["fe80::1%eth0"], ["64:ff9b::7f00:1"]]
)
def test_a_name_that_leads_to_one_is_not_connected_to(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
    resolving(monkeypatch, addresses)
    answer = send("https://hook.example/", reach=Reach())
    assert (answer.status, answer.error) == (None, "Its host has an address that is not public.")


@pytest.mark.parametrize("address", ["8.8.8.8", "168.63.129.16"])
def test_plain_http_does_not_lead_out_of_the_operators_networks_by_a_name(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    resolving(monkeypatch, [address])
    answer = send("http://hook.example/", reach=LOCAL)
    assert answer.error == "Its host has an address outside of the networks where plain http may be spoken."


def test_a_name_that_answers_otherwise_the_second_time_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is asked for once, and what was looked at is connected to: here 127.0.0.1, which the operator allows."""
    with receiver() as there:
        port = there.url.rsplit(":", 1)[1].split("/")[0]
        asked = resolving(monkeypatch, ["127.0.0.1"], ["10.255.255.1"])
        answer = send(f"http://hook.example:{port}/hook")
    assert (answer.status, asked) == (200, ["hook.example"])
    assert there.came[0][0]["host"] == f"hook.example:{port}"


def test_a_second_address_is_tried_when_nobody_is_at_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as there:
        port = there.url.rsplit(":", 1)[1].split("/")[0]
        resolving(monkeypatch, ["127.0.0.9", "127.0.0.1"])
        answer = send(f"http://hook.example:{port}/hook")
    assert answer.status == 200


def test_a_name_that_is_asked_for_at_once_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as there:
        port = there.url.rsplit(":", 1)[1].split("/")[0]
        looked_up: list[str] = []

        def look_up(host: str, port: int, *_: object, **__: object) -> list[Found]:
            looked_up.append(host)
            time.sleep(0.2)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr("worker.courier.guard.socket.getaddrinfo", look_up)

        async def eight_times() -> list[Answer]:
            async with Sender(LOCAL, timeout_s=5.0) as sender:
                url = f"http://hook.example:{port}/hook"
                return await asyncio.gather(*(sender.send(url, f"id-{n}", b"{}", [SECRET]) for n in range(8)))

        assert [answer.status for answer in asyncio.run(eight_times())] == [200] * 8
    assert looked_up == ["hook.example"]


def test_many_names_whose_servers_hang_do_not_hold_up_others_either(monkeypatch: pytest.MonkeyPatch) -> None:
    may_answer = threading.Event()

    def look_up(host: str, port: int, *_: object, **__: object) -> list[Found]:
        if host != "quick.example":
            may_answer.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("worker.courier.guard.socket.getaddrinfo", look_up)

    async def sent(url: str) -> Answer:
        async with Sender(LOCAL, timeout_s=3.0) as sender:
            hanging = [
                asyncio.create_task(sender.send(f"http://slow-{number}.example/", "id", b"{}", [SECRET]))
                for number in range(2 * MOST_ROUNDS)
            ]
            await asyncio.sleep(0.1)
            try:
                return await sender.send(url, "id", b"{}", [SECRET])
            finally:
                may_answer.set()
                await asyncio.gather(*hanging)

    with receiver() as there:
        answer = asyncio.run(sent(there.url.replace("127.0.0.1", "quick.example")))
    assert (answer.status, answer.error) == (200, "")


def test_names_whose_servers_hang_do_not_hold_up_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(host: str, port: int, *_: object, **__: object) -> list[Found]:
        if host == "slow.example":
            time.sleep(1.0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("worker.courier.guard.socket.getaddrinfo", look_up)

    async def both(port: str) -> list[str]:
        order: list[str] = []

        async def one(sender: Sender, host: str) -> None:
            await sender.send(f"http://{host}:{port}/hook", "id", b"{}", [SECRET])
            order.append(host)

        async with Sender(LOCAL, timeout_s=5) as sender:
            hosts = [*["slow.example"] * 8, "quick.example"]
            await asyncio.gather(*(one(sender, host) for host in hosts))
        return order

    with receiver() as there:
        port = there.url.rsplit(":", 1)[1].split("/")[0]
        assert asyncio.run(both(port))[0] == "quick.example"


def test_a_name_that_nobody_has_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> list[Found]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("worker.courier.guard.socket.getaddrinfo", look_up)
    assert send("https://hook.example/").error == "Its host's name has no address."


def test_what_speaks_no_tls_is_said_so() -> None:
    with receiver_that_answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as url:
        answer = send(url.replace("http:", "https:"))
    assert (answer.status, answer.error) == (None, "TLS failed.")
