"""What the benchmarks share: processes with clocks and memory, medians, and the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARTICLE = Path(__file__).with_name("article.py")
LAST_RUN = "writing tables and report"
"""What `harness run` says on stderr as soon as the last run is done."""


@dataclass(frozen=True)
class Measured:
    """A process from its start to its end. Memory is that of the largest process: itself, or a child it waited for."""

    seconds: float
    user_seconds: float
    memory_mb: float
    to_last_run: float | None
    said: str


def process(
    command: Sequence[str], folder: Path, *, threads: int | None = None, allowed: Sequence[int] = (0, 1)
) -> Measured:
    """Run a command to its end; without `threads`, OpenMP decides for itself as in a user's shell.

    `allowed`: exit codes that are no failure; 1 is a suite that is done, with runs that diverged.
    """
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    begun, last_run, said = time.perf_counter(), None, ""
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            said += line
            if last_run is None and LAST_RUN in line:
                last_run = time.perf_counter() - begun
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begun
    assert running.returncode in allowed, said
    return Measured(seconds, usage.ru_utime, usage.ru_maxrss / 1024, last_run, said)


def harness(folder: Path, *arguments: str, allowed: Sequence[int] = (0, 1)) -> Measured:
    """Run `harness ARGUMENTS` in a folder."""
    return process([sys.executable, "-m", "harness", *arguments], folder, allowed=allowed)


def article(folder: Path, what: str, plan: str) -> Measured:
    """Run the article's script."""
    return process([sys.executable, str(ARTICLE), what, plan], folder)


def median(values: Sequence[float], digits: int = 2) -> float:
    """The median, rounded for a table."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return round(ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2, digits)


def has_bf16() -> bool:
    """Whether this CPU computes in bf16; one that imitates it is many times slower, and nobody would use it."""
    import torch

    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def precisions() -> tuple[str, ...]:
    """What is worth measuring here."""
    return ("fp32", "bf16") if has_bf16() else ("fp32",)


def bf16() -> str:
    """The word for `has_bf16`."""
    return "native" if has_bf16() else "imitated, so not measured"


def machine() -> Mapping[str, Any]:
    """What figures depend on."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    capability = torch.backends.cpu.get_cpu_capability()
    return {"cores": cores, "CPU capability": capability, "bf16": bf16(), "torch": torch.__version__}
