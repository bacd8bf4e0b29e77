"""A change of what jobs ask for is noticed, and says which workers can draw them."""

from __future__ import annotations

from shared.compatibility import CONTRACT, FIRST, NEEDS, SCHEMA, Rule, needed_by, schema_digest
from tests.desk import new_job

PARAMS = new_job(num_images=3).params


def test_parameters_that_have_changed_have_a_contract_of_their_own() -> None:
    assert schema_digest() == SCHEMA, (
        "GenerationParams has changed. If an older worker would draw some jobs wrong, or could not read them, raise "
        "CONTRACT in shared/compatibility.py and say in NEEDS which ones. Then put the new digest there: "
        f"{schema_digest()}"
    )


def test_jobs_need_no_contract_that_no_worker_of_this_version_knows() -> None:
    assert all(FIRST < contract <= CONTRACT for contract in NEEDS)
    assert FIRST <= needed_by(PARAMS) <= CONTRACT


def test_a_job_needs_the_highest_contract_that_concerns_it_and_no_other() -> None:
    rules: dict[int, Rule] = {2: lambda params: params.num_images > 1, 3: lambda params: params.width > 9000}

    assert needed_by(PARAMS, rules) == 2
    assert needed_by(PARAMS.model_copy(update={"width": 9001}), rules) == 3
    assert needed_by(PARAMS.model_copy(update={"num_images": 1}), rules) == FIRST
