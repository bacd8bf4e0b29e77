"""How every part logs: one line an event, to standard error, as text or as JSON, with what the event is about.

Owns the two forms, what is known of a running task (`ABOUT`), and the set-up of a process. Who binds what, and which
lines there are, is the parts' affair; docs/operations/logs.md tells readers.
"""

from __future__ import annotations

import io
import json
import logging
import math
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, TextIO, final

from shared.settings import LogFormat
from shared.version import VERSION

_encode: Final = json.JSONEncoder(default=str, separators=(",", ":")).encode
_quoted: Final = json.encoder.encode_basestring_ascii

OURS: Final = ("api", "deploy", "shared", "ui", "worker")
"""Loggers that DARKROOM_LOG_LEVEL may open further than INFO."""
QUIET: Final = ("httpx", "httpx2")
"""Loggers that say each request's whole address at INFO: theirs begin at WARNING."""
PRIVATE: Final = "[prompt]"
"""Stands where an error quoted one."""
LONGEST_PRINTED: Final = 10_000
"""Characters of a line that a library prints; what is longer is told in parts."""
SHORTEST_PRIVATE: Final = 4
"""Characters: what is shorter says nothing, and is part of other words."""
INDENT: Final = "    "
"""Before each line of a text form's event but the first: no event begins so."""


@dataclass(slots=True)
class About:
    """What a task or thread is busy with. Whoever binds it may come to know more; the lines from then on tell it."""

    request: str = ""
    tenant: str = ""
    key: str = ""
    """The key's id, never the key."""
    job: str = ""
    attempt: int = 0
    trace: str = ""
    """Id of the trace that its spans are in, if it is traced."""
    private: tuple[str, ...] = ()
    """Texts that an error may quote and no line shall: prompts."""


ABOUT: Final[ContextVar[About | None]] = ContextVar("about", default=None)
"""Tasks inherit it from who starts them, threads don't: who hands work to one binds it there again."""


@contextmanager
def about(what: About | None) -> Generator[None]:
    """Bind what the lines in here are about."""
    token = ABOUT.set(what)
    try:
        yield
    finally:
        ABOUT.reset(token)


@final
class _Process:
    """What all lines of a process have in common."""

    def __init__(self) -> None:
        self.part = self.worker = ""
        self.said = ""
        """The same as fields of an object in JSON."""
        self.is_known()

    def is_known(self, **more: str) -> None:
        """Take in what has become known of it."""
        self.part, self.worker = more.get("part", self.part), more.get("worker", self.worker)
        fields = {"part": self.part, "host": socket.gethostname(), "version": VERSION}
        self.said = _encode(fields | ({"worker": self.worker} if self.worker else {}))[1:-1]


_PROCESS: Final = _Process()


def name_worker(worker: str) -> None:
    """Say which worker or courier this process is."""
    _PROCESS.is_known(worker=worker)


class _Form(logging.Formatter):
    """Knows the time of a record. Used under its handler's lock: one thread at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._second = -1
        self._stamp = ""

    def _at(self, record: logging.LogRecord) -> str:
        """UTC, in milliseconds. A second is put into words once."""
        second = int(record.created)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int(record.msecs):03d}Z"


@final
class Text(_Form):
    """`at level logger [whose it is] message what-it-is-about=...`, for people; docs/operations/logs.md."""

    def format(self, record: logging.LogRecord) -> str:
        """Put an event on one line, or on several of which all but the first are indented."""
        head = f"{self._at(record)} {record.levelname:<8} {record.name} "
        message, fields = _message(record), ""
        own = _added(record)
        if (of_task := ABOUT.get()) is not None:
            if of_task.request or of_task.tenant:
                head += _whose(of_task)
            if of_task.job and "job" not in own:
                fields = f" job={of_task.job} attempt={of_task.attempt}" if of_task.attempt else f" job={of_task.job}"
        for name, value in own.items():
            fields += f" {name}={_word(value)}"
        if of_task is not None and of_task.trace:
            fields += f" trace={of_task.trace}"
        if message.isprintable():
            said = f"{head}{message}{fields}"
        else:
            first, *rest = message.strip("\n").split("\n")
            said = "\n".join((f"{head}{_visible(first)}{fields}", *(INDENT + _visible(line) for line in rest)))
        if record.exc_info or record.stack_info:
            said = "\n".join((said, *(INDENT + _visible(line) for line in _trouble(record).split("\n"))))
        return said


@final
class Json(_Form):
    """An object a line, in ASCII, for whoever collects logs; docs/operations/logs.md lists the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Put an event on one line."""
        said = (
            f'{{"at":"{self._at(record)}","level":"{record.levelname}","logger":{_quoted(record.name)},'
            f'"message":{_quoted(_message(record))},{_PROCESS.said}'
        )
        own = _added(record)
        if isinstance(record.args, dict):  # the words that the message names are fields, too
            own |= record.args
        if (of_task := ABOUT.get()) is not None:
            for name in _TOLD:
                if (value := getattr(of_task, name)) and name not in own:
                    said += f',"{name}":{_value(value)}'
        for name, value in own.items():
            if name not in _TAKEN:
                said += f",{_quoted(name)}:{_value(value)}"
        if record.exc_info or record.stack_info:
            kind = record.exc_info[0] if record.exc_info else None
            error = {"type": kind.__qualname__ if kind else None, "stack": _trouble(record)}
            said += f',"error":{_encode(error)}'
        return said + "}"


@final
class Stderr(logging.Handler):
    """Writes to standard error, an event at a time, whole."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write an event; a fault of its own is said instead, without what the event would have said."""
        try:
            self._stream.write(self.format(record) + "\n")  # which is flushed at each line's end, by Python itself
        except Exception:  # noqa: BLE001 a line that can't be written must end nothing
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 logging's own name
        """Say which line is missing. Python's own way would print its arguments, whatever they are."""
        error = sys.exception()
        lost = logging.LogRecord(
            record.name, logging.ERROR, "", 0, "a line is missing: %s", (type(error).__name__,), None
        )
        with suppress(Exception):  # nobody reads it any more, or its very form is at fault
            self._stream.write(self.format(lost) + "\n")


@final
class Printed(io.TextIOBase):
    """Takes the place of a standard stream: what a library prints becomes events, a line each."""

    def __init__(self, stream: TextIO, logger: logging.Logger, level: int) -> None:
        super().__init__()
        self._stream = stream
        self._logger = logger
        self._level = level
        self._begun = threading.local()

    def write(self, text: str) -> int:
        """Tell each line whose end has come, unless the level is NOTSET; a thread's lines are its own."""
        *whole, rest = (getattr(self._begun, "line", "") + text).split("\n")
        if len(rest) > LONGEST_PRINTED:
            whole, rest = [*whole, rest], ""
        self._begun.line = rest[rest.rfind("\r") + 1 :]  # what was written over, as progress bars are, nobody would see
        for line in whole:
            if self._level and line and not line.isspace():
                self._logger.log(self._level, "%s", line)
        return len(text)

    def writable(self) -> bool:
        """As every standard stream."""
        return True

    def fileno(self) -> int:
        """The stream's own, for who hands it to another process."""
        return self._stream.fileno()


def configure(part: str, *, level: str, form: LogFormat, hears_prints: bool = True) -> None:
    """Let this process log, as `part`: what it and its libraries say, print and warn of, and what nobody caught.

    Not `hears_prints`: what libraries print on standard output is dropped.
    """
    # Nothing is found out that no line says.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.logAsyncioTasks = False  # pyright: ignore[reportAttributeAccessIssue]: since Python 3.12
    logging._srcfile = None  # noqa: SLF001  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]: documented in logging's HOWTO
    _PROCESS.is_known(part=part)
    handler = Stderr(sys.__stderr__ or sys.stderr)
    handler.setFormatter(Json() if form == "json" else Text())
    root = logging.getLogger()
    for other in tuple(root.handlers):
        root.removeHandler(other)
    root.addHandler(handler)
    # Below INFO libraries log headers, bodies and signed addresses: that is kept shut.
    least = logging.getLevelNamesMapping()[level]
    root.setLevel(max(least, logging.INFO))
    for name in OURS:
        logging.getLogger(name).setLevel(least)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(least, logging.WARNING))
    at = logging.INFO if hears_prints else logging.NOTSET
    sys.stdout = Printed(sys.__stdout__ or sys.stdout, logging.getLogger("stdout"), at)
    sys.stderr = Printed(sys.__stderr__ or sys.stderr, logging.getLogger("stderr"), logging.WARNING)
    warnings.showwarning = _on_warning
    sys.excepthook = _on_uncaught
    threading.excepthook = _on_uncaught_in_thread
    sys.unraisablehook = _on_unraisable
    traceback.print_exc = _on_printed


def take_over(*names: str) -> None:
    """Have libraries that print their own lines hand them to us; to be called once they are imported."""
    for name in names:
        logger = logging.getLogger(name)
        for handler in tuple(logger.handlers):
            logger.removeHandler(handler)
        logger.propagate = True


def _added(record: logging.LogRecord) -> dict[str, object]:
    """The fields that `extra` gave an event: what stands behind a record's own attributes."""
    every: dict[str, object] = record.__dict__
    if len(every) == _PLAIN:
        return {}
    return {name: every[name] for name in list(every)[_PLAIN:] if name not in _NO_FIELDS}


def _whose(of_task: About) -> str:
    request = f"request={of_task.request} " if of_task.request else ""
    tenant = f"tenant={of_task.tenant} " if of_task.tenant else ""
    return f"[{request}{tenant}key={of_task.key}] " if of_task.key else f"[{f'{request}{tenant}'[:-1]}] "


def _value(value: object) -> str:
    """Say a field's value in JSON: numbers to the thousandth, what JSON has no words for as text."""
    if isinstance(value, str):
        return _quoted(_without_private(value))
    if isinstance(value, float):
        return repr(round(value, 3)) if math.isfinite(value) else f'"{value}"'
    return _encode(value)


def _word(value: object) -> str:
    """Say a field's value so that one sees where it ends."""
    text = _without_private(str(value))
    return text if text.isprintable() and " " not in text and text else json.dumps(text)


def _visible(line: str) -> str:
    """Escape what a terminal would obey, or another reader would take for a line's end."""
    if line.isprintable():
        return line
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in line)


def _message(record: logging.LogRecord) -> str:
    return _without_private(record.getMessage() if record.args else str(record.msg))


def _trouble(record: logging.LogRecord) -> str:
    told = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
    return _without_private(f"{told}{record.stack_info or ''}".rstrip("\n"))


def _without_private(text: str) -> str:
    """Take out what the task keeps to itself, as it is and as `repr` writes it."""
    of_task = ABOUT.get()
    if of_task is not None and of_task.private:
        for one in sorted(of_task.private, key=len, reverse=True):
            if len(one) >= SHORTEST_PRIVATE:
                text = text.replace(one, PRIVATE).replace(repr(one)[1:-1], PRIVATE)
    return text


def _on_warning(  # noqa: PLR0917 (the signature of warnings.showwarning)
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    del file, line  # for who would print it
    logging.getLogger("py.warnings").warning("%s: %s (%s:%d)", category.__name__, message, filename, lineno)


def _on_printed(limit: int | None = None, file: TextIO | None = None, chain: bool = True) -> None:
    """Tell what a library caught: where, not in which words, for they may quote what a user typed, as Gradio's do."""
    error = sys.exception()
    if file is not None or error is None:
        traceback.print_exception(error, limit=limit, file=file, chain=chain)
        return
    told: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # one may be its own cause
        seen.add(id(error))
        told.insert(0, f"{''.join(traceback.format_tb(error.__traceback__, limit))}{type(error).__qualname__}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    logging.getLogger("stderr").error("a library caught and printed:\n%s", "\n".join(told))


def _on_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("shared.logs").critical("nobody caught it, so the process ends", exc_info=(kind, error, trace))


def _on_uncaught_in_thread(what: threading.ExceptHookArgs, /) -> None:
    if what.exc_value is None or issubclass(what.exc_type, SystemExit):
        return
    name = what.thread.name if what.thread else "?"
    told = (what.exc_type, what.exc_value, what.exc_traceback)
    logging.getLogger("shared.logs").critical("nobody caught it, so the thread %s ended", name, exc_info=told)


def _on_unraisable(what: Any, /) -> None:  # noqa: ANN401 (sys.UnraisableHookArgs is known to type checkers alone)
    error: BaseException | None = what.exc_value
    if error is None:
        return
    # Not the object itself: what it would say of itself is nobody's to know.
    message = what.err_msg or "nobody could catch it"
    told = (type(error), error, error.__traceback__)
    logging.getLogger("shared.logs").error("%s: %s", message, type(what.object).__name__, exc_info=told)


_PLAIN: Final = len(logging.makeLogRecord({}).__dict__)
"""A record's attributes, those that `extra` adds left out."""
_NO_FIELDS: Final = frozenset({"message", "asctime", "color_message"})
"""What Python's own formatter leaves on a record that it has seen before, and uvicorn's message in colours."""
_TOLD: Final = ("request", "tenant", "key", "job", "attempt", "trace")
_TAKEN: Final = frozenset({"at", "level", "logger", "message", "part", "host", "version", "error"})
"""Fields that no line's own may replace."""
