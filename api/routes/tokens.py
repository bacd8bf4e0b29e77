"""`/v1/tokens`: how a model would read texts that are no job yet."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from fastapi import APIRouter, Depends, Request

from api.catalog import card_for, pools_of
from api.deps import Gateway, TheGateway, submitter
from api.intake import checked, read_json
from api.openapi import json_body, problems
from shared.contract import TokensBody, TokensRequest
from shared.errors import InvalidRequest, NoModel, NoVocabulary, QueueUnavailable
from shared.notes import reading_of, warnings_of
from shared.pools import model_in
from shared.reading import MAX_WINDOWS, PromptMeasure
from shared.scripts import fleet
from shared.texts import clean_text

EXAMPLES: Final = {
    "short": {"summary": "A prompt", "value": {"prompt": "a (lighthouse)1.2 in a storm, oil painting"}},
    "full": {
        "summary": "Both texts, and who reads them",
        "value": {
            "prompt": "a (lighthouse)1.2 in a storm, oil painting",
            "negative_prompt": "blurry, text",
            "model": "segmind/SSD-1B",
        },
    },
}

router = APIRouter(prefix="/v1/tokens", tags=["Models"], dependencies=[Depends(submitter)])


@router.post(
    "",
    summary="Count a prompt's tokens",
    responses=problems(InvalidRequest, NoModel, NoVocabulary, QueueUnavailable),
    openapi_extra=json_body(TokensRequest, EXAMPLES),
)
async def count_tokens(request: Request, gateway: TheGateway) -> TokensBody:
    """Say how the model would read a prompt: its tokens, its windows, its weights, and what would be cut.

    Nothing is queued or kept; it counts against your rate as any request does. The texts are cleaned as a job's are,
    and read by what the model's workers read by, so a job's `reading` says the same. An empty prompt has no tokens.
    """
    asked = checked(TokensRequest, await read_json(request))
    model, pools = await _readers(gateway, asked.model)
    texts = [clean_text(text) for text in (asked.prompt, asked.negative_prompt) if text is not None]
    prompt, *others = await _measured(gateway, pools, texts)
    negative = others[0] if others else None
    return TokensBody(
        model=model_in(model),
        max_windows=MAX_WINDOWS,
        reading=reading_of(prompt, negative),
        warnings=warnings_of(prompt, negative),
    )


async def _readers(gateway: Gateway, named: str | None) -> tuple[str, tuple[str, ...]]:
    """What a request's name means, and the pools that read alike. Raises InvalidRequest, NoModel, QueueUnavailable."""
    served = await gateway.outlooks.fleet()
    try:
        name = card_for(served, named).id
    except (NoModel, InvalidRequest):  # by what was known a moment ago: a worker may have come
        served = await gateway.run(fleet())
        name = card_for(served, named).id
    return name, pools_of(served, name)


async def _measured(gateway: Gateway, pools: Sequence[str], texts: Sequence[str]) -> list[PromptMeasure]:
    """Measure texts as the first pool does that has loaded its model once. Raises NoVocabulary, QueueUnavailable."""
    for pool in pools[:-1]:
        with suppress(NoVocabulary):
            return await gateway.vocabularies.measure(pool, texts)
    return await gateway.vocabularies.measure(pools[-1], texts)
