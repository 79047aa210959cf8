"""Where runs happen: in this process, in worker processes, or on a Dask cluster.

The coordinator imports this module, so whatever an executor needs is imported when it is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.hookspecs import Executor, hookimpl

if TYPE_CHECKING:
    from harness.execute import Evaluator, Settings


def serial(settings: Settings) -> Evaluator:
    """In this process, one run after the other: for a debugger, and for times that nothing disturbs."""
    from harness.execute.serial import SerialExecutor

    return SerialExecutor()


def process(settings: Settings) -> Evaluator:
    """In worker processes on this machine, a fresh one for each run."""
    from harness.execute import in_processes

    return in_processes(settings)


def dask(
    settings: Settings,
    *,
    scheduler: str = "",
    resources: Mapping[str, float] | None = None,
    patience: float = 300.0,
    allow_mixed_environment: bool = False,
) -> Evaluator:
    """On the workers of a Dask cluster, each run in a fresh process that its worker watches over.

    scheduler: address of the cluster's scheduler, as in `tcp://host:8786`; without one, a cluster on this machine.
    resources: what a run takes of what workers declare, as in `{GPU = 1}`; workers that lack it get no run.
    patience: seconds in which a worker has to be there that can be used.
    allow_mixed_environment: let workers differ in torch version, kind of device and its capability.
    """
    from harness.execute.dask import build

    return build(
        settings,
        scheduler=scheduler,
        resources=resources or {},
        patience=patience,
        allow_mixed_environment=allow_mixed_environment,
    )


@hookimpl
def harness_executors() -> list[Executor]:
    """Built-in executors."""
    return [
        Executor("process", build=process),
        Executor("serial", build=serial),
        Executor("dask", build=dask, defaults={"resources": {}}),
    ]
