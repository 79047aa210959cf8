"""ROC curves: how many examples of a class are found for how many that are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.report import transfer
from harness.report.chart import Chart, chart
from harness.report.plotting import INK, MUTED, RULE, canvas, few_ticks, legend, legend_height, place
from harness.report.view import COLOURS, View, short
from harness.verdict.format import count
from harness.verdict.judgement import SMALLEST_N
from harness.verdict.numbers import Floats, mean_of, means_by

COLUMNS = ["problem", "arm", "mark", "class", "name", "fpr", "tpr", "auc", "lo", "hi", "n"]
RATES = (np.arange(101) / 100) ** 2
"""False positive rates at which curves are averaged, as `harness.details` keeps them."""
NAMED = 3
"""Classes with the smallest areas, which have a colour."""
_CORNERS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


def roc(view: View, problem: str) -> Chart | None:
    """Curves of the problem's chosen arm: a thin one for each class, a thick one for their mean."""
    frame, arm = roc_frame(view, problem), view.detail_arm(problem)
    classes = int(frame["class"].nunique())
    thin = "thin lines are classes, each against all others, " if classes else ""
    named = f"the {NAMED} with the smallest areas in colour, " if classes > NAMED else "in colour, " if classes else ""
    thick = "the thick line is their mean" if classes or frame.empty else _thick(view, problem)
    n = count(len(view.details(problem, arm, "roc")), "replicate")
    said = f"{thin}{named}{thick}, at equal false positive rates over n = {n} of {arm} ({view.main_setting})."
    that = "that of the mean " if classes else ""
    of = "" if transfer.shared_by(view) is None else " of checkpoint means"
    interval = f", {that}with its t-interval{of}" if bool(frame["lo"].notna().any()) else ""
    zoom = " The right panel is the upper left corner of the left one." if _corner(frame) else ""
    return chart(
        _draw,
        frame,
        view,
        name="roc",
        problem=problem,
        title=f"ROC curves of {arm}",
        caption=f"{said[:1].upper()}{said[1:]} AUC is the area under a curve{interval}.{zoom}",
    )


def _thick(view: View, problem: str) -> str:
    """What the one line is where no class has one of its own."""
    names = view.class_names(problem)
    return f"the line is class {names[1]}" if len(names) == 2 else "the line is the mean over all classes"


def roc_frame(view: View, problem: str) -> pd.DataFrame:
    """What `roc` plots: means of the replicates' true positive rates at each false positive rate."""
    arm = view.detail_arm(problem)
    found = view.details(problem, arm, "roc")
    kept = [details for _, details in found]
    if not kept:
        return pd.DataFrame(columns=COLUMNS)
    names, areas = view.class_names(problem), np.array([details["auc"] for details in kept], float)
    classes = range(len(names)) if all("classes" in details["roc"] for details in kept) else range(0)
    curves = [_class_rates(kept, at) for at in classes]
    units = partial(_units, [replicate for replicate, _ in found], transfer.shared_by(view))
    folds = view.suite.compare.folds
    frames = []
    if len(names) == 2 and curves:
        # Of two classes the curves are one, seen from either end.
        frames.append(_rows(curves[1], units(areas[:, 1]), mark="mean", folds=folds))
    else:
        frames += [
            _rows(rates, units(areas[:, at]), mark="class", number=at, folds=folds) for at, rates in enumerate(curves)
        ]
        means = np.array([details["roc"]["macro"] for details in kept], float)
        frames.append(_rows(means, units(areas.mean(axis=1)), mark="mean", folds=folds))
    frame = pd.concat(frames, ignore_index=True).astype({"class": "Int64"})
    named = frame["class"].map(lambda at: None if pd.isna(at) else names[at]).astype(object)
    return frame.assign(problem=problem, arm=arm, name=named)[COLUMNS]


def _class_rates(kept: Sequence[Mapping[str, Any]], at: int) -> np.ndarray:
    """True positive rates of a class at `RATES`, a row for each replicate."""
    return np.array([_at_rates(*details["roc"]["classes"][at]) for details in kept])


def _at_rates(false: str, true: str) -> np.ndarray:
    """Linear between the points of a curve of counts; the highest where it rises."""
    x, y = (counts / counts[-1] for counts in (np.array(text.split(), float) for text in (false, true)))
    below = np.searchsorted(x, RATES, side="right") - 1
    above = np.minimum(below + 1, len(x) - 1)
    width = np.where(x[above] > x[below], x[above] - x[below], 1.0)
    return np.asarray(y[below] + (y[above] - y[below]) * (RATES - x[below]) / width)


def _units(replicates: Sequence[int], shared: int | None, areas: Floats) -> Floats:
    """The areas, or their means over the replicates of each source checkpoint where these share one."""
    return areas if shared is None else means_by(areas, [replicate % shared for replicate in replicates])


def _rows(
    rates: np.ndarray, areas: Floats, *, mark: str, number: int | None = None, folds: int | None = None
) -> pd.DataFrame:
    """A curve from (0, 0) on, with the mean of the areas and its interval."""
    estimate = mean_of(areas, folds=folds)
    lo, hi = estimate.interval(0.05) if len(areas) >= SMALLEST_N else (np.nan, np.nan)
    same = {"mark": mark, "class": number, "auc": estimate.mean, "lo": lo, "hi": hi, "n": len(areas)}
    mean = rates.mean(axis=0)
    return pd.DataFrame({"fpr": [0.0, *RATES], "tpr": [0.0, *mean]}).assign(**same)


def _corner(frame: pd.DataFrame) -> float | None:
    """Width of the corner that most of the mean curve lies in; None where that is much of the whole."""
    mean = frame[frame["mark"] == "mean"]
    if mean.empty:
        return None
    # Where as many positives are missed as negatives are taken for them.
    error = float(np.min(np.maximum(mean["fpr"], 1 - mean["tpr"])))
    return next((width for width in _CORNERS if width >= 3 * error), None)


def _draw(frame: pd.DataFrame, view: View) -> Figure:
    mean, classes = frame[frame["mark"] == "mean"], frame[frame["mark"] == "class"]
    order = classes.drop_duplicates("class").sort_values(["auc", "class"])["class"].tolist()
    colours = {at: COLOURS[1 + place] for place, at in enumerate(order[:NAMED])}
    handles = [_handle(mean, INK, 2.2, _mean_label(frame, view))]
    handles += [_handle(classes[classes["class"] == at], colour, 1.4, "") for at, colour in colours.items()]
    top, corner, side = legend_height(len(handles)), _corner(frame), 3.7
    figure = canvas(top + 0.2 + side + 0.55)
    legend(figure, handles, [""] * len(handles), top=0.02)
    for at, width in enumerate((1.0, corner)):
        if width is None:
            continue
        axes = place(figure, 0.7 + at * (side + 0.95), top + 0.2, side, side)
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1, zorder=1)
        for number in reversed(order):
            colour, line = colours.get(number, MUTED), 1.4 if number in colours else 0.7
            _line(axes, classes[classes["class"] == number], colour, line)
        _line(axes, mean, INK, 2.2)
        axes.set(xlim=(-0.01 * width, width), ylim=(1 - width, 1 + 0.01 * width))
        few_ticks(axes.xaxis, 5)
        few_ticks(axes.yaxis, 5)
        axes.set_xlabel("false positive rate (share of the others)")
        axes.set_ylabel("" if at else "true positive rate (share of the class)")
    return figure


def _line(axes: Axes, rows: pd.DataFrame, colour: str, width: float) -> None:
    axes.plot(rows["fpr"].to_numpy(float), rows["tpr"].to_numpy(float), color=colour, linewidth=width)


def _handle(rows: pd.DataFrame, colour: str, width: float, label: str) -> Line2D:
    row = rows.iloc[0]
    text = label or f"{_called(str(row['name']))}: AUC {row['auc']:.4f}"
    return Line2D([], [], color=colour, linewidth=width, label=text)


def _mean_label(frame: pd.DataFrame, view: View) -> str:
    row = frame[frame["mark"] == "mean"].iloc[0]
    interval = f" [{row['lo']:.4f}, {row['hi']:.4f}]" if not np.isnan(row["lo"]) else ""
    names = view.class_names(str(row["problem"]))
    what = _called(names[1]) if len(names) == 2 else "mean"
    return f"{what}: AUC {row['auc']:.4f}{interval}"


def _called(name: str) -> str:
    """`class 3` of a class that has but a number."""
    return f"class {name}" if name.isdigit() else short(name, 14)
