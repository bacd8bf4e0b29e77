"""What all commands share: the gateway, the key, where to write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx2
import typer
from pydantic import BaseModel, SecretStr
from rich.console import Console

from shared.client import AsyncClient, Client
from shared.errors import FieldError, InvalidRequest

UNBOUNDED: Final = 10_000
"""Characters that a line may have where no terminal bounds it."""


@dataclass(frozen=True)
class Session:
    """One run of the command."""

    url: str
    key: SecretStr | None
    key_file: Path | None = None
    """Where the key was read from, if it was."""
    out: Console = field(default_factory=lambda: _console(stderr=False))
    """For results."""
    err: Console = field(default_factory=lambda: _console(stderr=True))
    """For people, while they wait."""

    @cached_property
    def client(self) -> Client:
        """The gateway's client, which ends with the process."""
        return Client(self.url, api_key=self._key)

    def async_client(self) -> AsyncClient:
        """Make a client for an event loop."""
        return AsyncClient(self.url, api_key=self._key)

    def say(self, sentence: str) -> None:
        """Tell a person something that is no result."""
        self.err.print(sentence, soft_wrap=True)

    def tell(self, *lines: object) -> None:
        """Write results for people and shell scripts alike: a line each, as it is."""
        for line in lines:
            typer.echo(str(line))

    def show(self, body: BaseModel, draw: Callable[[], object], *, as_json: bool) -> None:
        """Write a result as JSON, or as `draw()` makes it for people."""
        if as_json:
            self.tell(body.model_dump_json(indent=2))
        else:
            self.out.print(draw())

    @property
    def _key(self) -> str | None:
        return None if self.key is None else self.key.get_secret_value()


def _console(*, stderr: bool) -> Console:
    """Make a console that takes text as it is; but for a terminal, a row of a table is a line, however long."""
    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = UNBOUNDED
    return console


def checked_url(url: str) -> str:
    """Return a gateway's address; raise InvalidRequest for what is none."""
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.username
        httpx2.URL(url)
    except (ValueError, httpx2.InvalidURL):
        is_one = False
    if not is_one:
        raise InvalidRequest((FieldError("--url", f"{url!r} is no address such as http://127.0.0.1:8000."),))
    return url


def key_in(file: Path) -> SecretStr:
    """Read a key from a file; raise InvalidRequest if there is none."""
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest((FieldError("key file", f"Can't read {file}: {error}."),)) from error
    if not key or len(key.split()) > 1:
        raise InvalidRequest((FieldError("key file", f"{file} must hold one key and nothing else."),))
    return SecretStr(key)


def session_of(context: typer.Context) -> Session:
    """Return the session that the global options made."""
    return context.ensure_object(Session)
