"""`/v1/checks`: how the gateway finds its deployment, for `darkroom doctor`."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.requests import Request

from api.checks import look
from api.deps import TheGateway, operator
from shared.checks import Checks

router = APIRouter(prefix="/v1/checks", tags=["Operators"], dependencies=[Depends(operator)])


@router.get("", summary="Look for what is wrong with the deployment")
async def show_checks(request: Request, gateway: TheGateway) -> Checks:
    """Tell how Redis, the object store, the workers and this gateway's doors are, with a remedy for what is wrong.

    It stores, reads and deletes one small object, and takes seconds if something hangs. What Redis does not let the
    gateway ask is `unknown`, and needs your look.
    """
    return Checks(data=await look(gateway, request.headers))
