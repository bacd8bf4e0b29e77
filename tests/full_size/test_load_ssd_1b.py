from __future__ import annotations

import pytest

from bench.load_ssd1b import compare


@pytest.mark.timeout(3600)
def test_ssd_1bs_full_layout_loads_and_steps_as_the_bare_library_does() -> None:
    ours, bare = compare("float32", 256)
    assert ours.latents_sum == bare.latents_sum
    assert ours.peak_gib < 1.1 * bare.peak_gib
