"""Gateways that ask for keys, and those who have one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import httpx2
from pydantic import SecretStr

from api.faults import AUTOMATIC1111, OPENAI, words_of
from shared.keyring import NewKeyBody
from shared.settings import Settings
from tests.integration.serving import Serving, serving

OPERATOR_KEY: Final = "the-operators-key-of-the-tests"
PAGE_KEY: Final = "the-pages-key-of-the-tests"
WATCH_KEY: Final = "the-watch-key-of-the-tests"

ASKS_FOR_KEYS: Final[dict[str, Any]] = {
    "require_keys": True,
    "operator_key": SecretStr(OPERATOR_KEY),
    "page_key": SecretStr(PAGE_KEY),
    "watch_key": SecretStr(WATCH_KEY),
}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@contextmanager
def guarded(settings: Settings, **more: object) -> Generator[Serving]:
    """Serve a gateway that asks for keys."""
    with serving(settings.model_copy(update={**ASKS_FOR_KEYS, **more})) as served:
        yield served


def make_key(gateway: Serving, tenant: str, **more: object) -> NewKeyBody:
    """Have the operator make a key."""
    body = {"name": f"of {tenant}", "tenant": tenant, **more}
    response = gateway.http.post("/v1/keys", json=body, headers=bearer(OPERATOR_KEY))
    assert response.status_code == 201, response.text
    return NewKeyBody.model_validate_json(response.content)


def set_limits(gateway: Serving, tenant: str, **limits: object) -> None:
    response = gateway.http.put(f"/v1/tenants/{tenant}", json=limits, headers=bearer(OPERATOR_KEY))
    assert response.status_code == 200, response.text


def code_of(response: httpx2.Response) -> str:
    """The stable code of an error, in whichever words it is said at that address."""
    words = words_of(response.request.url.path)
    assert response.headers["Content-Type"] == words.media_type, response.text
    body = response.json()
    if words is OPENAI:
        return str(body["error"]["code"])
    return str(body["error" if words is AUTOMATIC1111 else "code"])
