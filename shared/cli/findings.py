"""What `doctor` looks at, one function a matter: each tells what it found, and what to do about it.

A finding never repeats a key.
"""

from __future__ import annotations

import os
import socket
import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.access import Scope
from shared.cli.session import Session
from shared.cli.words import duration
from shared.client import Client
from shared.errors import DarkroomError, KeyRefused, KeyRequired
from shared.generation import Size
from shared.network import LOOPBACK
from shared.oversight import WorkerList
from shared.parts import by_version, mixture
from shared.settings import Settings, unknown_settings, wrong_settings
from shared.version import VERSION

TIMEOUT: Final = httpx2.Timeout(5.0)
SKEW_S: Final = 5.0
"""A clock that is off by more makes signed addresses and times left wrong."""
DRAW_WITHIN_S: Final = 300.0

BEHIND_A_PROXY: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
"""What the gateway itself does not answer to a question for its interface."""
READINESS_REMEDIES: Final = {
    "redis": "On the gateway's machine: does Redis run, and is DARKROOM_REDIS_URL right? The gateway's log says more.",
    "object_store": "On the gateway's machine: does the store run, and are DARKROOM_S3_ENDPOINT, DARKROOM_S3_BUCKET "
    "and its keys right? The gateway's log says more.",
    "worker": "Start a worker (`make run` starts one, `python -m worker` one more), or see its log for why it does not "
    "get ready.",
}


class Finding(BaseModel):
    """One thing that was looked at."""

    model_config = ConfigDict(frozen=True)

    level: Literal["ok", "warning", "wrong"]
    what: str
    """In a word or two."""
    found: str
    """A sentence."""
    remedy: str | None = None
    """What to do about it."""


def ok(what: str, found: str) -> Finding:
    """Say that something is as it should be."""
    return Finding(level="ok", what=what, found=found)


def warning(what: str, found: str, remedy: str) -> Finding:
    """Say that something works and should be better."""
    return Finding(level="warning", what=what, found=found, remedy=remedy)


def wrong(what: str, found: str, remedy: str) -> Finding:
    """Say that something does not work."""
    return Finding(level="wrong", what=what, found=found, remedy=remedy)


def environment() -> Iterator[Finding]:
    """Are the settings that this environment has such as something reads?"""
    for name, near in unknown_settings().items():
        yield warning(
            "settings",
            f"{name} is set, and nothing reads it.",
            f"Did you mean {near}?" if near else "Unset it; .env.example has all settings.",
        )
    try:
        Settings()
    except ValidationError as error:
        lines = wrong_settings(error).splitlines()
        yield from (wrong("settings", line, "Mend it; .env.example tells each setting.") for line in lines)


def key_at_rest(session: Session) -> Iterator[Finding]:
    """Is the key kept to ourselves?"""
    parts = urlsplit(session.url)
    if session.key is not None and parts.scheme == "http" and parts.hostname not in LOOPBACK:
        yield warning(
            "key",
            f"The key goes to {parts.hostname} in clear text.",
            "Reach the gateway by https:// where others can listen.",
        )
    file = session.key_file
    if file is not None and os.name == "posix" and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        yield warning("key", f"Others on this machine can read {file}.", f"chmod 600 {file}")


def proxy(url: str) -> Finding | None:
    """Does the environment send us by way of a proxy? Then the address need not be reached from here."""
    parts = urlsplit(url)
    there = getproxies().get(parts.scheme)
    if there is None or not _trusts_environment(url) or proxy_bypass(parts.hostname or ""):
        return None
    return ok("address", f"{url} is asked by way of the environment's proxy, {urlsplit(there).hostname}.")


def address(url: str) -> Finding:
    """Does something answer there, by TCP and TLS?"""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((host, port), timeout=5) as plain:
            if parts.scheme == "https":
                with ssl.create_default_context().wrap_socket(plain, server_hostname=host):
                    pass
    except socket.gaierror:
        return wrong("address", f"There is no machine named {host}.", "Check --url or DARKROOM_API_URL, and DNS.")
    except ConnectionRefusedError:
        return wrong(
            "address",
            f"Nothing listens at {host}, port {port}.",
            "Start the gateway there (`make run`), or say where it is: --url or DARKROOM_API_URL.",
        )
    except TimeoutError:
        return wrong(
            "address", f"{host}, port {port}, does not answer.", "A firewall between here and there? Is the machine up?"
        )
    except ssl.SSLError as error:
        return wrong(
            "address",
            f"TLS with {host} fails: {error.reason or error}.",
            "Is the certificate valid, and for this name? Does the port speak TLS at all (else http://)?",
        )
    except OSError as error:
        return wrong("address", f"{host} can't be reached: {error}.", "Check the network and the address.")
    return ok("address", f"{url} answers.")


def gateway(url: str) -> Iterator[Finding]:
    """Is what answers a gateway of this version, and do our clocks agree?"""
    asked_at = datetime.now(tz=UTC)
    try:
        answer = httpx2.get(f"{url.rstrip('/')}/openapi.json", timeout=TIMEOUT, trust_env=_trusts_environment(url))
    except httpx2.HTTPError as error:
        yield wrong("gateway", f"It breaks off: {type(error).__name__}.", "Is that a Darkroom gateway? See its log.")
        return
    if answer.status_code in BEHIND_A_PROXY:
        yield wrong(
            "gateway",
            f"A proxy answers, {answer.status_code}: the gateway behind it is away.",
            "Start the gateway, or see where the proxy looks for it.",
        )
        return
    if answer.next_request is not None:
        there = str(answer.next_request.url).removesuffix("/openapi.json")
        yield wrong("gateway", f"It sends us on to {there}.", f"If the gateway is there: DARKROOM_API_URL={there}")
        return
    try:
        info = answer.json()["info"]
        title, version = str(info["title"]), str(info["version"])
    except (ValueError, KeyError, TypeError):
        yield wrong(
            "gateway",
            f"What answers is no Darkroom gateway: {answer.status_code} to /openapi.json.",
            "Check the address: the gateway's port is 8000 by default, the page's 7860.",
        )
        return
    if "Darkroom" not in title:
        yield wrong("gateway", f"What answers is {title!r}, no Darkroom gateway.", "Check the address.")
        return
    if version == VERSION:
        yield ok("version", f"Client and gateway are {VERSION}.")
    else:
        yield warning(
            "version",
            f"The gateway is {version}, this command {VERSION}.",
            "Install the same version of both if something is answered that can't be read.",
        )
    yield from _clock(answer.headers.get("Date"), asked_at)


def readiness(client: Client) -> Iterator[Finding]:
    """Can the service draw?"""
    checks = client.ready().checks
    redis_answers = all(check.ok for check in checks if check.name == "redis")
    for check in checks:
        if check.ok:
            yield ok(check.name.replace("_", " "), check.message)
        else:
            remedy = READINESS_REMEDIES.get(check.name, "The gateway's log says more.")
            if check.name == "worker" and not redis_answers:
                remedy = "Mend Redis first, then look again."
            yield wrong(check.name.replace("_", " "), check.message, remedy)


def identity(session: Session, client: Client) -> Iterator[Finding]:
    """Who are we to the gateway?"""
    try:
        me = client.me()
    except KeyRequired as error:
        yield wrong(
            "key",
            str(error),
            "Set DARKROOM_API_KEY, or give --key-file. An operator makes keys: `darkroom keys create`.",
        )
        return
    except KeyRefused as error:
        yield wrong(
            "key", str(error), "Is it whole, and of this gateway? An operator makes a new one: `darkroom keys create`."
        )
        return
    said = f"{me.tenant}; it opens {', '.join(me.scopes) or 'nothing'}."
    if session.key is None:
        yield ok("key", f"None is needed here: you are {said}")
    elif me.key is None:
        yield warning(
            "key", f"The gateway takes no notice of it: you are {said}", "It serves everybody; keep the key for others."
        )
    else:
        yield ok("key", f"{me.key} is accepted: you are {said}")
    missing = {Scope.SUBMIT, Scope.READ} - set(me.scopes)
    if missing:
        yield warning(
            "key",
            f"It does not open: {', '.join(sorted(missing))}.",
            "To draw, use a key that may submit and read.",
        )
    if Scope.ADMIN in me.scopes:
        yield from _orders(client)


def models(client: Client) -> Iterator[Finding]:
    """What may be asked for?"""
    for model in client.models():
        presets = ", ".join(preset.name for preset in model.presets) or "no presets"
        said = f"{model.id}: {model.ready_workers} ready; {presets}."
        if model.is_demo:
            yield warning(
                "model",
                f"{said} It is the demo model, which draws plain shapes.",
                "For SSD-1B start a worker where there is CUDA, or with DARKROOM_MODEL=segmind/SSD-1B.",
            )
        else:
            yield ok("model", said)


def drawing(client: Client) -> Finding:
    """Draw one picture."""
    try:
        model = next(model for model in client.models() if model.is_default)
        small = min((ratio.size for ratio in model.aspect_ratios), key=_area, default=model.defaults.size)
        result = client.generate(
            "a red circle on a blue background",
            timeout_s=DRAW_WITHIN_S,
            width=small.width,
            height=small.height,
            num_inference_steps=2,
            reuse=False,
        )
    except StopIteration:
        return wrong("drawing", "No model is served.", "Start a worker.")
    except DarkroomError as error:
        return wrong("drawing", str(error), "`darkroom jobs` shows the job; the worker's log says more.")
    took = duration(result.job.metrics.total_time)
    return ok("drawing", f"A picture of {small} came in {took}; its job is {result.job.id}.")


def _trusts_environment(url: str) -> bool:
    """As the client does: a proxy from the environment can't reach a gateway on this machine."""
    return urlsplit(url).hostname not in LOOPBACK


def _area(size: Size) -> int:
    return size.width * size.height


def _orders(client: Client) -> Iterator[Finding]:
    found = client.workers()
    yield from _versions(found)
    if found.mode != "work":
        yield wrong("workers", f"All workers are {found.mode}: jobs are accepted and wait.", "`darkroom resume`")
    for worker in found.data:
        if worker.mode != "work" and found.mode == "work":
            yield warning("workers", f"{worker.id} is {worker.mode}.", f"`darkroom resume {worker.id}`")
        if worker.store_away:
            yield wrong(
                "workers",
                f"{worker.id} can't write to the object store, and takes no job.",
                "On its machine: are DARKROOM_S3_ENDPOINT and the keys right, and may they write?",
            )


def _versions(found: WorkerList) -> Iterator[Finding]:
    """Are all parts of one version? They need not be, but one that was forgotten is found here."""
    if mixed := mixture(found.parts):
        yield warning(
            "versions",
            mixed,
            "While you update that is as it should be. Else update those that were left: docs/operations/upgrades.md.",
        )
    else:
        yield from (ok("versions", f"All parts are {one}: {which}.") for one, which in by_version(found.parts).items())


def _clock(date: str | None, asked_at: datetime) -> Iterator[Finding]:
    try:
        told = parsedate_to_datetime(date or "")
    except ValueError:
        return
    off_s = (told - asked_at).total_seconds()
    if abs(off_s) > SKEW_S:
        yield warning(
            "clock",
            f"The gateway's clock is {duration(abs(off_s))} {'ahead of' if off_s > 0 else 'behind'} this machine's.",
            "Let NTP set both: signed addresses of pictures are good for a limited time.",
        )
    else:
        yield ok("clock", "This machine's clock and the gateway's agree.")
