"""What the local stack is made of, by its settings."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploy.embedded import HOST, free_port, port_trouble
from deploy.parts import compose, url_here
from deploy.process import StackError
from deploy.workers import LocalSettings


def settings(folder: Path, **more: object) -> LocalSettings:
    return LocalSettings.model_validate(
        {"data": folder, "api_port": 0, "ui_port": 0, "CUDA_VISIBLE_DEVICES": "", **more}
    )


def names(folder: Path, **more: object) -> list[str]:
    return [member.program.name for member in compose(settings(folder, **more)).members]


def test_one_command_starts_both_servers_and_the_four_parts(tmp_path: Path) -> None:
    assert names(tmp_path) == ["valkey", "s3", "gateway", "page", "courier", "worker"]


def test_servers_that_the_operator_has_are_not_started_again(tmp_path: Path) -> None:
    url = SecretStr("redis://example:6379/0")

    assert names(tmp_path, redis_url=url) == ["s3", "gateway", "page", "courier", "worker"]
    assert names(tmp_path, redis_url=url, s3_endpoint="https://s3.example") == ["gateway", "page", "courier", "worker"]


def test_each_worker_has_a_gpu_of_its_own(tmp_path: Path) -> None:
    stack = compose(settings(tmp_path, CUDA_VISIBLE_DEVICES="2,5"))

    workers = [member.program for member in stack.members if member.program.name.startswith("worker")]
    assert [program.name for program in workers] == ["worker", "worker-1"]
    assert [program.environment["CUDA_VISIBLE_DEVICES"] for program in workers] == ["2", "5"]


def test_workers_can_be_more_than_one_without_a_gpu(tmp_path: Path) -> None:
    assert names(tmp_path, workers=3)[-3:] == ["worker", "worker-1", "worker-2"]


def test_ports_and_keys_outlive_a_restart(tmp_path: Path) -> None:
    first, second = compose(settings(tmp_path)), compose(settings(tmp_path))

    assert first.attach_file.read_text() == second.attach_file.read_text()
    assert "DARKROOM_REDIS_URL=redis://:" in first.attach_file.read_text()
    assert stat.S_IMODE(first.attach_file.stat().st_mode) == 0o600


def test_no_key_is_on_a_command_line(tmp_path: Path) -> None:
    stack = compose(settings(tmp_path))

    secrets = [line.split("=", 1)[1] for line in stack.attach_file.read_text().splitlines() if "KEY" in line]
    words = [word for member in stack.members for word in member.program.command]
    assert len(secrets) == 2
    assert not [word for word in words for secret in secrets if secret in word]


def test_an_address_that_is_not_ours_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"192\.0\.2\.1:9 can't be served"):
        compose(settings(tmp_path, api_host="192.0.2.1", api_port=9))


def test_every_interface_is_reached_by_loopback_from_here() -> None:
    assert url_here("0.0.0.0", 8000) == "http://127.0.0.1:8000"  # noqa: S104 an address, bound by nobody
    assert url_here("::1", 8000) == "http://[::1]:8000"
    assert url_here("192.0.2.1", 80) == "http://192.0.2.1:80"


def test_a_free_port_is_free() -> None:
    assert port_trouble(free_port(), HOST) is None
