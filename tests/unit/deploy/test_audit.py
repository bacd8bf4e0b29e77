"""The vulnerability scan: what it asks, and that no silence is taken for a clean bill."""

from __future__ import annotations

from datetime import date
from io import StringIO
from pathlib import Path

import pytest

from deploy.audit import ACCEPTED, MODE, REQUIRED, SERVICE, audit, read_accepted
from deploy.locked import pins
from tests.servers import free_port
from tests.unit.deploy.advisers import Adviser, advising

TODAY = date(2026, 11, 23)
ID = "GHSA-aaaa-bbbb-cccc"
HOLE = {"id": ID, "summary": "It does what it should not.", "aliases": ["CVE-2026-1234"]}


def said_of(adviser: Adviser, accepted: Path = ACCEPTED) -> tuple[int, str]:
    out = StringIO()
    with advising(adviser):
        status = audit(out, {SERVICE: adviser.url, MODE: REQUIRED}, today=TODAY, accepted=accepted)
    return status, out.getvalue()


def accepting(folder: Path, name: str, until: str) -> Path:
    file = folder / "advisories.toml"
    file.write_text(f'[[accepted]]\nid = "{name}"\nreason = "No part of Darkroom calls it."\nuntil = {until}\n')
    return file


def test_each_locked_package_is_asked_for_at_its_version() -> None:
    adviser = Adviser()

    status, said = said_of(adviser)

    (queries,) = adviser.asked
    assert {query["package"]["name"]: query["version"] for query in queries} == {
        name: pin.version for name, pin in pins().items()
    }
    assert (status, said) == (0, f"scanned: {len(pins())} locked packages, 0 advisories.\n")


def test_an_advisory_fails_and_is_told() -> None:
    status, said = said_of(Adviser({ID: HOLE}, {"pillow": [ID]}))

    assert status == 1
    assert f"vulnerable: pillow {pins()['pillow'].version}: GHSA-aaaa-bbbb-cccc, CVE-2026-1234: It does" in said


def test_all_pages_are_read() -> None:
    known = {f"PYSEC-2026-{number}": {"id": f"PYSEC-2026-{number}"} for number in range(5)}

    status, said = said_of(Adviser(known, {"pillow": list(known)}, page_size=2))

    assert status == 1
    assert said.count("vulnerable: pillow") == len(known)


def test_one_that_was_withdrawn_is_none() -> None:
    gone = {**HOLE, "withdrawn": "2026-11-02T00:00:00Z"}

    assert said_of(Adviser({ID: gone}, {"pillow": [ID]}))[0] == 0


def test_one_that_is_accepted_passes_until_its_day(tmp_path: Path) -> None:
    adviser = Adviser({ID: HOLE}, {"pillow": [ID]})

    assert said_of(adviser, accepting(tmp_path, "CVE-2026-1234", "2026-11-24"))[0] == 0
    status, said = said_of(adviser, accepting(tmp_path, "CVE-2026-1234", "2026-11-23"))
    assert status == 1
    assert "expired: CVE-2026-1234 was accepted until 2026-11-23" in said
    assert "vulnerable: pillow" in said


@pytest.mark.parametrize(
    "broken", [Adviser(status=503), Adviser(forgets=1), Adviser({}, {"pillow": ["GHSA-nobody-knows"]})]
)
def test_half_an_answer_is_none(broken: Adviser) -> None:
    status, said = said_of(broken)

    assert status == 1
    assert said.startswith("not scanned: ")


def test_without_an_answer_it_says_so_and_passes_unless_it_is_required() -> None:
    nobody = {SERVICE: f"http://127.0.0.1:{free_port()}"}
    for environment, status in ((nobody, 0), ({**nobody, MODE: REQUIRED}, 1)):
        out = StringIO()

        assert audit(out, environment, today=TODAY) == status
        assert out.getvalue().startswith(f"not scanned: {nobody[SERVICE]} gives no answer: ")
        assert f"None of {len(pins())} locked packages was checked" in out.getvalue()


def test_an_expired_acceptance_fails_though_nobody_answers(tmp_path: Path) -> None:
    out = StringIO()
    accepted = accepting(tmp_path, "CVE-2026-1234", "2026-01-01")

    assert audit(out, {SERVICE: f"http://127.0.0.1:{free_port()}"}, today=TODAY, accepted=accepted) == 1


@pytest.mark.parametrize("said", ['[[accepted]]\nid = "CVE-1"\nuntil = 2027-01-01\n', "accepted = 1\n", "["])
def test_an_acceptance_without_a_reason_or_a_day_is_refused(tmp_path: Path, said: str) -> None:
    file = tmp_path / "advisories.toml"
    file.write_text(said)
    out = StringIO()

    assert audit(out, {}, today=TODAY, accepted=file) == 1
    assert out.getvalue().startswith("advisories.toml: ")


def test_ours_can_be_read() -> None:
    assert isinstance(read_accepted(), tuple)
