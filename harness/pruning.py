"""When a run may be stopped early: thresholds in closed form from the history of a study, one for each evaluation.

They equal what Optuna's pruners decide (`tests/test_pruning.py` holds them to it), but they are numbers that are known
before a run starts. So they are part of its spec, a worker needs no history, and nothing that runs beside it matters.

The last evaluation has no threshold: a run that was trained to its end keeps its value. Failed trials judge nobody;
were a diverged one's early values to count, a study could end without any complete trial.
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

EVALUATIONS_BY_STEPS = 10
"""How often a run whose budget is in steps is evaluated, or at each step if it has fewer."""
STARTUP = 5
"""Complete trials that a median needs, as in Optuna, and as many as TPE draws at random before it models them. It does
not grow with the trials of a suite, so that a suite with more trials begins with the same runs."""
HALVING_FACTOR = 4
HYPERBAND_FACTOR = 3
"""One in so many trials goes on at a rung, and rungs lie so many times further apart: Optuna's defaults."""
WILCOXON_P = 0.1
WILCOXON_PAIRS = 4
"""Repeats that a signed-rank test needs to reach p < 0.1: its smallest p is 0.5 ** pairs."""

Thresholds = list[float | None]
BY_CURVE = ("median", "halving", "hyperband")
"""Pruners that look at the evaluations of a run; `wilcoxon` looks at the repeats of a trial."""


@dataclass(frozen=True)
class Past:
    """An earlier trial as one repeat of it went: complete or pruned, never failed."""

    number: int
    complete: bool
    values: tuple[float, ...]
    """The metric on validation at each evaluation, up to where it was stopped."""


def evaluations(problem: Any) -> int:
    """How often a run of the problem is evaluated: after each epoch, or ten times in a budget of steps."""
    return int(problem["epochs"]) if problem["epochs"] is not None else min(int(problem["steps"]), EVALUATIONS_BY_STEPS)


def payload(
    pruner: str,
    past: Sequence[Past],
    *,
    metric: str,
    direction: str,
    times: int,
    study: str,
    number: int,
) -> dict[str, Any] | None:
    """What the spec of trial `number` says of pruning, with `times` evaluations; None where nothing can stop it.

    The run is stopped after evaluation k if what is judged (the best value so far, or the latest) is worse than
    threshold k.
    """
    if pruner not in BY_CURVE:
        return None
    if pruner == "median":
        found = median(past, times=times)
    elif pruner == "halving":
        found = halving(past, direction=direction, times=times)
    else:
        found = hyperband(past, direction=direction, times=times, study=study, number=number)
    if all(threshold is None for threshold in found):
        return None
    judge = "best" if pruner == "median" else "latest"
    return {"metric": metric, "direction": direction, "judge": judge, "thresholds": found}


def median(past: Sequence[Past], *, times: int) -> Thresholds:
    """At each evaluation the median of the complete trials, as Optuna's MedianPruner has it."""
    complete = [trial.values for trial in past if trial.complete]
    if len(complete) < STARTUP:
        return [None] * times
    columns = [sorted(values[at] for values in complete if at < len(values)) for at in range(times - 1)]
    return [_middle(column) if column else None for column in columns] + [None]


def _middle(ordered: Sequence[float]) -> float:
    """The median, rounded as `numpy.percentile` does."""
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return high - (high - low) * 0.5


def halving(
    past: Sequence[Past], *, direction: str, times: int, factor: int = HALVING_FACTOR, rate: int = 0
) -> Thresholds:
    """At each rung the worst value with which one in `factor` goes on (Li et al. 2020, arXiv:1810.05934, Algorithm 2).

    As Optuna's SuccessiveHalvingPruner with a rung after `factor ** (rate + k)` evaluations: a trial goes on if at most
    `max((n + 1) // factor - 1, 0)` of the n that came to the rung before it are better. The first to come goes on.
    """
    found: Thresholds = [None] * times
    rung = factor**rate
    while rung < times:
        values = [trial.values[rung - 1] for trial in past if len(trial.values) >= rung]
        values.sort(reverse=direction == "maximize")
        if values:
            found[rung - 1] = values[max((len(values) + 1) // factor - 1, 0)]
        rung *= factor
    return found


def hyperband(past: Sequence[Past], *, direction: str, times: int, study: str, number: int) -> Thresholds:
    """Halving among the trials of one bracket (Li et al. 2018, JMLR 18(185), Algorithm 1, as in Optuna)."""
    mine = bracket(study, number, times)
    peers = [trial for trial in past if bracket(study, trial.number, times) == mine]
    return halving(peers, direction=direction, times=times, factor=HYPERBAND_FACTOR, rate=mine)


def brackets(times: int) -> int:
    """How many brackets Hyperband has for runs with so many evaluations."""
    return math.floor(math.log(times, HYPERBAND_FACTOR)) + 1


def bracket(study: str, number: int, times: int) -> int:
    """The bracket of a trial: drawn from the names of study and trial, in proportion to the brackets' sizes."""
    count = brackets(times)
    sizes = [math.ceil(count * HYPERBAND_FACTOR**left / (left + 1)) for left in reversed(range(count))]
    place = binascii.crc32(f"{study}_{number}".encode()) % sum(sizes)
    return next(at for at in range(count) if place < sum(sizes[: at + 1]))


def why_never(pruner: str, *, times: int, repeats: int) -> str | None:
    """Why the pruner could never stop anything; None where it can."""
    if pruner == "wilcoxon" and repeats <= WILCOXON_PAIRS:
        return (
            f"wilcoxon can stop no trial of {repeats} repeat{'s' * (repeats > 1)}: its test reaches p < {WILCOXON_P} "
            f"with {WILCOXON_PAIRS} pairs, and a trial must have a repeat left to be saved"
        )
    if pruner in BY_CURVE and times < 2:
        return f"{pruner} can stop no run that is evaluated once: it judges between evaluations"
    return None
