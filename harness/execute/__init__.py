"""Executors: something that evaluates `RunSpec -> result`, in this process or in worker processes.

An executor knows nothing of suites, studies or the results folder; it is handed jobs and hands back outcomes.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness import registry
from harness.errors import PluginError
from harness.registry.catalog import Origin

if TYPE_CHECKING:
    from harness.execute.process import ProcessExecutor
    from harness.hookspecs import Executor
    from harness.plan import Plan, Request
    from harness.store import Store

LOOK = "look"
"""Phase of a job that trains nothing, and gives the fingerprints of the data sets that it names."""


@dataclass(frozen=True)
class Job:
    """One run as an executor gets it: plain data."""

    id: str
    payload: Mapping[str, Any]
    origins: Mapping[str, Mapping[str, Any]]
    root: str
    device: str
    weights: str | None = None
    """File that a source run writes its weights to."""
    source: Mapping[str, Any] | None = None
    """What a run starts from: `path` and `sha256` of the weights; `id`, `payload` and `origins` of their run, or the
    name and the number of outputs of published `weights`."""

    @classmethod
    def of(cls, request: Request, plan: Plan, store: Store | None = None) -> Job:
        """The job of a request; weights of source runs lie in the store's folder."""
        origins = {kind: origin.__dict__ for kind, origin in request.origins.items()}
        weights = store.weights(request.spec.id) if store is not None and request.spec.phase == "source" else None
        return cls(
            request.spec.id,
            request.spec.payload,
            origins,
            str(plan.root),
            plan.suite.execution.device,
            None if weights is None else str(weights.absolute()),
            _source(request, plan, store),
        )

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


def _source(request: Request, plan: Plan, store: Store | None) -> dict[str, Any] | None:
    if (found := plan.published.get((request.label.problem, request.label.arm))) is not None:
        return found.to_plain()
    source = request.source
    if source is None or store is None:
        return None
    record = store.read(source.spec.id, spec=source.spec.payload)
    assert record is not None
    return {
        "id": source.spec.id,
        "path": str(store.weights(source.spec.id).absolute()),
        "sha256": record["result"]["weights_sha256"],
        "payload": source.spec.payload,
        "origins": {kind: origin.__dict__ for kind, origin in source.origins.items()},
    }


class Evaluator(Protocol):
    """What `build` of a `harness.Executor` returns: it evaluates jobs, `slots` at a time."""

    @property
    def slots(self) -> int:
        """How many jobs may be under way; 0 for as long as there is nobody to do them."""

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


@dataclass(frozen=True)
class Settings:
    """What an executor is told of the suite: plain data, none of which changes a result but `threads`."""

    workers: int
    """Runs at a time that are asked for."""
    threads: int
    """Of torch, a run."""
    time_limit: float
    """Seconds a run."""
    logs: str
    """Folder for what runs print."""
    device: str = "auto"
    memory_limit: float | None = None
    """MB a run, above what its process is forked with; None: its share of the machine."""
    checkpoints: str | None = None
    """Folder for states of unfinished runs; None: there are none."""
    checkpoint_seconds: float = 600.0
    """Least time between two of them."""
    loaders: int = 0
    """Processes a run that read a data set which is not in memory."""
    preload: tuple[Mapping[str, Any], ...] = ()
    """Data sets of the plan: `options`, `origin`, `root`, and the `fingerprints` that they must have."""
    origins: tuple[Mapping[str, Any], ...] = ()
    """Plugins of the plan, as `harness.registry.catalog.Origin`."""
    environment: Mapping[str, Any] | None = None
    """The numeric environment of the runs that are recorded; None where there are none, or several."""
    folder: str | None = None
    """The results folder, where source runs write weights to it and others start from these; else None."""
    files: tuple[Mapping[str, str], ...] = ()
    """Files of published weights that runs start from: `path` and `sha256`."""

    @classmethod
    def of(cls, plan: Plan, *, folder: Path, environment: Mapping[str, Any] | None = None) -> Settings:
        """The settings of a plan, with logs and checkpoints in its results folder."""
        execution = plan.suite.execution
        return cls(
            workers=execution.workers or max(1, cores() // execution.threads),
            threads=execution.threads,
            time_limit=execution.time_limit,
            logs=str(folder.absolute() / "logs"),
            device=execution.device,
            memory_limit=execution.memory_limit,
            checkpoints=str(folder.absolute() / "checkpoints"),
            checkpoint_seconds=execution.checkpoint_seconds,
            loaders=execution.loaders,
            preload=tuple(_datasets(plan)),
            origins=tuple(_origins(plan)),
            environment=environment,
            folder=str(folder.absolute()) if plan.source_ids else None,
            files=tuple(_files(plan)),
        )


def _files(plan: Plan) -> list[dict[str, str]]:
    found = {str(one.path): one.sha256 for one in plan.published.values()}
    return [{"path": path, "sha256": sha256} for path, sha256 in sorted(found.items())]


def _datasets(plan: Plan) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for setting in plan.suite.settings:
        sides = [(setting.values, setting.origins, plan.facts[setting.problem])]
        if setting.source is not None and plan.source_facts is not None:
            sides.append((setting.source.values, setting.source.origins, plan.source_facts))
        for values, origins, facts in sides:
            found[repr(values["dataset"])] = {
                "options": values["dataset"],
                "origin": origins["dataset"].__dict__,
                "root": str(plan.root),
                "fingerprints": dict(facts.fingerprints),
            }
    return list(found.values())


def _origins(plan: Plan) -> list[dict[str, Any]]:
    parts = [origin for setting in plan.suite.settings for origin in setting.origins.values()]
    parts += [origin for setting in plan.suite.settings if setting.source for origin in setting.source.origins.values()]
    metrics = [metric.origin for problem in plan.suite.problems for metric in plan.metrics(problem)]
    return [dict(origin.__dict__) for origin in dict.fromkeys([*parts, *metrics])]


def make(plan: Plan, *, folder: Path, environment: Mapping[str, Any] | None = None) -> Evaluator:
    """The executor that the suite asks for, built by the plugin that offers it."""
    execution = plan.suite.execution
    if execution.origin is None:
        raise ValueError("a suite that was read from no file names no executor that can be built")
    part: Executor = registry.load_part("executor", execution.executor, execution.origin)
    return part.build(Settings.of(plan, folder=folder, environment=environment), **execution.options)


def in_processes(settings: Settings) -> ProcessExecutor:
    """Worker processes on this machine."""
    from harness.execute.process import ProcessExecutor

    return ProcessExecutor(
        settings.workers,
        threads=settings.threads,
        preload=settings.preload,
        plugins=settings.origins,
        time_limit=settings.time_limit,
        memory_limit=settings.memory_limit or memory_share(settings.workers),
        loaders=settings.loaders,
        logs=Path(settings.logs),
        checkpoints=None if settings.checkpoints is None else Path(settings.checkpoints),
        checkpoint_seconds=settings.checkpoint_seconds,
    )


def choose(
    plan: Plan, *, workers: int | None = None, executor: str | None = None, scheduler: str | None = None
) -> Plan:
    """The plan with workers and executor of the command line; neither changes a result.

    Raises:
        PluginError: no such executor, or it takes no scheduler.
    """
    execution = plan.suite.execution
    info = plan.catalog.find("executor", executor or execution.executor)
    same = info == plan.catalog.find("executor", execution.executor)
    options = {**info.options, **(execution.options if same else {})}
    if scheduler is not None:
        if "scheduler" not in info.options:
            able = [part.name for part in plan.catalog.of("executor") if "scheduler" in part.options]
            raise PluginError(
                f"executor '{info.name}' has no scheduler, so that --scheduler {scheduler} cannot be obeyed; "
                f"write --executor {' or '.join(able) or 'NAME'} with it"
            )
        options["scheduler"] = scheduler
    if missing := [option for option in info.required if option not in options]:
        cure = f'write executor = {{use = "{info.name}", {missing[0]} = ...}} in [execution]'
        raise PluginError(f"executor '{info.name}' needs the option '{missing[0]}'; {cure}")
    changed = dataclasses.replace(
        execution,
        workers=workers or execution.workers,
        executor=executor or execution.executor,
        options=options,
        origin=info.origin,
    )
    return dataclasses.replace(plan, suite=dataclasses.replace(plan.suite, execution=changed))
