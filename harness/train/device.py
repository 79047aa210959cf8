"""Where a run computes: the device, what numbers depend on besides the spec, and clocks that know of queued work."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


def choose_device(wanted: str) -> torch.device:
    """`auto` is the GPU where there is one."""
    return torch.device("cuda" if wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available()) else "cpu")


def environment(device: torch.device, threads: int) -> dict[str, Any]:
    """What numbers depend on besides the spec."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "none"
    found = {"torch": torch.__version__, "device": device.type, "capability": name, "threads": threads}
    return {**found, "isa_limit": limit}


def make_deterministic(threads: int) -> None:
    """Settings of the process under which equal seeds give equal bits."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # A debugging aid that costs time and changes no result.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Where a forward pass goes through at `fp32` or `bf16`."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def reseed(seed: int) -> None:
    """Set every global generator that a part may draw from."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def generators() -> list[Any]:
    """The states of the global generators, to tell whether something drew from them."""
    array: Any = np.random.get_state(legacy=True)
    tensors = [torch.get_rng_state()]
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        tensors += torch.cuda.get_rng_state_all()
    return [random.getstate(), array[1].tobytes(), array[2:], *(state.numpy().tobytes() for state in tensors)]


@contextlib.contextmanager
def apart(seed: int) -> Iterator[None]:
    """Draws in the block come from `seed` and shift nothing outside it."""
    plain, array = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        reseed(seed)
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(array)


@dataclass
class Clocks:
    """Seconds spent on training steps, evaluation and data; `epochs` is the training clock at each evaluation."""

    train: float = 0.0
    evaluate: float = 0.0
    data: float = 0.0
    epochs: list[tuple[float, float]] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    """Milliseconds of each training step, the reading of its batch included."""

    @contextlib.contextmanager
    def running(self, name: str, device: torch.device) -> Iterator[None]:
        """Add the time of the block to one clock; on a GPU, up to the end of what the block queued."""
        start = time.perf_counter()
        try:
            yield
        finally:
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            setattr(self, name, getattr(self, name) + time.perf_counter() - start)


class Laps:
    """Times the steps of a stretch; on a GPU by events in its queue, so that nothing waits while it trains."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[Any] = []
        self.mark()

    def mark(self) -> None:
        """The end of a step, which is the start of the next."""
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())

    def milliseconds(self) -> list[float]:
        """Of each step, once the device is done with all of them."""
        pairs = itertools.pairwise(self._marks)
        if self._cuda:
            return [start.elapsed_time(end) for start, end in pairs]
        return [1000 * (end - start) for start, end in pairs]
