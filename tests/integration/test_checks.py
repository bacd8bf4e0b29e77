"""`GET /v1/checks` of deployments that are well, and of such as are not: real servers, set wrong."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx2
import pytest
from pydantic import SecretStr

from api import store_checks
from shared.checks import Checks, Finding
from shared.client import Client
from shared.connection import connect, run
from shared.contract import WorkerState
from shared.jobs import WorkerId
from shared.keys import LAYOUT
from shared.object_store import ObjectStore
from shared.oversight import QueueBody
from shared.parts import Part, PartKind, this_part
from shared.scripts import Mode, direct, heartbeat, join, leave
from shared.settings import Settings
from tests.conftest import settings_for
from tests.integration.keyholders import OPERATOR_KEY, bearer, code_of, make_key
from tests.integration.serving import CARD, Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until

AWAY = "http://127.0.0.1:9"
"""Where nothing listens."""


def checks(served: Serving, **headers: str) -> dict[str, Finding]:
    answer = served.http.get("/v1/checks", headers=headers)
    assert answer.status_code == 200, answer.text
    told = Checks.model_validate_json(answer.content).data
    return {finding.what: finding for finding in reversed(told)}  # of several the first


def levels(found: dict[str, Finding]) -> dict[str, str]:
    return {what: finding.level for what, finding in found.items() if finding.level != "ok"}


@contextmanager
def at_a_redis(folder: Path, **options: str) -> Generator[Serving]:
    """A gateway at a Redis with these lines of configuration, and at a store that is away."""
    named = {name.replace("_", "-"): said for name, said in options.items()}
    with RedisServer(folder / "redis", options=named) as redis:
        settings = settings_for(redis).model_copy(update={"s3_endpoint": AWAY})
        with serving(settings) as served:
            yield served


def of_worker(name: str, **changes: object) -> WorkerState:
    state = WorkerState(id=name, state="ready", model=CARD.id, device="cpu", software_version="0", started_at_ms=0)
    return state.model_copy(update=changes)


def test_what_is_well_is_told_as_such_and_leaves_nothing_behind(
    gateway: Serving, hand: Hand, s3_server: S3Server
) -> None:
    run(hand.redis, join(this_part(PartKind.GATEWAY, "g")))

    found = checks(gateway)

    assert levels(found) == {}
    assert {"redis log", "redis eviction", "redis functions", "store writes", "store strangers", "pools"} <= set(found)
    assert list((s3_server.folder / gateway.settings.s3_bucket).rglob("checks/*")) == []


def test_no_answer_has_a_secret(gateway: Serving, hand: Hand, redis_server: RedisServer, s3_server: S3Server) -> None:
    del hand
    told = gateway.http.get("/v1/checks").text
    with serving(gateway.settings.model_copy(update={"s3_endpoint": AWAY})) as served:
        told += served.http.get("/v1/checks").text

    for secret in (redis_server.password, s3_server.access_key, s3_server.secret_key):
        assert secret not in told


def test_is_for_operators(guarded: Serving, hand: Hand) -> None:
    del hand
    key = make_key(guarded, "ann", scopes=["read", "submit", "watch"]).key

    assert code_of(guarded.http.get("/v1/checks", headers=bearer(key))) == "scope_missing"
    found = checks(guarded, **bearer(OPERATOR_KEY))
    assert found["keys asked for"].found == "Nobody is served without a key."


class TestRedis:
    def test_one_that_forgets_evicts_and_is_nearly_full(self, tmp_path: Path) -> None:
        with at_a_redis(tmp_path, appendonly="no", maxmemory="64mb", maxmemory_policy="allkeys-lru") as served:
            with connect(served.settings) as redis:
                for at in range(26):
                    redis.set(f"ballast {at}", bytes(2 * 2**20))
            found = checks(served)

        assert found["redis log"].level == "wrong"
        assert (found["redis eviction"].level, "allkeys-lru" in found["redis eviction"].found) == ("wrong", True)
        assert (found["redis memory"].level, "of 64 MiB" in found["redis memory"].found) == ("warning", True)

    def test_one_that_writes_to_its_disk_once_a_second(self, tmp_path: Path) -> None:
        with at_a_redis(tmp_path, appendfsync="everysec") as served:
            found = checks(served)["redis log"]

        assert (found.level, found.remedy) == ("warning", "appendfsync always")

    def test_a_managed_one_that_bars_its_settings_can_not_be_told_of(self, tmp_path: Path) -> None:
        with at_a_redis(tmp_path) as served, connect(served.settings) as redis:
            redis.execute_command("ACL SETUSER", "default", "-config", "-info")  # pyright: ignore[reportUnknownMemberType]
            found = checks(served)

        assert {what: level for what, level in levels(found).items() if what.startswith("redis")} == {
            "redis version": "unknown",
            "redis log": "unknown",
            "redis eviction": "unknown",
            "redis memory": "unknown",
            "redis replicas": "unknown",
        }

    def test_one_without_the_replicas_that_are_asked_for(self, own_redis_server: RedisServer, tmp_path: Path) -> None:
        replica = RedisServer(
            tmp_path / "replica",
            password=own_redis_server.password,
            options={
                "replicaof": f"127.0.0.1 {own_redis_server.port}",
                "masterauth": own_redis_server.password,
            },
        )
        settings = settings_for(own_redis_server).model_copy(update={"s3_endpoint": AWAY, "redis_replicas": 1})
        with serving(settings) as served:
            assert checks(served)["redis replicas"].level == "wrong"
            with replica:
                wait_until(lambda: checks(served)["redis replicas"].level == "ok", limit_s=30, what="it has a replica")
                with serving(settings.model_copy(update={"redis_url": SecretStr(replica.url)})) as astray:
                    found = checks(astray)["redis replicas"]

        assert (found.level, "This is a replica" in found.found) == ("wrong", True)

    def test_one_that_is_away_keeps_nothing_else_from_being_told(
        self, own_redis_server: RedisServer, s3_server: S3Server
    ) -> None:
        with serving(settings_for(own_redis_server, s3_server)) as served:
            own_redis_server.kill()
            found = checks(served)

        assert (found["redis"].level, found["fleet"].level) == ("wrong", "unknown")
        assert found["store writes"].level == "ok"


class TestTheStore:
    def test_one_that_is_away(self, gateway: Serving, hand: Hand) -> None:
        del hand
        with serving(gateway.settings.model_copy(update={"s3_endpoint": AWAY})) as served:
            found = checks(served)

        assert (found["store writes"].level, "store strangers" in found) == ("wrong", False)
        assert "DARKROOM_S3_ENDPOINT" in (found["store writes"].remedy or "")

    def test_one_that_does_not_take_our_keys(self, gateway: Serving, hand: Hand) -> None:
        del hand
        update = {"s3_secret_key": SecretStr("another" * 4)}
        with serving(gateway.settings.model_copy(update=update)) as served:
            found = checks(served)["store writes"]

        assert (found.level, "refused" in found.found) == ("wrong", True)

    def test_one_that_asks_nobody_for_a_key(self, gateway: Serving, hand: Hand, open_door: str) -> None:
        del hand
        with serving(gateway.settings.model_copy(update={"s3_public_endpoint": open_door})) as served:
            found = checks(served)["store strangers"]

        assert found.level == "wrong"
        assert "one may list and read and write" in found.found

    def test_what_was_stored_though_nobody_heard_of_it_is_deleted(
        self, gateway: Serving, hand: Hand, s3_server: S3Server
    ) -> None:
        del hand
        with behind(partial(_Mute, gateway.settings)) as door:
            settings = gateway.settings.model_copy(update={"s3_endpoint": door})
            with closing(ObjectStore.from_settings(settings)) as store:
                (found,) = store_checks.examine(store, settings)

        assert (found.what, found.level) == ("store writes", "wrong")
        assert list((s3_server.folder / settings.s3_bucket).rglob("checks/*")) == []

    @pytest.fixture
    def open_door(self, gateway: Serving) -> Iterator[str]:
        """A door to the store that knows no keys: it signs whatever is asked, as a public policy would allow it."""
        with behind(partial(_Door, gateway.settings)) as door:
            yield door


@contextmanager
def behind(handler: Callable[..., BaseHTTPRequestHandler]) -> Generator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Door(BaseHTTPRequestHandler):
    def __init__(self, settings: Settings, *said: object) -> None:
        self._store = ObjectStore.from_settings(settings)
        super().__init__(*said)  # pyright: ignore[reportArgumentType]

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @property
    def _key(self) -> str:
        return self.path.split("?")[0].removeprefix("/").partition("/")[2]

    def do_GET(self) -> None:
        if self._key:
            self._answer(self._store.get(self._key))
            return
        listed = "".join(
            f"<Contents><Key>{one.key}</Key><Size>{one.num_bytes}</Size>"
            f"<LastModified>{one.at:%Y-%m-%dT%H:%M:%SZ}</LastModified></Contents>"
            for page in self._store.pages("checks/")
            for one in page
        )
        self._answer(
            f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{listed}</ListBucketResult>'.encode()
        )

    def do_PUT(self) -> None:
        self._store_it()
        self._answer(b"")

    def _store_it(self) -> None:
        self._store.put(self._key, self.rfile.read(int(self.headers["Content-Length"])), "text/plain")


class _Mute(_Door):
    """It stores what it is given, and hangs up instead of saying so."""

    def do_PUT(self) -> None:
        self._store_it()
        self.close_connection = True

    def do_DELETE(self) -> None:
        self._store.delete((self._key,))
        self._answer(b"")


class TestTheFleet:
    def test_versions_that_are_mixed_and_layouts_that_are_apart(self, gateway: Serving, hand: Hand) -> None:
        other = LAYOUT + 1
        run(hand.redis, join(this_part(PartKind.GATEWAY, "g")))
        run(hand.redis, join(Part(kind=PartKind.WORKER, id="w", software_version="0.0.9", contract=0)))
        # Noted before this gateway was there: one that comes later does not start.
        hand.redis.zadd("{darkroom}:layouts", {f"{other} 9.0.0": 2**52})

        found = checks(gateway)

        assert found["versions"].level == "warning"
        assert "0.0.9 (contract 0): 1 worker; " in found["versions"].found
        assert (found["layouts"].level, f"{other} 9.0.0" in found["layouts"].found) == ("wrong", True)

    def test_a_worker_that_falls_silent_and_none_that_took_leave(self, gateway: Serving, hand: Hand) -> None:
        for name in ("frozen", "gone"):
            run(hand.redis, heartbeat(of_worker(name), life_s=0.001))
        run(hand.redis, leave(WorkerId("gone"), CARD.id))
        wait_until(lambda: "workers" in levels(checks(gateway)), limit_s=20, what="it is missed")

        found = checks(gateway)["workers"]

        assert (found.level, found.found.startswith("frozen fell silent ")) == ("warning", True)
        assert "drills.md#a-stuck-worker" in (found.remedy or "")
        told = gateway.http.get("/v1/checks").text
        assert f"1 worker of {CARD.id} came within ten minutes and died, failed or fell silent since." in told

    def test_a_worker_without_the_store(self, gateway: Serving, hand: Hand) -> None:
        run(hand.redis, heartbeat(of_worker("w", store_away=True), life_s=600))

        found = checks(gateway)["workers"]

        assert (found.level, found.found) == ("wrong", "w can't write to the object store, and takes no job.")

    def test_work_that_nobody_takes(self, gateway: Serving, hand: Hand) -> None:
        assert gateway.http.post("/v1/jobs", json={"prompt": "a fox"}).status_code == 202
        assert checks(gateway)["pools"].level == "ok"

        run(hand.redis, direct(Mode.PAUSED, hand.worker))
        paused = checks(gateway)
        run(hand.redis, leave(hand.worker, CARD.id))
        left = checks(gateway)["pools"]
        run(hand.redis, heartbeat(of_worker("w", state="warming"), life_s=600))
        coming = checks(gateway)["pools"]

        assert (paused["pools"].level, paused["workers"].level) == ("wrong", "warning")
        assert (left.level, left.found) == (
            "wrong",
            f"1 job for {CARD.id} wait, and no worker takes them: there is none.",
        )
        assert coming.level == "warning"

    def test_webhooks_that_no_courier_tells(self, gateway: Serving, hand: Hand) -> None:
        del hand
        with serving(gateway.settings.model_copy(update={"webhook_networks": "127.0.0.0/8"})) as served:
            made = served.http.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/"})
            assert made.status_code == 201, made.text
            assert checks(served)["couriers"].level == "ok"
            assert served.http.post(f"/v1/webhooks/{made.json()['id']}/test").status_code == 202
            found = checks(served)["couriers"]

        assert (found.level, "no courier takes calls" in found.found) == ("wrong", True)

    def test_a_paused_queue(self, gateway: Serving, hand: Hand) -> None:
        run(hand.redis, direct(Mode.PAUSED))
        assert QueueBody.model_validate_json(gateway.http.get("/v1/queue").content).mode == "paused"

        assert (checks(gateway)["workers"].level, checks(gateway)["workers"].remedy) == ("wrong", "`darkroom resume`")


class TestTheDoors:
    def test_a_proxy_before_a_gateway_that_asks_for_no_key(self, gateway: Serving, hand: Hand) -> None:
        del hand
        found = checks(gateway, **{"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "http"})

        assert (found["keys asked for"].level, found["way here"].level) == ("wrong", "warning")
        assert checks(gateway, Forwarded='for=203.0.113.7;proto="https"')["way here"].level == "ok"
        assert checks(gateway, Via="1.1 proxy")["way here"].level == "unknown"

    def test_a_gateway_that_serves_a_network_without_keys(self, gateway: Serving, hand: Hand) -> None:
        del hand
        key = SecretStr(OPERATOR_KEY)
        update = {"api_host": "0.0.0.0", "allow_open_network": True, "operator_key": key}  # noqa: S104 - found fault with
        with serving(gateway.settings.model_copy(update=update)) as served:
            found = checks(served, **bearer(OPERATOR_KEY))

        assert (found["keys asked for"].level, found["way here"].level) == ("warning", "unknown")


def test_a_gateway_from_before_is_told_as_one() -> None:
    missing = httpx2.MockTransport(lambda _: httpx2.Response(404, json={}))
    with Client(transport=missing) as client:
        (found,) = client.checks().data

    assert found.level == "unknown"
