"""What is told of the worker's device: its memory and, by NVML on CUDA, how busy it is, its power, its temperature.

A GPU is looked at now and then, in a thread of its own: a driver that hangs holds up nobody, the heartbeat least of
all, and what it said last is soon forgotten. What NVML does not tell is None, and said once in the log: a slice of a
GPU (MIG) tells its memory alone. Not yet measured on a GPU.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar, cast, final

import torch

from shared.contract import Gpu, Memory
from worker.engine.model import best_device
from worker.memory import memory_now

LOOK_S: Final = 2.0
STALE_S: Final = 10.0
"""What was seen before is no longer told."""
CLOSE_LIMIT_S: Final = 1.0

T = TypeVar("T")

_logger = logging.getLogger(__name__)


class _Utilization(Protocol):
    """NVML's `nvmlUtilization_t`, as far as it is read."""

    gpu: int
    """Percent of the last moment, a sixth of a second to one, in which something ran."""


class _MemoryInfo(Protocol):
    """NVML's `nvmlMemory_t`."""

    used: int
    total: int


def gpu_told(
    uuid: str,
    *,
    utilization: _Utilization | None,
    memory: _MemoryInfo | None,
    milliwatts: int | None,
    celsius: int | None,
) -> Gpu:
    """Put what NVML answered into the service's words; None where it did not."""
    return Gpu(
        uuid=uuid,
        utilization=None if utilization is None else min(1.0, utilization.gpu / 100),
        memory=None if memory is None else Memory(used_bytes=memory.used, total_bytes=memory.total),
        power_w=None if milliwatts is None else milliwatts / 1000,
        temperature_c=celsius,
    )


@final
class Driver:
    """One GPU, by NVML; for one thread."""

    def __init__(self, nvml: Any, uuid: str, handle: object) -> None:  # noqa: ANN401 (the library has no types)
        self._nvml = nvml
        self._uuid = uuid
        self._handle = handle
        self._noted: set[str] = set()

    @classmethod
    def of(cls, uuid: str) -> Driver | None:
        """Find the GPU, or the slice of one, that CUDA knows by this UUID; None, and a line in the log, if it can't be.

        By its UUID, for CUDA_VISIBLE_DEVICES numbers GPUs anew.
        """
        import pynvml  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]: only where there is a GPU

        nvml = cast("Any", pynvml)
        said: Exception | None = None
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            said = error
        else:
            for kind in ("GPU", "MIG"):
                try:
                    name = f"{kind}-{uuid}"
                    return cls(nvml, name, nvml.nvmlDeviceGetHandleByUUID(name))
                except nvml.NVMLError as error:
                    said = error
        _logger.info("how busy the GPU is can't be told: NVML says %s", said)
        return None

    def look(self) -> Gpu:
        """Ask for everything now."""
        nvml, handle = self._nvml, self._handle
        return gpu_told(
            self._uuid,
            utilization=self._asked("utilization", lambda: nvml.nvmlDeviceGetUtilizationRates(handle)),
            memory=self._asked("memory", lambda: nvml.nvmlDeviceGetMemoryInfo(handle)),
            milliwatts=self._asked("power", lambda: nvml.nvmlDeviceGetPowerUsage(handle)),
            celsius=self._asked("temperature", self._celsius),
        )

    def _celsius(self) -> int:
        nvml = self._nvml
        try:
            return int(nvml.nvmlDeviceGetTemperatureV(self._handle, nvml.NVML_TEMPERATURE_GPU))
        except nvml.NVMLError_FunctionNotFound:  # a driver of before 2025
            return int(nvml.nvmlDeviceGetTemperature(self._handle, nvml.NVML_TEMPERATURE_GPU))

    def _asked(self, what: str, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except self._nvml.NVMLError as error:
            if what not in self._noted:
                _logger.info("the GPU's %s can't be told: NVML says %s", what, error)
            self._noted.add(what)
            return None


@final
class Gauges:
    """What was last seen of this worker's device; for any thread."""

    def __init__(self) -> None:
        self._is_on_gpu = torch.cuda.is_available()
        self._seen: tuple[Gpu, float] | None = None
        self._memory: tuple[Memory | None, float] = (None, 0.0)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="gauges", daemon=True)

    @property
    def now(self) -> Gpu | None:
        """What the driver said a moment ago; None if it says nothing."""
        return None if self._seen is None else _fresh(*self._seen)

    @property
    def memory(self) -> Memory | None:
        """What is in use of the GPU, as it was seen a moment ago, or on a CPU by this process of the machine."""
        return _fresh(*self._memory) if self._is_on_gpu else memory_now()

    def start(self) -> None:
        """Begin to look, if there is a GPU."""
        if self._is_on_gpu:
            self._thread.start()

    def close(self) -> None:
        """Look no more; a driver that hangs is left behind."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_LIMIT_S)

    def _loop(self) -> None:
        while not torch.cuda.is_initialized():  # a GPU that nobody has used yet is not woken
            if self._closing.wait(LOOK_S):
                return
        driver = Driver.of(str(cast("Any", torch.cuda).get_device_properties(best_device()).uuid))
        while True:
            self._memory = (memory_now(), time.monotonic())
            if driver is not None:
                self._seen = (driver.look(), time.monotonic())
            if self._closing.wait(LOOK_S):
                return


def _fresh(seen: T, at: float) -> T | None:
    return seen if time.monotonic() - at < STALE_S else None
