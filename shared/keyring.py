"""The JSON bodies of keys and tenants: `/v1/keys`, `/v1/tenants`, `/v1/me`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from shared.access import TENANT_PATTERN, AccessKey, KeyId, Limits, Scope
from shared.contract import Body

MAX_LIFE_S: Final = 10 * 366 * 24 * 3600


def _whole(number: object) -> object:
    """Take 5.0 for 5, as JSON Schema does and strict mode would not."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


WHOLE: Final = BeforeValidator(_whole)

TenantName = Annotated[str, StringConstraints(pattern=f"^{TENANT_PATTERN}$")]


class KeyRequest(BaseModel):
    """`POST /v1/keys`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")
    ]
    """For people: who or what uses it."""
    tenant: TenantName
    """Whose jobs it makes and sees. Two keys of one tenant see the same jobs."""
    scopes: frozenset[Scope] = Field(default=frozenset({Scope.SUBMIT, Scope.READ}), min_length=1)
    """What it opens."""
    expires_after: Annotated[int, Field(ge=1, le=MAX_LIFE_S), WHOLE] | None = None
    """Seconds from now after which it opens nothing; absent: until it is revoked."""


class KeyBody(Body):
    """A key, without its secret."""

    id: KeyId
    name: str
    tenant: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    """To a minute; null before its first use."""


class NewKeyBody(KeyBody):
    """A key that was just made: the only answer that has it."""

    key: str
    """`darkroom_<id>_<secret>`: what `Authorization: Bearer` is sent with."""


class KeyList(Body):
    """`GET /v1/keys`: newest first."""

    data: tuple[KeyBody, ...]


class LimitsBody(Body):
    """What a tenant may have."""

    weight: float | None = None
    """Its share of the work beside the others', which is 1."""
    max_waiting: int | None = None
    """Jobs that wait."""
    max_running: int | None = None
    """Jobs that run at once; 0: any number."""
    requests_per_minute: int | None = None
    """0: any number."""


class LimitsRequest(LimitsBody):
    """`PUT /v1/tenants/{name}`: all of a tenant's limits; what is absent or null is as for everybody."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float | None = Field(default=None, ge=0.01, le=100)
    """Its share of the work beside the others', which is 1."""
    max_waiting: Annotated[int, Field(ge=1, le=1_000_000), WHOLE] | None = None
    """Jobs that wait; one more is refused."""
    max_running: Annotated[int, Field(ge=0, le=1_000_000), WHOLE] | None = None
    """Jobs that run at once; the others wait though workers are free. 0: any number."""
    requests_per_minute: Annotated[int, Field(ge=0, le=1_000_000), WHOLE] | None = None
    """Of all its keys together; one more is refused. 0: any number."""


class TenantBody(Body):
    """A tenant, and what was set for it; null: as for everybody."""

    name: str
    limits: LimitsBody


class TenantList(Body):
    """`GET /v1/tenants`: those that have had a key or limits, by name."""

    data: tuple[TenantBody, ...]


class Me(Body):
    """`GET /v1/me`: who asks, and what that opens."""

    tenant: str
    key: str | None
    """The key's id; `operator` or `page` for those of the settings; null for none."""
    scopes: tuple[Scope, ...]
    limits: LimitsBody
    """Those in effect."""


def key_body(key: AccessKey) -> KeyBody:
    """Say a key to operators."""
    return KeyBody(
        id=key.id,
        name=key.name,
        tenant=key.tenant,
        scopes=tuple(sorted(key.scopes)),
        created_at=_moment(key.created_at_ms),
        expires_at=None if key.expires_at_ms is None else _moment(key.expires_at_ms),
        last_used_at=None if key.used_at_ms is None else _moment(key.used_at_ms),
    )


def limits_body(limits: Limits) -> LimitsBody:
    """Say limits."""
    return LimitsBody(
        weight=limits.weight,
        max_waiting=limits.max_waiting,
        max_running=limits.max_running,
        requests_per_minute=limits.requests_per_minute,
    )


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)
