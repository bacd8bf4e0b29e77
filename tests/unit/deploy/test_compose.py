"""The compose files, alone and laid over each other: valid, closed to strangers, bounded; what .env offers is read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from api.wire import GRACE_S as GATEWAY_GRACE_S
from deploy.keys import EXAMPLE, Keys, env_file_text
from shared.settings import Settings
from shared.version import VERSION
from tests.compose_files import BASE, ROOT, Tree, Unset, merged, read, target, variables
from ui.__main__ import GRACE_S as PAGE_GRACE_S

GPU, AWS, MINIO, TLS, FLEET, WORKER, USERS = (
    f"docker-compose.{name}.yml" for name in ("gpu", "aws", "minio", "tls", "fleet", "worker", "users")
)
WHOLE: Final = [
    (BASE,),
    (BASE, GPU),
    (BASE, AWS),
    (BASE, MINIO),
    (BASE, TLS),
    (BASE, USERS),
    (BASE, GPU, TLS),
    (BASE, GPU, AWS, TLS),
    (BASE, FLEET),
    (BASE, GPU, TLS, FLEET),
    (BASE, FLEET, USERS),
    (BASE, USERS, FLEET),
    (BASE, GPU, TLS, FLEET, USERS),
]
"""A whole Darkroom."""
ALONE: Final = [(WORKER,), (WORKER, GPU)]
"""Workers for one elsewhere."""
LAID: Final = [*WHOLE, *ALONE]
CHECKER: Final = Path(sys.executable).with_name("check-jsonschema")
OURS: Final = frozenset({"gateway", "page", "courier", "worker"})
SECRETS: Final = (
    "DARKROOM_REDIS_PASSWORD",
    "DARKROOM_S3_ACCESS_KEY",
    "DARKROOM_S3_SECRET_KEY",
    "DARKROOM_OPERATOR_KEY",
    "DARKROOM_PAGE_KEY",
)
ROOT_INSIDE: Final = {
    "store": "its entrypoint gives /data to its own user, and becomes that user; MinIO's /data is root's",
}
"""Services that start as root, and why; without any of root's powers but those that are named there."""
POWERS: Final = {
    "store": {"CHOWN", "SETGID", "SETUID"},
    "proxy": {"NET_BIND_SERVICE"},
    "store-tls": {"NET_BIND_SERVICE"},
}
OPENED: Final = {"valkey": ["10.1.0.5:6380:6380"], "store-tls": ["10.1.0.5:8334:8334"]}
UNIT: Final = {"k": 2**10, "m": 2**20, "g": 2**30}


@cache
def env() -> dict[str, str]:
    """What `make secrets` writes, and what the overrides ask for beside it."""
    text = env_file_text(EXAMPLE.read_text(), Keys(), operator_key="o" * 24, page_key="p" * 24, watch_key="w" * 24)
    made = dict(line.split("=", 1) for line in text.splitlines() if re.match(r"[A-Z]", line))
    return made | {
        "DARKROOM_S3_REGION": "eu-central-1",
        "DARKROOM_S3_BUCKET": "pictures",
        "PAGE_DOMAIN": "pictures.example.net",
        "API_DOMAIN": "api.pictures.example.net",
        "FLEET_ADDRESS": "10.1.0.5",
        "DARKROOM_REDIS_URL": "rediss://:p@first.example:6380/0",
        "DARKROOM_S3_ENDPOINT": "https://k:s@first.example:8334/pictures",
        "REDIS_GATEWAY_PASSWORD": "g" * 24,
        "REDIS_WORKER_PASSWORD": "r" * 24,
        "REDIS_COURIER_PASSWORD": "c" * 24,
    }


def num_bytes(size: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([kmg])b?", size.lower()).groups()  # pyright: ignore[reportOptionalMemberAccess]: fails as it should
    return int(number) * UNIT[unit]


def seconds(time: str) -> float:
    assert time.endswith("s")
    return float(time[:-1])


@pytest.fixture(scope="module", params=LAID, ids=lambda names: "+".join(name.split(".")[1] for name in names))
def laid(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


@pytest.fixture(scope="module")
def services(laid: tuple[str, ...]) -> dict[str, Tree]:
    return merged(*laid, env=env())["services"]


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return read(BASE)["services"]["page"]


def test_every_file_merged_with_the_base_is_what_compose_takes(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.json" for number, _ in enumerate(LAID)]
    for file, names in zip(files, LAID, strict=True):
        file.write_text(json.dumps(merged(*names, env=env())))

    said = subprocess.run(
        [CHECKER, "--builtin-schema", "vendor.compose-spec", *files],
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode == 0, said.stdout + said.stderr


def test_every_file_is_among_those_that_are_checked() -> None:
    assert {file.name for file in ROOT.glob("docker-compose*.yml")} == {name for names in LAID for name in names}


@pytest.mark.parametrize("laid", WHOLE)
@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_has_a_default(laid: tuple[str, ...], secret: str) -> None:
    with pytest.raises(Unset, match=f"{secret}: run 'make secrets' first"):
        merged(*laid, env=env() | {secret: ""})


def test_secrets_are_on_no_command_line(services: dict[str, Tree]) -> None:
    words = json.dumps([[service.get(part, []) for part in ("entrypoint", "command")] for service in services.values()])
    secrets = {*SECRETS, "DARKROOM_WATCH_KEY", "GRAFANA_PASSWORD", "GRAFANA_SECRET"}

    assert not [value for name, value in env().items() if name in secrets and value in words]


def test_who_needs_no_key_is_given_none(services: dict[str, Tree]) -> None:
    for name in {"courier", "worker"} & services.keys():
        given = services[name]["environment"]
        assert (given["DARKROOM_OPERATOR_KEY"], given["DARKROOM_PAGE_KEY"]) == ("", "")
        assert (given["DARKROOM_WATCH_KEY"], given["DARKROOM_VISITOR_SECRET"]) == ("", "")
    for name in {"gateway", "courier", "worker"} & services.keys():  # who is given .env as a whole
        given = services[name]["environment"]
        assert (given["GRAFANA_PASSWORD"], given["GRAFANA_SECRET"], given["PAGE_PASSWORD_HASH"]) == ("", "", "")
    if "courier" in services:
        given = services["courier"]["environment"]
        assert (given["DARKROOM_S3_SECRET_KEY"], given["DARKROOM_S3_ENDPOINT"]) == ("", "")
        assert "env_file" not in services["page"]


def test_each_part_has_its_own_password_of_redis_and_no_others() -> None:
    services = merged(BASE, USERS, env=env())["services"]

    for name in ("gateway", "worker", "courier"):
        given = services[name]["environment"]
        own = env()[f"REDIS_{name.upper()}_PASSWORD"]
        assert given["DARKROOM_REDIS_URL"] == f"redis://{name}:{own}@valkey:6379/0"
        assert {given[f"REDIS_{other}_PASSWORD"] for other in ("GATEWAY", "WORKER", "COURIER")} == {""}
        assert given["DARKROOM_REDIS_PASSWORD"] == ""
    assert services["valkey"]["environment"]["ACCESS"] == "aclfile /users.acl"
    assert "/users.acl" in map(target, services["valkey"]["volumes"])


@pytest.mark.parametrize("over", [(FLEET, USERS), (USERS, FLEET)])
def test_users_and_the_fleet_s_way_in_go_together_in_any_order(over: tuple[str, ...]) -> None:
    valkey = merged(BASE, *over, env=env())["services"]["valkey"]

    told = valkey_conf(valkey)
    assert told["aclfile"] == "/users.acl"
    assert told["tls-port"] == "6380"
    assert "requirepass" not in told
    assert (told["appendonly"], told["appendfsync"], told["maxmemory"]) == ("yes", "always", "1280mb")


def valkey_conf(service: Tree) -> dict[str, str]:
    """What Valkey is told on standard input: its command, with another program in its place."""
    *shell, script = service["command"]
    started = "cd /data && exec valkey-server -"
    assert started in script
    words = [*shell, script.replace(started, "cat")]
    said = subprocess.run(words, env=path_and(service["environment"]), capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in said.stdout.splitlines() if line)


def test_redis_and_the_store_are_reached_by_our_containers_alone(services: dict[str, Tree]) -> None:
    for name in {"valkey", "store", "store-tls"} & services.keys():
        assert "ports" not in services[name] or services[name]["ports"] == OPENED[name]
        assert services[name]["networks"] == ["back"]
    assert services.get("page", {"networks": ["front"]})["networks"] == ["front"]


def test_ports_are_this_machines_only_or_the_proxys(services: dict[str, Tree]) -> None:
    published = {name: service["ports"] for name, service in services.items() if service.get("ports")}

    assert published.pop("proxy", ["80:8080", "443:8443"]) == ["80:8080", "443:8443"]
    if "store-tls" in services:
        assert {name: published.pop(name) for name in OPENED} == OPENED
    assert [port for ports in published.values() for port in ports if not port.startswith("127.0.0.1:")] == []
    assert {"gateway", "page"}.isdisjoint(published) == ("proxy" in services or "gateway" not in services)


def test_nothing_can_write_to_its_image_or_gain_powers(services: dict[str, Tree]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert set(service.get("cap_add", ())) <= POWERS.get(name, set()), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        assert any(one.startswith("/tmp") for one in service["tmpfs"]), name  # noqa: S108 a mount's name


def test_nothing_runs_as_root_but_what_says_why(services: dict[str, Tree]) -> None:
    for name, service in services.items():
        if name in OURS:
            assert "user" not in service  # the image's, which test_image_names.py looks at
        elif name not in ROOT_INSIDE:
            assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), name


def test_everything_is_bounded_in_memory_processors_and_processes(services: dict[str, Tree]) -> None:
    for name, service in services.items():
        assert num_bytes(service["mem_limit"]) >= 2**28, name
        assert service["pids_limit"] >= 64, name
        # A worker may have what nobody else wants; it weighs half.
        if name == "worker":
            assert (float(service["cpus"]), service["cpu_shares"]) == (0, 512)
        else:
            assert 0 < float(service["cpus"]) <= 2, name  # more than a machine has would keep it from starting


def test_logs_are_rotated(services: dict[str, Tree]) -> None:
    for name, service in services.items():
        kept = service["logging"]["options"]
        assert num_bytes(kept["max-size"]) * int(kept["max-file"]) <= 100 * 2**20, name


def test_valkey_refuses_before_it_is_killed() -> None:
    valkey = merged(BASE, env=env())["services"]["valkey"]
    told = valkey["command"][-1]

    assert num_bytes(valkey["environment"]["MAXMEMORY"]) <= num_bytes(valkey["mem_limit"]) * 2 / 3
    assert "maxmemory $MAXMEMORY\nmaxmemory-policy noeviction\n" in told
    assert "appendonly yes\nappendfsync always\n" in told


def test_what_is_told_to_stop_has_time_to(services: dict[str, Tree]) -> None:
    settings = Settings()
    needs_s = {
        "gateway": GATEWAY_GRACE_S,
        "page": PAGE_GRACE_S,
        "courier": settings.webhook_timeout_s,
        "worker": settings.drain_s + settings.store_patience_s / 2,
    }

    for name, needed_s in needs_s.items():
        assert name not in services or seconds(services[name]["stop_grace_period"]) > needed_s, name


def test_volumes_that_are_mounted_are_declared(laid: tuple[str, ...]) -> None:
    whole = merged(*laid, env=env())
    named = {
        volume.split(":")[0]
        for service in whole["services"].values()
        for volume in service.get("volumes", ())
        if isinstance(volume, str)
    }

    assert named <= whole["volumes"].keys()


def test_who_waits_for_whom_is_there(services: dict[str, Tree]) -> None:
    for service in services.values():
        assert set(service.get("depends_on", ())) <= services.keys()


def test_a_worker_starts_whatever_profiles_are_asked_for(services: dict[str, Tree]) -> None:
    assert [name for name in OURS & services.keys() if "profiles" in services[name]] == []


@pytest.mark.parametrize("under", [BASE, WORKER])
def test_on_gpus_the_same_service_works_so_that_it_scales(under: str) -> None:
    worker = merged(under, GPU, env=env())["services"]["worker"]

    assert worker["build"]["args"]["TORCH_INDEX"] == ""
    assert worker["image"] == f"darkroom-worker-gpu:{VERSION}"
    assert worker["environment"]["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    mounted = {target(volume) for volume in worker["volumes"]}
    assert worker["command"][3].startswith(tuple(mounted))  # what replicas share, or seats would mean nothing


def test_in_aws_there_is_no_store_of_ours_and_no_key_of_it() -> None:
    services = merged(BASE, AWS, env=env())["services"]

    assert services["store"]["profiles"] == ["never"]
    for name in ("gateway", "worker"):
        assert services[name]["depends_on"]["store"]["required"] is False
        given = services[name]["environment"]
        assert given["DARKROOM_S3_ENDPOINT"] == given["DARKROOM_S3_ACCESS_KEY"] == given["DARKROOM_S3_SECRET_KEY"] == ""
        assert given["DARKROOM_S3_BUCKET"] == "pictures"


def test_prometheus_and_grafana_come_when_they_are_asked_for_and_nobody_else_does() -> None:
    services = merged(BASE, env=env())["services"]

    assert {name for name, service in services.items() if service.get("profiles")} == {"prometheus", "grafana"}
    assert services["prometheus"]["profiles"] == services["grafana"]["profiles"] == ["observability"]


def test_prometheus_reaches_the_gateway_alone_and_grafana_prometheus() -> None:
    services = merged(BASE, env=env())["services"]

    def reached(name: str) -> set[str]:
        nets = set(services[name]["networks"])
        return {other for other, service in services.items() if nets & set(service["networks"])} - {name}

    assert reached("prometheus") == {"gateway", "grafana"}
    assert reached("grafana") == {"prometheus"}
    assert {service for service in services if "WATCH_KEY" in services[service]["environment"]} == {"prometheus"}


@pytest.mark.parametrize(
    ("service", "missing", "named"),
    [
        ("prometheus", "DARKROOM_WATCH_KEY", "DARKROOM_WATCH_KEY"),
        ("grafana", "GRAFANA_PASSWORD", "GRAFANA_PASSWORD"),
        ("grafana", "GRAFANA_SECRET", "GRAFANA_SECRET"),
    ],
)
def test_without_its_key_it_does_not_start_and_says_so(service: str, missing: str, named: str) -> None:
    whole = merged(BASE, env=env() | {missing: ""})["services"][service]
    assert "valkey" in merged(BASE, env=env() | {missing: ""})["services"]  # nobody else minds

    said = subprocess.run(
        whole["entrypoint"], env=path_and(whole["environment"]), capture_output=True, text=True, check=False
    )

    assert said.returncode == 1
    assert named in said.stderr
    assert "make secrets" in said.stderr


def path_and(environment: dict[str, str]) -> dict[str, str]:
    return {"PATH": os.defpath, **environment}


def test_grafana_lets_in_nobody_unknown_and_tells_nobody() -> None:
    given = merged(BASE, env=env())["services"]["grafana"]["environment"]

    assert given["GF_SECURITY_ADMIN_PASSWORD"] == env()["GRAFANA_PASSWORD"] != ""
    assert given["GF_AUTH_ANONYMOUS_ENABLED"] == given["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert {value for name, value in given.items() if name.startswith("GF_ANALYTICS")} == {"false"}


def test_grafana_runs_the_one_plugin_that_it_needs_as_the_image_has_it() -> None:
    given = merged(BASE, env=env())["services"]["grafana"]["environment"]
    left_out = given["GF_PLUGINS_DISABLE_PLUGINS"].split(",")

    assert given["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"
    assert "prometheus" not in left_out
    assert left_out == sorted(set(left_out))


@pytest.mark.parametrize("name", ["DARKROOM_S3_BUCKET", "DARKROOM_S3_REGION"])
def test_in_aws_the_bucket_is_named_and_not_guessed(name: str) -> None:
    with pytest.raises(Unset, match=name):
        merged(BASE, AWS, env=env() | {name: ""})


def test_before_the_world_the_gateway_asks_for_keys_and_the_page_for_a_password() -> None:
    services = merged(BASE, TLS, env=env() | {"DARKROOM_ALLOW_OPEN_NETWORK": "true"})["services"]

    assert services["gateway"]["environment"]["DARKROOM_REQUIRE_KEYS"] == "true"
    assert services["gateway"]["environment"]["DARKROOM_ALLOW_OPEN_NETWORK"] == "false"
    assert services["proxy"]["environment"]["PAGE_ACCESS"] == "password"


def test_the_caddyfile_is_given_the_names_that_it_asks_for() -> None:
    asked = re.findall(r"\{\$(\w+)(:?)", (ROOT / "deploy" / "caddy" / "Caddyfile").read_text())
    given = read(TLS)["services"]["proxy"]["environment"]

    assert {name for name, default in asked if not default} <= given.keys() <= {name for name, _ in asked}


def test_who_opens_the_first_machine_says_at_which_address() -> None:
    with pytest.raises(Unset, match=r"FLEET_ADDRESS: run 'make fleet-secrets ADDRESS=...' first"):
        merged(BASE, FLEET, env=env() | {"FLEET_ADDRESS": ""})


def test_the_fleet_s_key_is_told_to_those_who_show_the_certificate_and_to_nobody_else() -> None:
    services = merged(BASE, FLEET, env=env())["services"]

    told = {name for name, service in services.items() if "fleet/server.env" in service.get("env_file", ())}
    assert told == {"valkey", "store-tls"}


def test_no_file_with_keys_in_it_gets_into_git_or_an_image(tmp_path: Path) -> None:
    """Also where docs/operations has one put."""
    secret = [".env", ".env.old", "join.env", "attach.env", "redis-users.acl", "data/attach.env", "fleet/join.env"]
    secret += ["fleet/ca.key", "fleet.old/ca.key", "deploy/kubernetes/secrets.env"]
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())

    words = ["git", "-C", tmp_path, "check-ignore", "--no-index", *secret, ".env.example", "fleet.py"]
    said = subprocess.run(words, capture_output=True, text=True, check=False)

    assert said.stdout.split() == secret
    first, *taken = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] in "*!"]
    assert first == "*"
    assert not [one for one in taken if one in {f"!{file.split('/')[0]}" for file in secret}]


def test_with_tls_valkey_still_does_all_that_it_does_without() -> None:
    plain, opened = (merged(*names, env=env())["services"]["valkey"] for names in ((BASE,), (BASE, FLEET)))

    assert opened["command"] == plain["command"]
    assert "\n$MORE\nEND" in opened["command"][-1]
    assert plain["environment"].keys() ^ opened["environment"].keys() == {"MORE"}
    told = dict(line.split() for line in opened["environment"]["MORE"].splitlines())
    assert told["tls-port"] == opened["ports"][0].split(":")[-1]
    for file in (told["tls-cert-file"], told["tls-key-file"]):
        assert f"base64 -d > {file}" in opened["entrypoint"][2]


def test_the_fleet_s_proxy_is_given_what_its_file_asks_for() -> None:
    asked = re.findall(r"\{\$(\w+)(:?)", (ROOT / "deploy" / "caddy" / "Fleetfile").read_text())
    proxy = merged(BASE, FLEET, env=env())["services"]["store-tls"]
    told = {"NAME"} | proxy["environment"].keys()  # NAME stands in fleet/server.env

    assert {name for name, default in asked if not default} <= told


@pytest.mark.parametrize("name", ["DARKROOM_REDIS_URL", "DARKROOM_S3_ENDPOINT"])
def test_workers_alone_are_told_both_addresses(name: str) -> None:
    with pytest.raises(Unset, match=f"{name}: say where"):
        merged(WORKER, env={key: value for key, value in env().items() if key != name})


def test_workers_alone_try_both_addresses_and_differ_from_the_others_in_nothing_else() -> None:
    alone, beside = (merged(file, env=env())["services"]["worker"] for file in (WORKER, BASE))

    assert alone["entrypoint"] == ["python", "-m", "deploy.reach"]
    assert alone["command"] == ["python", "-m", "worker"]
    same = beside.keys() - {"environment", "depends_on", "networks"}
    assert {name: alone[name] for name in same} == {name: beside[name] for name in same}
    ours = {name for name in beside["environment"] if not name.startswith("DARKROOM_S3_")} | {"DARKROOM_S3_ENDPOINT"}
    assert {name: alone["environment"][name] for name in ours} == {name: beside["environment"][name] for name in ours}


def test_an_image_has_what_its_entrypoint_is() -> None:
    copied = (ROOT / "deploy" / "docker" / "Dockerfile").read_text().split(" AS worker\n")[1]

    assert "deploy/reach.py" in copied
    assert "!deploy/reach.py" in (ROOT / ".dockerignore").read_text().split()


def test_every_variable_is_in_the_example_of_dot_env() -> None:
    asked = {name for file in ROOT.glob("docker-compose*.yml") for name in variables(file.read_text())}
    offered = set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", EXAMPLE.read_text(), re.MULTILINE))

    assert asked <= offered
    # OpenTelemetry's reach the parts by the file itself.
    ours_alone = {name for name in offered if not name.startswith(("DARKROOM_", "OTEL_"))}
    assert ours_alone - {"COMPOSE_FILE"} <= asked


@pytest.mark.parametrize(
    "setting", ["DARKROOM_PAGE_KEY", "DARKROOM_VISITOR_SECRET", "DARKROOM_UI_PREFIX", "DARKROOM_LOG_LEVEL"]
)
def test_the_page_takes_what_dot_env_says(page: dict[str, Any], setting: str) -> None:
    assert page["environment"][setting].startswith(f"${{{setting}:")


def test_the_page_sees_the_styles_that_dot_env_names(page: dict[str, Any]) -> None:
    (styles,) = page["volumes"]

    assert styles["source"] == "${DARKROOM_STYLES_FILE:-./ui/styles.toml}"
    assert (styles["type"], styles["read_only"]) == ("bind", True)
    assert styles["target"] == page["environment"]["DARKROOM_STYLES_FILE"]


def test_a_styles_file_that_is_not_there_keeps_the_page_from_starting(page: dict[str, Any]) -> None:
    assert page["volumes"][0]["bind"] == {"create_host_path": False}  # else it would be an empty folder
