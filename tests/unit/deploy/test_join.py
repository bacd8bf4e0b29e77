"""What `make worker` takes from its words, its file and the environment, and what it leaves of them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from deploy.join import HOW, environment, read_file, settings_from, take_addresses
from deploy.process import StackError
from deploy.workers import LocalSettings, worker_members
from tests.certificates import Authority

REDIS = "rediss://:p@first.example:6380/0"
STORE = "https://K:S@first.example:8334/pictures"


def test_the_words_become_settings_and_nothing_of_them_or_of_make_stays() -> None:
    environ = {
        "REDIS": REDIS,
        "STORE": STORE,
        "CA": "ca.pem",
        "MAKEFLAGS": f" -- REDIS={REDIS}",
        "MFLAGS": "-",
        "DARKROOM_REDIS_URL": "redis://elsewhere:6379/0",
        "DARKROOM_OPERATOR_KEY": "a key that workers need not know",
        "PATH": "/bin",
    }
    take_addresses(environ)

    assert environ == {
        "DARKROOM_REDIS_URL": REDIS,
        "DARKROOM_S3_ENDPOINT": STORE,
        "DARKROOM_CA_FILE": "ca.pem",
        "PATH": "/bin",
    }


def test_a_file_has_settings_by_their_names_or_as_words_and_the_command_s_own_words_win(tmp_path: Path) -> None:
    file = tmp_path / "join.env"
    file.write_text(f"# the first machine\n\nREDIS='{REDIS}'\nDARKROOM_S3_ENDPOINT = {STORE}\nPAGE_USER=me\n")
    assert read_file(str(file)) == {"DARKROOM_REDIS_URL": REDIS, "DARKROOM_S3_ENDPOINT": STORE}

    environ = {"JOIN": str(file), "REDIS": "redis://other:6379/0"}
    take_addresses(environ)
    assert environ["DARKROOM_REDIS_URL"] == "redis://other:6379/0"


def test_a_file_may_come_by_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"DARKROOM_REDIS_URL={REDIS}\n"))

    assert read_file("-") == {"DARKROOM_REDIS_URL": REDIS}


def test_a_file_that_can_not_be_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="can't be read: No such file"):
        read_file(str(tmp_path / "none"))


@pytest.mark.parametrize("environ", [{}, {"DARKROOM_REDIS_URL": REDIS}, {"DARKROOM_S3_ENDPOINT": STORE}])
def test_without_both_addresses_it_says_how(environ: dict[str, str]) -> None:
    with pytest.raises(StackError) as caught:
        settings_from(environ)
    assert str(caught.value) == HOW


def test_a_wrong_address_is_told_by_the_word_and_without_a_word_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"DARKROOM_REDIS_URL": "http://:a-secret-word@first", "DARKROOM_S3_ENDPOINT": "https://a-secret-word@h"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(StackError) as caught:
        settings_from(environ)

    assert "\nREDIS (DARKROOM_REDIS_URL): " in str(caught.value)
    assert "\nSTORE (DARKROOM_S3_ENDPOINT): " in str(caught.value)
    assert "a-secret-word" not in str(caught.value)


def test_workers_read_the_ca_from_a_file_of_their_own_and_no_command_line_has_an_address(tmp_path: Path) -> None:
    ca = Authority(tmp_path)
    settings = LocalSettings.model_validate(
        {"redis_url": REDIS, "s3_endpoint": STORE, "ca_file": ca.file, "CUDA_VISIBLE_DEVICES": "0,1"}
    )
    told = environment(settings, tmp_path / "worker")
    members = list(worker_members(settings, tmp_path / "logs", told))

    assert Path(told["DARKROOM_CA_FILE"]).read_text() == ca.file.read_text()
    assert [one.program.environment["CUDA_VISIBLE_DEVICES"] for one in members] == ["0", "1"]
    assert {one.program.environment["DARKROOM_CA_FILE"] for one in members} == {str(tmp_path / "worker" / "ca.pem")}
    assert not any("first.example" in word for one in members for word in one.program.command)
