from __future__ import annotations

from typing import Literal

import pytest

from api.catalog import card_for, catalog, default_card
from shared.contract import WorkerState
from shared.errors import InvalidRequest, NoModel
from shared.generation import AspectRatio, Defaults, ModelCard, Scheduler, Size
from shared.scripts import Fleet
from shared.tuning import TuningInEffect


def card(name: str) -> ModelCard:
    size = Size(width=64, height=64)
    return ModelCard(
        id=name,
        title=name,
        revision="0",
        description="",
        aspect_ratios=(AspectRatio(name="Square", size=size),),
        schedulers=(Scheduler.EULER,),
        defaults=Defaults(size=size, num_inference_steps=1, guidance_scale=1, scheduler=Scheduler.EULER),
    )


def worker(model: str, state: Literal["warming", "ready", "draining"] = "ready") -> WorkerState:
    return WorkerState(id="w", state=state, model=model, device="cpu", software_version="0", started_at_ms=0)


A, B, C = card("a"), card("b"), card("c")


@pytest.mark.parametrize(
    ("workers", "default"),
    [
        ((), C),  # served last
        ((worker("a"),), A),
        ((worker("a"), worker("b"), worker("b")), B),
        ((worker("b"), worker("a")), A),  # a tie: the same answer each time
        ((worker("a", "warming"), worker("b", "draining"), worker("c", "ready")), C),
        ((worker("a", "warming"),), C),
    ],
)
def test_the_default_is_what_most_ready_workers_serve(workers: tuple[WorkerState, ...], default: ModelCard) -> None:
    fleet = Fleet((C, B, A), workers)

    assert default_card(fleet) == default
    listed = catalog(fleet).data
    assert [model.is_default for model in listed] == [True, False, False]
    assert listed[0].id == default.id


def test_a_model_without_workers_takes_jobs_too() -> None:
    assert card_for(Fleet((A, B), (worker("a"),)), "b") == B


def test_an_unknown_model_is_told_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match=r"Known: a, b\."):
        card_for(Fleet((A, B), ()), "c")


def test_before_the_first_worker_there_is_none() -> None:
    assert catalog(Fleet((), ())).data == ()
    with pytest.raises(NoModel):
        card_for(Fleet((), ()), None)


def test_a_model_shows_how_its_ready_workers_compute_each_way_once() -> None:
    fast = TuningInEffect(precision="fp16", vae_precision="fp32", attention="flash", compiled=True)
    plain = fast.model_copy(update={"compiled": False, "notes": ("compile: no C compiler.",)})
    ready = [worker("a").model_copy(update={"tuning": tuning}) for tuning in (plain, fast, fast, None)]
    fleet = Fleet((A, B), (*ready, worker("a", "warming"), worker("b")))

    listed = {model.id: model.tunings for model in catalog(fleet).data}

    assert listed == {"a": (fast, plain), "b": ()}
