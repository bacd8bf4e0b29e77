"""Signatures of Standard Webhooks 1.0.0, by which a receiver knows who sends. Pure."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable
from hashlib import sha256

from pydantic import SecretStr

from shared.webhooks import SECRET_PREFIX


def headers_of(message_id: str, at_s: int, body: bytes, secrets: Iterable[SecretStr]) -> dict[str, str]:
    """Make the three headers; each secret signs. `at_s`: when this try is sent, in Unix seconds."""
    signed = f"{message_id}.{at_s}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(f"v1,{_sign(signed, secret)}" for secret in secrets),
    }


def _sign(signed: bytes, secret: SecretStr) -> str:
    key = base64.b64decode(secret.get_secret_value().removeprefix(SECRET_PREFIX))
    return base64.b64encode(hmac.new(key, signed, sha256).digest()).decode()
