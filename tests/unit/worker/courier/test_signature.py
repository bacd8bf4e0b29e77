"""Signatures are those that receivers' own library takes."""

from __future__ import annotations

import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from shared.webhooks import new_secret
from worker.courier.signature import headers_of

BODY = '{"type":"job.succeeded","prompt":"naïve"}'.encode()


def test_the_reference_library_takes_a_message() -> None:
    secret = new_secret()
    headers = headers_of("id", int(time.time()), BODY, [secret])
    assert Webhook(secret.get_secret_value()).verify(BODY, headers) == {"type": "job.succeeded", "prompt": "naïve"}


def test_after_a_change_the_holders_of_either_secret_take_it() -> None:
    secrets = [new_secret(), new_secret()]
    headers = headers_of("id", int(time.time()), BODY, secrets)
    for secret in secrets:
        Webhook(secret.get_secret_value()).verify(BODY, headers)


def test_a_changed_word_an_old_time_and_another_secret_are_noticed() -> None:
    secret = new_secret()
    now = int(time.time())
    good = headers_of("id", now, BODY, [secret])
    old = headers_of("id", now - 3600, BODY, [secret])
    for key, body, headers in (
        (secret, BODY.replace(b"job", b"jab"), good),
        (secret, BODY, {**good, "webhook-id": "other"}),
        (secret, BODY, old),
        (new_secret(), BODY, good),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(key.get_secret_value()).verify(body, headers)
