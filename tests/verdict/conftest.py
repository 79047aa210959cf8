"""A suite in small: final runs written as lists of values, and everything asked of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.suite import Compare
from harness.verdict import Context, Measure, Verdict, compare
from harness.verdict.compare import ALL_STREAMS, PairedOn

ACCURACY = Measure("accuracy", "maximize", "fraction", floor=0.1)
LOSS = Measure("loss", "minimize", "nats")

Values = Mapping[str, Sequence[float | None]]


def make_finals(
    values: Values,
    *,
    setting: str = "tuned",
    problem: str = "mnist-cnn",
    metric: Measure = ACCURACY,
    weights: Callable[[str, int], str | None] = lambda arm, i: f"{arm}-{i}",
    how: str = "diverged",
    n_examples: int = 10_000,
) -> pd.DataFrame:
    """One row per value; None is a failed run, counted at the metric's floor."""
    floor = np.nan if metric.floor is None else metric.floor
    rows = [
        {
            "problem": problem,
            "arm": arm,
            "setting": setting,
            "replicate": i,
            "metric": metric.name,
            "value": np.nan if value is None else value,
            "counted": floor if value is None else value,
            "status": how if value is None else "ok",
            "reason": None,
            "run_id": f"{problem}-{arm}-{setting}-{i}",
            "weights_hash": None if value is None else weights(arm, i),
            "n_examples": n_examples,
        }
        for arm, column in values.items()
        for i, value in enumerate(column)
    ]
    columns = "problem arm setting replicate metric value counted status reason run_id weights_hash n_examples"
    return pd.DataFrame(rows, columns=columns.split())


def judge(
    finals: pd.DataFrame,
    *,
    arms: Sequence[str],
    problems: Sequence[str] = ("mnist-cnn",),
    metric: Measure = ACCURACY,
    trials: int = 12,
    noun: str = "optimizer",
    at: Any = "defaults",
    primary: Sequence[str] | None = None,
    paired_on: PairedOn = ALL_STREAMS,
    seed: int = 0,
    **chosen: Any,
) -> list[Verdict]:
    """All verdicts of a suite whose first arm is the baseline."""
    declared = tuple(arms[1:]) if primary is None else tuple(primary)
    asked = Compare(metric=metric.name, baseline=arms[0], primary=declared, **chosen)
    context = Context("Which is better?", tuple(problems), tuple(arms), trials, noun, untuned=at)
    return compare(finals, suite_compare=asked, metric=metric, seed=seed, context=context, paired_on=paired_on)


CHOSEN = partial(Compare, "accuracy")
BASE = (0.900, 0.910, 0.905, 0.902, 0.908)
WORKED = (0.4, 0.2, 0.5, 0.1, 0.5)
"""The differences of the worked example, statistics section 4."""


def verdict_of(differences: Sequence[float], *, metric: Measure = ACCURACY, **options: Any) -> Verdict:
    """The one verdict of `adam` against `sgd`, whose values differ so, in the metric's own direction."""
    base = [BASE[i % 5] + 0.001 * (i // 5) for i in range(len(differences))]
    values = {"sgd": base, "adam": [b + d for b, d in zip(base, differences, strict=True)]}
    setting = options.pop("setting", "tuned" if options.get("trials", 12) else "given")
    options.setdefault("replicates", len(differences))
    return judge(make_finals(values, metric=metric, setting=setting), arms=("sgd", "adam"), metric=metric, **options)[0]


@dataclass(frozen=True)
class Kit:
    """What tests of this folder call."""

    finals: Callable[..., pd.DataFrame] = make_finals
    judge: Callable[..., list[Verdict]] = judge
    verdict_of: Callable[..., Verdict] = verdict_of
    compare: Callable[..., Compare] = CHOSEN
    accuracy: Measure = ACCURACY
    loss: Measure = LOSS
    base: tuple[float, ...] = BASE
    worked: tuple[float, ...] = WORKED


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit()
