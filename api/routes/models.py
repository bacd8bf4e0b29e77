"""`/v1/models`: what is served, with limits and defaults."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from api.catalog import catalog
from api.deps import TheGateway, reader
from api.openapi import problems
from shared.contract import ModelList
from shared.errors import QueueUnavailable
from shared.scripts import fleet

router = APIRouter(prefix="/v1/models", tags=["Models"], dependencies=[Depends(reader)])


@router.get("", summary="List models", responses=problems(QueueUnavailable))
async def list_models(gateway: TheGateway) -> ModelList:
    """List the models that workers have named, the default first: sizes, schedulers, limits, defaults.

    A model with `ready_workers: 0` takes jobs too; they wait for a worker, and `warming_workers` load
    it just then. Empty before the first worker's start.
    """
    return catalog(await gateway.run(fleet()))
