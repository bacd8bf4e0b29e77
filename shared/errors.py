"""Every error that Darkroom itself raises: one tree, one stable `code` a leaf.

    DarkroomError
    ├── InvalidRequest          invalid_request      a field is wrong; `errors` names each
    ├── JobNotFound             job_not_found        no such job, or not yours
    ├── ImageNotFound           image_not_found      the job has no such picture (yet)
    ├── WorkerNotFound          worker_not_found     no such worker lives
    ├── NotRetryable            not_retryable        the job has succeeded or goes on: there is nothing to try again
    ├── OperatorOnly            operator_only        this needs the operator's key
    ├── IdempotencyMismatch     idempotency_mismatch  the idempotency key came with another body before
    ├── TooMuch                 -                    refused for now; come back later
    │   ├── QueueFull           queue_full           too much is waiting
    │   └── TenantQueueFull     tenant_queue_full    too much of yours is waiting
    ├── Unavailable             -                    something that the request needs is away
    │   ├── QueueUnavailable    queue_unavailable    Redis does not answer
    │   ├── StoreUnavailable    store_unavailable    the object store does not answer
    │   └── NoModel             no_model             no worker has named its model yet
    ├── CheckpointUnavailable   checkpoint_unavailable   the worker can't have the model that it was told to serve
    ├── GatewayUnavailable      gateway_unavailable  the client can't reach the gateway
    ├── UnexpectedAnswer        unexpected_answer    the client got an answer that it can't read
    ├── WaitTimeout             wait_timeout         the client stopped waiting; the job goes on
    ├── LeaseLost               lease_lost           the job is no longer this worker's
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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self


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


class ImageNotFound(DarkroomError):
    """The job has no such picture, or not yet."""

    code = "image_not_found"


class WorkerNotFound(DarkroomError):
    """No such worker lives."""

    code = "worker_not_found"

    def __init__(self, worker: str) -> None:
        super().__init__(f"There is no worker {worker}. GET /v1/workers lists those that live.")


class NotRetryable(DarkroomError):
    """Only a job that failed, expired or was canceled can be tried again; this one has not."""

    code = "not_retryable"


class OperatorOnly(DarkroomError):
    """This is for operators: send `Authorization: Bearer` with the key of DARKROOM_OPERATOR_KEY."""

    code = "operator_only"


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
