from __future__ import annotations

import ctypes
import logging
import threading
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pynvml as _pynvml  # pyright: ignore[reportMissingTypeStubs]
import pytest
import torch

from shared.contract import Gpu, Memory
from tests.servers import wait_until
from worker.gauges import Driver, Gauges, gpu_told

pynvml = cast("Any", _pynvml)

UUID = "GPU-3f2c8b1e-9d4a-4f6b-8c57-2a1e0d9b7c64"


def has_driver() -> bool:
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def test_what_nvml_says_is_told_in_our_words() -> None:
    told = gpu_told(
        UUID,
        utilization=pynvml.c_nvmlUtilization_t(gpu=97, memory=41),
        memory=pynvml.c_nvmlMemory_t(total=80 * 2**30, free=71 * 2**30, used=9 * 2**30),
        milliwatts=412_345,
        celsius=62,
    )
    memory = Memory(used_bytes=9 * 2**30, total_bytes=80 * 2**30)
    assert told == Gpu(uuid=UUID, utilization=0.97, memory=memory, power_w=412.345, temperature_c=62)
    assert Gpu.model_validate_json(told.model_dump_json()) == told


def test_what_it_does_not_say_is_none_and_a_zero_is_a_zero() -> None:
    idle = pynvml.c_nvmlUtilization_t(gpu=0, memory=0)
    told = gpu_told(UUID, utilization=idle, memory=None, milliwatts=None, celsius=None)
    assert told == Gpu(uuid=UUID, utilization=0.0)


@pytest.mark.skipif(has_driver(), reason="this machine has NVIDIA's driver")
def test_without_a_driver_that_is_said_once_quietly_and_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert Driver.of(str(uuid4())) is None
    (line,) = caplog.records
    assert line.levelno == logging.INFO
    assert "Not Found" in line.getMessage()


@pytest.mark.skipif(has_driver(), reason="this machine has NVIDIA's driver")
def test_a_handle_that_answers_nothing_makes_every_figure_none_and_one_line_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    driver = Driver(pynvml, UUID, pynvml.c_nvmlDevice_t())  # of a library that was never loaded
    assert [driver.look() for _ in range(3)] == [Gpu(uuid=UUID)] * 3
    assert len(caplog.records) == 4
    assert {line.levelno for line in caplog.records} == {logging.INFO}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_nobody_looks(caplog: pytest.LogCaptureFixture) -> None:
    gauges = Gauges()
    gauges.start()
    assert gauges.now is None
    assert gauges.memory is not None  # of the machine
    gauges.close()
    assert not caplog.records


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_driver_that_hangs_holds_up_nobody_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, released = threading.Event(), threading.Event()

    def hang(_: object) -> tuple[int, int]:
        hanging.set()
        released.wait()
        return 3, 10

    def a_gpu(_: object) -> SimpleNamespace:
        return SimpleNamespace(uuid=uuid4())

    for name, found in {"is_available": True, "is_initialized": True}.items():
        monkeypatch.setattr(torch.cuda, name, lambda found=found: found)
    monkeypatch.setattr(torch.cuda, "get_device_properties", a_gpu)
    monkeypatch.setattr(torch.cuda, "mem_get_info", hang)
    gauges = Gauges()
    gauges.start()
    try:
        assert hanging.wait(10)
        assert (gauges.memory, gauges.now) == (None, None)
        released.set()
        wait_until(lambda: gauges.memory is not None, limit_s=10, what="the driver answers again")
        assert gauges.memory == Memory(used_bytes=7, total_bytes=10)
    finally:
        released.set()
        gauges.close()
