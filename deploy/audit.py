"""Asks OSV (https://osv.dev) which of the locked packages have known vulnerabilities.

    python -m deploy.audit                           # no answer: says so loudly, and passes
    DARKROOM_AUDIT=required python -m deploy.audit   # no answer: fails, as a release must

What was looked at and is accepted stands in deploy/advisories.toml, with a reason and the day on which it is looked at
again. Knows the packages of the lock alone: neither the servers and Debian packages in images, nor binaries in wheels.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Final, TextIO

import httpx2
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from deploy.locked import Pin, pins

OSV: Final = "https://api.osv.dev"
ACCEPTED: Final = Path(__file__).with_name("advisories.toml")
SERVICE: Final = "DARKROOM_AUDIT_URL"
"""The environment's name for a mirror of the service."""
MODE: Final = "DARKROOM_AUDIT"
REQUIRED: Final = "required"
OPTIONAL: Final = "optional"

MOST_QUERIES: Final = 1000
"""Of one request, by OSV's documentation."""
MOST_PAGES: Final = 100
TIMEOUT: Final = httpx2.Timeout(20.0, connect=3.0)


class NotScanned(Exception):
    """Nobody could say; the argument tells why."""


class WrongAcceptance(Exception):
    """deploy/advisories.toml can't be read; the argument tells why."""


class Accepted(BaseModel):
    """An advisory that was looked at, and with which we live until a day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Its own, or any of its aliases, such as a CVE's."""
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=20)]
    until: date


class Advisory(BaseModel):
    """What OSV tells of one: a part of its schema."""

    id: str
    summary: str = ""
    aliases: tuple[str, ...] = ()
    withdrawn: datetime | None = None


class _Named(BaseModel):
    id: str


class _Result(BaseModel):
    vulns: tuple[_Named, ...] = ()
    next_page_token: str | None = None


class _Results(BaseModel):
    results: tuple[_Result, ...]


class _Acceptances(BaseModel):
    model_config = ConfigDict(extra="forbid")

    accepted: tuple[Accepted, ...] = Field(default=())


@dataclass(frozen=True, slots=True)
class Finding:
    """A locked package and an advisory about it."""

    pin: Pin
    advisory: Advisory

    def __str__(self) -> str:
        """Say it in a line."""
        known_as = ", ".join((self.advisory.id, *self.advisory.aliases))
        return f"{self.pin.name} {self.pin.version}: {known_as}: {self.advisory.summary or 'no summary'}"


def read_accepted(path: Path = ACCEPTED) -> tuple[Accepted, ...]:
    """Read what is accepted. Raises WrongAcceptance."""
    try:
        return _Acceptances.model_validate(tomllib.loads(path.read_text())).accepted
    except (OSError, ValueError) as error:  # a ValidationError is one
        raise WrongAcceptance(f"{path.name}: {error}") from error


def scan(packages: Sequence[Pin], service: str = OSV) -> tuple[Finding, ...]:
    """Ask for each package at its version. Raises NotScanned unless all of them were answered."""
    try:
        with httpx2.Client(base_url=service, timeout=TIMEOUT) as client:
            found = [
                (pin, name)
                for begin in range(0, len(packages), MOST_QUERIES)
                for pin, name in _asked(client, packages[begin : begin + MOST_QUERIES])
            ]
            told = {name: _told(client, name) for name in dict.fromkeys(name for _, name in found)}
    except httpx2.HTTPError as error:
        raise NotScanned(f"{service} gives no answer: {error or type(error).__name__}") from error
    except ValidationError as error:
        raise NotScanned(f"{service} answers something else than OSV does") from error
    return tuple(Finding(pin, told[name]) for pin, name in found if told[name].withdrawn is None)


def unaccepted(
    findings: Iterable[Finding], accepted: Iterable[Accepted], today: date
) -> tuple[tuple[Finding, ...], tuple[Accepted, ...]]:
    """Give what nobody has accepted, and the acceptances whose day has come."""
    acceptances = tuple(accepted)
    living = {one.id for one in acceptances if today < one.until}
    open_ones = (one for one in findings if living.isdisjoint((one.advisory.id, *one.advisory.aliases)))
    return tuple(open_ones), tuple(one for one in acceptances if today >= one.until)


def audit(out: TextIO, environment: Mapping[str, str], *, today: date | None = None, accepted: Path = ACCEPTED) -> int:
    """Scan, say what was found, and give the exit status."""
    packages = sorted(pins().values(), key=lambda pin: pin.name)
    try:
        acceptances = read_accepted(accepted)
    except WrongAcceptance as error:
        out.write(f"{error}\n")
        return 1
    try:
        findings = scan(packages, environment.get(SERVICE) or OSV)
    except NotScanned as error:
        is_required = environment.get(MODE) == REQUIRED
        out.write(f"not scanned: {error}. None of {len(packages)} locked packages was checked for vulnerabilities.\n")
        findings, failed = (), is_required
    else:
        out.write(f"scanned: {len(packages)} locked packages, {len(findings)} advisories.\n")
        failed = False
    open_ones, expired = unaccepted(findings, acceptances, today or datetime.now(tz=UTC).date())
    out.writelines(f"vulnerable: {one}\n" for one in open_ones)
    out.writelines(f"expired: {one.id} was accepted until {one.until}, look again: {one.reason}\n" for one in expired)
    return 1 if failed or open_ones or expired else 0


def _asked(client: httpx2.Client, packages: Sequence[Pin]) -> list[tuple[Pin, str]]:
    """Ask for some packages, page after page; the names of the advisories with theirs."""
    found: list[tuple[Pin, str]] = []
    waiting: list[tuple[Pin, str | None]] = [(pin, None) for pin in packages]
    for _ in range(MOST_PAGES):
        if not waiting:
            return found
        queries = [_query(pin, page) for pin, page in waiting]
        answer = client.post("/v1/querybatch", json={"queries": queries}).raise_for_status()
        results = _Results.model_validate_json(answer.content).results
        if len(results) != len(waiting):
            raise NotScanned(f"{len(results)} answers came to {len(waiting)} questions")
        asked = list(zip(waiting, results, strict=True))
        found += [(pin, one.id) for (pin, _), result in asked for one in result.vulns]
        waiting = [(pin, result.next_page_token) for (pin, _), result in asked if result.next_page_token]
    raise NotScanned(f"there is no end after {MOST_PAGES} pages")


def _query(pin: Pin, page: str | None) -> dict[str, object]:
    query: dict[str, object] = {"package": {"ecosystem": "PyPI", "name": pin.name}, "version": pin.version}
    return query if page is None else {**query, "page_token": page}


def _told(client: httpx2.Client, name: str) -> Advisory:
    return Advisory.model_validate_json(client.get(f"/v1/vulns/{name}").raise_for_status().content)


if __name__ == "__main__":
    sys.exit(audit(sys.stdout, os.environ))
