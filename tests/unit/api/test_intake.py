"""Whatever bytes come in: parameters that the model takes, or InvalidRequest; never another exception."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.intake import draft
from shared.contract import JobRequest
from shared.errors import FieldError, InvalidRequest, NoModel
from shared.generation import AspectRatio, Defaults, GenerationParams, ModelCard, Scheduler, Size
from shared.scripts import Fleet

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""

SIZE = Size(width=64, height=64)
CARD = ModelCard(
    id="test/card",
    title="Card",
    revision="0",
    description="",
    aspect_ratios=(AspectRatio(name="Square", size=SIZE),),
    schedulers=(Scheduler.EULER,),
    defaults=Defaults(size=SIZE, num_inference_steps=1, guidance_scale=1, scheduler=Scheduler.EULER),
)

MAX_COST = 1_000_000

NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([0, 1, 64, 2**32, 10**400, 1e308]))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(alphabet=st.characters(), max_size=20))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
NAMES = st.sampled_from(sorted(JobRequest.model_fields)) | st.text(max_size=10)


def taken(body: bytes) -> GenerationParams | None:
    """Read a body as the gateway does; None if it is refused with a message for each wrong field."""
    wrong: tuple[FieldError, ...]
    try:
        return draft(body).complete(Fleet((CARD,), ()), drawn_seed=7, max_cost=MAX_COST)[1]
    except InvalidRequest as error:
        wrong = error.errors
    assert wrong
    assert all(one.field and one.message for one in wrong)
    return None


@UNHURRIED
@given(st.binary(max_size=300))
def test_any_bytes(body: bytes) -> None:
    assert taken(body) is None


@UNHURRIED
@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_any_object_of_known_and_unknown_fields(fields: dict[str, object]) -> None:
    params = taken(json.dumps(fields).encode())

    if params is not None:
        assert params.prompt
        assert params.size == SIZE


@UNHURRIED
@given(
    st.fixed_dictionaries(
        {"prompt": st.text(alphabet=st.characters(categories=["L"]), min_size=1)},
        optional={
            "num_images": st.integers(1, 8),
            "seed": st.integers(0, 2**32 - 1),
            "num_inference_steps": st.integers(1, 100),
            "guidance_scale": st.floats(0, 30),
            "scheduler": st.just("euler"),
            "output_format": st.sampled_from(["png", "jpeg", "webp"]),
        },
    )
)
def test_any_right_request_is_taken_as_it_was_said(fields: dict[str, object]) -> None:
    params = taken(json.dumps(fields).encode())

    assert params is not None
    said = params.model_dump(mode="json")
    assert {name: said[name] for name in fields if name != "prompt"} == {
        name: value for name, value in fields.items() if name != "prompt"
    }


def test_what_is_wrong_by_itself_is_told_before_any_model_is_known() -> None:
    nobody = Fleet((), ())
    with pytest.raises(InvalidRequest) as told:
        draft(b'{"prompt": "x", "stepz": 5}').complete(nobody, drawn_seed=7, max_cost=MAX_COST)
    assert [error.field for error in told.value.errors] == ["stepz"]
    with pytest.raises(NoModel):
        draft(b'{"prompt": "x"}').complete(nobody, drawn_seed=7, max_cost=MAX_COST)
