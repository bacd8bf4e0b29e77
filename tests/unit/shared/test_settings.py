from __future__ import annotations

import base64
import os
import ssl
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from shared.network import LOOPBACK
from shared.settings import Settings, keep_compiled_code, wrong_settings
from shared.tuning import Attention, Tuning, VaePrecision
from tests.certificates import Authority


def takes_path(kind: object) -> bool:
    return kind is Path or any(map(takes_path, get_args(kind)))


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_API_PORT", "8123")
    monkeypatch.setenv("DARKROOM_S3_SECRET_KEY", "hunter2")
    monkeypatch.setenv("DARKROOM_NO_SUCH_SETTING", "ignored")

    settings = Settings()

    assert settings.api_port == 8123
    assert settings.s3_secret_key is not None
    assert settings.s3_secret_key.get_secret_value() == "hunter2"


@pytest.mark.parametrize("name", [name for name, info in Settings.model_fields.items() if takes_path(info.annotation)])
def test_an_empty_path_is_none_and_not_the_folder_that_one_is_in(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"DARKROOM_{name.upper()}", "")
    assert getattr(Settings(), name) is None


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


OPERATOR, PAGE, WATCH = "0" * 16, "1" * 16, "2" * 16


@pytest.mark.parametrize(
    ("said", "needs_keys", "starts"),
    [
        ({}, False, True),
        ({"api_host": "::1"}, False, True),
        ({"require_keys": "true"}, True, False),
        ({"require_keys": "true", "operator_key": OPERATOR}, True, True),
        ({"api_host": "0.0.0.0"}, True, False),  # noqa: S104
        ({"api_host": "gpu-box"}, True, False),
        ({"api_host": "0.0.0.0", "operator_key": ""}, True, False),  # noqa: S104
        ({"api_host": "0.0.0.0", "operator_key": OPERATOR}, True, True),  # noqa: S104
        ({"api_host": "0.0.0.0", "page_key": PAGE}, True, True),  # noqa: S104
        ({"api_host": "0.0.0.0", "allow_open_network": "true"}, False, True),  # noqa: S104
        ({"api_host": "0.0.0.0", "allow_open_network": "true", "operator_key": OPERATOR}, False, True),  # noqa: S104
        ({"api_host": "0.0.0.0", "allow_open_network": "true", "require_keys": "true"}, True, False),  # noqa: S104
        ({"operator_key": "short"}, False, False),
        ({"page_key": OPERATOR[:-1]}, False, False),
        ({"operator_key": OPERATOR, "page_key": OPERATOR}, False, False),
        ({"operator_key": OPERATOR, "page_key": PAGE}, False, True),
        ({"watch_key": WATCH}, False, True),
        ({"watch_key": WATCH[:-1]}, False, False),
        ({"page_key": WATCH, "watch_key": WATCH}, False, False),
        ({"require_keys": "true", "watch_key": WATCH}, True, False),  # which could ask for no picture
        ({"require_keys": "true", "operator_key": OPERATOR, "watch_key": WATCH}, True, True),
    ],
)
def test_a_gateway_asks_for_keys_off_loopback_and_starts_only_with_one_to_begin_with(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, str], needs_keys: bool, starts: bool
) -> None:
    for name, value in said.items():
        monkeypatch.setenv(f"DARKROOM_{name.upper()}", value)
    settings = Settings()

    refusal = settings.keyless_refusal()

    assert settings.needs_keys is needs_keys
    assert (refusal is None) is starts
    if refusal is not None:
        assert "DARKROOM_OPERATOR_KEY" in refusal
        assert "make secrets" in refusal
        assert not [key for key in said.values() if key.startswith(("short", "0000")) and key in refusal]


def test_the_refusal_says_every_way_out() -> None:
    refusal = Settings(api_host="gpu-box").keyless_refusal()

    assert refusal is not None
    assert "DARKROOM_API_HOST=gpu-box" in refusal
    assert "DARKROOM_ALLOW_OPEN_NETWORK=true" in refusal


def test_origins_are_listed_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_CORS_ORIGINS", " https://a.example , http://localhost:5173,http://[::1]:8080,")

    assert Settings().allowed_origins == {"https://a.example", "http://localhost:5173", "http://[::1]:8080"}
    assert Settings(cors_origins="").allowed_origins == frozenset()


@pytest.mark.parametrize(
    "origin", ["*", "null", "a.example", "https://a.example/", "https://A.example", "https://*.example", "ftp://a"]
)
def test_what_is_no_origin_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    monkeypatch.setenv("DARKROOM_CORS_ORIGINS", f"https://a.example,{origin}")

    with pytest.raises(ValidationError) as caught:
        Settings()

    assert wrong_settings(caught.value).startswith("DARKROOM_CORS_ORIGINS: ")
    assert origin in wrong_settings(caught.value)


def test_each_choice_of_how_a_worker_computes_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {
        "channels_last": "false",
        "fused_qkv": "true",
        "attention": "math",
        "compile": "true",
        "fp16_accumulation": "true",
        "tf32": "false",
        "vae_precision": "bf16",
    }
    assert set(chosen) == set(Tuning.model_fields)
    assert Settings().tuning == Tuning()
    for name, value in chosen.items():
        monkeypatch.setenv(f"DARKROOM_{name.upper()}", value)

    assert Settings().tuning == Tuning(
        channels_last=False,
        fused_qkv=True,
        attention=Attention.MATH,
        compile=True,
        fp16_accumulation=True,
        tf32=False,
        vae_precision=VaePrecision.BF16,
    )


@pytest.fixture
def no_code_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # so that it is taken back afterwards
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")


@pytest.mark.usefixtures("no_code_folder")
def test_compiled_code_is_kept_where_nobody_else_can_write(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "compiled"
    folder.mkdir(parents=True)
    folder.chmod(0o777)

    keep_compiled_code(folder)

    assert folder.stat().st_mode & 0o777 == 0o700
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(folder)


@pytest.mark.usefixtures("no_code_folder")
def test_an_operators_own_place_for_compiled_code_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")

    keep_compiled_code(tmp_path / "compiled")

    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/elsewhere"
    assert not (tmp_path / "compiled").exists()


def test_a_ca_may_be_a_file_or_what_it_holds_on_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Authority(tmp_path).file
    pem = file.read_text()
    der = ssl.PEM_cert_to_DER_cert(pem)

    for said in (str(file), base64.b64encode(pem.encode()).decode(), base64.b64encode(der).decode()):
        monkeypatch.setenv("DARKROOM_CA_FILE", said)
        found = Settings().ca_file
        assert found is not None
        assert ssl.PEM_cert_to_DER_cert(found.read_text()) == der
        assert found == Settings().ca_file  # made once


@pytest.mark.parametrize("said", ["MIIBnothing", base64.b64encode(b"0\x82 no certificate").decode(), "ca.pem"])
def test_what_is_neither_is_refused(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_CA_FILE", said)

    with pytest.raises(ValidationError, match=r"holds no certificates|can't be read"):
        Settings()
