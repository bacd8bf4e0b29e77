"""How the command ends: its exit codes, and an error as one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from shared.errors import (
    DarkroomError,
    GatewayUnavailable,
    GenerationFailed,
    InvalidRequest,
    JobNotFound,
    KeyNotFound,
    KeyRequired,
    Unavailable,
    UnexpectedAnswer,
    WorkerNotFound,
)

MOST: Final = 50
"""Wrong fields that are told: who has more has made the same mistake on each line."""

HINTS: Final[Mapping[type[DarkroomError], str]] = {
    GatewayUnavailable: "`darkroom doctor` looks for the cause.",
    UnexpectedAnswer: "`darkroom doctor` looks for the cause.",
    KeyRequired: "Here: set DARKROOM_API_KEY, or give --key-file.",
    JobNotFound: "Here: `darkroom jobs`.",
    WorkerNotFound: "Here: `darkroom workers`.",
    KeyNotFound: "Here: `darkroom keys list`.",
}
"""An error's words are for programs: how a person at a terminal does it."""


class ExitCode(IntEnum):
    """What the command tells a shell script."""

    OK = 0
    FAILED = 1
    """A job ended without its pictures, a line of a batch failed, or `doctor` found something wrong."""
    USAGE = 2
    """Wrong words on the command line, in a file or in the environment; the request has wrong fields."""
    UNAVAILABLE = 3
    """The gateway, its queue or its store is away."""
    REFUSED = 4
    """The gateway does not do it: the key, its scope, a limit, or there is no such thing."""
    INTERRUPTED = 130
    """Ctrl-C."""


def exit_code_of(error: DarkroomError) -> ExitCode:
    """Say how the command ends after this error."""
    if isinstance(error, GenerationFailed):
        return ExitCode.FAILED
    if isinstance(error, InvalidRequest):
        return ExitCode.USAGE
    if isinstance(error, GatewayUnavailable | Unavailable | UnexpectedAnswer):
        return ExitCode.UNAVAILABLE
    return ExitCode.REFUSED


def sentence_of(error: DarkroomError) -> str:
    """Say an error to a person at a terminal; of wrong fields each on a line."""
    hint = HINTS.get(type(error))
    if isinstance(error, InvalidRequest):
        said = [f"{wrong.field}: {wrong.message}" for wrong in error.errors[:MOST]]
        left = len(error.errors) - len(said)
        return "\n".join([*said, f"And {left} more."] if left else said)
    return str(error) if hint is None else f"{error} {hint}"
