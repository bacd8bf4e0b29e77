"""What DARKROOM_REDIS_URL may say, and what it is told when it says something else: never its password."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from shared.redis_address import RedisAddress, Sentinel
from shared.settings import Settings, wrong_settings

PASSWORD = "a-pass%40word"


def test_a_server_is_taken_as_it_is_written() -> None:
    address = RedisAddress.of(
        f"rediss://ann:{PASSWORD}@redis.example:6380/2?ssl_certfile=/c.pem&ssl_cert_reqs=required"
    )
    assert address.is_tls
    assert address.url == f"rediss://ann:{PASSWORD}@redis.example:6380/2"
    assert address.files == {"ssl_certfile": "/c.pem"}
    assert not address.sentinels


def test_sentinels_are_listed_with_the_name_of_their_master() -> None:
    address = RedisAddress.of(
        f"rediss+sentinel://:{PASSWORD}@s1.example:26380,s2.example,[fd00::3]:26379/darkroom/1?sentinel_password=p%26q"
    )
    assert address.is_tls
    assert address.master == "darkroom"
    assert address.sentinels == (
        Sentinel("s1.example", 26380),
        Sentinel("s2.example", 26379),
        Sentinel("fd00::3", 26379),
    )
    assert address.sentinel_login == {"password": "p&q"}
    assert address.url == f"rediss://:{PASSWORD}@s1.example:26380/1"


def test_a_database_need_not_be_named() -> None:
    assert RedisAddress.of("redis+sentinel://s1/darkroom").url == "redis://s1:26379/0"


def test_no_password_is_printed() -> None:
    address = RedisAddress.of(f"redis+sentinel://:{PASSWORD}@s1/darkroom?sentinel_password=another")
    assert PASSWORD not in repr(address)
    assert "another" not in repr(address)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://redis.example", "begins with redis://"),
        ("http+sentinel://s1/darkroom", "begins with redis://"),
        ("unix://:secret-word@/run/redis.sock", "a socket's path will not do"),
        ("unix:///run/redis.sock?db=1", "127.0.0.1"),
        ("redis+cluster://s1/darkroom", "begins with redis://"),
        ("redis://:secret-word@redis.example:port/0", "it is no URL"),
        ("redis://:secret/word@redis.example:6379/0", "it is no URL"),
        ("redis+sentinel://:secret-word@s1:26379,s2:26379", "the master's name"),
        ("redis+sentinel://:secret-word@s1:26379/darkroom/jobs", "the database's number"),
        ("redis+sentinel://:secret-word@s1:26379,:26379/darkroom", "host:port"),
        ("redis+sentinel://:secret-word@s1:port/darkroom", "host:port"),
        ("rediss://:secret-word@redis.example?ssl_cert_reqs=none", "DARKROOM_CA_FILE"),
        ("rediss://:secret-word@redis.example?ssl_check_hostname=false", "DARKROOM_CA_FILE"),
        ("rediss://:secret-word@redis.example?sentinel_password=another", "what nothing reads"),
        ("redis://:secret-word@redis.example?ssl_ca_certs=/ca.pem", "needs TLS"),
        ("redis://:12?secret-word@redis.example:6379/0", "written %3F"),
        ("redis+sentinel://:a@s1:26379/darkroom/0?sentinel_password=ab&secret-word", "written %3F"),
        ("redis://:12#secret-word@redis.example:6379/0", "written %23"),
        ("redis://:12/secret-word@redis.example:6379/0", "written %2F"),
        ("redis://redis.example:6379/jobs", "database's number"),
        ("redis:///0", "database's number"),
    ],
)
def test_what_can_not_be_is_told_without_its_password(url: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(redis_url=SecretStr(url))
    told = wrong_settings(caught.value)
    assert "REDIS_URL" in told
    assert said in told
    assert "secret" not in told + str(caught.value)


def test_files_that_can_not_be_read_are_told(tmp_path: Path) -> None:
    missing = tmp_path / "client.pem"
    with pytest.raises(ValidationError, match=r"ssl_certfile=.*can't be read: No such file"):
        Settings(redis_url=SecretStr(f"rediss://redis.example?ssl_certfile={missing}"))


def test_a_ca_file_holds_certificates(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="can't be read: No such file"):
        Settings(ca_file=tmp_path / "ca.pem")
    empty = tmp_path / "empty.pem"
    empty.write_text("not a certificate")
    with pytest.raises(ValidationError, match="holds no certificates"):
        Settings(ca_file=empty)


def test_an_empty_ca_file_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_CA_FILE", "")
    assert Settings().ca_file is None


def test_a_wrong_url_of_the_environment_stands_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_REDIS_URL", "redis://:secret-word/and-more@redis.example:6379/0")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert "secret" not in str(caught.value)
