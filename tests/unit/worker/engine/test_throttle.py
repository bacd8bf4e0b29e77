from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from worker.engine.throttle import Mark, Throttle


@dataclass
class Device:
    """Comes to its marks when somebody waits for them; each work that is queued takes a time of its own."""

    queued_ms: float = 0.0
    done_ms: float = 0.0
    waits: list[float] = field(default_factory=list[float])

    def mark(self) -> DeviceMark:
        return DeviceMark(self)


@dataclass
class DeviceMark:
    device: Device
    at_ms: float = -1.0

    def record(self) -> None:
        self.at_ms = self.device.queued_ms

    def synchronize(self) -> None:
        self.device.waits.append(self.at_ms)
        self.device.done_ms = max(self.device.done_ms, self.at_ms)

    def elapsed_time(self, end: Mark) -> float:
        assert isinstance(end, DeviceMark)
        assert self.device.done_ms >= end.at_ms, "asked before the device came to it"
        return end.at_ms - self.at_ms


def test_on_a_device_that_queues_a_step_is_told_one_step_after_with_its_own_time() -> None:
    device = Device()
    throttle = Throttle[str](is_queued=True, mark=device.mark)
    told: list[tuple[str, float] | None] = []
    for step, took_ms in (("a", 30.0), ("b", 500.0), ("c", 20.0)):
        throttle.begin()
        device.queued_ms += took_ms
        told.append(throttle.queued(step))
        assert throttle.is_ahead
    told.append(throttle.last())
    assert told == [None, ("a", 0.03), ("b", 0.5), ("c", 0.02)]
    assert device.waits == [30.0, 530.0, 550.0]
    assert not throttle.is_ahead
    assert throttle.last() is None


def test_elsewhere_a_step_is_done_when_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 10.25])
    monkeypatch.setattr("worker.engine.throttle.time.monotonic", lambda: next(clock))
    throttle = Throttle[str](is_queued=False)
    throttle.begin()
    assert throttle.queued("a") == ("a", 0.25)
    assert not throttle.is_ahead
    assert throttle.last() is None
