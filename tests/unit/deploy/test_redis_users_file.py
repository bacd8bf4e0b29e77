"""The users of Redis: every key of ours is given to somebody on purpose, and passwords are made once."""

from __future__ import annotations

import hashlib
import re
import stat
from pathlib import Path

from deploy import redis_users
from deploy.redis_users import ALONE, MARKED, OF_COURIER, READ_BY_COURIER, SECRET, USERS, next_steps, write
from shared import keys
from shared.keys import DEFAULT

LUA = Path(keys.__file__).with_name("lua")
COUNTED_BY_LIBRARY = "rate"


def test_every_key_of_ours_is_known_by_its_form() -> None:
    source = (LUA / "keys.lua").read_text()
    alone = source[source.index("SINGLE") :].partition("}")[0]

    assert set(re.findall(r"'(\w+)'", alone)) == ALONE
    assert set(re.findall(r"key\.prefix \.\. '(\w+):'", source)) | {COUNTED_BY_LIBRARY} == MARKED
    assert SECRET | OF_COURIER | READ_BY_COURIER <= MARKED | ALONE


def test_every_command_of_the_verbs_may_be_called_by_all() -> None:
    called = {
        command.lower()
        for file in LUA.glob("*.lua")
        for command in re.findall(r"redis\.p?call\('(\w+)'", file.read_text())
    }

    assert [user.name for user in USERS if not called <= set(user.commands)] == []


def test_no_other_user_than_the_gateway_has_all_keys_or_what_is_secret() -> None:
    for user in USERS:
        patterns = {*user.writes, *user.reads}
        assert (f"{DEFAULT.prefix}*" in patterns) == (user.name == "gateway")
        if user.name != "gateway":
            assert not [one for one in patterns for name in SECRET if one.startswith(f"{DEFAULT.prefix}{name}")]


def test_passwords_are_made_once_and_the_file_can_be_written_again(tmp_path: Path) -> None:
    env, acl = tmp_path / ".env", tmp_path / "users.acl"
    env.write_text("DARKROOM_REDIS_PASSWORD=admin\n#DARKROOM_WORKERS=1\n")

    assert write(env, acl) is None
    first = (env.read_text(), acl.read_text())
    mounted = acl.stat().st_ino
    assert write(env, acl) is None

    assert (env.read_text(), acl.read_text()) == first
    assert acl.stat().st_ino == mounted  # what a container sees that has this file
    made = re.findall(r"^REDIS_(\w+)_PASSWORD=(\w{32,})$", first[0], re.MULTILINE)
    assert [name for name, _ in made] == ["GATEWAY", "WORKER", "COURIER"]
    assert len({password for _, password in made}) == 3
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert not [password for _, password in made if password in first[1]]


def test_it_says_what_comes_next() -> None:
    fresh = next_steps({"COMPOSE_FILE": "docker-compose.yml:docker-compose.gpu.yml"})
    again = next_steps({"COMPOSE_FILE": "docker-compose.yml:docker-compose.users.yml", "FLEET_ADDRESS": "10.1.0.5"})

    assert "COMPOSE_FILE=docker-compose.yml:docker-compose.gpu.yml:docker-compose.users.yml in .env" in fresh
    assert "fleet-secrets" not in fresh
    assert "valkey-cli ACL LOAD" in again
    assert "make fleet-secrets" in again


def test_the_password_is_what_compose_takes_it_for(tmp_path: Path) -> None:
    env, acl = tmp_path / ".env", tmp_path / "users.acl"
    env.write_text("DARKROOM_REDIS_PASSWORD='admin' \n")

    write(env, acl)

    assert f"user default on #{hashlib.sha256(b'admin').hexdigest()} " in acl.read_text()


def test_without_a_password_of_redis_nothing_is_written(tmp_path: Path) -> None:
    said = write(tmp_path / ".env", tmp_path / "users.acl")

    assert said is not None
    assert "make secrets" in said
    assert list(tmp_path.iterdir()) == []
    assert redis_users.ACL_FILE.name == "redis-users.acl"
