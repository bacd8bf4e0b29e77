"""Styles: words around a prompt. Data of `styles.toml`, or of a file that the operator names; read here, once.

styles = read_styles()             # ours; read_styles(Path("house.toml")): theirs, or WrongStyles
styles.applied("oil", "a fox", "") # "oil painting of a fox, ...", "photograph, ..."

Knows neither the form nor Gradio.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from shared.errors import FieldError, InvalidRequest, field_errors
from shared.generation import MAX_PROMPT_CHARS

BUILT_IN: Final = Path(__file__).with_name("styles.toml")

SLOT: Final = "{prompt}"
"""Where in a template the typed prompt stands."""

MAX_STYLES: Final = 200
"""More can't be looked through, and each goes to every visitor's browser."""


def _with_slot(template: str) -> str:
    if template.count(SLOT) != 1:
        raise ValueError(f"Must hold {SLOT} once: there stands what was typed")
    return template


_Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]


class Style(BaseModel):
    """One way for a picture to look."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    group: _Words
    title: _Words
    description: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] = ""
    prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARS), AfterValidator(_with_slot)]
    negative: str = Field(default="", max_length=MAX_PROMPT_CHARS)

    def around(self, prompt: str, negative: str) -> tuple[str, str]:
        """Put the style's words around both texts; of an empty prompt nothing is made, so that it is missed."""
        if not prompt.strip():
            return prompt, negative
        # Not str.format: people type braces too.
        said = (text.strip().rstrip(",") for text in (negative, self.negative))
        return self.prompt.replace(SLOT, prompt.strip()), ", ".join(text for text in said if text)

    def without(self, prompt: str, negative: str) -> tuple[str, str] | None:
        """Take the style's words away again; None if they don't stand around these texts."""
        before, _, after = self.prompt.partition(SLOT)
        is_whole = len(prompt) >= len(before) + len(after) and prompt.startswith(before) and prompt.endswith(after)
        if not is_whole or not negative.endswith(self.negative):
            return None
        typed = prompt.removeprefix(before)
        return typed.removesuffix(after), negative.removesuffix(self.negative).removesuffix(", ")


class WrongStyles(ValueError):
    """The styles' file can't be used; the message names the file and, where it can, style and field."""


@dataclass(frozen=True, slots=True)
class Styles:
    """Those that the page offers, by name, in the order of the file."""

    by_name: Mapping[str, Style]

    @property
    def choices(self) -> tuple[tuple[str, str], ...]:
        """What people read, and the name behind it."""
        return tuple((f"{style.group}: {style.title}", style.name) for style in self.by_name.values())

    def description_of(self, name: object) -> str:
        """Say what a style does; empty for none."""
        style = self.by_name.get(name) if isinstance(name, str) else None
        return "" if style is None else style.description

    def applied(self, name: str, prompt: str, negative: str) -> tuple[str, str]:
        """Put a style's words around both texts; no name: as they are. Raises InvalidRequest for an unknown one."""
        if not name:
            return prompt, negative
        style = self.by_name.get(name)
        if style is None:
            raise InvalidRequest(
                (FieldError("style", "There is no such style any more. Choose another one, or none."),)
            )
        return style.around(prompt, negative)


def read_styles(path: Path | None = None) -> Styles:
    """Read the styles of a file; ours without one. Raises WrongStyles."""
    file = path or BUILT_IN
    try:
        found = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise WrongStyles(f"{file} can't be read: {error.strerror}.") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise WrongStyles(f"{file} is no TOML: {error}.") from error
    entries = found.get("style", [])
    if not isinstance(entries, list) or any(not isinstance(entry, dict) for entry in cast("list[object]", entries)):
        raise WrongStyles(f"{file}: `style` must be a list of tables: write [[style]] above each.")
    if unknown := sorted(found.keys() - {"style"}):
        raise WrongStyles(f"{file}: only [[style]] tables are read, not {', '.join(unknown)}.")
    tables = cast("list[dict[str, Any]]", entries)
    if len(tables) > MAX_STYLES:
        raise WrongStyles(f"{file} has {len(tables)} styles; at most {MAX_STYLES} can be offered.")
    by_name: dict[str, Style] = {}
    for number, table in enumerate(tables, 1):
        style = _style(file, number, table)
        if style.name in by_name:
            raise WrongStyles(f"{file}: two styles are named {style.name!r}.")
        by_name[style.name] = style
    return Styles(by_name)


def _style(file: Path, number: int, table: Mapping[str, Any]) -> Style:
    try:
        return Style.model_validate(table)
    except ValidationError as error:
        which = f"style {table['name']!r}" if isinstance(table.get("name"), str) else f"style {number}"
        wrong = "; ".join(f"{one.field}: {one.message}" for one in field_errors(error.errors()))
        raise WrongStyles(f"{file}, {which}: {wrong}") from error
