"""`/v1/tokens`: how a model would read texts that are no job yet."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Depends, Request

from api.catalog import card_for
from api.deps import Gateway, TheGateway, submitter
from api.intake import checked, read_json
from api.openapi import json_body, problems
from shared.contract import TokensBody, TokensRequest
from shared.errors import InvalidRequest, NoModel, NoVocabulary, QueueUnavailable
from shared.notes import reading_of, warnings_of
from shared.reading import MAX_WINDOWS
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
    model = await _model(gateway, asked.model)
    texts = [clean_text(text) for text in (asked.prompt, asked.negative_prompt) if text is not None]
    prompt, *others = await gateway.vocabularies.measure(model, texts)
    negative = others[0] if others else None
    return TokensBody(
        model=model,
        max_windows=MAX_WINDOWS,
        reading=reading_of(prompt, negative),
        warnings=warnings_of(prompt, negative),
    )


async def _model(gateway: Gateway, named: str | None) -> str:
    """The id of the model that a request gets. Raises InvalidRequest, NoModel, QueueUnavailable."""
    try:
        return card_for(await gateway.outlooks.fleet(), named).id
    except (NoModel, InvalidRequest):  # by what was known a moment ago: a worker may have come
        return card_for(await gateway.run(fleet()), named).id
