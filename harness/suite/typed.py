"""A suite with every default filled in: plain, frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Literal

from harness.diagnostics import Place
from harness.hookspecs import Domain, Plain
from harness.registry.catalog import Origin, PartInfo
from harness.suite.claims import Claim
from harness.suite.origin import Origins, SuiteSource


@dataclass(frozen=True)
class Setting:
    """One (problem, arm) with every default filled in."""

    problem: str
    arm: str
    values: dict[str, Plain]
    """By key of [problem]; a part is a table of all its options, with its name under `use`."""
    space: dict[str, Domain]
    """What tuning searches, by dotted option (`optimizer.lr`) or key (`batch_size`)."""
    origins: dict[str, Origin]
    """Where the part of each kind comes from; of several, by kind and name (`augmentation:rotate`)."""
    watched: tuple[str, ...] = ()
    """Names of metrics that its schedule or its early stopping follows."""
    source: Origins | None = None
    """What its networks come from; None: they start at random."""
    beside: tuple[str, ...] = ()
    """What its strategy has beside the choice of what learns: hooks, another start, another decay."""
    given: frozenset[str] = frozenset()
    """Keys of [problem] of which the suite says more than a part's name: a value, or an option."""
    places: Mapping[str, Place] = field(default_factory=dict, compare=False, repr=False)
    """By key of [problem] where the value stands that counts, and under "" what makes the arm."""

    @property
    def exact(self) -> bool:
        """Whether its strategy takes no steps, so that it is not matched in steps with the other arms."""
        return "exact" in self.beside


@dataclass(frozen=True)
class Tuning:
    """How many settings each arm may try, and how they are proposed."""

    trials: int = 0
    """Per arm and replicate; 0: the arms as the suite gives them, else their parts' defaults."""
    sampler: Literal["random", "qmc", "tpe", "gp"] = "tpe"
    pruner: Literal["none", "median", "hyperband", "halving", "wilcoxon"] = "none"
    """What stops trials early: `wilcoxon` between repeats, the others between evaluations of a run."""
    batch: int = 1
    """Trials asked at once inside a study."""
    repeats: int = 1
    """Runs per trial."""


@dataclass(frozen=True)
class Compare:
    """What is measured, against which arm, how often."""

    metric: str
    baseline: str
    replicates: int = 5
    margin: float | None = None
    """The smallest difference that matters, in the metric's unit."""
    claim: Literal["method", "setting"] = "method"
    epoch: Literal["best_validation", "last"] = "best_validation"
    untuned: bool = True
    primary: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    """Metrics that are recorded and summed up besides, and compared in nothing."""
    folds: int | None = None
    """Of which each replicate is one; None: replicates are drawn independently."""
    controls: bool = True
    """Whether a fine-tuning suite must have `checks.CONTROLS` among its arms."""
    nested: tuple[tuple[str, str], ...] = ()
    """Pairs of arms, of which the second contains the first as a special case."""
    looks: int = 1
    """Verdicts that may be read, replicates being added in between; the error rate is shared out among them."""


@dataclass(frozen=True)
class Execution:
    """How runs are carried out."""

    workers: int | None = None
    """None: one a core."""
    executor: str = "process"
    threads: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    time_limit: float = 21600.0
    """Seconds a run."""
    memory_limit: float | None = None
    """MB a run, above what its process is forked with; None: its share of the machine."""
    checkpoint_seconds: float = 600.0
    """Least time between two checkpoints of a run."""
    loaders: int = 0
    """Processes a run that read a data set which is not in memory."""
    options: Mapping[str, Plain] = field(default_factory=dict)
    """Of the executor, every default filled in."""
    origin: Origin | None = None
    """Where the executor comes from; None: nothing is to be run."""


@dataclass(frozen=True)
class Report:
    """What the report shows."""

    arm: str | None = None
    """Whose mistakes are shown; None: of the arm with the best mean."""


@dataclass(frozen=True)
class Suite:
    """A question as it will be run; `settings` are problems x arms in the order of the file."""

    path: FilePath
    name: str
    text: str
    """The file as it is, without what `--set` changed."""
    question: str
    seed: int
    schema: int
    problems: tuple[str, ...]
    arms: tuple[str, ...]
    settings: tuple[Setting, ...]
    tuning: Tuning
    compare: Compare
    execution: Execution
    metric: PartInfo
    claims: tuple[Claim, ...] = ()
    also: tuple[PartInfo, ...] = ()
    """Further metrics that every run records."""
    report: Report = Report()
    source: SuiteSource | None = None
    """What networks come from before they are trained on the problems."""

    @property
    def stepless(self) -> tuple[str, ...]:
        """Arms that take no steps on some problem, and so are not matched in steps with the others."""
        return tuple(dict.fromkeys(setting.arm for setting in self.settings if setting.exact))
