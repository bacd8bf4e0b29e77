from __future__ import annotations

import pytest
from pydantic import ValidationError

from shared.network import LOOPBACK
from shared.settings import Settings, wrong_settings


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_API_PORT", "8123")
    monkeypatch.setenv("DARKROOM_S3_SECRET_KEY", "hunter2")
    monkeypatch.setenv("DARKROOM_NO_SUCH_SETTING", "ignored")

    settings = Settings()

    assert settings.api_port == 8123
    assert settings.s3_secret_key is not None
    assert settings.s3_secret_key.get_secret_value() == "hunter2"


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_REDIS_URL", "redis://:hunter2@localhost/0")
    monkeypatch.setenv("DARKROOM_S3_SECRET_KEY", "hunter2")

    assert "hunter2" not in repr(Settings())


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_API_PORT", "70000")

    with pytest.raises(ValidationError, match="api_port"):
        Settings()


@pytest.mark.parametrize("level", ["debug", "INFO", "Warning"])
def test_a_log_level_may_be_written_in_any_case(monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setenv("DARKROOM_LOG_LEVEL", level)

    assert Settings().log_level == level.upper()


def test_wrong_settings_are_told_by_their_names_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_LOG_LEVEL", "loud")
    monkeypatch.setenv("DARKROOM_API_PORT", "70000")

    with pytest.raises(ValidationError) as caught:
        Settings()

    port, level = wrong_settings(caught.value).splitlines()
    assert port.startswith("DARKROOM_API_PORT: ")
    assert level.startswith("DARKROOM_LOG_LEVEL: ")
    assert "'INFO'" in level


@pytest.mark.parametrize("host", sorted(LOOPBACK))
def test_loopback_needs_no_leave(host: str) -> None:
    assert Settings().open_network_refusal(host, "DARKROOM_API_HOST") is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "gpu-box", ""])  # noqa: S104 - refused
def test_an_open_network_needs_leave_and_the_sentence_says_how_to_give_it(host: str) -> None:
    refusal = Settings().open_network_refusal(host, "DARKROOM_UI_HOST")

    assert refusal is not None
    assert f"DARKROOM_UI_HOST={host}" in refusal
    assert "DARKROOM_ALLOW_OPEN_NETWORK=true" in refusal
    assert Settings(allow_open_network=True).open_network_refusal(host, "DARKROOM_UI_HOST") is None
