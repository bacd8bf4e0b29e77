"""Tries Redis and the object store as a worker will need them, and says in one sentence what is wrong, and what to do.

    python -m deploy.reach COMMAND...     tries both, then becomes the command

Changes nothing but a small object that comes and goes. Knows neither who asks nor what will be started.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

import redis
from pydantic import ValidationError
from redis.exceptions import AuthenticationError, InvalidResponse, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.compatibility import CONTRACT
from shared.connection import connect, is_barred, run, translated
from shared.errors import ImageNotFound, QueueUnavailable, StoreUnavailable
from shared.keys import DEFAULT, LAYOUT
from shared.network import LOOPBACK
from shared.object_store import ObjectStore, is_refusal
from shared.parts import Part, PartKind, refusal
from shared.scripts import Fleet, fleet, parts
from shared.settings import Settings, wrong_settings
from shared.trust import causes, tls_trouble
from shared.version import VERSION

CONNECT_TIMEOUT_S: Final = 5.0
FLEET_PORT: Final = 6380
PROBE_BYTES: Final = 1024
REDIS: Final = "The address of Redis (REDIS, DARKROOM_REDIS_URL)"
STORE: Final = "The address of the store (STORE, DARKROOM_S3_ENDPOINT)"


class Unusable(Exception):
    """No worker could work with what an address leads to; the message is a sentence for whoever wrote the address."""


@dataclass(frozen=True, slots=True)
class Found:
    """Who is there already."""

    fleet: Fleet
    parts: tuple[Part, ...]

    def check_model(self, model: str, *, has_gpu: bool) -> None:
        """See that a machine without a GPU does not bring the demo model to those who draw with another.

        Raises:
            Unusable: it would, and nobody said so. The model that most workers serve is that of jobs that name none.
        """
        served = {worker.model for worker in self.fleet.workers}
        pools = {worker.pool for worker in self.fleet.workers}
        has_demo = any(card.is_demo for card in self.fleet.cards if card.id in pools)
        if model == "auto" and not has_gpu and served and not has_demo:
            raise Unusable(
                f"This machine has no NVIDIA GPU, so it would serve the demo model; there they serve "
                f"{', '.join(sorted(served))}, and jobs that name no model could come here. Is the driver well "
                "(nvidia-smi)? DARKROOM_MODEL=demo if that is what you want."
            )

    def remarks(self) -> Iterator[str]:
        """Say what an operator would want to know, and what keeps nobody from joining."""
        gateways = [part for part in self.parts if part.kind == PartKind.GATEWAY]
        if not gateways:
            yield "no gateway works on that Redis now: nobody can submit jobs there. Is it the right one?"
        newer = max((part.contract for part in gateways), default=CONTRACT)
        if newer > CONTRACT:
            yield (
                f"this checkout is older ({VERSION}, contract {CONTRACT}) than a gateway there (contract {newer}): "
                "jobs that use what is new go to other workers. Update it: docs/operations/upgrades.md"
            )
        elif others := sorted({part.software_version for part in gateways} - {VERSION}):
            yield f"this checkout is {VERSION}, gateways there are {', '.join(others)}; they work together."


def try_both(settings: Settings) -> Found:
    """Try Redis, then the store.

    Raises:
        Unusable: a worker could not work with one of them.
    """
    found = try_redis(settings)
    try_store(settings)
    return found


def plain_ways(settings: Settings) -> Iterator[str]:
    """Name the ways that anybody in between could listen to."""
    address = settings.redis_address
    hosts = {urlsplit(f"//{netloc}").hostname for netloc in _netlocs(settings)}
    if address.scheme == "redis" and hosts - LOOPBACK:
        yield "Redis is reached without TLS: whoever is on the way reads its password. Only through a tunnel or a VPN."
    store = urlsplit(settings.s3_endpoint or "")
    if store.scheme == "http" and store.hostname not in LOOPBACK:
        yield "the store is reached without TLS: whoever is on the way sees pictures. Only through a tunnel or a VPN."


def try_redis(settings: Settings) -> Found:
    """Connect, log in, and call a function of ours.

    Raises:
        Unusable: a worker could not work there.
    """
    _greet(REDIS, [_host_and_port(netloc, 6379) for netloc in _netlocs(settings)])
    with connect(settings) as client:
        try:
            client.ping()  # pyright: ignore[reportUnknownMemberType]: **kwargs
        except RedisError as error:
            raise Unusable(_no_login(settings, error)) from error
        try:
            found = Found(run(client, fleet()), run(client, parts()))
            apart = _other_layouts(client)
        except (RedisError, QueueUnavailable) as error:
            raise Unusable(_no_functions(client, error)) from error
    if apart:
        raise Unusable(refusal(apart))
    return found


def try_store(settings: Settings) -> None:
    """Put an object, read it, delete it.

    Raises:
        Unusable: a worker could not hand in its pictures there.
    """
    if endpoint := settings.s3_endpoint:
        split = urlsplit(endpoint)
        _greet(STORE, [(split.hostname or "", split.port or (443 if split.scheme == "https" else 80))])
    key, data = f"images/.joining-{secrets.token_hex(8)}", secrets.token_bytes(PROBE_BYTES)
    store = ObjectStore.from_settings(settings)
    try:
        store.put(key, data, "application/octet-stream")
        back = store.get(key)
        store.delete([key])
    except (StoreUnavailable, ImageNotFound) as error:
        raise Unusable(_no_store(settings, error)) from error
    finally:
        store.close()
    if back != data:
        raise Unusable(f"{STORE} leads to something that gives other bytes back than it was given.")


def _netlocs(settings: Settings) -> list[str]:
    address = settings.redis_address
    if address.sentinels:
        return [sentinel.netloc for sentinel in address.sentinels]
    return [] if address.scheme == "unix" else [address.netloc]


def _host_and_port(netloc: str, port: int) -> tuple[str, int]:
    split = urlsplit(f"//{netloc}")
    return split.hostname or "", split.port or port


def _greet(which: str, places: Iterable[tuple[str, int]]) -> None:
    """See that one of them takes connections."""
    trouble = ""
    for host, port in places:
        try:
            socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
        except socket.gaierror:
            trouble = f"names the host {host}, which this machine can't find: is it spelt right, and known to its DNS?"
        except ConnectionRefusedError:
            trouble = (
                f"leads to {host}, where nothing listens at port {port}: is it up there, published on that address "
                "(docker-compose.fleet.yml), and the port right?"
            )
        except TimeoutError:
            trouble = (
                f"leads to {host}:{port}, which does not answer within {CONNECT_TIMEOUT_S:.0f} s: is there a firewall "
                "between, or is that machine off?"
            )
        except OSError as error:
            trouble = f"leads to {host}:{port}, which can't be reached from here: {error.strerror or error}."
        else:
            return
    if trouble:
        raise Unusable(f"{which} {trouble}")


def _no_login(settings: Settings, error: RedisError) -> str:
    kinds = {type(one) for one in causes(error)}
    if trouble := tls_trouble(error):
        return f"{REDIS}: {trouble}"
    if AuthenticationError in kinds:
        return (
            f"{REDIS} has a password, or a user, that Redis there does not take: take that of the first machine anew "
            "(DARKROOM_REDIS_PASSWORD in its .env; make fleet-secrets writes it into fleet/join.env)."
        )
    if InvalidResponse in kinds:
        return f"{REDIS} leads to something that is no Redis: is it the right port?"
    if isinstance(error, RedisConnectionError | RedisTimeoutError):
        is_tls = settings.redis_address.is_tls
        return (
            f"{REDIS} leads to something that takes the connection and does not answer: "
            + ("does it speak TLS?" if is_tls else "if it wants TLS, the address begins with rediss://")
            + f" (The port that docker-compose.fleet.yml opens is {FLEET_PORT}.)"
        )
    return f"{REDIS}: {translated(error)}"


def _no_functions(client: redis.Redis, error: RedisError | QueueUnavailable) -> str:
    said = str(error)
    if "unknown command" in said.lower():
        return f"Redis there has no functions ({_version(client)}): Darkroom needs Redis 8 or Valkey 9."
    if barred := next(filter(is_barred, causes(error)), None):
        return (
            f"{REDIS} has a user who may not do there what a worker must: {barred}. After an update, on the first "
            "machine: `make redis-users`, then start Redis anew."
        )
    if not isinstance(error, ResponseError):
        return f"{REDIS} leads to a Redis that went away just now: {said}"
    return f"Redis there does not do what a worker needs ({_version(client)}): {said}"


def _version(client: redis.Redis) -> str:
    try:
        info = cast("dict[str, object]", client.info("server"))  # pyright: ignore[reportUnknownMemberType]: **kwargs
    except RedisError:
        return "its version can't be told"
    valkey = info.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {info.get('redis_version', 'of an unknown version')}"


def _other_layouts(client: redis.Redis) -> tuple[str, ...]:
    """Name the layouts of living parts that are not ours, with their versions."""
    seconds, _ = client.time()  # pyright: ignore[reportUnknownMemberType]: **kwargs
    living = cast("list[bytes]", client.zrangebyscore(DEFAULT.layouts, seconds * 1000, "+inf"))  # pyright: ignore[reportUnknownMemberType]
    return tuple(one for one in (raw.decode() for raw in living) if one.split(" ")[0] != str(LAYOUT))


def _no_store(settings: Settings, error: StoreUnavailable | ImageNotFound) -> str:
    said = str(error)
    if "NoSuchBucket" in said:
        return (
            f"There is no bucket {settings.s3_bucket} in the store: it stands behind the host in the address, and the "
            "first machine's gateway makes it."
        )
    if "RequestTimeTooSkewed" in said:
        return (
            "The store refuses what this machine signs, because their clocks are minutes apart: set this one's (NTP)."
        )
    if isinstance(error, StoreUnavailable) and is_refusal(error):
        return f"{said} In STORE they stand before the @, a / in them written %2F."
    return f"{STORE} leads to a store that can't be used. {said}"


def main() -> None:
    """Become the command, if both can be used; else exit with 1 and a sentence."""
    command = sys.argv[1:]
    try:
        settings = Settings()
        found = try_both(settings)
        found.check_model(settings.model, has_gpu=shutil.which("nvidia-smi") is not None)
    except ValidationError as error:
        sys.exit(f"These settings are wrong:\n{wrong_settings(error)}")
    except Unusable as error:
        sys.exit(str(error))
    for remark in (*plain_ways(settings), *found.remarks()):
        sys.stderr.write(f"{remark}\n")
    sys.stderr.flush()
    os.execvp(command[0], command)  # noqa: S606 the image says what


if __name__ == "__main__":
    main()
