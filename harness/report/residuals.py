"""How far the values of a regression lie from the true ones."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.chart import Chart, chart
from harness.report.layout import Column, Line, Table, number, table
from harness.report.plotting import MUTED, canvas, few_ticks, pad_limits, place, scatter
from harness.report.view import View
from harness.verdict.format import count

COLUMNS = ["problem", "arm", "mark", "replicate", "target", "output", "low", "high", "count"]
MOST_POINTS = 600
"""Pairs that are drawn; the histogram counts all that runs kept."""
BINS = 30
SHOWN = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Quantiles in the table."""


def residuals(view: View, problem: str) -> Chart | None:
    """Predicted against true values of the problem's chosen arm, and how often they differ by how much."""
    frame, arm = residuals_frame(view, problem), view.detail_arm(problem)
    kept = view.details(problem, arm, "pairs")
    pairs = sum(len(details["pairs"]["target"]) for _, details in kept)
    drawn = int((frame["mark"] == "pair").sum())
    some = f", {drawn:,} of {pairs:,} drawn" if drawn < pairs else ""
    return chart(
        _draw,
        frame,
        view,
        name="residuals",
        problem=problem,
        title=f"Predicted against true values of {arm}",
        caption=f"Left: test examples, evenly taken from the split, of n = {count(len(kept), 'replicate')} "
        f"({view.main_setting}){some}; on the line a value is right. Right: predicted minus true values of the same "
        "examples. Both are in the unit of the target.",
    )


def residuals_frame(view: View, problem: str) -> pd.DataFrame:
    """What `residuals` plots: pairs, and bins of their differences."""
    arm = view.detail_arm(problem)
    pairs = [
        pd.DataFrame({"target": kept["pairs"]["target"], "output": kept["pairs"]["output"]}).assign(replicate=replicate)
        for replicate, kept in view.details(problem, arm, "pairs")
    ]
    if not pairs:
        return pd.DataFrame(columns=COLUMNS)
    every = pd.concat(pairs, ignore_index=True)
    drawn = every.iloc[:: -(-len(every) // MOST_POINTS)].assign(mark="pair")
    counts, edges = np.histogram(every["output"] - every["target"], bins=BINS)
    bins = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "count": counts}).assign(mark="bin")
    frame = pd.concat([drawn, bins], ignore_index=True).assign(problem=problem, arm=arm)
    return frame.astype({"replicate": "Int64", "count": "Int64"})[COLUMNS]


def _draw(frame: pd.DataFrame, view: View) -> Figure:
    pairs, bins = frame[frame["mark"] == "pair"], frame[frame["mark"] == "bin"]
    style = view.styles[str(frame["arm"].iat[0])]
    figure = canvas(4.35)
    axes = place(figure, 0.8, 0.15, 3.65, 3.65)
    limits = pad_limits(pairs[["target", "output"]].to_numpy(float).ravel().tolist(), 0.04)
    axes.plot(limits, limits, color=MUTED, linewidth=1, zorder=1)
    scatter(axes, pairs, x="target", y="output", style=style, marker="o", s=11, alpha=0.5, linewidth=0)
    axes.set(xlim=limits, ylim=limits)
    axes.set_xlabel("true value (unit of the target)")
    axes.set_ylabel("predicted value (unit of the target)")
    beside = place(figure, 5.3, 0.15, 4.05, 3.65)
    _bars(beside, bins, style.colour)
    for at in (axes, beside):
        few_ticks(at.xaxis, 5)
        few_ticks(at.yaxis, 5)
    return figure


def _bars(axes: Axes, bins: pd.DataFrame, colour: str) -> None:
    low, high = bins["low"].to_numpy(float), bins["high"].to_numpy(float)
    heights = bins["count"].to_numpy(float)
    axes.bar(low, heights, width=high - low, align="edge", color=colour, alpha=0.55, linewidth=0)
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.set_ylim(0, 1.06 * max(float(heights.max()), 1.0))
    axes.set_xlabel("predicted minus true value (unit of the target)")
    axes.set_ylabel("test examples (number)")


def quantiles(view: View, problem: str) -> Table | None:
    """Quantiles of predicted minus true values for all arms; None where no run kept them."""
    rows: list[Line] = []
    for arm in view.arms:
        kept = [dict(map(tuple, details["residuals"])) for _, details in view.details(problem, arm, "residuals")]
        if kept:
            means = [math.fsum(run[share] for run in kept) / len(kept) for share in SHOWN]
            cells = [number(f"{value:.3g}", value) for value in means]
            rows.append((arm, [view.arm_cell(arm), number(str(len(kept)), float(len(kept))), *cells]))
    if not rows:
        return None
    columns = [Column("Arm"), Column("n", True), *(Column(f"{100 * share:g} %", True) for share in SHOWN)]
    on = f" on {problem}" if len(view.problems) > 1 else ""
    caption = (
        f"Predicted minus true values{on}, over the whole test split: so many percent of them lie below; means over "
        f"the final runs ({view.main_setting}), in the unit of the target."
    )
    return table(caption, columns, rows)
