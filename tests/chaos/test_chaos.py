"""A small storm, so that `make chaos` stays alive: every job that was accepted ends once, with its pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.course import Plan, run_chaos
from tests.chaos.report import table
from tests.tiny_checkpoint import make_tiny_checkpoint


@pytest.mark.timeout(900)  # seven workers import torch, some of them at once
def test_every_job_accepted_in_a_storm_ends_once(tmp_path: Path) -> None:
    plan = Plan(jobs=20, storm_s=30, seed=5, workers=2, gateways=2, lease_s=2)
    outcome = run_chaos(plan, tmp_path / "run", make_tiny_checkpoint(tmp_path / "tiny"), print)
    print(table(outcome))  # noqa: T201 (pytest shows it when the test fails)
    assert len(outcome.accepted) == 20
    assert not outcome.breaches
    assert outcome.pictures.checked > 0
    assert outcome.faults
