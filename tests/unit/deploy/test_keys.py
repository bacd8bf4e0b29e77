"""Keys: random, kept, private."""

from __future__ import annotations

import stat
from dataclasses import astuple
from pathlib import Path

import pytest

from deploy.keys import EXAMPLE, LATER, Keys, completed, env_file_text, kept_keys, main, write_private
from deploy.workers import LocalSettings

LONG_ENOUGH = 16


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_made_once_and_readable_to_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "data" / "keys.json"

    first, second = kept_keys(path), kept_keys(path)

    assert first == second
    assert len(set(astuple(first))) == 4
    assert all(len(key) >= LONG_ENOUGH for key in astuple(first))
    assert mode(path) == 0o600


def test_a_key_that_was_not_needed_before_is_made_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text('{"redis_password": "r", "s3_access_key": "a", "s3_secret_key": "s"}')

    first, second = kept_keys(path), kept_keys(path)

    assert first == second
    assert astuple(first)[:3] == ("r", "a", "s")
    assert len(first.visitor_secret) >= LONG_ENOUGH


def test_keys_are_no_part_of_a_listing() -> None:
    keys = Keys()

    assert not any(key in repr(keys) for key in astuple(keys))


def test_a_file_that_others_could_read_is_private_once_written(tmp_path: Path) -> None:
    path = tmp_path / "attach.env"
    path.write_text("old")
    path.chmod(0o644)

    write_private(path, "new")

    assert (path.read_text(), mode(path)) == ("new", 0o600)


def test_the_env_file_is_the_example_with_every_key_filled_in() -> None:
    keys = Keys("r", "a", "s", "v")

    text = env_file_text(EXAMPLE.read_text(), keys, operator_key="o", page_key="p", watch_key="w")

    lines = text.splitlines()
    store = {"S3_ACCESS_KEY=a", "S3_SECRET_KEY=s"}
    gateways = {"OPERATOR_KEY=o", "PAGE_KEY=p", "WATCH_KEY=w", "VISITOR_SECRET=v"}
    filled_in = store | gateways | {"REDIS_PASSWORD=r"}
    assert {f"DARKROOM_{line}" for line in filled_in} <= set(lines)
    assert not [line for line in lines if line.startswith(("DARKROOM_", "GRAFANA_")) and line.endswith("=")]
    assert len(lines) == len(EXAMPLE.read_text().splitlines())


def test_an_env_file_of_before_gets_the_keys_of_later_and_keeps_its_own() -> None:
    old = "DARKROOM_PAGE_KEY=p\nDARKROOM_WATCH_KEY=w\nGRAFANA_SECRET="

    whole = completed(old)

    values = dict(line.split("=") for line in whole.splitlines())
    assert (values["DARKROOM_PAGE_KEY"], values["DARKROOM_WATCH_KEY"], values["GRAFANA_SECRET"]) == ("p", "w", "")
    assert len(values["GRAFANA_PASSWORD"]) >= LONG_ENOUGH
    assert values.keys() == {"DARKROOM_PAGE_KEY", *LATER}  # a new DARKROOM_VISITOR_SECRET would make all visitors new
    assert completed(whole) == whole


def test_the_example_names_every_setting() -> None:
    text = EXAMPLE.read_text()

    missing = [
        name for name in LocalSettings.model_fields if f"DARKROOM_{name.upper()}=" not in text and name != "gpus"
    ]

    assert missing == []


@pytest.mark.parametrize(
    "said", ["COMPOSE_PROFILES=gpu", " COMPOSE_PROFILES='cpu,gpu'\nCOMPOSE_FILE=docker-compose.yml"]
)
def test_an_env_file_that_would_start_a_worker_without_its_gpu_is_refused(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env"
    file.write_text(f"DARKROOM_WORKERS=2\n{said}\n")
    monkeypatch.setattr("deploy.keys.ENV_FILE", file)

    with pytest.raises(SystemExit, match=r"docker-compose\.gpu\.yml"):
        main()


@pytest.mark.parametrize(
    "said",
    [
        "#COMPOSE_PROFILES=gpu",
        "COMPOSE_PROFILES=observability",
        "COMPOSE_PROFILES=gpu\nCOMPOSE_FILE=docker-compose.yml:docker-compose.gpu.yml",
    ],
)
def test_any_other_keeps_what_it_says(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / ".env"
    file.write_text(said)
    monkeypatch.setattr("deploy.keys.ENV_FILE", file)

    main()

    assert "its keys stay" in capsys.readouterr().out
    assert file.read_text().startswith(said)
