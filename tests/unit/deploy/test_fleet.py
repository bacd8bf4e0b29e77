"""`make fleet-secrets`: a CA and a certificate that OpenSSL takes, files for their owner alone, the way in as told."""

from __future__ import annotations

import base64
import ssl
import stat
import subprocess
from pathlib import Path

import pytest

from deploy import redis_users
from deploy.certificates import Authority, NoCertificate
from deploy.fleet import Doors, NotNow, invitation, open_doors, report, with_address
from deploy.keys import EXAMPLE, Keys, env_file_text, read_env
from shared.settings import Settings

PASSWORD = "a/pass@word"


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    file = tmp_path / ".env"
    keys = Keys(PASSWORD, "access", "secret+/", "v")
    file.write_text(env_file_text(EXAMPLE.read_text(), keys, operator_key="o", page_key="p", watch_key="w"))
    file.chmod(0o600)
    return file


def shown(folder: Path) -> str:
    return base64.b64decode(read_env(folder / "server.env")["CERTIFICATE"]).decode()


def names_of(folder: Path, tmp_path: Path) -> str:
    file = tmp_path / "shown.pem"
    file.write_text(shown(folder))
    words = ("openssl", "x509", "-in", str(file), "-noout", "-ext", "subjectAltName")
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_the_certificate_holds_for_its_names_by_the_strictest_rules(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "fleet")
    certificate = authority.issue(["darkroom.example.net", "10.1.0.5", "fd00::5"])
    file = tmp_path / "server.pem"
    file.write_text(certificate.chain)

    for name in (("-verify_hostname", "darkroom.example.net"), ("-verify_ip", "10.1.0.5"), ("-verify_ip", "fd00::5")):
        words = ("openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(authority.file), *name)
        assert subprocess.run((*words, str(file)), check=False, capture_output=True).returncode == 0
    assert certificate.key not in repr(certificate)


def test_a_name_may_be_longer_than_a_common_name(tmp_path: Path) -> None:
    name = f"gpu.{'a' * 40}.{'b' * 40}.example.net"
    folder = tmp_path / "fleet"
    folder.mkdir(mode=0o755)
    authority = Authority(folder)
    file = tmp_path / "server.pem"

    file.write_text(authority.issue([name]).chain)

    words = ("openssl", "verify", "-x509_strict", "-CAfile", str(authority.file), "-verify_hostname", name, str(file))
    assert subprocess.run(words, check=False, capture_output=True).returncode == 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_name_that_is_none_is_refused_before_openssl_reads_it(tmp_path: Path) -> None:
    for name in ("a b", "x,DNS:evil.example", "", "-a", "*"):
        with pytest.raises(NoCertificate, match="neither a host's name nor an address"):
            Authority(tmp_path).issue([name])


def test_a_ca_that_ends_too_soon_makes_no_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "fleet")
    authority.issue(["a.example"])
    key = tmp_path / "fleet" / "ca.key"
    words = (
        "openssl",
        "req",
        "-x509",
        "-key",
        str(key),
        "-subj",
        "/CN=old",
        "-days",
        "30",
        "-out",
        str(authority.file),
    )
    subprocess.run(words, check=True, capture_output=True)

    with pytest.raises(NoCertificate, match="ends before a new certificate would"):
        authority.issue(["a.example"])


def test_without_openssl_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NoCertificate, match="install it"):
        Authority(tmp_path / "fleet").issue(["a.example"])


def test_nobody_else_can_read_a_key(env_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    open_doors(env_file, folder, "10.1.0.5", [])

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert modes.pop("ca.pem") & 0o077 in {0, 0o044}
    assert modes == {"ca.key": 0o600, "server.env": 0o600, "join.env": 0o600}
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600


def test_what_is_told_opens_both_for_a_worker(env_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_doors(env_file, tmp_path / "fleet", "10.1.0.5", ["darkroom.example.net"])
    for name, value in read_env(tmp_path / "fleet" / "join.env").items():
        monkeypatch.setenv(name, value)

    settings = Settings()

    assert settings.redis_address.netloc == "darkroom.example.net:6380"
    assert settings.redis_address.credentials == ":a%2Fpass%40word@"
    assert (settings.s3_endpoint, settings.s3_bucket) == ("https://darkroom.example.net:8334", "darkroom")
    assert settings.s3_secret_key
    assert settings.s3_secret_key.get_secret_value() == "secret+/"
    assert settings.ca_file
    trusted = ssl.create_default_context(cafile=str(settings.ca_file))
    assert len(trusted.get_ca_certs()) == 1


def test_where_redis_has_users_the_workers_alone_is_told(env_file: Path, tmp_path: Path) -> None:
    assert redis_users.write(env_file, tmp_path / "users.acl") is None
    made = open_doors(env_file, tmp_path / "fleet", "10.1.0.5", [])
    env = read_env(env_file)

    told = report(*made, env, is_read=True) + (tmp_path / "fleet" / "join.env").read_text()

    assert f"rediss://worker:{env['REDIS_WORKER_PASSWORD']}@10.1.0.5:6380/0" in told
    assert not [
        env[f"REDIS_{name}_PASSWORD"] for name in ("GATEWAY", "COURIER") if env[f"REDIS_{name}_PASSWORD"] in told
    ]
    assert "a%2Fpass%40word" not in told
    # Where the users are not laid over, Redis would refuse its name.
    assert "COMPOSE_FILE=docker-compose.yml:docker-compose.fleet.yml:docker-compose.users.yml" in told
    files = {"COMPOSE_FILE": "docker-compose.yml:docker-compose.users.yml:docker-compose.gpu.yml"}
    assert f"{files['COMPOSE_FILE']}:docker-compose.fleet.yml\n" in report(*made, env | files, is_read=False)


def test_another_time_renews_the_certificate_for_the_same_names_by_the_same_ca(env_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    open_doors(env_file, folder, "10.1.0.5", ["darkroom.example.net"])
    ca, told, first = ((folder / "ca.pem").read_text(), (folder / "join.env").read_text(), shown(folder))

    doors, *_ = open_doors(env_file, folder, "", [])

    assert doors == Doors("10.1.0.5", ("darkroom.example.net", "10.1.0.5"))
    assert ((folder / "ca.pem").read_text(), (folder / "join.env").read_text()) == (ca, told)
    assert shown(folder) != first
    assert "DNS:darkroom.example.net, IP Address:10.1.0.5" in names_of(folder, tmp_path)


@pytest.mark.parametrize("address", ["", "darkroom.example.net", "0.0.0.0", "::", "127.0.0.1", "::1"])  # noqa: S104 refused
def test_it_opens_at_one_address_that_others_reach_and_no_other(env_file: Path, tmp_path: Path, address: str) -> None:
    before = env_file.read_text()

    with pytest.raises(NotNow):
        open_doors(env_file, tmp_path / "fleet", address, [])

    assert env_file.read_text() == before
    assert not (tmp_path / "fleet").exists()


def test_the_address_takes_its_place_in_dot_env(env_file: Path) -> None:
    text = env_file.read_text()

    assert with_address(text, "10.1.0.5").count("\nFLEET_ADDRESS=10.1.0.5\n") == 1
    assert with_address(with_address(text, "10.1.0.5"), "fd00::5").count("FLEET_ADDRESS=") == 1
    assert "FLEET_ADDRESS=[fd00::5]" in with_address("A=b\n", "fd00::5")


def test_without_the_keys_of_make_secrets_there_is_no_way_in() -> None:
    with pytest.raises(NotNow, match="DARKROOM_REDIS_PASSWORD, DARKROOM_S3_SECRET_KEY is not in"):
        invitation({"DARKROOM_S3_ACCESS_KEY": "a"}, "host", "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DARKROOM_REDIS_URL", "redis://:p@redis.example.net:6379/0"),
        ("DARKROOM_S3_ENDPOINT", "https://s3.example.net"),
        ("COMPOSE_FILE", "docker-compose.yml:docker-compose.aws.yml"),
    ],
)
def test_nobody_is_invited_to_servers_that_this_darkroom_does_not_use(
    env_file: Path, tmp_path: Path, name: str, value: str
) -> None:
    before = f"{env_file.read_text()}{name}={value}\n"
    env_file.write_text(before)

    with pytest.raises(NotNow, match="docker-compose.aws.yml" if name == "COMPOSE_FILE" else name):
        open_doors(env_file, tmp_path / "fleet", "10.1.0.5", [])

    assert env_file.read_text() == before
    assert not (tmp_path / "fleet" / "join.env").exists()


def test_keys_are_shown_to_a_person_and_to_no_log(env_file: Path, tmp_path: Path) -> None:
    made = open_doors(env_file, tmp_path / "fleet", "10.1.0.5", [])

    told, logged = (report(*made, {}, is_read=is_read) for is_read in (True, False))

    assert made[2].command in told
    assert "a%2Fpass%40word" not in logged
    assert "make worker JOIN=join.env" in logged
    assert "COMPOSE_FILE=docker-compose.yml:docker-compose.fleet.yml" in logged
