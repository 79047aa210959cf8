"""Executors: something that evaluates `RunSpec -> result`, in this process or in worker processes.

An executor knows nothing of suites, studies or the results folder; it is handed jobs and hands back outcomes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.catalog import Origin

if TYPE_CHECKING:
    from harness.plan import Plan, Request


@dataclass(frozen=True)
class Job:
    """One run as an executor gets it: plain data."""

    id: str
    payload: Mapping[str, Any]
    origins: Mapping[str, Mapping[str, Any]]
    root: str
    device: str

    @classmethod
    def of(cls, request: Request, plan: Plan) -> Job:
        """The job of a request."""
        origins = {kind: origin.__dict__ for kind, origin in request.origins.items()}
        return cls(request.spec.id, request.spec.payload, origins, str(plan.root), plan.suite.execution.device)

    def parsed_origins(self) -> dict[str, Origin]:
        """Where the parts come from, by kind."""
        return {kind: Origin(**origin) for kind, origin in self.origins.items()}


@dataclass(frozen=True)
class Outcome:
    """What became of a job: the deterministic result, what numbers depend on besides, and clocks and messages."""

    id: str
    result: Mapping[str, Any]
    environment: Mapping[str, Any]
    observed: Mapping[str, Any] = field(default_factory=dict)


class Executor(Protocol):
    """Evaluates jobs, `slots` at a time."""

    slots: int

    def submit(self, job: Job) -> None:
        """Begin a job; only called while fewer than `slots` are under way."""

    def wait(self, seconds: float) -> list[Outcome]:
        """Jobs that ended, as soon as there is one; an empty list after `seconds`."""

    def close(self) -> None:
        """End what is under way at once; nothing of it is kept."""


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_share(workers: int) -> float | None:
    """MB that a run may use by default: nine tenths of the machine's memory by the number of workers."""
    from harness.execute import watch

    memory = watch.machine_memory_mb()
    return None if memory is None else 0.9 * memory / workers


def make(plan: Plan, *, folder: Path) -> Executor:
    """The executor that the suite asks for, with its logs and checkpoints in the results folder."""
    execution = plan.suite.execution
    if execution.executor == "serial":
        from harness.execute.serial import SerialExecutor

        return SerialExecutor()
    from harness.execute.process import ProcessExecutor

    workers = execution.workers or max(1, cores() // execution.threads)
    datasets = {repr(s.values["dataset"]): s for s in plan.suite.settings}
    preload = [
        {"options": s.values["dataset"], "origin": s.origins["dataset"].__dict__, "root": str(plan.root)}
        for s in datasets.values()
    ]
    return ProcessExecutor(
        workers,
        threads=execution.threads,
        preload=preload,
        time_limit=execution.time_limit,
        memory_limit=execution.memory_limit or memory_share(workers),
        loaders=execution.loaders,
        logs=folder / "logs",
        checkpoints=folder / "checkpoints",
        checkpoint_seconds=execution.checkpoint_seconds,
    )
