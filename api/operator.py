"""Who may command the fleet: whoever has the operator's key or, while there is none, whoever is on this machine."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.deps import TheGateway
from shared.errors import OperatorOnly
from shared.network import LOOPBACK

_BEARER = HTTPBearer(
    scheme_name="operator",
    description="DARKROOM_OPERATOR_KEY. Not needed where it is unset and the gateway binds loopback only.",
    auto_error=False,
)


async def operator(
    gateway: TheGateway, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> None:
    """Let an operator pass. Raises OperatorOnly."""
    settings = gateway.settings
    key = settings.operator_key.get_secret_value() if settings.operator_key else ""
    if not key:  # an empty one is none: it would open the door to everybody
        if settings.api_host not in LOOPBACK:
            raise OperatorOnly(
                "This is for operators, and this gateway has no key for them: set DARKROOM_OPERATOR_KEY and restart it."
            )
        return
    said = credentials.credentials if credentials else ""
    if not secrets.compare_digest(said.encode(), key.encode()):
        raise OperatorOnly
