"""`darkroom doctor` at installations that are well, and at such as are not."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from shared.client import Client
from shared.compatibility import CONTRACT
from shared.connection import run
from shared.parts import Part, PartKind, this_part
from shared.scripts import join
from shared.version import VERSION
from tests.conftest import settings_for
from tests.integration.command import Command, Drawing
from tests.integration.keyholders import OPERATOR_KEY
from tests.integration.serving import Hand, Serving, serving
from tests.servers import RedisServer, S3Server, free_port


def found(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str, str | None]]:
    """What was looked at: how it is, what was found, what to do."""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["what"]: (line["level"], line["found"], line["remedy"]) for line in lines}


def test_an_installation_that_is_well(darkroom: Command, hand: Hand) -> None:
    run(hand.redis, join(this_part(PartKind.GATEWAY, "g")))
    with Drawing(hand):
        done = darkroom.run("doctor", "--draw", "--json")

    assert done.returncode == 0
    looked_at = found(done)
    assert {what: level for what, (level, _, _) in looked_at.items() if level != "ok"} == {}
    own = {"address", "version", "clock", "redis", "object store", "worker", "key", "model", "drawing"}
    gateways = {"redis log", "redis eviction", "store writes", "store strangers", "versions", "workers", "pools"}
    assert own | gateways <= set(looked_at)


def test_versions_that_are_mixed(darkroom: Command, hand: Hand) -> None:
    older = Part(kind=PartKind.WORKER, id="w", software_version="0.0.9", contract=0)
    for part in (this_part(PartKind.GATEWAY, "g"), this_part(PartKind.WORKER, "v"), older):
        run(hand.redis, join(part))

    level, said, remedy = found(darkroom.run("doctor", "--json"))["versions"]

    assert " ".join(said.split()) in " ".join(darkroom.run("workers").stdout.split())
    assert level == "warning"
    assert "0.0.9 (contract 0): 1 worker; " in said
    assert f"{VERSION} (contract {CONTRACT}): " in said
    assert remedy is not None
    assert "upgrades.md" in remedy


def test_people_get_a_table_with_what_to_do(darkroom: Command, hand: Hand) -> None:
    hand.forget_all()
    done = darkroom.run("doctor")

    assert done.returncode == 1
    assert "No worker is ready" in done.stdout
    assert "→ Start a worker" in done.stdout


def test_no_gateway(darkroom: Command) -> None:
    port = free_port()
    done = darkroom.run("--url", f"http://127.0.0.1:{port}", "doctor", "--json")

    assert done.returncode == 1
    assert found(done) == {
        "address": (
            "wrong",
            f"Nothing listens at 127.0.0.1, port {port}.",
            "Start the gateway there (`make run`), or say where it is: --url or DARKROOM_API_URL.",
        )
    }


def test_a_name_that_nobody_has(darkroom: Command) -> None:
    done = darkroom.run("--url", "http://darkroom.invalid:8000", "doctor", "--json")

    assert found(done)["address"][:2] == ("wrong", "There is no machine named darkroom.invalid.")


def test_tls_where_there_is_none(darkroom: Command, gateway: Serving) -> None:
    done = darkroom.run("--url", gateway.url.replace("http:", "https:"), "doctor", "--json")

    assert found(done)["address"][0] == "wrong"
    assert "TLS" in found(done)["address"][1]


def test_something_else_at_the_address(darkroom: Command, s3_server: S3Server) -> None:
    done = darkroom.run("--url", s3_server.endpoint, "doctor", "--json")

    assert found(done)["gateway"][0] == "wrong"
    assert "no Darkroom gateway" in found(done)["gateway"][1]


@contextmanager
def answering(status: int, **headers: str) -> Generator[str]:
    """A server that answers everything so, with a page; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, said in headers.items():
                self.send_header(name, said)
            self.end_headers()
            self.wfile.write(b"<html>nginx</html>")

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_proxy_whose_gateway_is_away(darkroom: Command) -> None:
    with answering(502) as url:
        done = darkroom.run("--url", url, "doctor", "--json")
        asked = darkroom.run("--url", url, "jobs")

    assert (done.returncode, found(done)["gateway"][0]) == (1, "wrong")
    assert "the gateway behind it is away" in found(done)["gateway"][1]
    assert (asked.returncode, "the gateway behind it is away" in asked.stderr) == (3, True)


def test_an_address_that_sends_us_on(darkroom: Command) -> None:
    with answering(301, Location="https://darkroom.example/openapi.json") as url:
        done = darkroom.run("--url", url, "doctor", "--json")

    assert found(done)["gateway"][0] == "wrong"
    assert (found(done)["gateway"][2] or "").endswith("DARKROOM_API_URL=https://darkroom.example")


def test_a_proxy_of_the_environment_answers_for_the_address(darkroom: Command) -> None:
    with answering(502) as proxy:
        done = darkroom.run("--url", "http://darkroom.invalid", "doctor", "--json", http_proxy=proxy, no_proxy="")

    assert found(done)["address"][0] == "ok"
    assert "proxy" in found(done)["address"][1]
    assert found(done)["gateway"][0] == "wrong"


def test_no_key_where_one_is_needed(guarded: Serving, tmp_path: Path) -> None:
    done = Command(guarded, tmp_path).run("doctor", "--json")

    assert (done.returncode, found(done)["key"][0]) == (1, "wrong")
    assert "DARKROOM_API_KEY" in (found(done)["key"][2] or "")


def test_a_wrong_key_which_is_not_repeated(guarded: Serving, hand: Hand, tmp_path: Path) -> None:
    del hand
    key = f"darkroom_{'0' * 12}_{'1' * 32}"
    done = Command(guarded, tmp_path).run("doctor", "--json", DARKROOM_API_KEY=key)

    assert (done.returncode, found(done)["key"][0]) == (1, "wrong")
    assert key not in done.stdout + done.stderr


def test_a_key_with_its_scopes_from_a_file_that_others_can_read(guarded: Serving, hand: Hand, tmp_path: Path) -> None:
    del hand
    with Client(guarded.url, api_key=OPERATOR_KEY) as operator:
        (tmp_path / "ann.key").write_text(operator.create_key("test", "ann", scopes=["read"]).key)
    (tmp_path / "ann.key").chmod(0o644)
    done = Command(guarded, tmp_path).run("--key-file", "ann.key", "doctor", "--json")

    keys = [json.loads(line) for line in done.stdout.splitlines() if json.loads(line)["what"] == "key"]
    assert [key["level"] for key in keys] == ["warning", "ok", "warning"]
    assert keys[0]["remedy"] == "chmod 600 ann.key"
    assert "you are ann; it opens read." in keys[1]["found"]
    assert "submit" in keys[2]["found"]


def test_what_a_key_without_admin_leaves_out(guarded: Serving, hand: Hand, tmp_path: Path) -> None:
    del hand
    with Client(guarded.url, api_key=OPERATOR_KEY) as operator:
        key = operator.create_key("test", "ann", scopes=["read", "submit"]).key
    done = Command(guarded, tmp_path).run("doctor", "--json", DARKROOM_API_KEY=key)
    table = Command(guarded, tmp_path).run("doctor", DARKROOM_API_KEY=key)

    assert done.returncode == 0
    assert found(done)["deployment"][0] == "unknown"
    assert "DARKROOM_OPERATOR_KEY" in (found(done)["deployment"][2] or "")
    assert "can't tell" in table.stdout


def test_what_the_gateway_finds_wrong_counts(tmp_path: Path, s3_server: S3Server) -> None:
    with (
        RedisServer(tmp_path / "redis", options={"maxmemory-policy": "volatile-lru"}) as redis,
        serving(settings_for(redis, s3_server)) as served,
        Hand(served.settings),
    ):
        done = Command(served, tmp_path).run("doctor", "--json")

    assert done.returncode == 1
    assert [what for what, (level, _, _) in found(done).items() if level == "wrong"] == ["redis eviction"]


def test_a_paused_queue(darkroom: Command, client: Client) -> None:
    client.direct_all("pause")
    done = darkroom.run("doctor", "--json")
    client.direct_all("resume")

    assert done.returncode == 1
    assert found(done)["workers"][0] == "wrong"
    assert found(done)["workers"][2] == "`darkroom resume`"


def test_redis_is_away(own_redis_server: RedisServer, s3_server: S3Server, tmp_path: Path) -> None:
    with serving(settings_for(own_redis_server, s3_server)) as served:
        own_redis_server.kill()
        done = Command(served, tmp_path).run("doctor", "--json")

    assert done.returncode == 1
    assert found(done)["redis"][0] == "wrong"
    assert "DARKROOM_REDIS_URL" in (found(done)["redis"][2] or "")
    assert found(done)["object store"][0] == "ok"
    assert found(done)["worker"][2] == "Mend Redis first, then look again."
    assert "gateway" not in found(done)


def test_settings_that_nothing_reads_and_wrong_ones(darkroom: Command) -> None:
    done = darkroom.run("doctor", "--json", DARKROOM_REDISURL="x", DARKROOM_MAX_BATCH="99")

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    strange, wrong = (line for line in lines if line["what"] == "settings")
    assert (strange["level"], strange["remedy"]) == ("warning", "Did you mean DARKROOM_REDIS_URL?")
    assert (wrong["level"], "DARKROOM_MAX_BATCH" in wrong["found"]) == ("wrong", True)
