"""What can be wrong with the gateway's doors: who gets in without a key, and who can listen on the way.

Looks at the settings and at the request by which it was asked.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from shared.checks import Finding, ok, unknown, warning, wrong
from shared.network import LOOPBACK, address_of
from shared.settings import Settings

RESOLVE_WITHIN_S: Final = 2.0

FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-proto", "via")
"""What proxies say of themselves: Caddy and most others the middle two."""


def keys(settings: Settings, headers: Mapping[str, str]) -> Finding:
    """Tell who is served without a key."""
    what = "keys asked for"
    if settings.needs_keys:
        return ok(what, "Nobody is served without a key.")
    is_alone = settings.api_host in LOOPBACK
    has_key = settings.operator_key is not None and settings.operator_key.get_secret_value() != ""
    may = "draws and reads jobs" if has_key or not is_alone else "is an operator"
    if any(name in headers for name in FORWARDED):
        return wrong(
            what,
            f"None, and this question came by way of a proxy: whoever reaches that {may}.",
            "DARKROOM_REQUIRE_KEYS=true, with a DARKROOM_OPERATOR_KEY.",
        )
    if is_alone:
        return ok(what, f"None; {settings.api_host} is this machine's alone, and whoever is on it {may}.")
    return warning(
        what,
        f"None (DARKROOM_ALLOW_OPEN_NETWORK): whoever reaches {settings.api_host} {may}.",
        "Unless you trust that whole network: unset it, and make keys.",
    )


def proxy(settings: Settings, headers: Mapping[str, str]) -> Finding:
    """Tell how the question came, as far as headers say: they are whoever's who asks."""
    what = "way here"
    if any(name in headers for name in FORWARDED):
        if (scheme := _scheme(headers)) == "https":
            return ok(what, "By way of a proxy, and by TLS to that.")
        if scheme is None:
            return unknown(
                what,
                "By way of a proxy that does not say whether it was asked by TLS.",
                "See that it takes https:// alone where others can listen.",
            )
        return warning(
            what,
            "By way of a proxy that was asked in clear text: keys can be heard.",
            "Ask the proxy by https:// alone.",
        )
    if settings.api_host in LOOPBACK:
        return ok(what, "From this machine.")
    return unknown(
        what,
        "By no proxy that says so, in clear text; whether others can listen can't be told here.",
        "Unless the port is published to this machine alone: put TLS in front (docs/operations/containers.md).",
    )


async def redis_way(settings: Settings) -> Finding:
    """Tell whether others can listen between here and Redis."""
    address = settings.redis_address
    named = [one.host for one in address.sentinels] or [urlsplit(f"//{address.netloc}").hostname or ""]
    return await _way("redis way", "Redis", named, is_tls=address.is_tls, remedy="rediss:// in DARKROOM_REDIS_URL")


async def store_way(settings: Settings) -> Finding:
    """Tell whether others can listen between here and the object store."""
    if not settings.s3_endpoint:
        return ok("store way", "By TLS, to AWS.")
    split = urlsplit(settings.s3_endpoint)
    remedy = "https:// in DARKROOM_S3_ENDPOINT"
    return await _way("store way", "the store", [split.hostname or ""], is_tls=split.scheme == "https", remedy=remedy)


async def _way(what: str, whither: str, hosts: list[str], *, is_tls: bool, remedy: str) -> Finding:
    if is_tls:
        return ok(what, f"By TLS to {whither}.")
    if all(host in LOOPBACK for host in hosts):
        return ok(what, f"In clear text to {whither}, which is on this machine.")
    named = ", ".join(hosts)
    told, remedy = f"In clear text to {whither} at {named}", f"{remedy}: docs/operations/machines.md#tls."
    addresses = await _resolved(hosts)
    if addresses is None:
        return unknown(what, f"{told}, of which no address is known here.", remedy)
    if any(found.is_global for address in addresses if (found := address_of(address))):
        return wrong(what, f"{told}, a public address: passwords and prompts can be heard.", remedy)
    return unknown(
        what, f"{told}, a private address: whether others can listen can't be told here.", f"If they can, {remedy}"
    )


async def _resolved(hosts: list[str]) -> set[str] | None:
    try:
        async with asyncio.timeout(RESOLVE_WITHIN_S):
            loop = asyncio.get_running_loop()
            each = await asyncio.gather(*(loop.getaddrinfo(host, None, type=socket.SOCK_STREAM) for host in hosts))
    except (OSError, TimeoutError):
        return None
    return {str(entry[4][0]) for entries in each for entry in entries}


def _scheme(headers: Mapping[str, str]) -> str | None:
    """How the outermost proxy was asked, if it says."""
    said = headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
    if said:
        return said
    parts = (part.partition("=") for part in headers.get("forwarded", "").split(",")[0].split(";"))
    return next((value.strip().strip('"').lower() for name, _, value in parts if name.strip().lower() == "proto"), None)
