"""What each arm reaches against the parameters that it trains and the memory that it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from harness.report import transfer
from harness.report.chart import Chart, chart
from harness.report.counted import interval, per_arm
from harness.report.over import beside
from harness.report.plotting import MUTED, canvas, handle, legend, legend_height, place, tagged
from harness.report.scale import scale_of, stretched
from harness.report.view import View, short
from harness.verdict.format import listed

COLUMNS = ["problem", "setting", "arm", "cost", "size", "value", "lo", "hi", "front", "unit"]
COSTS = {
    "trainable_parameters": "parameters that train",
    "saved_bytes": "saved for backward, a batch",
    "stored_bytes": "stored for each task",
}
ACROSS, HIGH, GAP, LEFT = 8.45, 2.6, 0.4, 0.8
"""Inches: of all panels together, of each, between two, and left of the first."""
_ROUND = sorted(lead * 1024**power for power in range(4) for lead in (1, 4, 16, 64, 256))
_TENS = [10**power for power in range(12)]
_MOST_TICKS = 4


def memory(view: View, problem: str) -> Chart | None:
    """Mean value against what an arm costs, in a panel each, with the front that no other arm beats in both."""
    frame = memory_frame(view, problem)
    fronts = [
        f"{COSTS[cost].partition(',')[0].partition(' for')[0]}: {listed(list(rows.loc[rows['front'], 'arm']))}"
        for cost, rows in frame.groupby("cost", sort=False)
    ]
    scale = scale_of(view.measure, frame[["value", "lo", "hi"]].to_numpy(float).ravel())
    return chart(
        _draw,
        frame,
        view,
        name="memory",
        problem=problem,
        title="What it reaches for how many parameters and how much memory",
        caption=f"Mean test {view.measure.words} of the final runs ({view.main_setting}) with its {interval(view)}; "
        "left and up is better. The grey steps are the front: no other arm has a mean as high for as little "
        f"({'; '.join(fronts)}). By means alone: arms on it need not differ. "
        "Arms stand a little aside, so that equal ones can be told apart. "
        f"{per_arm(view, problem)}. {stretched(scale)}".strip(),
    )


def memory_frame(view: View, problem: str) -> pd.DataFrame:
    """What is plotted: costs (mean of the finished runs), mean and interval in the unit of the axis."""
    if not transfer.moved(view):
        return pd.DataFrame(columns=COLUMNS)
    runs, measure, rows = transfer.runs_of(view, problem, view.main_setting), view.measure, []
    for cost in COSTS:
        for arm in view.arms:
            mine = runs[(runs["arm"] == arm) & (runs["status"] == "ok")]
            size, row = transfer.mean(mine[cost]), transfer.summary_row(view, problem, arm, view.main_setting)
            if row is None or not size > 0 or pd.isna(row["mean"]):
                continue
            shown = {to: measure.factor * float(row[of]) for to, of in (("value", "mean"), ("lo", "lo"), ("hi", "hi"))}
            rows.append({"arm": arm, "cost": cost, "size": size, **shown})
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame = frame.assign(problem=problem, setting=view.main_setting, unit=measure.value_unit, front=False)
    for _, part in frame.groupby("cost", sort=False):
        frame.loc[part.index, "front"] = on_front(
            part["size"].to_numpy(float), measure.sign * part["value"].to_numpy(float)
        )
    return frame


def on_front(cost: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Which points no other one beats: at most the cost and at least the value (n,), one of them strictly."""
    below, above = cost[None, :] <= cost[:, None], value[None, :] >= value[:, None]
    strictly = (cost[None, :] < cost[:, None]) | (value[None, :] > value[:, None])
    return np.asarray(~(below & above & strictly).any(axis=1))


def _draw(frame: pd.DataFrame, view: View) -> Figure:
    arms = [arm for arm in view.arms if (frame["arm"] == arm).any()]
    top = legend_height(len(arms))
    figure = canvas(top + 0.15 + HIGH + 0.6)
    handles = [handle(view.styles[arm], short(arm), line=False) for arm in arms]
    legend(figure, handles, [view.styles[arm].gid for arm in arms], top=0.02)
    values = frame[["value", "lo", "hi"]].to_numpy(float).ravel()
    scale = scale_of(view.measure, values)
    shown = [cost for cost in COSTS if (frame["cost"] == cost).any()]
    wide = (ACROSS - GAP * (len(shown) - 1)) / len(shown)
    for at, cost in enumerate(shown):
        axes = place(figure, LEFT + at * (wide + GAP), top + 0.15, wide, HIGH)
        part = frame[frame["cost"] == cost]
        _cost_axis(axes, part["size"].to_numpy(float), in_bytes=cost.endswith("_bytes"))
        scale.apply(axes, values, air=0.08)
        _front(axes, part)
        for arm in arms:
            with tagged(axes, view.styles[arm].gid):
                _arm(axes, part[part["arm"] == arm], view, arm, share=beside(arms.index(arm), len(arms)))
        axes.set_xlabel(COSTS[cost])
        axes.set_ylabel("" if at else scale.label("test"))
        axes.tick_params(labelleft=not at)
    return figure


def _front(axes: Axes, part: pd.DataFrame) -> None:
    """Steps through the front, on to the right edge: for more one has as much."""
    points = part[part["front"]].sort_values("size")
    x, y = points["size"].to_numpy(float), points["value"].to_numpy(float)
    x, y = np.append(x, axes.get_xlim()[1]), np.append(y, y[-1:])
    axes.plot(x, y, drawstyle="steps-post", color=MUTED, linewidth=1.1, linestyle=(0, (4, 2)), zorder=1)


def _arm(axes: Axes, rows: pd.DataFrame, view: View, arm: str, *, share: float) -> None:
    low, high = axes.get_xlim()
    style, x = view.styles[arm], rows["size"].astype(float) * (high / low) ** share
    axes.vlines(x, rows["lo"].astype(float), rows["hi"].astype(float), color=style.colour, linewidth=1.8, zorder=3)
    look: dict[str, Any] = {"marker": style.marker, "markersize": 8, "mec": "#ffffff", "mew": 0.8, "linestyle": "none"}
    axes.plot(x, rows["value"].astype(float), color=style.colour, zorder=4, **look)


def _cost_axis(axes: Axes, sizes: np.ndarray, *, in_bytes: bool) -> None:
    """A logarithmic axis whose ticks are round: powers of ten, or bytes, KiB and MiB."""
    low, high = sizes.min() / 1.6, sizes.max() * 1.6
    if high < 12 * low:
        low, high = low / 1.8, high * 1.8
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [tick for tick in (_ROUND if in_bytes else _TENS) if low <= tick <= high]
    ticks = ticks[:: -(-len(ticks) // _MOST_TICKS)] if ticks else [float(sizes.min())]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: transfer.size(value, whole=True) if in_bytes else f"{value:,.0f}")
    )
    axes.xaxis.set_minor_locator(NullLocator())
