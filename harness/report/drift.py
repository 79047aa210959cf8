"""Where each arm moved the network: by block, relative to what it started from."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

from harness.report.chart import Chart, chart
from harness.report.counted import span
from harness.report.plotting import INK, MUTED, PAPER, RULE, WIDTH, canvas, category_ticks, place, tagged
from harness.report.view import COLOURS, View, short

COLUMNS = ["problem", "setting", "arm", "block", "parameters", "trained", "drift", "low", "high", "n"]
HIGH, LARGEST, LEAST, ROOM = 0.36, 1.15, 0.42, 0.28
"""Inches: height of a row, largest width of a cell, least width of one with a number, and room for a block's number."""
DECADES = 3
"""Below the largest change by so many powers of ten a cell has the lightest shade."""
LEVELS, DARKEST, LIGHT_TEXT = 8, 0.95, 0.72
COLOUR = COLOURS[1]


def drift(view: View, problem: str) -> Chart | None:
    """A heat map of arms by blocks; frozen cells are hatched. None without the table `blocks`."""
    frame = drift_frame(view, problem)
    n = span(frame["n"], "replicate")
    return chart(
        _draw,
        frame,
        view,
        name="drift",
        problem=problem,
        title="Where the network moved",
        caption="Relative change ‖φ - φ⁰‖ / ‖φ⁰‖ of each block's parameters from where the run started, in percent: "
        f"median of the finished final runs ({view.main_setting}), shaded by its logarithm. Hatched: frozen in every "
        f"phase. A dash has no start to be compared with. n = {n} per arm.",
    )


def drift_frame(view: View, problem: str) -> pd.DataFrame:
    """What is plotted: by arm and block the median change and its range over replicates, in percent."""
    rows = view.table("blocks", *COLUMNS[:4], "replicate", "parameters", "trained", "drift")
    rows = rows[(rows["problem"] == problem) & (rows["setting"] == view.main_setting)]
    if rows.empty:
        return pd.DataFrame(columns=COLUMNS)
    rows = rows.assign(drift=100 * pd.to_numeric(rows["drift"]))
    found = rows.groupby(["arm", "block"], as_index=False).agg(
        parameters=("parameters", "max"),
        trained=("trained", "max"),
        drift=("drift", "median"),
        low=("drift", "min"),
        high=("drift", "max"),
        n=("replicate", "nunique"),
    )
    found = found.assign(problem=problem, setting=view.main_setting, place=found["arm"].map(view.order))
    return found.sort_values(["place", "block"])[COLUMNS].reset_index(drop=True)


def _draw(frame: pd.DataFrame, view: View) -> Figure:
    arms = [arm for arm in view.arms if (frame["arm"] == arm).any()]
    blocks = sorted(set(frame["block"].astype(int)))
    left = 0.35 + 0.082 * max(len(short(arm)) for arm in arms)
    cell = min(LARGEST, (WIDTH - left - 0.1) / len(blocks))
    figure = canvas(0.1 + HIGH * len(arms) + 0.62)
    axes = place(figure, left, 0.1, cell * len(blocks), HIGH * len(arms))
    axes.set(xlim=(0, len(blocks)), ylim=(len(arms), 0))
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, color=RULE)
    column, largest = {block: at for at, block in enumerate(blocks)}, frame["drift"].max()
    for row, arm in enumerate(arms):
        with tagged(axes, view.styles[arm].gid):
            for _, one in frame[frame["arm"] == arm].iterrows():
                _cell(axes, one, column[int(one["block"])], row, largest=float(largest), wide=cell >= LEAST)
    axes.hlines(range(1, len(arms)), 0, len(blocks), color=PAPER, linewidth=1.6, zorder=4)
    axes.vlines(range(1, len(blocks)), 0, len(arms), color=PAPER, linewidth=min(1.6, 8 * cell), zorder=4)
    step = math.ceil(ROOM / cell)
    labels = [str(block) if at % step == 0 else "" for at, block in enumerate(blocks)]
    if len(blocks) > 1 and cell >= 2 * LEAST:
        labels[0], labels[-1] = f"{labels[0]} (input)", f"{labels[-1]} (head)"
    category_ticks(axes.xaxis, labels, size=9.0 if cell >= LEAST else 7.0)
    category_ticks(axes.yaxis, [short(arm) for arm in arms], size=9.0)
    axes.tick_params(length=0)
    axes.set_xlabel("block (number, from the input to the head)")
    axes.set_ylabel("")
    return figure


def _cell(axes: Axes, one: pd.Series, x: int, y: int, *, largest: float, wide: bool) -> None:
    drift, frozen = float(one["drift"]), int(one["trained"]) == 0
    shade = 0.0 if frozen else shade_of(drift, largest)
    if frozen:
        hatching = _hatching(x, y, lines=5 if wide else 2)
        axes.add_patch(PathPatch(hatching, edgecolor=MUTED, facecolor="none", linewidth=0.7, zorder=2))
    elif shade:
        corners = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1), (x, y)]
        axes.add_patch(PathPatch(Outline(corners), facecolor=to_rgba(COLOUR, shade), linewidth=0, zorder=2))
    if wide and not frozen:
        text = "–" if math.isnan(drift) else _text(drift)
        colour = PAPER if shade > LIGHT_TEXT else INK
        axes.text(x + 0.5, y + 0.5, text, ha="center", va="center_baseline", fontsize=8.5, color=colour, zorder=5)


def shade_of(drift: float, largest: float) -> float:
    """Opacity by the logarithm of the change: darkest for the largest, lightest a thousandth of it and below."""
    if not drift > 0:
        return 0.0 if math.isnan(drift) else DARKEST / LEVELS
    depth = 1 + math.log10(drift / largest) / DECADES
    return float(np.clip(np.ceil(depth * LEVELS), 1, LEVELS)) / LEVELS * DARKEST


def _text(drift: float) -> str:
    """Percent with two digits; what is below a thousandth is 0 in so many words only where it is."""
    if drift == 0:
        return "0"
    return f"{drift:.0f}" if drift >= 10 else f"{drift:.2g}" if drift >= 0.001 else f"{drift:.0e}".replace("e-0", "e-")


def _hatching(x: int, y: int, *, lines: int) -> Outline:
    """Parallel diagonals across the unit square at (x, y)."""
    vertices, codes = [], []
    for at in np.linspace(-1, 1, 2 * lines + 1)[1:-1]:
        start, end = max(0.0, at), min(1.0, 1.0 + at)
        vertices += [(x + start, y + 1 - (start - at)), (x + end, y + 1 - (end - at))]
        codes += [Outline.MOVETO, Outline.LINETO]
    return Outline(vertices, codes)
