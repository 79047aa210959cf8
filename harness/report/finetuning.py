"""The section on fine-tuning: what each strategy reaches, forgets, trains, keeps and costs, by label budget."""

from __future__ import annotations

import math
import statistics

import pandas as pd

from harness.report import transfer
from harness.report.chart import Chart
from harness.report.counted import interval
from harness.report.drift import drift
from harness.report.forgetting import forgetting
from harness.report.forgotten import forgotten
from harness.report.layout import (
    NONE,
    Cell,
    Column,
    Line,
    Table,
    as_float,
    estimate,
    headed,
    mean_with_interval,
    number,
    table,
)
from harness.report.memory import memory
from harness.report.transfer import mean, runs_of, size
from harness.report.view import View, short
from harness.verdict.format import count
from harness.verdict.summary import spread

DISTURBED = 1.5
"""Times of one arm that differ by more than this factor were taken while the machine did other work."""
FEW, MUCH = 0.1, 0.5
"""An arm that trains less than this share, and saves more than that share of what the baseline saves."""


def charts(view: View) -> list[Chart]:
    """All figures of the section that the tables have values for."""
    found = [draw(view, problem) for problem in view.problems for draw in (forgetting, memory, drift)]
    return [chart for chart in found if chart is not None]


def tables(view: View) -> list[Table]:
    """The main table of each problem, what was forgotten, and where replicates share checkpoints their spread."""
    made = [main(view, problem) for problem in view.problems]
    made += [found for problem in view.problems if (found := forgotten(view, problem)) is not None]
    shared = transfer.shared_by(view)
    return [*made, *([] if shared is None else [spreads(view, shared)])]


def lead(view: View) -> str:
    """That training few parameters is not training cheaply, with what these runs show of it."""
    said = (
        "The share of parameters that train is not the share of memory: what is saved for the backward pass depends on "
        "where the first trained parameter lies, not on how many there are."
    )
    return f"{said} {_example(view)}".strip()


def _example(view: View) -> str:
    """The arm that shows it best: it trains the least among those that save much."""
    found = []
    for problem in view.problems:
        runs = runs_of(view, problem, view.main_setting)
        saved = {arm: mean(rows["saved_bytes"]) for arm, rows in runs.groupby("arm")}
        base = saved.get(view.baseline, math.nan)
        for arm, rows in runs.groupby("arm"):
            share = mean(rows["trainable_share"])
            if arm != view.baseline and share < FEW and saved[arm] > MUCH * base:
                found.append((share, problem, str(arm), saved[arm], base))
    if not found:
        return ""
    share, problem, arm, own, base = min(found)
    on = f" on {problem}" if len(view.problems) > 1 else ""
    return (
        f"Here {arm}{on} trains {transfer.percent(share)} % of the parameters and saves {size(own)}, where "
        f"{view.baseline} saves {size(base)}."
    )


# Main table ----------------------------------------------------------------------------------------------------------


def main(view: View, problem: str) -> Table:
    """One row an arm, in declared order; an arm without meaning here stands with its reason."""
    runs = runs_of(view, problem, view.main_setting)
    notes = {arm: transfer.note(runs[runs["arm"] == arm]) for arm in view.arms}
    noted = any(notes.values())
    rows: list[Line] = []
    for arm in view.arms:
        mine = runs[runs["arm"] == arm]
        cells = [view.arm_cell(arm), *_answer(view, problem, arm), *_measures(view, problem, arm, mine)]
        rows.append((arm, [*cells, *([Cell(notes[arm])] if noted else [])]))
    return table(_caption(view, problem), [*_columns(view), *([Column("Note", wide=True)] if noted else [])], rows)


def _columns(view: View) -> list[Column]:
    measure = view.measure
    difference = f"Difference to {short(view.baseline)}"
    labels = [
        f"{headed(f'Test {measure.words}', measure.value_unit)} [95 % interval]",
        f"{headed(difference, measure.difference_unit)} [interval]",
        "P(better)",
        "Forgetting, kept head, pp",
        "Forgetting, refitted head, pp",
        "Trains, %",
        "Stored",
        "Saved for backward",
        "Step, ms",
        "Learning rate",
    ]
    untuned = [Column(headed("Untuned", measure.value_unit), True)] if transfer.defaults_setting(view) else []
    return [Column("Arm"), *(Column(label, True) for label in labels), Column("Runs ok"), *untuned]


def _answer(view: View, problem: str, arm: str) -> list[Cell]:
    """Value, difference and chance to be better."""
    measure, row = view.measure, transfer.summary_row(view, problem, arm, view.main_setting)
    value = Cell(NONE) if row is None else mean_with_interval(measure, row)
    verdict = transfer.verdict_row(view, problem, arm)
    if arm == view.baseline or verdict is None:
        return [value, Cell("baseline" if arm == view.baseline else NONE), Cell(NONE)]
    better, margin = as_float(verdict["p_superior"]), view.suite.compare.margin or 0.0
    delta, lo, hi = (as_float(verdict[name]) for name in ("delta", "lo", "hi"))
    return [value, estimate(measure, delta, lo, hi, 0.0, margin, -margin), number(f"{better:.2f}", better)]


def _measures(view: View, problem: str, arm: str, runs: pd.DataFrame) -> list[Cell]:
    """What the finished runs forgot, trained, kept and cost."""
    done, planned = runs[runs["status"] == "ok"], view.suite.compare.replicates
    forgot = [mean(done[name]) for name in ("forgetting_kept", "forgetting_refit")]
    share, stored, saved = (mean(done[name]) for name in ("trainable_share", "stored_bytes", "saved_bytes"))
    steps = pd.to_numeric(done["step_milliseconds"]).dropna().astype(float) if view.clocks_comparable else []
    cells = [number(f"{100 * value:.2f}", value) for value in forgot]
    cells += [number(transfer.percent(share) if math.isfinite(share) else "", share)]
    cells += [number(size(value) if math.isfinite(value) else "", value) for value in (stored, saved)]
    cells += [_clocked([float(step) for step in steps]), _range(transfer.rates(view, problem, arm, done))]
    cells += [Cell(f"{len(done)}/{planned}", float(len(done)))]
    if (setting := transfer.defaults_setting(view)) is None:
        return cells
    row = transfer.summary_row(view, problem, arm, setting)
    mean_untuned = math.nan if row is None else as_float(row["mean"])
    return [*cells, estimate(view.measure, mean_untuned, math.nan, math.nan, places=view.measure.places)]


def _clocked(values: list[float]) -> Cell:
    """`0.64`, the median; with the range over the runs where that is wide: `0.64 (0.61 to 1.9)`."""
    if not values:
        return Cell(NONE)
    low, middle, high = min(values), statistics.median(values), max(values)
    wide = f" ({low:.3g} to {high:.3g})" if high > DISTURBED * low else ""
    return Cell(f"{middle:.3g}{wide}", middle)


def _range(values: list[float]) -> Cell:
    """`0.0031 to 0.012`, or the one value."""
    if not values:
        return Cell(NONE)
    low, high = f"{min(values):.2g}", f"{max(values):.2g}"
    return Cell(low if low == high else f"{low} to {high}", min(values))


def _caption(view: View, problem: str) -> str:
    on = f" on {problem}" if len(view.problems) > 1 else ""
    if problem != view.problems[0]:
        return f"The same{on}."
    chosen = "chosen" if view.suite.tuning.trials else "given"
    clocks = (
        f"Milliseconds a step are medians, with the range over the runs where that spans more than a factor of "
        f"{DISTURBED:g}: only runs of this suite are known (H008), no other work on the machine."
        if view.clocks_comparable
        else "Milliseconds are blank, since runs cannot be compared by time (H008)."
    )
    parts = [
        f"Strategies{on}, final runs ({view.main_setting}): mean and {interval(view)}, failed runs as in the table "
        "above; the difference has the interval of its verdict; all else are means of the finished runs.",
        "P(better) is the share of all pairs of single runs, one of each arm, in which the arm's is better.",
        "Forgetting is what was lost in accuracy on the source's test set (positive: forgot), with the source's own "
        "head, and with a head refitted before and after.",
        "Trains: largest share of the parameters over the phases, which says nothing of memory. Stored: what has to be "
        "kept per task beside the source network. Saved for backward: largest over the phases, one batch.",
        f"The learning rate is the {chosen} one, its range over the replicates.",
        clocks,
    ]
    return " ".join(parts)


# Spread --------------------------------------------------------------------------------------------------------------


def spreads(view: View, shared: int) -> Table:
    """How far checkpoints lie apart, and replicates of one checkpoint."""
    measure, rows = view.measure, []
    each = view.suite.compare.replicates // shared
    for problem in view.problems:
        runs = runs_of(view, problem, view.main_setting)
        base = runs[runs["arm"] == view.baseline].set_index("replicate")["counted"]
        for arm in view.arms:
            mine = runs[(runs["arm"] == arm) & runs["counted"].notna()]
            mine = mine.assign(difference=mine["counted"] - mine["replicate"].map(base))
            cells = [*view.problem_cell(problem), view.arm_cell(arm)]
            for name in ("counted", "difference"):
                known = mine[mine[name].notna()]
                there = len(known) and not (name == "difference" and arm == view.baseline)
                both = spread(known, name, checkpoints=shared) if there else (math.nan, math.nan)
                cells += [number(f"{measure.factor * value:.2g}", value) for value in both]
            rows.append((arm, cells))
    columns = [
        *view.problem_column(),
        Column("Arm"),
        *(
            Column(f"{headed(f'SD {where}', measure.difference_unit)}: {what}", True)
            for what in ("value", f"difference to {short(view.baseline)}")
            for where in ("between checkpoints", "within one")
        ),
    ]
    return table(
        f"Where the spread comes from: {count(shared, 'checkpoint')} with {count(each, 'replicate')} each. Between: SD "
        "of the checkpoints' means, which also hold a part of the other; within: SD of replicates around the mean of "
        "their checkpoint, pooled. Intervals are of checkpoint means.",
        columns,
        rows,
    )
