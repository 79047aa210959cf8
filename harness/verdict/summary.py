"""What each arm reached on its own, and how much better its studies looked than its retrained runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.verdict.judgement import SMALLEST_N
from harness.verdict.numbers import NAN, Floats, mean_of, means_by
from harness.verdict.pairs import aside, floats

LEVEL = 0.95
SUMMARY_KEY = ("problem", "arm", "setting", "metric")
SUMMARY_COLUMNS = (
    *SUMMARY_KEY,
    *("split", "epoch_rule", "unit", "n", "n_ok", "mean", "mean_ok", "sd", "median", "min", "max"),
    *("lo", "hi", "level", "method"),
)
OPTIMISM_COLUMNS = ("problem", "arm", "n", "mean", "sd", "lo", "hi", "level")


def summarise(
    values: pd.DataFrame,
    *,
    epoch_rule: str,
    claim: str = "method",
    split: str = "test",
    folds: int | None = None,
    checkpoints: int | None = None,
) -> pd.DataFrame:
    """The table `summary`: one row per (problem, arm, setting, metric), sorted.

    Failed runs count at the metric's floor in all columns but `mean_ok`; without a floor those columns are missing
    when a run failed, since what is left is not the arm. The interval is of the mean, from 3 runs. Runs that say
    nothing of their arm (`outcomes.set_aside`) are not counted; an arm that has no others has n = 0.

    Args:
        values: a frame like `finals` with rows for all metrics.
        epoch_rule: which epoch's test value counts, as the suite declares it.
        claim: `method` when a replicate is the unit, `setting` when a final run is.
        split: the split of the values.
        folds: of the cross-validation that the replicates are.
        checkpoints: over whose replicates is averaged first; mean and interval are then those of checkpoint means.
    """
    unit = "run" if claim == "setting" else "replicate" if folds is None else "fold"
    unit = unit if checkpoints is None else "checkpoint"
    said = {"split": split, "epoch_rule": epoch_rule, "unit": unit}
    kept = values.assign(aside=aside(values))
    return _by_group(kept, SUMMARY_KEY, SUMMARY_COLUMNS, lambda rows: said | _values(rows, folds, checkpoints))


def spread(rows: pd.DataFrame, column: str, *, checkpoints: int) -> tuple[float, float]:
    """SD between checkpoints (of their means) and SD within one (pooled over them); nan where there are too few.

    Args:
        rows: one row a replicate r, which starts from checkpoint r mod `checkpoints`.
    """
    values, of = floats(rows[column]), [int(replicate) % checkpoints for replicate in rows["replicate"]]
    means = means_by(values, of)
    residuals = values - means[np.searchsorted(sorted(set(of)), of)]
    df = len(values) - len(means)
    between = float(np.std(means, ddof=1)) if len(means) > 1 else NAN
    return between, float(np.sqrt(np.sum(residuals**2) / df)) if df > 0 else NAN


def _values(rows: pd.DataFrame, folds: int | None, checkpoints: int | None) -> dict[str, Any]:
    rows = rows[~rows["aside"]]
    counted = floats(rows["counted"])
    ok = floats(rows["value"])[(rows["status"] == "ok").to_numpy(dtype=bool)]
    finished = ok[np.isfinite(ok)]
    order = {
        name: float(measure(counted)) if len(counted) and np.isfinite(counted).all() else NAN
        for name, measure in (("median", np.median), ("min", np.min), ("max", np.max))
    }
    row = {"n": len(rows), "n_ok": len(finished), "mean_ok": mean_of(finished).mean} | order | _mean(counted, folds)
    if checkpoints is not None and len(rows):
        means = means_by(counted, [int(replicate) % checkpoints for replicate in rows["replicate"]])
        row |= {name: value for name, value in _mean(means, None).items() if name != "sd"}
    method = "t" if folds is None else "corrected t"
    method = method if checkpoints is None else "t of checkpoint means"
    return row | {"method": "none" if np.isnan(row["lo"]) else method}


def optimism(studies: pd.DataFrame, *, folds: int | None = None, checkpoints: int | None = None) -> pd.DataFrame:
    """By how much studies looked better than the retrained runs: one row per (problem, arm), sorted.

    Optimism is the winner's validation value in the study minus that of its final run, turned so that positive means
    that the study looked better, whatever the metric's direction. Replicates without both values are left out. Those
    that share one of several source `checkpoints` are averaged first, and n counts checkpoints.
    """
    sign = np.where(studies["direction"] == "minimize", -1.0, 1.0)
    gaps = studies.assign(gap=sign * (floats(studies["best_value"]) - floats(studies["final_value"])))
    known = gaps[np.isfinite(floats(gaps["gap"]))]

    def row(rows: pd.DataFrame) -> dict[str, Any]:
        gap = floats(rows["gap"])
        if checkpoints is not None:
            gap = means_by(gap, [int(replicate) % checkpoints for replicate in rows["replicate"]])
        return {"n": len(gap)} | _mean(gap, folds)

    return _by_group(known, ("problem", "arm"), OPTIMISM_COLUMNS, row)


def _mean(x: Floats, folds: int | None) -> dict[str, float]:
    """Mean, sd and interval; nan where a value is missing, and no interval below 3 values."""
    estimate = mean_of(x, folds=folds)
    lo, hi = estimate.interval(1 - LEVEL) if len(x) >= SMALLEST_N else (NAN, NAN)
    return {"mean": estimate.mean, "sd": estimate.sd, "lo": lo, "hi": hi, "level": LEVEL}


def _by_group(
    frame: pd.DataFrame, key: Sequence[str], columns: Sequence[str], row: Callable[[pd.DataFrame], dict[str, Any]]
) -> pd.DataFrame:
    rows = []
    for names, group in frame.groupby(list(key), sort=True):
        rows.append(dict(zip(key, names, strict=True)) | row(group))
    table = pd.DataFrame(rows, columns=list(columns))
    counts = [name for name in ("n", "n_ok") if name in columns]
    return table.astype(dict.fromkeys(counts, "int64"))
