"""How much each strategy forgot, with intervals, and how much more or less than the baseline."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.report import transfer
from harness.report.forgetting import HEADS
from harness.report.layout import Cell, Column, Line, Table, estimate, number, table
from harness.report.view import View, short
from harness.verdict.format import Measure
from harness.verdict.judgement import SMALLEST_N
from harness.verdict.numbers import NAN, Floats, differences, mean_of, means_by

ACCURACY = Measure("accuracy", "maximize", "fraction")
"""Forgetting is lost accuracy, whatever the suite compares."""


def forgotten(view: View, problem: str) -> Table | None:
    """One row an arm that could forget, in declared order; None where none could."""
    if not transfer.moved(view):
        return None
    runs = transfer.runs_of(view, problem, view.main_setting).query("status == 'ok'")
    base = runs[runs["arm"] == view.baseline]
    rows: list[Line] = []
    for arm in view.arms:
        mine = runs[(runs["arm"] == arm) & runs["forgetting_kept"].notna()]
        if len(mine):
            rows.append((arm, [view.arm_cell(arm), *_cells(view, mine, None if arm == view.baseline else base)]))
    return table(_caption(view, problem), _columns(view), rows) if rows else None


def _columns(view: View) -> list[Column]:
    heads = {"kept": "Kept head", "refit": "Refitted head"}
    against = f"against {short(view.baseline)}"
    labels = [label for head in HEADS for label in (f"{heads[head]}, pp", f"{heads[head]}, {against}, pp")]
    return [Column("Arm"), Column("n", True), *(Column(f"{label} [95 %]", True) for label in labels)]


def _cells(view: View, runs: pd.DataFrame, base: pd.DataFrame | None) -> list[Cell]:
    shared = transfer.shared_by(view)
    cells: list[Cell] = []
    for name in (f"forgetting_{head}" for head in HEADS):
        own = _known(runs, name)
        units = _units(own, shared)
        cells += [*([] if cells else [number(str(len(units)), len(units))]), _estimate(units)]
        if base is None:
            cells.append(Cell("baseline"))
            continue
        other = _known(base, name)
        both = own.index.intersection(other.index)
        gaps = pd.Series(differences(own[both].to_numpy(), other[both].to_numpy()), index=both)
        cells.append(_estimate(_units(gaps, shared)))
    return cells


def _known(runs: pd.DataFrame, name: str) -> pd.Series:
    """The column's values where it has any, by replicate."""
    return runs[runs[name].notna()].set_index("replicate")[name].astype(float)


def _units(values: pd.Series, shared: int | None) -> Floats:
    """The independent values (n,): one a replicate, or the mean of each checkpoint's replicates."""
    found = np.asarray(values, dtype=np.float64)
    if shared is None or not len(found):
        return found
    return means_by(found, [int(replicate) % shared for replicate in values.index])


def _estimate(values: Floats) -> Cell:
    """`43.3 [38.1, 48.5]`; without an interval below 3 values."""
    found = mean_of(values)
    lo, hi = found.interval() if len(values) >= SMALLEST_N else (NAN, NAN)
    return estimate(ACCURACY, found.mean, lo, hi, 0.0)


def _caption(view: View, problem: str) -> str:
    on = f" on {problem}" if len(view.problems) > 1 else ""
    if problem != view.problems[0]:
        return f"The same{on}."
    unit = "checkpoints" if transfer.shared_by(view) else "replicates"
    return (
        f"What was forgotten{on}: accuracy lost on the source's test set by finished final runs ({view.main_setting}), "
        f"mean and 95 % t-interval over n {unit}, and the paired difference to {short(view.baseline)} (negative: "
        "forgot less). Exploratory: not adjusted for the number of arms."
    )
