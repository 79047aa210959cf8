"""Which class was taken for which, and how each class fares."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

from harness.report.chart import Chart, chart
from harness.report.layout import Cell, Column, Line, Table, number, table
from harness.report.plotting import INK, PAPER, RULE, WIDTH, canvas, category_ticks, place
from harness.report.view import COLOURS, View, short
from harness.verdict.format import count

COLUMNS = ["problem", "arm", "true", "predicted", "true_name", "predicted_name", "count", "share"]
LARGEST_CELL = 0.5
"""Inches."""
LEVELS = 8
"""Of shade."""
DARKEST = 0.95
LIGHT_TEXT = 0.72
"""Opacity of a cell from which on its number is light."""
SMALLEST_FONT = 5.5
MOST_NUMBERS = 20
"""With more classes, only cells with a noticeable share have a number."""
NOTICEABLE = 0.02
FREQUENT = 10
"""Confusions that are listed for a problem."""
MOST_ROWS = 100
"""Classes that are listed; of more, those with the lowest F1."""
MOST_ARMS = 6
"""Other arms that have a column."""
RIGHT, WRONG = COLOURS[1], COLOURS[2]


def confusion(view: View, problem: str) -> Chart | None:
    """A heat map of counts, summed over the replicates of the problem's chosen arm."""
    frame, arm = confusion_frame(view, problem), view.detail_arm(problem)
    worst = _worst(frame)
    mistakes = f", mistakes on a scale of their own up to {100 * worst:.2g} %" if worst else "; there are no mistakes"
    n = count(len(view.details(problem, arm, "confusion")), "replicate")
    return chart(
        _draw,
        frame,
        view,
        name="confusion",
        problem=problem,
        title=f"Which class {arm} takes for which",
        caption=f"Rows are true classes, columns what {arm} took them for: test examples, summed over n = {n} "
        f"({view.main_setting}). On the diagonal, blue, are right answers, elsewhere, orange, mistakes; the "
        f"stronger the colour, the larger the share of the row{mistakes}.",
    )


def confusion_frame(view: View, problem: str) -> pd.DataFrame:
    """What `confusion` plots: pairs of classes that occur, with their share of the true class."""
    rows = view.table("confusion", "problem", "arm", "setting", "replicate", "true", "predicted", "count")
    arm, names = view.detail_arm(problem), view.class_names(problem)
    rows = rows[(rows["problem"] == problem) & (rows["arm"] == arm) & (rows["setting"] == view.main_setting)]
    if rows.empty:
        return pd.DataFrame(columns=COLUMNS)
    summed = rows.groupby(["true", "predicted"], as_index=False)["count"].sum().astype("int64")
    share = summed["count"] / summed.groupby("true")["count"].transform("sum")
    named = {f"{of}_name": summed[of].map(lambda at: names[at]) for of in ("true", "predicted")}
    return summed.assign(problem=problem, arm=arm, share=share, **named)[COLUMNS]


def _worst(frame: pd.DataFrame) -> float:
    """The largest share of a class that was taken for one other class; 0 without mistakes."""
    wrong = frame[frame["true"] != frame["predicted"]]["share"]
    return float(wrong.max()) if len(wrong) else 0.0


def _draw(frame: pd.DataFrame, view: View) -> Figure:
    names = [short(name, 16) for name in view.class_names(str(frame["problem"].iat[0]))]
    left = 0.55 + 0.075 * max(map(len, names))
    cell = min(LARGEST_CELL if len(names) > 4 else 2 * LARGEST_CELL, (WIDTH - left - 0.1) / len(names))
    turned = max(map(len, names)) * 0.09 > cell
    below = 0.5 + (0.075 * max(map(len, names)) if turned else 0.1)
    side = cell * len(names)
    figure = canvas(0.1 + side + below)
    axes = place(figure, left, 0.1, side, side)
    axes.set(xlim=(0, len(names)), ylim=(len(names), 0))
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, color=RULE)
    if len(names) <= MOST_NUMBERS:
        axes.hlines(range(1, len(names)), 0, len(names), color=RULE, linewidth=0.6, zorder=1)
        axes.vlines(range(1, len(names)), 0, len(names), color=RULE, linewidth=0.6, zorder=1)
    _cells(axes, frame)
    _numbers(axes, frame, cell, few=len(names) <= MOST_NUMBERS)
    small = min(9.0, 0.8 * 72 * cell)
    for axis in (axes.xaxis, axes.yaxis):
        category_ticks(axis, names, size=small)
    axes.tick_params(length=0)
    axes.tick_params(axis="x", rotation=90 if turned else 0)
    said = "number" if all(name.isdigit() for name in names) else "name"
    axes.set_xlabel(f"class that it was taken for ({said})")
    axes.set_ylabel(f"true class ({said})")
    return figure


def _shades(frame: pd.DataFrame) -> pd.Series:
    """Opacity of each cell: share of the row, and of mistakes the root of it beside the worst one."""
    right, worst = frame["true"] == frame["predicted"], _worst(frame)
    depth = frame["share"].where(right, np.sqrt(frame["share"] / (worst or 1.0)))
    return np.ceil(depth * LEVELS).clip(1, LEVELS) / LEVELS * DARKEST


def _cells(axes: Axes, frame: pd.DataFrame) -> None:
    """One outline for all cells of a colour and shade: a page with 47 classes would else be full of them."""
    shaded = frame.assign(right=frame["true"] == frame["predicted"], shade=_shades(frame))
    for (right, shade), cells in shaded.groupby(["right", "shade"], sort=True):
        outline = _squares(cells["predicted"].to_numpy(float), cells["true"].to_numpy(float))
        colour = to_rgba(RIGHT if right else WRONG, shade)
        axes.add_patch(PathPatch(outline, facecolor=colour, linewidth=0, zorder=2))


def _squares(x: np.ndarray, y: np.ndarray) -> Outline:
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], float)
    codes = [Outline.MOVETO, *3 * [Outline.LINETO], Outline.CLOSEPOLY]
    vertices = np.concatenate([corners + np.array([left, top]) for left, top in zip(x, y, strict=True)])
    return Outline(vertices, codes * len(x))


def _numbers(axes: Axes, frame: pd.DataFrame, cell: float, *, few: bool) -> None:
    """The counts, as large as a cell allows; left out where that is too small to be read."""
    for (_, row), shade in zip(frame.iterrows(), _shades(frame), strict=True):
        text = str(row["count"])
        size = min(9.0, 0.6 * 72 * cell, 0.9 * 72 * cell / (0.6 * len(text)))
        worth = few or (row["true"] != row["predicted"] and row["share"] >= NOTICEABLE)
        if size >= SMALLEST_FONT and worth:
            colour = PAPER if shade > LIGHT_TEXT else INK
            middle = (row["predicted"] + 0.5, row["true"] + 0.5)
            axes.text(*middle, text, ha="center", va="center", fontsize=size, color=colour, zorder=3)


# Tables --------------------------------------------------------------------------------------------------------------


def frequent(view: View, problem: str) -> Table | None:
    """The most frequent confusions of the problem's chosen arm; None where there are none."""
    frame, arm = confusion_frame(view, problem), view.detail_arm(problem)
    wrong = frame[frame["true"] != frame["predicted"]]
    wrong = wrong.sort_values(["count", "true", "predicted"], ascending=[False, True, True]).head(FREQUENT)
    if wrong.empty:
        return None
    columns = [
        Column("True class"),
        Column("Taken for"),
        Column("Test examples", True),
        Column("Share, %", True),
    ]
    rows: list[Line] = [
        (
            "",
            [
                str(row["true_name"]),
                str(row["predicted_name"]),
                Cell(f"{row['count']:,}", float(row["count"])),
                number(f"{100 * row['share']:.2f}", float(row["share"])),
            ],
        )
        for _, row in wrong.iterrows()
    ]
    on = f" on {problem}" if len(view.problems) > 1 else ""
    caption = f"The most frequent confusions of {arm}{on}, summed over the replicates; shares are of the true class."
    return table(caption, columns, rows)


def per_class(view: View, problem: str) -> Table | None:
    """How each class fares with the chosen arm, and its F1 with the others; None without records of it."""
    every = view.table("classes", "problem", "arm", "setting", "class", "support", "precision", "recall", "f1", "auc")
    every = every[(every["problem"] == problem) & (every["setting"] == view.main_setting)]
    if every.empty:
        return None
    arm = view.detail_arm(problem)
    means = every.groupby(["arm", "class"])[["precision", "recall", "f1", "auc"]].mean()
    support = every.drop_duplicates("class").set_index("class")["support"]
    others = [other for other in view.arms if other != arm and other in means.index][:MOST_ARMS]
    shown = _shown(means.loc[arm] if arm in means.index else means.loc[others[0]])
    columns = [
        Column("Class"),
        Column("Test examples", True),
        *(Column(label, True) for label in ("Precision, %", "Recall, %", "F1, %", "AUC")),
        *(Column(f"F1 of {short(other)}, %", True) for other in others),
    ]
    names = view.class_names(problem)
    rows: list[Line] = []
    for at in shown:
        own = [_mean(means, (arm, at), name) for name in ("precision", "recall", "f1", "auc")]
        cells = [number(f"{100 * value:.2f}", value) for value in own[:3]]
        cells += [number(f"{own[3]:.4f}", own[3])]
        rest = [_mean(means, (other, at), "f1") for other in others]
        cells += [number(f"{100 * value:.2f}", value) for value in rest]
        rows.append(("", [Cell(names[at], float(at)), Cell(f"{support[at]:,}", float(support[at])), *cells]))
    return table(_per_class_caption(view, problem, arm, len(names), len(shown)), columns, rows)


def _shown(means: pd.DataFrame) -> Sequence[int]:
    """All classes, or where they are many those with the lowest F1."""
    if len(means) <= MOST_ROWS:
        return [int(at) for at in means.index]
    return [int(at) for at in means["f1"].sort_values(kind="stable").index[: MOST_ROWS // 2]]


def _mean(means: pd.DataFrame, key: tuple[str, int], name: str) -> float:
    return float(means.at[key, name]) if key in means.index else math.nan


def _per_class_caption(view: View, problem: str, arm: str, classes: int, shown: int) -> str:
    on = f" on {problem}" if len(view.problems) > 1 else ""
    some = f" The {shown} of {classes} classes with the lowest F1 are listed." if shown < classes else ""
    return (
        f"Each class{on}, means over the final runs ({view.main_setting}): precision, recall, F1 and area under the "
        f"ROC curve of {arm}, and F1 of the other arms.{some} All arms and runs are in tables/classes.csv."
    )
