"""Which programs make up the local stack, and what each is told.

First Valkey and S3, embedded, unless the settings name others; then gateway, page, courier and workers at once.
They end the other way: workers, so that they can hand their jobs back and whoever watches is told; then
gateway, page and courier; then the servers.
"""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field, SecretStr

from deploy.embedded import S3, Valkey, free_port, port_trouble
from deploy.keys import Keys, kept_keys, write_private
from deploy.probe import Gateway, answers, has_warmed_up
from deploy.process import Program, StackError
from deploy.supervisor import Member
from shared.settings import Settings

ROOT: Final = Path(__file__).parents[1]
SERVER_GRACE_S: Final = 10.0
COURIER_GRACE_S: Final = 20.0
"""A courier ends what it sends: a receiver has fifteen seconds to answer."""
WORKER_GRACE_S: Final = 30.0
"""A worker hands its jobs back at the next step, or ends those that are nearly done."""
ANY_HOST: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 compared with, not bound


class LocalSettings(Settings):
    """Every setting of the parts, and the local stack's own."""

    workers: int | None = Field(default=None, ge=1, le=64)
    """How many workers; unset: one for each NVIDIA GPU, or one without."""
    data: Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())] = ROOT / "data"
    """Where everything is kept: jobs, pictures, keys, logs."""
    gpus: str | None = Field(default=None, validation_alias="CUDA_VISIBLE_DEVICES")


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
        "worker": lambda pid: has_warmed_up(settings, pid),
        # Nobody waits for it: what it has to send waits in Redis.
        "worker.courier": lambda _pid: True,
    }

    def part(module: str, name: str, grace_s: float, stop_stage: int, **more: str) -> Member:
        program = Program(
            name,
            (sys.executable, "-m", module),
            settings.data / "logs" / f"{name}.log",
            ready=ready[module],
            environment={**environment, **more},
            cwd=ROOT,
        )
        return Member(program, grace_s, start_stage=2, stop_stage=stop_stage, echo=True)

    workers = (
        part("worker", f"worker-{number}" if number else "worker", WORKER_GRACE_S, 1, **device)
        for number, device in enumerate(_devices(settings))
    )
    kept = {} if settings.cookie_secret else {"DARKROOM_VISITOR_SECRET": keys.visitor_secret}
    pages = (part("api", "gateway", SERVER_GRACE_S, 2), part("ui", "page", SERVER_GRACE_S, 2, **kept))
    courier = part("worker.courier", "courier", COURIER_GRACE_S, 2)
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


def _devices(settings: LocalSettings) -> Iterator[dict[str, str]]:
    """For each worker, the environment that gives it its own GPU."""
    gpus = settings.gpus.split(",") if settings.gpus is not None else _gpu_indices()
    gpus = [gpu for gpu in gpus if gpu]
    for number in range(settings.workers or len(gpus) or 1):
        if gpus:
            yield {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]}
        else:
            # Threads that wait by spinning slow the neighbours, and here everybody is one.
            yield {"OMP_WAIT_POLICY": "PASSIVE"}


def _gpu_indices() -> list[str]:
    """Indices of this machine's NVIDIA GPUs."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=index", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 fixed words
    return answer.stdout.split() if answer.returncode == 0 else []
