"""`darkroom capacity`: how many workers a load needs, by what living ones measured."""

from __future__ import annotations

import json

import pytest

from shared.connection import run
from shared.contract import Speed, WorkerState
from shared.scripts import heartbeat
from tests.integration.command import Command
from tests.integration.serving import CARD, Hand


@pytest.fixture
def measured(hand: Hand) -> Hand:
    """A worker that has drawn pictures of 64x64."""
    speed = Speed(width=64, height=64, guided=True, step_ms=400, picture_ms=400)
    state = WorkerState(
        id=hand.worker,
        state="ready",
        model=CARD.id,
        device="cpu",
        software_version="0",
        started_at_ms=1,
        speeds=(speed,),
        pace=1.5,
    )
    run(hand.redis, heartbeat(state, life_s=600))
    return hand


def test_the_workers_for_a_load_are_told(darkroom: Command, measured: Hand) -> None:
    said = darkroom.run("capacity", "--pictures-per-hour", "3600", "--wait", "0", "--json")
    need = json.loads(said.stdout)

    assert measured.worker not in said.stdout
    assert (need["model"], need["device_s"], need["busy"], need["is_measured"]) == (CARD.id, 3.0, 3.0, True)
    assert need["workers"] == 6  # of six, 9.9 % must wait; of five, 23.6 %
    assert need["use"] == 0.5


def test_a_gpu_class_is_told_apart(darkroom: Command, measured: Hand) -> None:
    speed = Speed(width=64, height=64, guided=True, step_ms=40, picture_ms=40)
    pool = f"{CARD.id}@h100"
    state = WorkerState(
        id="fast", state="ready", model=pool, device="h100", software_version="0", started_at_ms=1, speeds=(speed,)
    )
    run(measured.redis, heartbeat(state, life_s=600))

    needs = [
        json.loads(darkroom.run("capacity", "--pictures-per-hour", "3600", *words, "--json").stdout)
        for words in ((), ("--model", pool))
    ]

    assert [(need["model"], need["devices"]) for need in needs] == [(CARD.id, ["cpu", "h100"]), (pool, ["h100"])]
    assert needs[1]["device_s"] == 0.2


def test_a_person_reads_it_in_four_lines(darkroom: Command, measured: Hand) -> None:
    del measured
    lines = darkroom.run(
        "capacity", "--pictures-per-hour", "3600", "--size", "128x64", "--steps", "8"
    ).stdout.splitlines()

    assert [line.split()[0] for line in lines] == ["picture", "takes", "load", "workers"]
    assert "128x64, 8 steps, 8 of them guided" in lines[0]
    assert "10.8 s of cpu, reckoned from what was measured of another size" in lines[1]


def test_while_nothing_was_measured_it_says_what_to_do(darkroom: Command, hand: Hand) -> None:
    del hand
    done = darkroom.run("capacity", "--pictures-per-hour", "3600")

    assert (done.returncode, done.stdout) == (2, "")
    assert "darkroom generate" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "no/such"), CARD.id),
        (("--size", "63x64"), "not 63x64"),
        (("--steps", "900"), "num_inference_steps"),
    ],
)
def test_what_the_model_does_not_draw_is_refused(
    darkroom: Command, measured: Hand, words: tuple[str, str], said: str
) -> None:
    del measured
    done = darkroom.run("capacity", "--pictures-per-hour", "3600", *words)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
