"""What each arm reaches against the memory that it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from harness.report import transfer
from harness.report.chart import Chart, chart
from harness.report.over import beside
from harness.report.plotting import MUTED, canvas, handle, legend, legend_height, place, tagged
from harness.report.scale import scale_of, stretched
from harness.report.view import View, short
from harness.verdict.format import count, listed

COLUMNS = ["problem", "setting", "arm", "memory", "bytes", "value", "lo", "hi", "front", "unit"]
KINDS = {"saved_bytes": "saved for backward, one batch (bytes)", "stored_bytes": "stored for each task (bytes)"}
WIDE, HIGH, GAP, LEFT = 3.85, 2.6, 0.75, 0.8
"""Inches: of a panel, between two, and left of the first."""
_ROUND = sorted(lead * 1024**power for power in range(4) for lead in (1, 4, 16, 64, 256))


def memory(view: View, problem: str) -> Chart | None:
    """Mean value against saved and stored bytes, with the front that no other arm beats in both."""
    frame = memory_frame(view, problem)
    fronts = [
        f"{KINDS[kind].partition(',')[0].partition(' for')[0]}: {listed(list(rows.loc[rows['front'], 'arm']))}"
        for kind, rows in frame.groupby("memory", sort=False)
    ]
    scale = scale_of(view.measure, frame[["value", "lo", "hi"]].to_numpy(float).ravel())
    return chart(
        _draw,
        frame,
        view,
        name="memory",
        problem=problem,
        title="What it reaches for how much memory",
        caption=f"Mean test {view.measure.words} of the final runs ({view.main_setting}) with its 95 % t-interval; "
        "left and up is better. The grey steps are the front: no other arm has a mean as high with as few bytes "
        f"({'; '.join(fronts)}). By means alone: arms on it need not differ. "
        "Arms stand a little aside, so that equal ones can be told apart. "
        f"n = {count(view.suite.compare.replicates, 'replicate')} per arm. {stretched(scale)}".strip(),
    )


def memory_frame(view: View, problem: str) -> pd.DataFrame:
    """What is plotted: bytes (mean of the finished runs), mean and interval in the unit of the axis."""
    if not transfer.moved(view):
        return pd.DataFrame(columns=COLUMNS)
    runs, measure, rows = transfer.runs_of(view, problem, view.main_setting), view.measure, []
    for kind in KINDS:
        for arm in view.arms:
            mine = runs[(runs["arm"] == arm) & (runs["status"] == "ok")]
            size, row = transfer.mean(mine[kind]), transfer.summary_row(view, problem, arm, view.main_setting)
            if row is None or not size > 0 or pd.isna(row["mean"]):
                continue
            shown = {to: measure.factor * float(row[of]) for to, of in (("value", "mean"), ("lo", "lo"), ("hi", "hi"))}
            rows.append({"arm": arm, "memory": kind, "bytes": size, **shown})
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame = frame.assign(problem=problem, setting=view.main_setting, unit=measure.value_unit, front=False)
    for _, part in frame.groupby("memory", sort=False):
        frame.loc[part.index, "front"] = on_front(
            part["bytes"].to_numpy(float), measure.sign * part["value"].to_numpy(float)
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
    for at, kind in enumerate(kind for kind in KINDS if (frame["memory"] == kind).any()):
        axes = place(figure, LEFT + at * (WIDE + GAP), top + 0.15, WIDE, HIGH)
        part = frame[frame["memory"] == kind]
        _byte_axis(axes, part["bytes"].to_numpy(float))
        scale.apply(axes, values, air=0.08)
        _front(axes, part)
        for arm in arms:
            with tagged(axes, view.styles[arm].gid):
                _arm(axes, part[part["arm"] == arm], view, arm, share=beside(arms.index(arm), len(arms)))
        axes.set_xlabel(KINDS[kind])
        axes.set_ylabel("" if at else scale.label("test"))
    return figure


def _front(axes: Axes, part: pd.DataFrame) -> None:
    """Steps through the front, on to the right edge: with more bytes one has as much."""
    points = part[part["front"]].sort_values("bytes")
    x, y = points["bytes"].to_numpy(float), points["value"].to_numpy(float)
    x, y = np.append(x, axes.get_xlim()[1]), np.append(y, y[-1:])
    axes.plot(x, y, drawstyle="steps-post", color=MUTED, linewidth=1.1, linestyle=(0, (4, 2)), zorder=1)


def _arm(axes: Axes, rows: pd.DataFrame, view: View, arm: str, *, share: float) -> None:
    low, high = axes.get_xlim()
    style, x = view.styles[arm], rows["bytes"].astype(float) * (high / low) ** share
    axes.vlines(x, rows["lo"].astype(float), rows["hi"].astype(float), color=style.colour, linewidth=1.8, zorder=3)
    look: dict[str, Any] = {"marker": style.marker, "markersize": 8, "mec": "#ffffff", "mew": 0.8, "linestyle": "none"}
    axes.plot(x, rows["value"].astype(float), color=style.colour, zorder=4, **look)


def _byte_axis(axes: Axes, sizes: np.ndarray) -> None:
    """A logarithmic axis whose ticks are round in bytes, KiB and MiB."""
    low, high = sizes.min() / 1.6, sizes.max() * 1.6
    if high < 12 * low:
        low, high = low / 1.8, high * 1.8
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [tick for tick in _ROUND if low <= tick <= high]
    axes.xaxis.set_major_locator(FixedLocator(ticks[:: -(-len(ticks) // 5)] if ticks else [float(sizes.min())]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: transfer.size(value, whole=True)))
    axes.xaxis.set_minor_locator(NullLocator())
