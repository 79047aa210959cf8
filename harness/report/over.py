"""How the answer changes along an axis of problems: more data, more labels, a longer budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report import transfer
from harness.report.chart import Chart, chart
from harness.report.counted import interval, per_arm
from harness.report.plotting import (
    MUTED,
    canvas,
    category_axis,
    few_ticks,
    grid,
    grid_height,
    handle,
    leftmost,
    legend,
    legend_height,
    log_axis,
    lowest,
    place,
    tagged,
)
from harness.report.scale import scale_of, stretched
from harness.report.view import View, short
from harness.verdict.format import listed

AXES = {
    "train_examples": "training examples",
    "labels_per_class": "labels per class",
    "validation_within": "share of the labels that validates",
    "epochs": "training budget (epochs)",
    "steps": "training budget (steps)",
    "batch_size": "batch size",
}
COLUMNS = ["axis", "problem", "setting", "arm", "x", "x_text", "mean", "lo", "hi", "n", "unit"]
DASHES = (0, (4, 2))
"""Of the line of an arm that learns from scratch."""
WIDE_RATIO = 8
"""An axis whose ends differ by more than this is logarithmic."""


@dataclass(frozen=True)
class Series:
    """Problems that differ in one key alone, by its value."""

    axis: str
    problems: Mapping[str, Any]
    rest: str
    """What tells these problems from those of another series; empty where there is one only."""


def series(view: View) -> list[Series]:
    """Every axis along which problems differ, for each combination of all else."""
    values = {setting.problem: dict(setting.values) for setting in reversed(view.suite.settings)}
    found = []
    for axis in AXES:
        groups: dict[str, dict[str, Any]] = {}
        for problem in view.problems:
            rest = {key: value for key, value in values[problem].items() if key != axis}
            groups.setdefault(repr(sorted(rest.items())), {})[problem] = values[problem].get(axis)
        known = [group for group in groups.values() if len(group) > 1 and None not in group.values()]
        found += [Series(axis, group, f", {next(iter(group))} and on" if len(known) > 1 else "") for group in known]
    return found


def over(view: View) -> list[Chart]:
    """A chart for each axis; none where problems differ in nothing that can be put in order."""
    charts = [_chart(view, number, one) for number, one in enumerate(series(view))]
    return [made for made in charts if made is not None]


def _chart(view: View, number: int, one: Series) -> Chart | None:
    frame = over_frame(view, one)
    if frame.empty:
        return None
    words, what = view.measure.words, AXES[one.axis].partition(" (")[0]
    n = per_arm(view).replace("per arm", "per arm and point")
    scale = scale_of(view.measure, frame[["mean", "lo", "hi"]].to_numpy(float).ravel())
    dashed = [arm for arm in view.arms if _from_scratch(view, arm)]
    apart = f" Dashed: trained from scratch ({listed(dashed)})." if dashed else ""
    if view.alike(frame["arm"].unique()):
        apart += f" A panel for each arm, and {view.baseline} in grey."
    return chart(
        _draw,
        frame,
        view,
        name="over-" + one.axis.replace("_", "-") + (f"-{number + 1}" if one.rest else ""),
        problem="",
        title=f"Test {words} over {what}{one.rest}",
        caption=f"Mean of the final runs ({view.main_setting}) with its {interval(view)}, at {listed(_texts(frame))} "
        f"({what}). {n}.{apart} Bars of two arms that overlap say nothing about a difference, "
        f"since runs are paired. {stretched(scale)}".strip(),
    )


def _texts(frame: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(frame.sort_values("x")["x_text"]))


def over_frame(view: View, one: Series) -> pd.DataFrame:
    """What is plotted: mean and interval by arm and value of the axis, in the unit of the axis of values."""
    summary = view.table("summary", "problem", "setting", "arm", "metric", "mean", "lo", "hi", "n")
    summary = summary[(summary["metric"] == view.measure.name) & (summary["setting"] == view.main_setting)]
    values = {problem: _number(view, one.axis, problem, value) for problem, value in one.problems.items()}
    numeric = None not in values.values()
    rows = []
    for at, (problem, value) in enumerate(one.problems.items()):
        for _, row in summary[(summary["problem"] == problem) & summary["mean"].notna()].iterrows():
            numbers = {name: view.measure.factor * float(row[name]) for name in ("mean", "lo", "hi")}
            number = values[problem]
            text = f"{value:,}" if isinstance(value, int) else str(value)
            if numeric and number is not None and isinstance(value, str):
                text = f"{value}: {number:,.0f}"
            place_of = {"x": float(at) if number is None or not numeric else number, "x_text": text}
            same = {"axis": one.axis, "problem": problem, "setting": view.main_setting, "arm": row["arm"]}
            rows.append({**same, **place_of, **numbers, "n": int(row["n"]), "unit": view.measure.value_unit})
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.sort_values(["arm", "x"], key=lambda c: c.map(view.order) if c.name == "arm" else c)


def _number(view: View, axis: str, problem: str, value: Any) -> float | None:
    """The value as a number; of "all" labels how many a class has in the mean, None where no run tells."""
    if isinstance(value, int | float):
        return float(value)
    if axis != "labels_per_class" or value != "all":
        return None
    classes = view.table("classes", "problem", "class")
    classes = classes.loc[classes["problem"] == problem, "class"].nunique()
    runs = view.table("runs", "problem", "phase", "epochs", "examples")
    runs = runs[(runs["problem"] == problem) & (runs["phase"] == "final")].astype({"epochs": float, "examples": float})
    seen = (runs["examples"] / runs["epochs"])[runs["epochs"] > 0]
    return float(seen.median()) / classes if classes and len(seen) else None


def _from_scratch(view: View, arm: str) -> bool:
    """Whether the arm has no share in what was learnt before."""
    return any(transfer.use_of(view, arm, problem) == "scratch" for problem in view.problems)


def _draw(frame: pd.DataFrame, view: View) -> Figure:
    arms = [arm for arm in view.arms if (frame["arm"] == arm).any()]
    if view.alike(arms):
        return _draw_many(frame, view, arms)
    top = legend_height(len(arms)) if len(arms) > 1 else 0.05
    figure = canvas(top + 0.2 + 3.0 + 0.65)
    if len(arms) > 1:
        handles = [handle(view.styles[arm], short(arm)) for arm in arms]
        for entry, arm in zip(handles, arms, strict=True):
            entry.set_linestyle(DASHES if _from_scratch(view, arm) else "-")
        legend(figure, handles, [view.styles[arm].gid for arm in arms], top=0.02)
    axes = place(figure, 0.85, top + 0.2, 7.6, 3.0)
    for at, arm in enumerate(arms):
        with tagged(axes, view.styles[arm].gid):
            _arm(axes, frame[frame["arm"] == arm], view, arm, share=beside(at, len(arms)), whole=frame)
    _finish(axes, frame, view)
    return figure


def _draw_many(frame: pd.DataFrame, view: View, arms: list[str]) -> Figure:
    """A panel for each arm, with the baseline in grey; all have the same axes."""
    figure = canvas(grid_height(len(arms)))
    base = frame[frame["arm"] == view.baseline]
    for at, (arm, axes) in enumerate(zip(arms, grid(figure, [short(arm, 22) for arm in arms]), strict=True)):
        apart = 0.0 if arm == view.baseline else 0.03
        if apart:
            with tagged(axes, view.styles[view.baseline].gid):
                _arm(axes, base, view, view.baseline, share=-apart, whole=frame, grey=True)
        with tagged(axes, view.styles[arm].gid):
            _arm(axes, frame[frame["arm"] == arm], view, arm, share=apart, whole=frame)
        _finish(axes, frame, view, small=True)
        axes.set_xlabel(axes.get_xlabel() if lowest(at, len(arms)) else "")
        axes.set_ylabel(axes.get_ylabel() if leftmost(at) else "")
    return figure


def _logarithmic(frame: pd.DataFrame) -> bool:
    low, high = float(frame["x"].min()), float(frame["x"].max())
    return not _named(frame) and 0 < WIDE_RATIO * low < high


def _named(frame: pd.DataFrame) -> bool:
    texts = (text.rpartition(": ")[2] for text in frame["x_text"])
    return any(not text.replace(",", "").replace(".", "").isdigit() for text in texts)


def beside(at: int, arms: int) -> float:
    """Where an arm stands beside its point, in shares of the axis, so that bars do not cover each other."""
    return (at - (arms - 1) / 2) * min(0.012, 0.08 / max(1, arms))


def _beside(x: float, share: float, whole: pd.DataFrame) -> float:
    """The place that lies so many shares of the points' range beside x."""
    low, high = float(whole["x"].min()), float(whole["x"].max())
    return x * (high / low) ** share if _logarithmic(whole) else x + share * (high - low)


def _arm(
    axes: Axes, rows: pd.DataFrame, view: View, arm: str, *, share: float, whole: pd.DataFrame, grey: bool = False
) -> None:
    style, small = view.styles[arm], 0.7 if grey else 1.0
    colour = MUTED if grey else style.colour
    x = rows["x"].astype(float)
    x = x.map(lambda one: _beside(one, share, whole))
    dashes = DASHES if _from_scratch(view, arm) else "-"
    axes.plot(x, rows["mean"].astype(float), color=colour, linewidth=1.6 * small, linestyle=dashes, zorder=3)
    axes.vlines(x, rows["lo"].astype(float), rows["hi"].astype(float), color=colour, linewidth=2 * small, zorder=3)
    look: dict[str, Any] = {"linestyle": "none", "marker": style.marker, "markersize": 7 * small, "zorder": 4}
    axes.plot(x, rows["mean"].astype(float), color=colour, mec="#ffffff", mew=0.8, **look)


def _finish(axes: Axes, frame: pd.DataFrame, view: View, *, small: bool = False) -> None:
    values = frame[["mean", "lo", "hi"]].to_numpy(float).ravel()
    wide = _logarithmic(frame)
    if wide:
        axes.set_xscale("log")
    scale = scale_of(view.measure, values)
    scale.apply(axes, values, ticks=3 if small else 5)
    axes.set_ylabel(scale.label("test"))
    axes.set_xlabel(AXES[str(frame["axis"].iat[0])] + (", log scale" if wide else ""))
    distinct = sorted(set(frame["x"].astype(float)))
    if _named(frame):
        category_axis(axes.xaxis, _texts(frame))
    elif len(distinct) <= (4 if small else 8):
        axes.set_xticks(distinct, labels=_texts(frame))
        axes.minorticks_off()
    elif wide:
        log_axis(axes.xaxis)
    else:
        few_ticks(axes.xaxis, 4 if small else 7)
    if small:
        axes.tick_params(axis="x", labelsize=8)
        axes.set_xlim(*(_beside(end, share, frame) for end, share in ((distinct[0], -0.1), (distinct[-1], 0.1))))
