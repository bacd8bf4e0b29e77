"""Every error that Darkroom itself raises: one tree, one stable `code` a leaf.

    DarkroomError
    ├── InvalidRequest          invalid_request      a field is wrong; `errors` names each
    ├── JobNotFound             job_not_found        no such job, or not yours
    ├── BatchNotFound           batch_not_found      no such batch, or not yours
    ├── ImageNotFound           image_not_found      the job has no such picture (yet)
    ├── ModelNotFound           model_not_found      a dialect's request names a model that is not served
    ├── WorkerNotFound          worker_not_found     no such worker lives
    ├── WebhookNotFound         webhook_not_found    no such webhook, or not yours
    ├── DeliveryNotFound        delivery_not_found   the webhook has no such delivery
    ├── WebhookOff              webhook_off          the webhook is switched off: nothing is sent to it
    ├── NotRetryable            not_retryable        the job has succeeded or goes on: there is nothing to try again
    ├── KeyRequired             key_required         this needs a key, and none was sent
    ├── KeyRefused              key_refused          the key that was sent opens nothing
    ├── ScopeMissing            scope_missing        the key does not open this
    ├── KeyNotFound             key_not_found        no such key
    ├── IdempotencyMismatch     idempotency_mismatch  the idempotency key came with another body before
    ├── TooMuch                 -                    refused for now; come back later
    │   ├── QueueFull           queue_full           too much is waiting
    │   ├── TenantQueueFull     tenant_queue_full    too much of yours is waiting
    │   └── RateLimited         rate_limited         you ask too often, or hold too many answers open
    ├── Unavailable             -                    something that the request needs is away
    │   ├── QueueUnavailable    queue_unavailable    Redis does not answer
    │   ├── StoreUnavailable    store_unavailable    the object store does not answer
    │   ├── NoModel             no_model             no worker has named its model yet
    │   ├── NoVocabulary        no_vocabulary        no worker has told yet how the model reads texts
    │   └── GatewayStopping     gateway_stopping     the gateway stops and lets go of who waits for pictures
    ├── CheckpointUnavailable   checkpoint_unavailable   the worker can't have the model that it was told to serve
    ├── GatewayUnavailable      gateway_unavailable  the client can't reach the gateway
    ├── UnexpectedAnswer        unexpected_answer    the client got an answer that it can't read
    ├── WaitTimeout             wait_timeout         the client stopped waiting; the job goes on
    ├── LeaseLost               lease_lost           the job is no longer this worker's
    ├── LayoutsApart            layouts_apart        parts work on this Redis whose keys have another layout
    └── GenerationFailed        -                    a job ended without a picture
        ├── ModelError          model_error          the pipeline raised
        ├── OutOfMemory         out_of_memory        it does not fit this device
        ├── JobCanceled         job_canceled         somebody canceled it
        ├── DeadlinePassed      deadline_passed      it had not ended by its deadline
        └── WorkerLost          worker_lost          its workers died, again and again

HTTP statuses live in `api/errors.py`; an exception of a library is translated where it is met.
A message says what happened and what the reader can do about it; an error raised without one says
its docstring.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self


class DarkroomError(Exception):
    """The root: never raised itself."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join(inspect.cleandoc(self.__doc__ or "").split()))

    @classmethod
    def quoted(cls, message: str) -> Self:
        """Make the error again from its message, as whoever reads it in an answer or a job does."""
        error = cls.__new__(cls)
        Exception.__init__(error, message)
        return error


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field of a request and what would be right."""

    field: str
    message: str


_MESSAGES: Final[Mapping[str, str]] = {
    "extra_forbidden": "There is no such field.",
    "none_required": "There is no such field.",
    "missing": "Required.",
    "model_type": "Must be a JSON object.",
    "model_attributes_type": "Must be a JSON object.",
}
"""What pydantic says otherwise, by its type of finding."""


def field_errors(found: Sequence[Mapping[str, Any]]) -> tuple[FieldError, ...]:
    """Say pydantic's findings (`ValidationError.errors()`) as ours, one a field and finding."""
    return tuple(FieldError(_field(one["loc"]), _message(one["type"], one["msg"])) for one in found)


def _field(location: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in location if part != "[key]") or "body"


def _message(kind: str, text: str) -> str:
    said = _MESSAGES.get(kind, text.replace("Input should", "Must"))
    return said if said.endswith(".") else f"{said}."


class InvalidRequest(DarkroomError):
    """The request has wrong fields; nothing was changed."""

    code = "invalid_request"

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))


class JobNotFound(DarkroomError):
    """There is no such job. It may have expired, or belong to someone else."""

    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id}. It may have expired: list yours with GET /v1/jobs.")


class BatchNotFound(DarkroomError):
    """There is no such batch. It may have expired, or belong to someone else."""

    code = "batch_not_found"

    def __init__(self, batch: str) -> None:
        super().__init__(f"There is no batch {batch}. It may have expired: list yours with GET /v1/batches.")


class ImageNotFound(DarkroomError):
    """The job has no such picture, or not yet."""

    code = "image_not_found"


class ModelNotFound(DarkroomError):
    """There is no such model here."""

    code = "model_not_found"


class WorkerNotFound(DarkroomError):
    """No such worker lives."""

    code = "worker_not_found"

    def __init__(self, worker: str) -> None:
        super().__init__(f"There is no worker {worker}. GET /v1/workers lists those that live.")


class WebhookNotFound(DarkroomError):
    """There is no such webhook, or it is someone else's."""

    code = "webhook_not_found"

    def __init__(self, webhook: str) -> None:
        super().__init__(f"There is no webhook {webhook}. GET /v1/webhooks lists yours.")


class DeliveryNotFound(DarkroomError):
    """The webhook has no such delivery. It may have been forgotten: a thousand of the latest are kept."""

    code = "delivery_not_found"

    def __init__(self, delivery: str) -> None:
        super().__init__(
            f"There is no delivery {delivery}. It may have been forgotten: GET /v1/webhooks/{{id}}/deliveries lists "
            "those that are kept."
        )


class WebhookOff(DarkroomError):
    """The webhook is switched off. Switch it on first: PATCH it with `"enabled": true`."""

    code = "webhook_off"


class NotRetryable(DarkroomError):
    """Only a job that failed, expired or was canceled can be tried again; this one has not."""

    code = "not_retryable"


class KeyRequired(DarkroomError):
    """This needs a key: send `Authorization: Bearer` with one. Operators make keys by that of DARKROOM_OPERATOR_KEY."""

    code = "key_required"


class KeyRefused(DarkroomError):
    """The key opens nothing here: it is mistyped, was revoked, or has expired. Ask an operator for another one."""

    code = "key_refused"


class ScopeMissing(DarkroomError):
    """The key does not open this."""

    code = "scope_missing"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This needs a key with the scope `{scope}`, which yours lacks. Ask an operator for one.")


class KeyNotFound(DarkroomError):
    """There is no such key."""

    code = "key_not_found"

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"There is no key {key_id}: it may be revoked already. GET /v1/keys lists those that there are."
        )


class IdempotencyMismatch(DarkroomError):
    """This Idempotency-Key came with another request before. Draw a new key for a new request; nothing was accepted."""

    code = "idempotency_mismatch"


class TooMuch(DarkroomError):
    """Refused for now; nothing was accepted. `retry_after_s` says when to come back."""

    retry_after_s: int = 2
    said: ClassVar[str]
    """The message, with the figures left open."""

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        self.waiting = waiting
        self.retry_after_s = retry_after_s
        super().__init__(self.said.format(waiting=waiting, retry_after_s=retry_after_s))


class QueueFull(TooMuch):
    """Too many jobs are waiting; nothing was accepted."""

    code = "queue_full"
    said = "{waiting} jobs are waiting already. Try again in {retry_after_s} s."


class TenantQueueFull(TooMuch):
    """Too many of your jobs are waiting; nothing was accepted."""

    code = "tenant_queue_full"
    said = "{waiting} jobs of yours are waiting already. Try again in {retry_after_s} s, or cancel some."


class RateLimited(TooMuch):
    """You ask too often, or hold too many answers open; nothing was changed."""

    code = "rate_limited"

    def __init__(self, per_minute: int, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        DarkroomError.__init__(
            self, f"You may send {per_minute} requests a minute. Try again in {retry_after_s} s; nothing was changed."
        )

    @classmethod
    def by_held(cls, what_is: str, retry_after_s: int) -> Self:
        """Refuse to hold one more answer."""
        error = cls.quoted(f"{what_is} Try again in {retry_after_s} s; nothing was changed.")
        error.retry_after_s = retry_after_s
        return error


class Unavailable(DarkroomError):
    """Something that the request needs is away for now; nothing was changed."""

    retry_after_s: ClassVar[int] = 2


class QueueUnavailable(Unavailable):
    """The queue (Redis) does not answer. Nothing was accepted; try again shortly."""

    code = "queue_unavailable"


class StoreUnavailable(Unavailable):
    """The object store does not answer. Pictures that it holds are safe; try again shortly."""

    code = "store_unavailable"


class NoModel(Unavailable):
    """No worker has said which model it serves. Start a worker, then try again."""

    code = "no_model"
    retry_after_s = 5


class NoVocabulary(Unavailable):
    """No worker has told yet how this model reads texts. Jobs are taken all the same; try again once one is ready."""

    code = "no_vocabulary"
    retry_after_s = 5

    def __init__(self, model: str) -> None:
        super().__init__(
            f"No worker has told yet how {model} reads texts: the first one still loads it, or all are of an older "
            "version. Jobs are taken all the same; try again once one is ready."
        )


class GatewayStopping(Unavailable):
    """The gateway stops, and the job that you waited for was canceled. Ask again: another gateway or the next one."""

    code = "gateway_stopping"


class CheckpointUnavailable(DarkroomError):
    """The worker can't have the model that it was told to serve; it does not start."""

    code = "checkpoint_unavailable"


class GatewayUnavailable(DarkroomError):
    """The gateway does not answer. Check that it runs and that the address is right."""

    code = "gateway_unavailable"


class UnexpectedAnswer(DarkroomError):
    """The gateway gave an answer that this client can't read. Check the address and the versions."""

    code = "unexpected_answer"


class WaitTimeout(DarkroomError):
    """The job was not done in time. It goes on: wait again, or cancel it."""

    code = "wait_timeout"


class LeaseLost(DarkroomError):
    """The job is no longer this worker's: canceled, ended, or handed to another."""

    code = "lease_lost"


class LayoutsApart(DarkroomError):
    """Parts of another version work on this Redis, whose keys have another layout."""

    code = "layouts_apart"


class GenerationFailed(DarkroomError):
    """A job ended without its pictures; `code` and message go into the job."""


class ModelError(GenerationFailed):
    """The pipeline raised while it worked on this job."""

    code = "model_error"


class OutOfMemory(GenerationFailed):
    """The picture does not fit the device's memory. Ask for a smaller one."""

    code = "out_of_memory"


class JobCanceled(GenerationFailed):
    """The job was canceled before it was done."""

    code = "job_canceled"


class DeadlinePassed(GenerationFailed):
    """The job had not ended by the deadline that its `cancel_after` set."""

    code = "deadline_passed"


class WorkerLost(GenerationFailed):
    """Every worker that took this job died before it was done."""

    code = "worker_lost"


def leaves(root: type[DarkroomError] = DarkroomError) -> Iterator[type[DarkroomError]]:
    """Every error that can be raised: the classes of the tree that no other class refines."""
    branches = root.__subclasses__()
    if not branches:
        yield root
    for branch in branches:
        yield from leaves(branch)


def leaf_of(code: str) -> type[DarkroomError] | None:
    """The error that a stable code stands for; None for a code that this version doesn't know."""
    return next((leaf for leaf in leaves() if leaf.code == code), None)
