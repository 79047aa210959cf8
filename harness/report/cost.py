"""What each arm costs beside what it reaches."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from harness.report.chart import Chart, chart
from harness.report.counted import interval, per_arm
from harness.report.plotting import (
    canvas,
    few_ticks,
    handle,
    legend,
    legend_height,
    log_axis,
    pad_limits,
    place,
    scatter,
    tagged,
)
from harness.report.results import train_seconds
from harness.report.view import View, short, value_axis

COLUMNS = ["problem", "arm", "setting", "clock", "seconds", "value", "lo", "hi", "unit"]
CLOCKS = {
    "train_seconds": "training clock of a final run, median (seconds)",
    "tune_seconds": "training clock of all tuning runs, summed (seconds)",
}


def cost(view: View, problem: str) -> Chart | None:
    """Test value against training and tuning time; None where times may not be compared."""
    if not view.clocks_comparable:
        return None
    return chart(
        _draw,
        cost_frame(view, problem),
        view,
        name="cost",
        problem=problem,
        title="What it costs",
        caption=f"Mean test {view.measure.words} of the final runs ({view.main_setting}) with its {interval(view)}, "
        "against seconds on the training clock: training steps only, neither evaluation nor loading nor the search "
        "itself. "
        f"{per_arm(view, problem)}. Seconds hold for the machine of the runs.",
    )


def cost_frame(view: View, problem: str) -> pd.DataFrame:
    """What `cost` plots: seconds and the summary's mean and interval, of the main setting."""
    summary = view.table("summary", "problem", "setting", "arm", "metric")
    seconds = view.table("cost", "problem", "arm", "tune_seconds")
    train, measure, rows = train_seconds(view), view.measure, []
    keep = (summary["problem"] == problem) & (summary["setting"] == view.main_setting)
    for _, row in summary[keep & (summary["metric"] == measure.name)].iterrows():
        for _, spent in seconds[(seconds["problem"] == problem) & (seconds["arm"] == row["arm"])].iterrows():
            shown = {name: measure.factor * float(row[column]) for name, column in _SHOWN.items()}
            same: dict[str, Any] = {"problem": problem, "arm": row["arm"], "setting": row["setting"], **shown}
            for clock, value in (
                ("train_seconds", train.get((problem, row["arm"], row["setting"]), math.nan)),
                ("tune_seconds", spent["tune_seconds"]),
            ):
                if not pd.isna(value) and value > 0 and not pd.isna(shown["value"]):
                    rows.append({**same, "clock": clock, "seconds": float(value), "unit": measure.value_unit})
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.sort_values("clock", kind="stable", key=lambda clock: clock.map(list(CLOCKS).index))


_SHOWN = {"value": "mean", "lo": "lo", "hi": "hi"}


def _draw(frame: pd.DataFrame, view: View) -> Figure:
    arms = [arm for arm in view.arms if (frame["arm"] == arm).any()]
    clocks = [clock for clock in CLOCKS if (frame["clock"] == clock).any()]
    top = legend_height(len(arms))
    figure = canvas(top + 0.15 + 2.5 + 0.55)
    legend(
        figure,
        [handle(view.styles[arm], short(arm), line=False) for arm in arms],
        [view.styles[arm].gid for arm in arms],
        top=0.02,
    )
    for at, clock in enumerate(clocks):
        axes = place(figure, 0.75 + at * 4.6, top + 0.15, 4.0, 2.5)
        part = frame[frame["clock"] == clock]
        axes.set_ylim(*pad_limits(frame[["value", "lo", "hi"]].to_numpy(float).ravel().tolist()))
        _x_axis(axes, part["seconds"])
        for arm in arms:
            style, rows = view.styles[arm], part[part["arm"] == arm]
            with tagged(axes, style.gid):
                axes.vlines(
                    rows["seconds"],
                    rows["lo"].astype(float),
                    rows["hi"].astype(float),
                    color=style.colour,
                    linewidth=1.8,
                )
                look = {"marker": style.marker, "s": 60, "edgecolor": "#ffffff", "linewidth": 0.8, "zorder": 4}
                scatter(axes, rows, x="seconds", y="value", style=style, **look)
        axes.set_xlabel(CLOCKS[clock])
        axes.set_ylabel("" if at else value_axis(view.measure, "test"))
        few_ticks(axes.yaxis, 5)
    return figure


def _x_axis(axes: Any, seconds: pd.Series) -> None:
    """From zero, so that a ratio of times is seen as one; logarithmic where they differ more than thirtyfold."""
    if seconds.max() > 30 * seconds.min():
        axes.set_xscale("log")
        axes.set_xlim(seconds.min() / 1.5, seconds.max() * 1.5)
        log_axis(axes.xaxis)
    else:
        axes.set_xlim(0, seconds.max() * 1.12)
        few_ticks(axes.xaxis, 5)
