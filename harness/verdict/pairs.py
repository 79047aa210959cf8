"""From the frame of final runs to the two samples that one comparison is about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness import outcomes
from harness.verdict.numbers import Estimate, Floats, differences, mean_of, means_by, welch

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Side:
    """The final runs of one arm, by replicate: counted values (nan where a failed run cannot be counted)."""

    replicates: tuple[int, ...]
    values: Floats
    statuses: tuple[str, ...]
    weights: tuple[str | None, ...]

    @property
    def ok(self) -> Bools:
        """Which runs finished with a value."""
        return np.array([status == "ok" for status in self.statuses], dtype=np.bool_)

    @property
    def failed(self) -> int:
        """How many did not."""
        return int(np.count_nonzero(~self.ok))

    @property
    def failures(self) -> tuple[str, ...]:
        """The ways in which they did not, each once."""
        return tuple(sorted({status for status in self.statuses if status != "ok"}))

    def keep(self, where: Bools) -> Side:
        """The runs at the places that are True."""
        places = np.flatnonzero(where)
        return Side(
            replicates=tuple(self.replicates[i] for i in places),
            values=self.values[places],
            statuses=tuple(self.statuses[i] for i in places),
            weights=tuple(self.weights[i] for i in places),
        )


@dataclass(frozen=True, eq=False)
class Pair:
    """Two arms on one problem. Paired, both sides hold the same replicates in the same order."""

    arm: Side
    baseline: Side
    sign: int
    """-1 for a metric to be minimised."""
    paired: bool
    folds: int | None = None
    """Of the cross-validation that the replicates are; None: they are drawn independently."""
    checkpoints: int | None = None
    """Replicate r starts from checkpoint r mod so many, and values are averaged within a checkpoint first: one of n
    is a checkpoint then. None: one of n is a replicate."""

    @property
    def n(self) -> int:
        """Replicates or checkpoints; unpaired, those of the smaller side."""
        return min(len(set(map(self.unit_of, side.replicates))) for side in (self.arm, self.baseline))

    @property
    def runs(self) -> int:
        """Replicates, whatever one of n is; unpaired, the runs of the smaller side."""
        return min(len(self.arm.values), len(self.baseline.values))

    @property
    def d(self) -> Floats:
        """Paired differences (n,), positive where the arm is better."""
        each = differences(self.arm.values, self.baseline.values, sign=self.sign)
        return means_by(each, self._units(self.arm))

    @property
    def units(self) -> tuple[int, ...]:
        """The replicates, or the checkpoints, that either side has."""
        return tuple(sorted({*self._units(self.arm), *self._units(self.baseline)}))

    def unit_of(self, replicate: int) -> int:
        """The number of that one of n which a replicate belongs to."""
        return replicate if self.checkpoints is None else replicate % self.checkpoints

    def _units(self, side: Side) -> list[int]:
        return [self.unit_of(replicate) for replicate in side.replicates]

    @property
    def countable(self) -> bool:
        """False when a failed run has no value that it could count as."""
        return bool(np.isfinite(self.arm.values).all() and np.isfinite(self.baseline.values).all())

    @property
    def same_weights(self) -> bool:
        """True when both arms ended with the same weights in every replicate."""
        return self.paired and None not in self.arm.weights and self.arm.weights == self.baseline.weights

    def estimate(self) -> Estimate:
        """The mean difference by the analysis that the pairing allows."""
        return mean_of(self.d, folds=self.folds) if self.paired else self.welch()

    def welch(self) -> Estimate:
        """The mean difference as if the sides were independent."""
        arm, baseline = (means_by(side.values, self._units(side)) for side in (self.arm, self.baseline))
        return welch(self.sign * arm, self.sign * baseline)

    def without(self, unit: int) -> Pair:
        """The pair without one replicate, or one checkpoint (unpaired: on either side that has it)."""
        arm, baseline = (
            side.keep(np.array([i != unit for i in self._units(side)], dtype=np.bool_))
            for side in (self.arm, self.baseline)
        )
        return replace(self, arm=arm, baseline=baseline)

    def without_failed(self) -> Pair:
        """The pair without the replicates in which either arm failed (unpaired: without the failed runs)."""
        good_arm, good_baseline = self.arm.ok, self.baseline.ok
        if self.paired:
            good_arm = good_baseline = good_arm & good_baseline
        return replace(self, arm=self.arm.keep(good_arm), baseline=self.baseline.keep(good_baseline))


def pair_of(
    finals: pd.DataFrame,
    *,
    problem: str,
    arm: str,
    baseline: str,
    setting: str,
    sign: int,
    paired: bool = True,
    folds: int | None = None,
    checkpoints: int | None = None,
) -> Pair:
    """The runs of two arms on one problem in one setting; paired, only replicates that both arms have.

    Runs that say nothing of their arm are left out: see `judged`.
    """
    finals = judged(finals)
    here = finals[(finals["problem"] == problem) & (finals["setting"] == setting)]
    one, other = _side(here[here["arm"] == arm]), _side(here[here["arm"] == baseline])
    if paired:
        both = set(one.replicates) & set(other.replicates)
        one, other = (
            side.keep(np.array([i in both for i in side.replicates], dtype=np.bool_)) for side in (one, other)
        )
    return Pair(arm=one, baseline=other, sign=sign, paired=paired, folds=folds, checkpoints=checkpoints)


def aside(finals: pd.DataFrame) -> pd.Series[bool]:
    """Which final runs say nothing of their arm: strategies without meaning there, runs whose source run failed."""
    rows = zip(finals["status"], finals["reason"], strict=True)
    return pd.Series([outcomes.set_aside(*row) for row in rows], index=finals.index, dtype=bool)


def judged(finals: pd.DataFrame) -> pd.DataFrame:
    """The final runs that say something of their arm, failed ones included."""
    return finals[~aside(finals)]


def floats(column: pd.Series[Any]) -> Floats:
    """The column's values (n,), nan where one is missing."""
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))


def _side(rows: pd.DataFrame) -> Side:
    rows = rows.sort_values("replicate")
    finite = np.isfinite(floats(rows["value"]))
    statuses = [str(status) for status in rows["status"]]
    return Side(
        replicates=tuple(int(i) for i in rows["replicate"]),
        values=floats(rows["counted"]),
        statuses=tuple(s if s != "ok" or good else "not finite" for s, good in zip(statuses, finite, strict=True)),
        weights=tuple(None if pd.isna(name) else str(name) for name in rows["weights_hash"]),
    )


def examples_of(finals: pd.DataFrame, problem: str) -> int | None:
    """The size of the problem's test set, where every run says the same."""
    sizes = finals.loc[finals["problem"] == problem, "n_examples"].dropna().unique()
    return int(sizes[0]) if len(sizes) == 1 else None
