"""Which programs make up the local stack, and what each is told.

First Valkey and S3, embedded, unless the settings name others; then gateway, page, courier and workers at once.
They end the other way: workers, so that they can hand their jobs back and whoever watches is told; then
gateway, page and courier; then the servers.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from deploy.embedded import S3, Valkey, free_port, port_trouble
from deploy.keys import Keys, kept_keys, write_private
from deploy.probe import Gateway, answers
from deploy.process import Program, StackError
from deploy.supervisor import Member
from deploy.workers import ROOT, LocalSettings, worker_members

SERVER_GRACE_S: Final = 10.0
COURIER_GRACE_S: Final = 20.0
"""A courier ends what it sends: a receiver has fifteen seconds to answer."""
ANY_HOST: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 compared with, not bound


@dataclass(frozen=True, slots=True)
class Stack:
    """The programs, and where to find them."""

    members: tuple[Member, ...]
    gateway: Gateway
    page_url: str
    attach_file: Path
    """Settings for one more program that should join in, such as a worker by hand."""


def url_here(host: str, port: int) -> str:
    """Give the address of a server of ours as this machine reaches it."""
    here = "127.0.0.1" if host in ANY_HOST else host
    return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"


def compose(settings: LocalSettings) -> Stack:
    """Choose ports, read or make the keys, and say what to run.

    Raises:
        StackError: a port that must be ours is taken.
    """
    api_port = _usable_port("DARKROOM_API_PORT", settings.api_host, settings.api_port)
    ui_port = _usable_port("DARKROOM_UI_PORT", settings.ui_host, settings.ui_port)
    keys = kept_keys(settings.data / "keys.json")
    servers, connection = _servers(settings, keys)
    if "DARKROOM_REDIS_URL" in connection:
        settings = settings.model_copy(update={"redis_url": SecretStr(connection["DARKROOM_REDIS_URL"])})
    key = settings.page_key or settings.operator_key
    gateway = Gateway(url_here(settings.api_host, api_port), key.get_secret_value() if key else "")
    page_url = url_here(settings.ui_host, ui_port)
    environment = {
        "DARKROOM_API_PORT": str(api_port),
        "DARKROOM_API_URL": gateway.url,
        "DARKROOM_UI_PORT": str(ui_port),
        "PYTHONUNBUFFERED": "1",
        **connection,
    }
    attach_file = settings.data / "attach.env"
    write_private(attach_file, "".join(f"{name}={value}\n" for name, value in connection.items()))

    ready: Mapping[str, Callable[[int], bool]] = {
        "api": lambda _pid: gateway.is_up(),
        "ui": lambda _pid: answers(page_url),
        # Nobody waits for it: what it has to send waits in Redis.
        "worker.courier": lambda _pid: True,
    }

    logs = settings.data / "logs"

    def part(module: str, name: str, grace_s: float, **more: str) -> Member:
        program = Program(
            name,
            (sys.executable, "-m", module),
            logs / f"{name}.log",
            ready=ready[module],
            environment={**environment, **more},
            cwd=ROOT,
        )
        return Member(program, grace_s, start_stage=2, stop_stage=2, echo=True)

    kept = {} if settings.cookie_secret else {"DARKROOM_VISITOR_SECRET": keys.visitor_secret}
    pages = (part("api", "gateway", SERVER_GRACE_S), part("ui", "page", SERVER_GRACE_S, **kept))
    courier = part("worker.courier", "courier", COURIER_GRACE_S)
    workers = worker_members(settings, logs, environment)
    return Stack((*servers, *pages, courier, *workers), gateway, page_url, attach_file)


def _usable_port(setting: str, host: str, port: int) -> int:
    """Give this port if it can be served, and any for 0.

    Raises:
        StackError: it can't; the message names the setting.
    """
    if port == 0:
        return free_port()
    trouble = port_trouble(port, host)
    if trouble is None:
        return port
    if trouble.errno == errno.EADDRINUSE:
        raise StackError(
            f"Port {port} is taken by another program. Choose another one: make run {setting}={free_port()}"
        )
    raise StackError(f"{host}:{port} can't be served: {trouble.strerror}. Choose others with {setting} and its host.")


def _servers(settings: LocalSettings, keys: Keys) -> tuple[list[Member], dict[str, str]]:
    """The embedded servers that the settings leave to us, and how the other programs reach them."""
    members: list[Member] = []
    data, logs = settings.data, settings.data / "logs"
    connection: dict[str, str] = {}
    ports = _kept_ports(data / "ports.json")
    if "redis_url" not in settings.model_fields_set:
        valkey = Valkey(data / "valkey", ports["valkey"], keys.redis_password, log=logs / "valkey.log")
        members.append(Member(valkey.program(), SERVER_GRACE_S, start_stage=1, stop_stage=3))
        connection["DARKROOM_REDIS_URL"] = valkey.url
    if "s3_endpoint" not in settings.model_fields_set:
        store = S3(
            data / "s3",
            ports["s3"],
            keys.s3_access_key,
            keys.s3_secret_key,
            bucket=settings.s3_bucket,
            log=logs / "s3.log",
        )
        members.append(Member(store.program(), SERVER_GRACE_S, start_stage=1, stop_stage=3))
        connection |= {
            "DARKROOM_S3_ENDPOINT": store.endpoint,
            "DARKROOM_S3_BUCKET": store.bucket,
            "DARKROOM_S3_ACCESS_KEY": store.access_key,
            "DARKROOM_S3_SECRET_KEY": store.secret_key,
        }
    return members, connection


def _kept_ports(path: Path) -> Mapping[str, int]:
    """The servers' ports: the last run's where they are free, so that what was attached stays so."""
    kept: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    ports = {
        name: kept[name] if name in kept and not port_trouble(kept[name]) else free_port() for name in ("valkey", "s3")
    }
    write_private(path, json.dumps(ports) + "\n")
    return ports
