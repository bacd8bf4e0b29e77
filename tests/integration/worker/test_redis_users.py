"""Each part works as its own user of Redis (deploy/redis_users.py), and is refused what it must not do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import redis
from pydantic import SecretStr
from redis.exceptions import NoPermissionError

from deploy.health import has_heartbeat, takes_calls
from deploy.keys import new_key
from deploy.reach import Unusable, try_redis
from deploy.redis_users import USERS, acl_text, write
from shared.connection import connect, run
from shared.errors import QueueUnavailable
from shared.keys import DEFAULT
from shared.scripts import fleet
from shared.settings import Settings
from tests.conftest import settings_for
from tests.integration.keyholders import OPERATOR_KEY, bearer, make_key
from tests.integration.serving import Serving, serving
from tests.integration.test_webhooks import courier
from tests.integration.worker.system import System
from tests.servers import RedisServer, S3Server, wait_until
from tests.unit.worker.courier.receivers import receiver

pytestmark = pytest.mark.timeout(900)  # a worker imports torch

LIMIT_S: Final = 60.0
NAMES: Final = tuple(user.name for user in USERS)


class Users:
    """A Redis with users, and settings of each part."""

    def __init__(self, server: RedisServer, passwords: dict[str, str], s3_server: S3Server) -> None:
        self.server = server
        self.passwords = passwords
        self._settings = settings_for(server, s3_server)
        self.admin = connect(self._settings)

    def settings(self, name: str) -> Settings:
        url = self.server.url.replace(f":{self.server.password}@", f"{name}:{self.passwords[name]}@")
        return self._settings.model_copy(update={"redis_url": SecretStr(url), "webhook_networks": "127.0.0.0/8"})

    def refused(self) -> list[dict[str, Any]]:
        """What Redis refused to somebody."""
        said: list[dict[str, Any]] = self.admin.acl_log()  # pyright: ignore[reportUnknownMemberType, reportAssignmentType]
        return [{name: entry[name] for name in ("username", "reason", "object")} for entry in said]


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[Users]:
    folder = tmp_path_factory.mktemp("users")
    admin, passwords = new_key(), {name: new_key() for name in NAMES}
    acl = folder / "users.acl"
    acl.write_text(acl_text(admin, passwords))
    with RedisServer(folder / "redis", password=admin, options={"aclfile": str(acl)}) as server:
        made = Users(server, passwords, s3_server)
        yield made
        made.admin.close()


@pytest.fixture(scope="module")
def gateway(users: Users) -> Iterator[Serving]:
    settings = users.settings("gateway").model_copy(update={"operator_key": SecretStr(OPERATOR_KEY)})
    with serving(settings) as served:
        yield served


@pytest.fixture(scope="module")
def at_work(
    users: Users, gateway: Serving, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """A worker and a courier beside the gateway, each as its user."""
    folder = tmp_path_factory.mktemp("at-work")
    del gateway
    system = System(users.settings("worker"), tiny_checkpoint, folder)
    with ExitStack() as stack:
        stack.callback(system.close)
        stack.enter_context(courier(users.settings("courier"), folder / "courier.log"))
        system.ready_worker()
        yield system


def wait_for(gateway: Serving, path: str, status: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def is_so() -> bool:
        found.update(gateway.http.get(path).json())
        return found["status"] == status

    wait_until(is_so, limit_s=LIMIT_S, what=f"{path} is {status}")
    return found


def test_all_of_a_jobs_life_is_within_what_they_may(users: Users, gateway: Serving, at_work: System) -> None:
    del at_work
    operator = bearer(OPERATOR_KEY)
    with receiver() as there:
        made = gateway.http.post("/v1/webhooks", json={"url": there.url, "events": ["job.succeeded", "batch.ended"]})
        assert made.status_code == 201, made.text
        first = {"prompt": "a fox", "seed": 1, "num_inference_steps": 2, "lane": "bulk"}
        job = gateway.http.post("/v1/jobs?wait=60", json=first, headers={"Idempotency-Key": "once"}).json()
        drawn = wait_for(gateway, job["urls"]["get"], "succeeded")
        assert gateway.http.get(drawn["images"][0]["url"], follow_redirects=True).status_code == 200
        assert gateway.http.post("/v1/jobs", json=first).status_code in {200, 202}  # its pictures are there
        batch = gateway.http.post("/v1/batches", json=[{"prompt": "a cat"}, {"prompt": "a dog"}]).json()
        ended = wait_for(gateway, batch["urls"]["get"], "ended")
        assert ended["counts"]["succeeded"] == 2, ended
        wait_until(
            lambda: len(there.came) >= 4 or bool(users.refused()), limit_s=LIMIT_S, what="all is told to the receiver"
        )
        assert users.refused() == []

    assert takes_calls(users.settings("courier")) is None
    assert has_heartbeat(users.settings("worker")) is None
    gateway.http.post("/v1/jobs", json={"prompt": "x", "num_inference_steps": 50, "num_images": 4}).raise_for_status()
    (queued,) = (gateway.http.post("/v1/jobs", json={"prompt": "y"}).json(),)
    assert gateway.http.post(f"{queued['urls']['get']}/cancel").status_code == 200
    assert gateway.http.delete(job["urls"]["get"]).status_code == 204
    key = make_key(gateway, "ann").key
    assert gateway.http.get("/v1/jobs", headers=bearer(key)).status_code == 200
    for path in (
        "workers",
        "queue",
        "queue/history",
        "queue/failed",
        "queue/set-aside",
        "tenants",
        "keys",
        "scaling?model=m",
    ):
        assert gateway.http.get(f"/v1/{path}", headers=operator).status_code == 200, path
    for order in ("pause", "resume"):
        assert gateway.http.post(f"/v1/queue/{order}", headers=operator).status_code == 200
    assert gateway.http.get("/metrics", headers=operator).status_code == 200

    assert users.refused() == []


def test_the_checks_say_what_the_gateway_may_not_ask(users: Users, gateway: Serving) -> None:
    told = gateway.http.get("/v1/checks", headers=bearer(OPERATOR_KEY)).json()["data"]
    users.admin.acl_log_reset()  # pyright: ignore[reportUnknownMemberType]

    assert {one["what"]: one["level"] for one in told if one["what"].startswith("redis") and one["level"] != "ok"} == {
        "redis log": "unknown"
    }


class TestRefusals:
    @pytest.fixture(params=NAMES)
    def part(self, users: Users, request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
        with connect(users.settings(request.param)) as client:
            yield client

    @pytest.mark.parametrize(
        "words",
        [
            "CONFIG GET requirepass",
            "CONFIG SET maxmemory-policy allkeys-lru",
            "FLUSHALL",
            "FLUSHDB",
            "KEYS *",
            "SCAN 0",
            "SHUTDOWN NOSAVE",
            "ACL LIST",
            "ACL SETUSER default nopass",
            "MODULE LIST",
            "REPLICAOF 198.51.100.1 6379",
            "MONITOR",
            "CLIENT KILL TYPE normal",
            "CLIENT LIST",
            "FUNCTION FLUSH",
            "SCRIPT FLUSH",
            "BGREWRITEAOF",
            "SWAPDB 0 1",
            "GET elsewhere",
            "SET elsewhere 1",
            "PUBLISH elsewhere 1",
        ],
    )
    def test_what_nobody_of_ours_does(self, part: redis.Redis, words: str) -> None:
        with pytest.raises(NoPermissionError):
            part.execute_command(*words.split())  # pyright: ignore[reportUnknownMemberType]

    @pytest.mark.parametrize("name", ["worker", "courier"])
    def test_who_may_ask_gateways_is_theirs_alone(self, users: Users, name: str) -> None:
        script = "return redis.call('HSET', KEYS[1] .. 'access:000000000000', 'scopes', 'admin')"
        source = "#!lua name=mine\nredis.register_function('mine', function() return 1 end)"
        with connect(users.settings(name)) as client:
            for words in (
                ("HGETALL", f"{DEFAULT.prefix}access:000000000000"),
                ("ZRANGE", f"{DEFAULT.prefix}access_keys", 0, -1),
                ("HSET", f"{DEFAULT.prefix}limits:ann", "weight", 100),
                ("FUNCTION", "LOAD", "REPLACE", source),
            ):
                with pytest.raises(NoPermissionError):
                    client.execute_command(*words)  # pyright: ignore[reportUnknownMemberType]
            with pytest.raises(redis.ResponseError, match=r"permission|ACL"):
                client.eval(script, 1, DEFAULT.prefix)  # pyright: ignore[reportUnknownMemberType]

    def test_a_courier_takes_no_job_and_changes_none(self, users: Users) -> None:
        with connect(users.settings("courier")) as client:
            for words in (
                ("HSET", f"{DEFAULT.prefix}job:x", "status", "canceled"),
                ("ZADD", f"{DEFAULT.prefix}leases", 1, "x"),
                ("LPUSH", "gpu.darkroom-tiny", "x"),
            ):
                with pytest.raises(NoPermissionError):
                    client.execute_command(*words)  # pyright: ignore[reportUnknownMemberType]


@pytest.mark.parametrize("has_functions", [True, False])
def test_who_joins_as_the_workers_user_is_refused_nothing_that_joining_asks(
    users: Users, gateway: Serving, has_functions: bool
) -> None:
    del gateway  # it loaded the functions
    if not has_functions:
        users.admin.function_flush()  # pyright: ignore[reportUnknownMemberType]
    users.admin.acl_log_reset()  # pyright: ignore[reportUnknownMemberType]

    found = try_redis(users.settings("worker"))

    assert {part.kind for part in found.parts} >= {"gateway"}
    assert [one for one in users.refused() if one["object"] != "function|load"] == []


def test_without_its_right_to_load_them_a_part_calls_verbs_as_scripts(users: Users) -> None:
    users.admin.function_flush()  # pyright: ignore[reportUnknownMemberType]
    with connect(users.settings("worker")) as client:
        assert run(client, fleet()).mode == "work"


@pytest.mark.parametrize("command", ["fcall", "zrange"], ids=["the call", "what its verb does"])
def test_a_file_of_an_older_version_is_an_outage_that_says_what_to_do(
    users: Users, gateway: Serving, command: str
) -> None:
    for name in ("gateway", "worker"):
        users.admin.execute_command("ACL", "SETUSER", name, f"-{command}")  # pyright: ignore[reportUnknownMemberType]
    try:
        answer = gateway.http.get("/v1/workers", headers=bearer(OPERATOR_KEY))
        assert answer.status_code == 503
        assert "make redis-users" in answer.text
        with pytest.raises(Unusable, match="make redis-users"):
            try_redis(users.settings("worker"))
    finally:
        users.admin.execute_command("ACL", "LOAD")  # pyright: ignore[reportUnknownMemberType]

    assert gateway.http.get("/v1/workers", headers=bearer(OPERATOR_KEY)).status_code == 200


def test_a_part_gets_a_new_password_while_redis_runs(users: Users, tmp_path: Path) -> None:
    env = tmp_path / ".env"
    told: dict[str, str] = users.admin.config_get("aclfile")  # pyright: ignore[reportUnknownMemberType, reportAssignmentType]
    acl = Path(told["aclfile"])
    before, new, old = acl.read_text(), new_key(), users.settings("worker")
    made = "".join(f"REDIS_{name.upper()}_PASSWORD={users.passwords[name]}\n" for name in NAMES)
    env.write_text(f"DARKROOM_REDIS_PASSWORD={users.server.password}\n{made}".replace(users.passwords["worker"], new))
    url = users.server.url.replace(f":{users.server.password}@", f"worker:{new}@")
    newer = old.model_copy(update={"redis_url": SecretStr(url)})
    try:
        users.admin.execute_command("ACL", "SETUSER", "worker", f">{new}")  # pyright: ignore[reportUnknownMemberType]
        for settings in (old, newer):
            with connect(settings) as client:
                assert run(client, fleet()).mode == "work"

        assert write(env, acl) is None
        users.admin.execute_command("ACL", "LOAD")  # pyright: ignore[reportUnknownMemberType]

        with connect(newer) as client:
            assert run(client, fleet()).mode == "work"
        with connect(old) as client, pytest.raises(QueueUnavailable, match="does not take the password, or the user"):
            run(client, fleet())
    finally:
        acl.write_text(before)
        users.admin.execute_command("ACL", "LOAD")  # pyright: ignore[reportUnknownMemberType]


def test_passwords_are_in_the_file_as_digests_alone(users: Users) -> None:
    text = acl_text("admin", users.passwords)

    assert not any(password in text for password in (*users.passwords.values(), "admin "))
    assert hashlib.sha256(b"admin").hexdigest() in text
