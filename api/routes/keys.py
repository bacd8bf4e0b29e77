"""`/v1/keys` and `/v1/tenants`, for operators alone; `/v1/me`, for everybody who has a key."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Request

from api.deps import TheGateway, ThePrincipal, operator
from api.intake import checked, read_json
from api.openapi import json_body, problems
from api.terms import rate_of, terms_of
from shared.access import KeyId, Limits, NewKey, digest_of, draw_key, is_key_id, write_key
from shared.errors import InvalidRequest, KeyNotFound, QueueUnavailable
from shared.jobs import Tenant
from shared.keyring import (
    KeyList,
    KeyRequest,
    LimitsBody,
    LimitsRequest,
    Me,
    NewKeyBody,
    TenantBody,
    TenantList,
    TenantName,
    key_body,
    limits_body,
)
from shared.scripts import issue, keyring, limits_of, revoke, set_limits, tenants

router = APIRouter(prefix="/v1")
for_operators = APIRouter(tags=["Keys"], dependencies=[Depends(operator)])

log = logging.getLogger(__name__)

READING_JSON: Final = (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.FORBIDDEN)

KEY_EXAMPLES: Final = {
    "program": {"summary": "A program's key", "value": {"name": "nightly batch", "tenant": "ann"}},
    "operator": {
        "summary": "An operator's, for a day",
        "value": {"name": "on call", "tenant": "ops", "scopes": ["admin"], "expires_after": 86400},
    },
    "page": {
        "summary": "A page that asks for its visitors",
        "value": {"name": "shop", "tenant": "shop", "scopes": ["submit", "read", "visit"]},
    },
}
LIMITS_EXAMPLES: Final[Mapping[str, object]] = {
    "some": {"summary": "Twice the share, and one job at a time", "value": {"weight": 2, "max_running": 1}},
    "none": {"summary": "As for everybody", "value": {}},
}


@for_operators.post(
    "/keys",
    status_code=HTTPStatus.CREATED,
    summary="Make a key",
    responses=problems(InvalidRequest, QueueUnavailable, statuses=READING_JSON),
    openapi_extra=json_body(KeyRequest, KEY_EXAMPLES),
)
async def make_key(request: Request, gateway: TheGateway) -> NewKeyBody:
    """Make a key. This answer alone has it: what is kept is a digest of its secret.

    Sent twice it makes two keys; revoke the one whose answer got lost. Who has `admin` can make keys for any tenant.
    """
    asked = checked(KeyRequest, await read_json(request))
    key_id, secret = draw_key()
    new = NewKey(key_id, digest_of(secret), asked.name, Tenant(asked.tenant), asked.scopes, asked.expires_after)
    made = await gateway.run(issue(new))
    log.info("an operator: made key=%s tenant=%s scopes=%s", made.id, made.tenant, ",".join(sorted(made.scopes)))
    return NewKeyBody(**dict(key_body(made)), key=write_key(key_id, secret))


@for_operators.get("/keys", summary="List keys", responses=problems(QueueUnavailable))
async def list_keys(gateway: TheGateway) -> KeyList:
    """List the keys, newest first, without their secrets; those too that have expired and are not revoked."""
    return KeyList(data=tuple(key_body(key) for key in await gateway.run(keyring())))


@for_operators.delete(
    "/keys/{key_id}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Revoke a key",
    responses=problems(KeyNotFound, QueueUnavailable, statuses=(HTTPStatus.FORBIDDEN,)),
)
async def revoke_key(
    gateway: TheGateway,
    key_id: Annotated[str, Path(description="A key's id, from `GET /v1/keys`.", examples=["3v0h2j9n5r0z"])],
) -> None:
    """Forget a key: every gateway refuses it at once, or within five seconds if word of it is lost on its way.

    Streams and held answers that were asked for with it end too; its tenant's jobs stay.
    """
    if not is_key_id(key_id):
        raise KeyNotFound(key_id[:12])
    await gateway.run(revoke(KeyId(key_id)))
    gateway.forget_access()  # though word comes, this answer shall be true when it is read
    log.info("an operator: revoked key=%s", key_id)


@for_operators.get("/tenants", summary="List tenants", responses=problems(QueueUnavailable))
async def list_tenants(gateway: TheGateway) -> TenantList:
    """List the tenants that have had a key or limits, by name, with what was set for them."""
    found = await gateway.run(tenants())
    return TenantList(data=tuple(TenantBody(name=name, limits=limits_body(said)) for name, said in found.items()))


@for_operators.put(
    "/tenants/{name}",
    summary="Set a tenant's limits",
    responses=problems(InvalidRequest, QueueUnavailable, statuses=READING_JSON),
    openapi_extra=json_body(LimitsRequest, LIMITS_EXAMPLES),
)
async def limit_tenant(
    request: Request,
    gateway: TheGateway,
    name: Annotated[TenantName, Path(description="A tenant, with keys or without.", examples=["ann"])],
) -> TenantBody:
    """Set all of a tenant's limits; what is absent or null is as for everybody. Each of its visitors has them too.

    They hold for jobs that are submitted from now on; other gateways know of them at once, or within five seconds if
    word of it is lost on its way.
    """
    asked = checked(LimitsRequest, await read_json(request))
    tenant = Tenant(name)
    limits = Limits(asked.weight, asked.max_waiting, asked.max_running, asked.requests_per_minute)
    await gateway.run(set_limits(tenant, limits))
    gateway.forget_access()
    log.info("an operator: set limits of tenant=%s: %s", tenant, limits)
    return TenantBody(name=tenant, limits=limits_body(await gateway.run(limits_of(tenant))))


@router.get("/me", tags=["Keys"], summary="Who am I?", responses=problems(QueueUnavailable))
async def me(gateway: TheGateway, principal: ThePrincipal) -> Me:
    """Tell whose key this is, what it opens, and the limits that hold for its tenant. Needs no scope."""
    said = await gateway.access.limits(principal.tenant)
    terms = terms_of(gateway.settings, said)
    return Me(
        tenant=principal.tenant,
        key=principal.key,
        scopes=tuple(sorted(principal.scopes)),
        limits=LimitsBody(
            weight=terms.weight,
            max_waiting=terms.max_tenant_waiting,
            max_running=terms.max_tenant_running,
            requests_per_minute=rate_of(gateway.settings, said, is_limited=principal.is_limited),
        ),
    )


router.include_router(for_operators)
