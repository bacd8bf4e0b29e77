"""What NVML tells of a real GPU. Not yet run on one."""

from __future__ import annotations

from typing import Any, cast

import torch

from tests.servers import wait_until
from worker.engine.model import best_device
from worker.gauges import Driver, Gauges


def test_the_driver_knows_the_gpu_by_torchs_uuid_and_tells_its_memory() -> None:
    properties = cast("Any", torch.cuda).get_device_properties(best_device())
    driver = Driver.of(str(properties.uuid))
    assert driver is not None
    told = driver.look()
    assert told.uuid in {f"GPU-{properties.uuid}", f"MIG-{properties.uuid}"}
    assert told.memory is not None
    assert 0 < told.memory.used_bytes < told.memory.total_bytes
    if told.uuid.startswith("GPU-"):
        assert told.utilization is not None
        assert 0 <= told.utilization <= 1
        assert told.power_w is None or told.power_w > 0
        assert told.temperature_c is None or 0 < told.temperature_c < 120


def test_a_gpu_in_use_is_looked_at() -> None:
    gauges = Gauges()
    gauges.start()
    torch.zeros(1, device=best_device())
    try:
        wait_until(lambda: gauges.now is not None, limit_s=30, what="the driver tells something")
        assert gauges.memory is not None
        assert 0 < gauges.memory.used_bytes < gauges.memory.total_bytes
    finally:
        gauges.close()
