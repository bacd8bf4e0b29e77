from __future__ import annotations

import threading

from tests.unit.worker.engine.test_throttle import Device
from worker.engine.lap import Lap


def test_a_lap_is_its_goes_without_what_lies_between() -> None:
    device = Device()
    lap = Lap(is_queued=True, mark=device.mark)
    assert (lap.began_at, lap.seconds) == (0, 0)
    with lap.going():
        device.queued_ms += 30
    began_at = lap.began_at
    device.queued_ms += 500
    with lap.going():
        device.queued_ms += 20
    assert device.waits == []
    assert lap.seconds == 0.05
    assert device.waits == [30, 550]
    assert lap.seconds == 0.05
    assert device.waits == [30, 550]
    assert lap.began_at == began_at
    assert lap.ended_at == began_at + 0.05


def test_where_work_is_done_when_its_call_returns_no_mark_is_made() -> None:
    waited = threading.Event()
    lap = Lap(is_queued=False)
    with lap.going():
        waited.wait(0.02)
    assert lap.seconds >= 0.02
    assert lap.ended_at == lap.began_at + lap.seconds
