"""Programs know which others live, and don't start beside such as keep their keys elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared.call import library
from shared.connection import connect, run
from shared.keys import LAYOUT, Keys, channel_of_library
from shared.oversight import WorkerList
from shared.parts import Part, PartKind
from shared.scripts import join
from shared.version import VERSION
from tests.conftest import settings_for
from tests.integration.serving import Hand, Serving
from tests.integration.test_gateway_process import ROOT, environment
from tests.servers import RedisServer, S3Server, free_port, wait_until

OTHER_LAYOUT = LAYOUT + 1
OTHER = Part(kind=PartKind.GATEWAY, id="other", software_version="9.0.0", contract=9)


def test_a_gateway_says_that_it_lives(gateway: Serving, hand: Hand) -> None:
    def listed() -> WorkerList:
        return WorkerList.model_validate_json(gateway.http.get("/v1/workers").content)

    run(hand.redis, join(OTHER))
    wait_until(lambda: len(listed().parts) > 1, limit_s=20, what="the gateway joins")

    assert {(part.kind, part.software_version) for part in listed().parts} == {
        (PartKind.GATEWAY, "9.0.0"),
        (PartKind.GATEWAY, VERSION),
    }
    assert [worker.contract for worker in listed().data] == [1]


@pytest.mark.usefixtures("gateway")
def test_a_gateway_listens_for_its_library(hand: Hand) -> None:
    channel = channel_of_library(library().name)

    def ears() -> int:
        return dict(hand.redis.pubsub_numsub(channel))[channel.encode()]  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportUnknownVariableType]: **kwargs

    wait_until(lambda: ears() > 0, limit_s=20, what="the gateway listens")


@pytest.mark.parametrize("program", ["api", "worker", "worker.courier"])
def test_a_program_does_not_start_beside_such_as_keep_their_keys_elsewhere(
    own_redis_server: RedisServer, s3_server: S3Server, tmp_path: Path, program: str
) -> None:
    settings = settings_for(own_redis_server, s3_server)
    with connect(settings) as client:
        run(client, join(OTHER, life_s=120, layout=OTHER_LAYOUT, keys=Keys(f"{{darkroom}}:{OTHER_LAYOUT}:")))

        env = environment(settings, DARKROOM_API_PORT=str(free_port()), DARKROOM_SPOOL=str(tmp_path))
        done = subprocess.run(
            [sys.executable, "-m", program], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
        )

        assert done.returncode == 1
        assert f"another layout: {OTHER_LAYOUT} of 9.0.0, not {LAYOUT} of {VERSION}" in done.stderr
        assert "upgrades.md" in done.stderr
        assert "Traceback" not in done.stderr
        assert not client.keys(f"{{darkroom}}:{LAYOUT}:worker*")  # pyright: ignore[reportUnknownMemberType]: **kwargs
