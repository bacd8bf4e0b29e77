"""Who may ask for what: keys, their scopes, and what a tenant may have. Knows nothing of Redis and HTTP.

A key is written `darkroom_<id>_<secret>`. The id is no secret: lists and logs name the key by it. The secret has 160
random bits, so that one SHA-256 of it is as good as a slow hash: nobody tries 2 ** 160 of them. Only that is kept.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final, NewType

from shared.jobs import Tenant, drawn
from shared.words import Word

KeyId = NewType("KeyId", str)
"""12 characters that name a key."""

TENANT_PATTERN: Final = r"[a-z0-9][a-z0-9._-]{0,62}"
"""Safe in Redis' keys, where a colon parts the words, and in the object store's, where a slash does."""
VISITOR_PATTERN: Final = r"[A-Za-z0-9._-]{1,64}"

OPERATOR: Final = Tenant("operator")
"""Who has the settings' `operator_key`."""
PAGE: Final = Tenant("page")
"""Who has the settings' `page_key`."""
WATCH: Final = Tenant("watch")
"""Who has the settings' `watch_key`."""

_OF = "~"
"""Between a tenant and one of its visitors; in no tenant's own name."""
_ID = r"[0-9a-hjkmnp-tv-z]{12}"
_WRITTEN = re.compile(rf"darkroom_(?P<id>{_ID})_(?P<secret>[0-9a-hjkmnp-tv-z]{{32}})")


class Scope(Word):
    """What a key opens. None of them implies another."""

    SUBMIT = "submit"
    """Make jobs, cancel, retry and delete them."""
    READ = "read"
    """See one's jobs and pictures, and the models."""
    ADMIN = "admin"
    """Workers, queue, keys and tenants; no tenant's jobs."""
    VISIT = "visit"
    """Ask for one's visitors, each a tenant of its own."""
    WATCH = "watch"
    """Figures of the fleet, for those who measure and scale it; nobody's jobs."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """What `issue` writes."""

    id: KeyId
    digest: str = field(repr=False)
    """Of the secret: SHA-256, hexadecimal."""
    name: str
    """For people."""
    tenant: Tenant
    scopes: frozenset[Scope]
    expires_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key as it is kept. Times are Unix milliseconds by Redis' clock."""

    id: KeyId
    digest: str = field(repr=False)
    name: str
    tenant: Tenant
    scopes: frozenset[Scope]
    created_at_ms: int
    expires_at_ms: int | None
    used_at_ms: int | None
    """To a minute; None before its first use."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an operator has set for a tenant; None: as the settings have it for everybody."""

    weight: float | None = None
    """Its share of the work beside the others', which is 1."""
    max_waiting: int | None = None
    max_running: int | None = None
    """0: any number."""
    requests_per_minute: int | None = None
    """0: any number."""


NO_LIMITS: Final = Limits()


def draw_key() -> tuple[KeyId, str]:
    """Draw a key's id and its secret."""
    return KeyId(drawn(12)), drawn(32)


def write_key(key_id: KeyId, secret: str) -> str:
    """Write a key as its owner sends it."""
    return f"darkroom_{key_id}_{secret}"


def read_key(text: str) -> tuple[KeyId, str] | None:
    """Take a key apart into id and secret; None for what is none of ours."""
    match = _WRITTEN.fullmatch(text)
    return match and (KeyId(match["id"]), match["secret"])


def is_key_id(text: str) -> bool:
    """True for what could name a key."""
    return re.fullmatch(_ID, text) is not None


def digest_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def visitor_of(tenant: Tenant, visitor: str) -> Tenant:
    """Name the tenant that a visitor is. By a digest: stores that know no capitals must not take two for one."""
    return Tenant(f"{tenant}{_OF}{digest_of(visitor)[:32]}")


def host_of(tenant: Tenant) -> Tenant:
    """Name the tenant whose limits hold: a visitor's host, or the tenant itself."""
    return Tenant(tenant.partition(_OF)[0])
