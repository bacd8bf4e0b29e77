"""Turns what torch and diffusers raise into the job's own errors, at the engine's edge."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

import torch

from shared.errors import GenerationFailed, ModelError, OutOfMemory

Result = TypeVar("Result")

_ALLOCATION_FAILED: Final = (
    "can't allocate memory",  # torch's CPU allocator
    "not enough memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


_logger = logging.getLogger(__name__)


def attempt(work: Callable[[], Result]) -> Result | GenerationFailed:
    """Do it, or say why it can't be done; after a failed allocation, hand cached memory back.

    Raises torch.AcceleratorError if the device is lost.
    """
    try:
        return work()
    except Exception as error:  # a model may raise anything, and the other rows go on
        failure = as_failure(error)
        _logger.warning("%s", failure, exc_info=True)
        error.__traceback__ = error.__context__ = None  # their frames would keep the tensors
        if failure is not error:
            failure.__cause__ = error
    if isinstance(failure, OutOfMemory) and torch.cuda.is_available():
        torch.cuda.empty_cache()
    return failure


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an allocation failed, on whichever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _ALLOCATION_FAILED)


def as_failure(error: Exception) -> GenerationFailed:
    """Translate `error` for the job that met it.

    Raises `error` itself if the device is lost (`torch.AcceleratorError`): every later call would
    fail too, so the process must end and another take its jobs.
    """
    if isinstance(error, GenerationFailed):
        return error
    if is_out_of_memory(error):
        return OutOfMemory(
            "The picture does not fit this worker's memory. Ask for a smaller size; output_size can enlarge it after."
        )
    if isinstance(error, torch.AcceleratorError):
        raise error
    first_line = (str(error).strip().splitlines() or ["no message"])[0]
    return ModelError(
        f"The model could not draw this: {type(error).__name__}: {first_line}. "
        "Other parameters may work; if none do, see the worker's log."
    )
