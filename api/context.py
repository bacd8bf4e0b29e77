"""The request that the running task answers: its id and path, for bodies and log lines, and what the edge shall say."""

from __future__ import annotations

import itertools
import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.trace import Span

from shared.jobs import TraceParent
from shared.logs import ABOUT, About
from shared.tracing import parent_of

PATH: Final[ContextVar[str]] = ContextVar("path", default="/")


@dataclass(slots=True)
class Exchange:
    """What turns out inside while a request is answered, for the edge to say."""

    about: About = field(default_factory=About)
    """For the log: whose request it is, and which job it made."""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    """More headers of the answer, whichever it will be."""
    route: str = ""
    """The address as the document has it, of what is answered past the router."""
    code: str = ""
    """Of the error that it is answered with, if it is one."""
    is_held: bool = False
    """True if the answer waits for something to happen: it takes as long as that takes."""
    span: Span | None = None
    """The request's, if requests are traced and this is one that may change something."""


EXCHANGE: Final[ContextVar[Exchange]] = ContextVar("exchange")


def exchange() -> Exchange:
    """What the edge of this request shall say; outside of requests one that nobody reads."""
    return EXCHANGE.get(None) or Exchange()


_PROCESS = secrets.token_hex(4)
_NUMBERS = itertools.count(1)
_SANE = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def choose_request_id(incoming: str | None) -> str:
    """Keep the caller's id if it is safe in a header and a log line, else draw one."""
    return incoming if incoming and _SANE.fullmatch(incoming) else f"{_PROCESS}{next(_NUMBERS):08x}"


def request_id() -> str | None:
    """The id of the request that is being answered; None outside of requests."""
    about = ABOUT.get()
    return about.request if about else None


def request_trace() -> TraceParent | None:
    """From where others go on with the trace of the request that is being answered; None if it is not traced."""
    span = exchange().span
    return None if span is None else parent_of(span)
