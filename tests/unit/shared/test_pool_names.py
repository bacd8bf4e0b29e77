from __future__ import annotations

import pytest

from shared.pools import class_in, model_in, pool_of


@pytest.mark.parametrize(
    ("pool", "model", "gpu_class"),
    [
        ("segmind/SSD-1B", "segmind/SSD-1B", None),
        ("segmind/SSD-1B@l4", "segmind/SSD-1B", "l4"),
        ("demo@h100-80gb", "demo", "h100-80gb"),
        ("a@b@c", "a@b", "c"),
        ("fine@Tuned", "fine@Tuned", None),  # no class, so part of a name
        ("m@", "m@", None),
        ("m@-l4", "m@-l4", None),
        ("@l4", "@l4", None),
        (f"m@{'x' * 21}", f"m@{'x' * 21}", None),
    ],
)
def test_a_pools_name_is_taken_apart_as_it_was_made(pool: str, model: str, gpu_class: str | None) -> None:
    assert (model_in(pool), class_in(pool)) == (model, gpu_class)
    assert pool_of(model, gpu_class) == pool
