"""By what a request is known again: digests of its idempotency key, its body, and all that decides its pictures."""

from __future__ import annotations

import json
from hashlib import sha256

from shared.contract import JobRequest
from shared.generation import GenerationParams, ModelCard
from shared.jobs import JobId, Once


def once_to_submit(key: str, request: JobRequest) -> Once:
    """Make an idempotency key's digests with the request as it was said: no default of the model, no drawn seed.

    What was left out and what was said to be as if left out are the same, so a later version's new fields change none.
    """
    return Once(_digest(key), _digest(request.model_dump(mode="json", exclude_defaults=True)))


def once_to_retry(key: str, job_id: JobId) -> Once:
    """Make an idempotency key's digests with the job that is to be tried again."""
    return Once(_digest(key), _digest({"retry_of": job_id}))


def once_to_submit_batch(key: str, name: str, body: bytes) -> Once:
    """Make an idempotency key's digests with a batch as it was sent, byte for byte; a job's are others."""
    return Once(_digest({"batch": key}), _digest({"name": name, "body": sha256(body).hexdigest()}))


def result_of(card: ModelCard, params: GenerationParams) -> str:
    """Make the digest of what decides the pictures, whoever asks for them and by whatever preset's name.

    The card's id is the name that the request gave: who names a class gets no picture of another's.
    """
    return sha256(f"{card.id}\n{card.revision}\n{params.model_dump_json(exclude={'preset'})}".encode()).hexdigest()


def _digest(said: object) -> str:
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return sha256(canonical.encode()).hexdigest()
