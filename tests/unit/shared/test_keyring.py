"""The bodies of keys and limits, by themselves."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shared.keyring import LimitsRequest

WRONG = ("5.5", '"5"', "true", "-1", "1000001", "1e300", "1e999")


@pytest.mark.parametrize("number", ["5", "5.0", "5e0"])
def test_a_whole_number_may_have_a_point(number: str) -> None:
    asked = LimitsRequest.model_validate_json(f'{{"max_running": {number}}}', strict=True)

    assert (asked.max_running, type(asked.max_running)) == (5, int)


@pytest.mark.parametrize("number", WRONG)
def test_what_is_none_is_refused(number: str) -> None:
    with pytest.raises(ValidationError):
        LimitsRequest.model_validate_json(f'{{"max_running": {number}}}', strict=True)


def test_the_schema_says_the_bounds() -> None:
    whole, _ = LimitsRequest.model_json_schema()["properties"]["max_running"]["anyOf"]

    assert whole == {"type": "integer", "minimum": 0, "maximum": 1_000_000}
