"""What it costs a worker to measure its steps and stages, beside what it measures.

    python -m bench.measuring [--pictures 40]

Draws with the model that this machine would serve, a picture after another, and does to the engine's events what a
shift and a delivery do to measure them. Processor time, in one run: of the whole process while it draws, and of the
measuring. Without a GPU's gauges, which have a thread of their own, and the call that tells Redis every five seconds.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from typing import Final

import torch

from shared.generation import GenerationRequest
from shared.jobs import LeaseToken, new_job_id
from shared.meters import Meters
from shared.scripts import Lease
from worker.duty import Duty
from worker.engine.card import card_of
from worker.engine.engine import Engine
from worker.engine.events import Event, PromptRead, RowFailed, RowFinished, RowId
from worker.engine.lap import Lap
from worker.engine.model import load_model
from worker.engine.source import choose_source, fetch
from worker.engine.warmup import warm
from worker.measures import Measures, prompt_seconds, step_seconds
from worker.stages import Passage, Stage
from worker.timesheet import Doing

TIMED_IN_DELIVERY: Final = (Stage.ENCODE, Stage.UPLOAD, Stage.RECORD)


@dataclass(slots=True)
class Costs:
    """Processor seconds, and of what."""

    drawing_s: float = 0.0
    measuring_s: float = 0.0
    steps: int = 0
    duty: Duty = field(default_factory=Duty)


def main() -> None:
    """Measure, and print a line."""
    given = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    given.add_argument("--pictures", type=int, default=40)
    pictures: int = given.parse_args().pictures
    source = choose_source("auto", cuda=torch.cuda.is_available())
    card = card_of(source)
    engine = Engine(load_model(fetch(source, None), card))
    warm(engine)
    costs = Costs()
    measures = Measures(Meters(), card.id)
    costs.duty.stages.listen(measures.passed)
    for number in range(pictures):
        lease = Lease(new_job_id(), LeaseToken("bench"))
        params = GenerationRequest(prompt=f"a red circle {number}").resolve(card, drawn_seed=number)
        engine.admit(RowId("bench"), params, 0)
        while not engine.is_idle:
            begun = time.process_time()
            events = engine.step()
            finished = [event for event in events if isinstance(event, RowFinished)]
            for event in finished:
                event.picture.pixels()
            costs.drawing_s += time.process_time() - begun
            begun = time.thread_time()
            _measure(costs.duty, measures, lease, events)
            costs.measuring_s += time.thread_time() - begun
            costs.steps += 1
    us = 1e6 * costs.measuring_s
    print(
        f"{pictures} pictures, {costs.steps} steps: measuring took {us / costs.steps:.1f} us a step, "
        f"{us / pictures:.0f} us a picture, {costs.measuring_s / costs.drawing_s:.5%} of the processor time of drawing "
        f"({costs.drawing_s / pictures:.2f} s a picture)"
    )


def _measure(duty: Duty, measures: Measures, lease: Lease, events: list[Event]) -> None:
    """Do what `Shift._draw` and `Delivery` do for a step that brought these events."""
    duty.timesheet.turn(Doing.STEPS)
    ended_at = time.time()
    duty.timesheet.assign(Doing.PROMPTS, prompt_seconds(events))
    duty.timesheet.turn(Doing.BETWEEN)
    began_at = ended_at - step_seconds(events)
    measures.stepped(events)
    for event in events:
        match event:
            case PromptRead():
                with Lap(is_queued=False).going():
                    pass
                duty.stages.note(Passage(Stage.PROMPT, lease, 0, event.lap.began_at, event.lap.ended_at))
            case RowFinished():
                duty.stages.note(Passage(Stage.DENOISE, lease, 0, began_at, ended_at))
                if (lap := event.picture.lap) is not None:
                    duty.stages.note(Passage(Stage.DECODE, lease, 0, lap.began_at, lap.ended_at))
                for stage in TIMED_IN_DELIVERY:
                    with duty.stages.timed(stage, lease, 0):
                        pass
                duty.timesheet.take()
            case RowFailed():
                raise event.error
            case _:
                pass


if __name__ == "__main__":
    main()
