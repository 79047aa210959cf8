"""Runs in this process, one after the other: for debugging with a debugger, and as the reference for the others."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

from harness.execute import Job, Outcome


class SerialExecutor:
    """One slot; `submit` only queues, `wait` does the run."""

    slots = 1

    def __init__(self) -> None:
        self._queue: list[Job] = []

    def submit(self, job: Job) -> None:
        """Queue the job for `wait`."""
        self._queue.append(job)

    def wait(self, seconds: float) -> list[Outcome]:
        """Do one queued run, however long it takes."""
        from harness.execute.work import evaluate

        if not self._queue:
            return []
        job = self._queue.pop(0)
        with _unchanged_process():
            return [evaluate(copy.deepcopy(job))]  # specs share parts, which a plugin may change

    def close(self) -> None:
        """Forget what is queued."""
        self._queue.clear()


@contextlib.contextmanager
def _unchanged_process() -> Iterator[None]:
    """Give the caller's generators and settings of torch back, whatever a plugin did to them."""
    import torch
    from torch.backends import cudnn
    from torch.utils import deterministic

    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill, benchmark = deterministic.fill_uninitialized_memory, cudnn.benchmark  # type: ignore[attr-defined]
    try:
        with torch.random.fork_rng():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)
        deterministic.fill_uninitialized_memory, cudnn.benchmark = fill, benchmark  # type: ignore[attr-defined]
