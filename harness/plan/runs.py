"""A run in the plan: its place, its spec, and what runs of a kind cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness import pruning, sizes
from harness.plan.facts import DataFacts, Price
from harness.registry.catalog import Origin, PartInfo
from harness.spec import SCHEMA, TRAINING, PhaseName, RunSpec

SettingName = Literal["tuned", "untuned", "given", "source"]
ALWAYS_MEASURED = ("loss", "accuracy")
"""Metrics that every record holds beside the suite's own, where they exist and the task has them."""
_OVERHEAD_SECONDS = 0.3
"""Of a process for each run."""


@dataclass(frozen=True)
class Label:
    """The place of a run in the plan."""

    problem: str
    arm: str
    replicate: int
    phase: PhaseName
    setting: SettingName
    trial: int | None = None
    repeat: int = 0

    @property
    def sort_key(self) -> tuple[Any, ...]:
        """Tuning before final runs, then by setting, replicate, trial and repeat."""
        trial = -1 if self.trial is None else self.trial
        return (self.phase == "final", self.setting, self.replicate, trial, self.repeat)


@dataclass(frozen=True)
class Request:
    """A run that is wanted: its place and its spec, with the modules that its parts come from."""

    label: Label
    spec: RunSpec
    origins: Mapping[str, Origin]
    source: Request | None = None
    """The run whose weights it starts from."""


@dataclass(frozen=True)
class Row:
    """One line of `harness plan`."""

    problem: str
    arm: str
    tune: int
    final: int
    untuned: int
    seconds: float | None
    """Of one worker; None where the setting could not be priced."""

    @property
    def runs(self) -> int:
        """All of them."""
        return self.tune + self.final + self.untuned


def identity(origin: Origin) -> dict[str, str]:
    """What of a part's origin is in the spec, and so in the id."""
    return {"distribution": origin.distribution, "version": origin.version, "sha256": origin.sha256}


def common(origins: Mapping[str, Origin], metrics: Iterable[PartInfo], threads: int) -> dict[str, Any]:
    """What of a spec no seed, phase or hyperparameter changes."""
    return {
        "schema": SCHEMA,
        "training": TRAINING,
        "parts": {kind: identity(origin) for kind, origin in sorted(origins.items())},
        "metrics": {metric.name: dict(metric.options) for metric in metrics},
        "threads": threads,
    }


def apply(values: Mapping[str, Any], hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """The setting's values with hyperparameters put in; a dot reaches into a part. Parts without any are shared."""
    made = dict(values)
    for name, value in hyperparameters.items():
        part, _, option = name.rpartition(".")
        if part:
            made[part] = {**made[part], option: value}
        else:
            made[option] = value
    return made


def planned_steps(values: Mapping[str, Any], facts: DataFacts, pool: int) -> int:
    """Training steps of a run of these values."""
    if values["epochs"] is None:
        return int(values["steps"])
    per_epoch: int = math.ceil(sizes.used(values, facts, pool) / values["batch_size"])
    return per_epoch * int(values["epochs"])


def run_seconds(
    values: Mapping[str, Any], facts: DataFacts, price: Price, *, pool: int, validation: int, test: int
) -> float:
    """What a run of these values costs on one worker, with so many examples to train, validate and test on."""
    steps = planned_steps(values, facts, pool)
    evaluated = pruning.evaluations(values) * validation + test
    training = steps * (price.step_seconds or 0.0)
    return float(_OVERHEAD_SECONDS + training + evaluated * (price.example_seconds or 0.0))
