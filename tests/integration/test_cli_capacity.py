"""`darkroom capacity`: how many workers a load needs, by what living ones measured."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from shared.connection import run
from shared.contract import Speed, WorkerState
from shared.scripts import heartbeat, leave
from shared.settings import Settings
from tests.integration.command import Command
from tests.integration.serving import CARD, Hand


def measure(hand: Hand, *, step_ms: float = 400) -> None:
    """Say that it has drawn pictures of 64x64."""
    speed = Speed(width=64, height=64, guided=True, step_ms=step_ms, picture_ms=400)
    state = WorkerState(
        id=hand.worker,
        state="ready",
        model=hand.card.id,
        device="cpu",
        software_version="0",
        started_at_ms=1,
        speeds=(speed,),
        pace=1.5,
    )
    run(hand.redis, heartbeat(state, life_s=600))


@pytest.fixture
def measured(hand: Hand) -> Hand:
    """A worker that has drawn."""
    measure(hand)
    return hand


@pytest.fixture
def classes(hand: Hand, settings: Settings) -> Iterator[tuple[Hand, Hand]]:
    """A slow worker and a fast one, that have drawn; nobody without a class has."""
    of_class = (CARD.model_copy(update={"id": f"{CARD.id}@{name}"}) for name in ("l4", "h100"))
    hand.forget_all()
    with Hand(settings, next(of_class)) as l4, Hand(settings, next(of_class)) as h100:
        measure(l4)
        measure(h100, step_ms=100)
        yield l4, h100


def test_the_workers_for_a_load_are_told(darkroom: Command, measured: Hand) -> None:
    said = darkroom.run("capacity", "--pictures-per-hour", "3600", "--wait", "0", "--json")
    need = json.loads(said.stdout)

    assert measured.worker not in said.stdout
    assert (need["model"], need["device_s"], need["busy"], need["is_measured"]) == (CARD.id, 3.0, 3.0, True)
    assert need["workers"] == 6  # of six, 9.9 % must wait; of five, 23.6 %
    assert need["use"] == 0.5


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


def test_of_several_classes_one_has_to_be_named(darkroom: Command, classes: tuple[Hand, Hand]) -> None:
    l4, h100 = classes
    done = darkroom.run("capacity", "--pictures-per-hour", "3600")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{h100.card.id}, {l4.card.id}" in " ".join(done.stderr.split())

    def need(hand: Hand) -> tuple[str, str, float]:
        said = darkroom.run("capacity", "--pictures-per-hour", "3600", "--model", hand.card.id, "--json")
        found = json.loads(said.stdout)
        return found["model"], found["pool"], found["device_s"]

    assert [need(hand) for hand in classes] == [(CARD.id, l4.card.id, 3.0), (CARD.id, h100.card.id, 1.2)]


def test_where_one_class_alone_has_drawn_the_model_is_enough(darkroom: Command, classes: tuple[Hand, Hand]) -> None:
    l4, h100 = classes
    run(l4.redis, leave(l4.worker, l4.card.id))

    said = darkroom.run("capacity", "--pictures-per-hour", "3600")
    assert said.stdout.splitlines()[0].split()[-1] == h100.card.id


def test_a_class_that_is_not_there_or_has_not_drawn_is_refused(darkroom: Command, classes: tuple[Hand, Hand]) -> None:
    l4, h100 = classes
    run(l4.redis, leave(l4.worker, l4.card.id))

    unknown = darkroom.run("capacity", "--pictures-per-hour", "1", "--model", f"{CARD.id}@a100")
    unmeasured = darkroom.run("capacity", "--pictures-per-hour", "1", "--model", l4.card.id)

    assert (unknown.returncode, unmeasured.returncode) == (2, 2)
    assert h100.card.id in unknown.stderr
    assert "darkroom generate" in unmeasured.stderr
