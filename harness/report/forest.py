"""The main figure: paired differences to the baseline, each with its interval and its replicates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report import wording
from harness.report.chart import Chart, chart
from harness.report.plotting import (
    BAND,
    INK,
    MUTED,
    WIDTH,
    canvas,
    few_ticks,
    pad_limits,
    place,
    strip,
    tagged,
)
from harness.report.values import failed_words
from harness.report.view import UNTUNED, View, axis_label, short
from harness.verdict.format import Measure, count, percent

COLUMNS = [
    "problem",
    "group",
    "setting",
    "arm",
    "baseline",
    "mark",
    "replicate",
    "failed",
    "difference",
    "lo",
    "hi",
    "level",
    "unit",
    "verdict",
]
GROUPS = ("primary", "further", "leader", "untuned")
"""Declared verdicts; further arms against the baseline; the leading arm against others; all at their defaults."""
LEFT, PLOT, ROW, HEAD = 2.35, 5.15, 0.5, 0.42
"""Inches: width of the names, width of the plot, height of a row and of a heading."""


def forest(view: View, problem: str) -> Chart | None:
    """The forest plot of one problem; None where no comparison exists."""
    rows = comparisons(view, problem)
    sentences = [str(text) for text in rows.loc[rows["primary"].astype(bool), "sentence"]]
    title = f"Paired differences to {view.baseline}"
    return chart(
        _draw,
        _frame(view, rows),
        view,
        name="forest",
        problem=problem,
        title=title,
        caption=_caption(view, rows),
        alt=" ".join([f"{title} on {problem}.", *sentences]),
    )


def comparisons(view: View, problem: str) -> pd.DataFrame:
    """The comparisons of a problem with their group, the declared ones first."""
    rows = view.comparisons
    rows = rows[(rows["problem"] == problem) & (rows["kind"] == "pair")]
    rows = rows.assign(group=[_group(view, row) for _, row in rows.iterrows()])
    arms = {arm: at for at, arm in enumerate(view.arms)}
    order = sorted(
        range(len(rows)),
        key=lambda at: (GROUPS.index(rows["group"].iat[at]), arms[rows["arm"].iat[at]], arms[rows["baseline"].iat[at]]),
    )
    return rows.iloc[order]


def _group(view: View, row: pd.Series) -> str:
    if bool(row["primary"]):
        return "primary"
    if row["setting"] == UNTUNED:
        return "untuned"
    return "further" if row["baseline"] == view.baseline else "leader"


def paired_differences(view: View, row: pd.Series) -> pd.DataFrame:
    """Replicate, difference (stored unit, positive: the arm is better) and whether one of both runs failed."""
    finals = view.finals(str(row["problem"]), str(row["setting"]))
    arm, baseline = (finals[finals["arm"] == row[side]] for side in ("arm", "baseline"))
    both = arm.merge(baseline, on="replicate", suffixes=("_a", "_b")).sort_values("replicate")
    return pd.DataFrame(
        {
            "replicate": both["replicate"].to_numpy(int),
            "difference": (view.measure.sign * (both["counted_a"] - both["counted_b"])).to_numpy(float),
            "failed": ((both["status_a"] != "ok") | (both["status_b"] != "ok")).to_numpy(bool),
        }
    )


def _frame(view: View, rows: pd.DataFrame) -> pd.DataFrame:
    measure, margin = view.measure, view.suite.compare.margin
    plotted: list[dict[str, Any]] = []
    for _, row in rows.iterrows():
        same = {name: row[name] for name in ("problem", "group", "setting", "arm", "baseline", "verdict")}
        same |= {"unit": measure.difference_unit}
        mean, lo, hi = (measure.factor * float(row[name]) for name in ("delta", "lo", "hi"))
        plotted.append({**same, "mark": "mean", "difference": mean, "lo": lo, "hi": hi, "level": row["level"]})
        if bool(row["paired"]):
            for _, pair in paired_differences(view, row).iterrows():
                shown = {"mark": "replicate", "replicate": int(pair["replicate"]), "failed": bool(pair["failed"])}
                plotted.append({**same, **shown, "difference": measure.factor * float(pair["difference"])})
    if plotted and margin is not None:
        edges = {"lo": -measure.factor * margin, "hi": measure.factor * margin}
        plotted.append({"problem": rows["problem"].iat[0], "mark": "margin", "unit": measure.difference_unit, **edges})
    return pd.DataFrame(plotted, columns=COLUMNS).astype({"replicate": "Int64", "failed": "boolean"})


def _draw(frame: pd.DataFrame, view: View) -> Figure:
    means = frame[frame["mark"] == "mean"]
    groups, lines = [group for group in GROUPS if (means["group"] == group).any()], len(means)
    height = ROW * lines + HEAD * len(groups) + 0.15
    figure = canvas(0.5 + height + 0.75)
    axes = place(figure, LEFT, 0.5, PLOT, height)
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    ends = frame[["difference", "lo", "hi"]].to_numpy(float).ravel()
    axes.set_xlim(*pad_limits([*ends, 0.0], 0.05))
    _ground(axes, frame, view.measure, view.suite.compare.margin)
    top = 0.0
    for group in groups:
        rows = frame[frame["group"] == group]
        _heading(axes, rows, group, top)
        top += HEAD
        for arm, other in dict.fromkeys(zip(rows["arm"], rows["baseline"], strict=True)):
            with tagged(axes, view.styles[other if group == "leader" else arm].gid):
                _row(axes, rows[(rows["arm"] == arm) & (rows["baseline"] == other)], view, top + ROW / 2)
            top += ROW
    _label(axes, frame, view)
    return figure


def _ground(axes: Axes, frame: pd.DataFrame, measure: Measure, margin: float | None) -> None:
    for _, band in frame[frame["mark"] == "margin"].iterrows():
        axes.axvspan(band["lo"], band["hi"], color=BAND, linewidth=0, zorder=0)
        low, high = axes.get_xlim()
        share = -low / (high - low)
        side = "left" if share < 0.2 else "right" if share > 0.8 else "center"
        text = f"grey: declared margin ±{measure.margin(margin or 0.0)}"
        axes.annotate(
            text,
            (0, 1),
            (0, 6),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha=side,
            color=MUTED,
            fontsize=8.5,
        )
    axes.axvline(0, color=INK, linewidth=1, zorder=1)


def _heading(axes: Axes, rows: pd.DataFrame, group: str, top: float) -> None:
    levels = sorted(set(rows.loc[rows["mark"] == "mean", "level"].dropna()))
    level = f"[{percent(levels[0])} interval]" if len(levels) == 1 else "[interval]"
    setting = "As given" if rows["setting"].iat[0] == "given" else str(rows["setting"].iat[0]).capitalize()
    text = {
        "primary": f"{setting}, declared",
        "further": "Exploratory: further arms",
        "leader": "Exploratory: leading arm",
        "untuned": "Exploratory: untuned",
    }[group]
    middle = top + HEAD * 0.62
    _beside(axes, text, middle, weight="bold", size=9.5)
    _beside(axes, f"mean {level}, {rows['unit'].iat[0] or 'no unit'}", middle, right=True, color=MUTED, size=8.5)
    if top:
        box = axes.get_position()
        reach = (-LEFT / (box.width * WIDTH), (WIDTH - LEFT) / (box.width * WIDTH))
        axes.plot(
            reach,
            (top + 0.04, top + 0.04),
            transform=axes.get_yaxis_transform(),
            color=MUTED,
            linewidth=0.6,
            clip_on=False,
        )


def _row(axes: Axes, rows: pd.DataFrame, view: View, middle: float) -> None:
    style, mean = view.styles[str(rows["arm"].iat[0])], rows[rows["mark"] == "mean"].iloc[0]
    setting = str(mean["setting"])
    if math.isfinite(mean["lo"]):
        axes.plot([mean["lo"], mean["hi"]], [middle - 0.06] * 2, color=style.colour, linewidth=2.4, zorder=3)
    if math.isfinite(mean["difference"]):
        axes.plot(
            mean["difference"],
            middle - 0.06,
            marker=style.marker,
            markersize=8,
            color=style.colour,
            markerfacecolor=style.colour,
            markeredgecolor="#ffffff",
            markeredgewidth=0.9,
            zorder=4,
        )
    dots = rows[rows["mark"] == "replicate"]
    strip(axes, dots, x="difference", at=middle + 0.13, style=style, hollow=setting == UNTUNED)
    name = short(str(mean["arm"]))
    if mean["group"] == "leader":
        name = f"{short(str(mean['arm']), 11)} against {short(str(mean['baseline']), 11)}"
    _beside(axes, name, middle - 0.07, weight="bold" if mean["group"] == "primary" else "normal")
    _beside(axes, wording.verdict(str(mean["verdict"])), middle + 0.12, color=MUTED, size=8.5)
    _beside(axes, _numbers(mean, view.measure, view.suite.compare.margin or 0.0), middle - 0.02, right=True)


def _numbers(mean: pd.Series, measure: Measure, margin: float) -> str:
    """`1.27 [0.73, 1.81]`, or as much of it as exists."""
    value, lo, hi = (float(mean[name]) / measure.factor for name in ("difference", "lo", "hi"))
    if math.isnan(value):
        return "no mean difference"
    places = measure.decimals(lo, hi, 0.0, margin, -margin) if math.isfinite(lo) else 2
    text = measure.difference(value, places).removesuffix(measure.difference_unit).strip()
    return f"{text} {measure.interval(lo, hi, places)}" if math.isfinite(lo) else f"{text}, no interval"


def _beside(
    axes: Axes, text: str, y: float, *, right: bool = False, color: str = INK, size: float = 9.5, weight: str = "normal"
) -> None:
    """Text left of the plot at the figure's edge, or right of it."""
    x = (PLOT + 0.2) / PLOT if right else -LEFT / PLOT + 0.01 * WIDTH / PLOT
    axes.text(
        x,
        y,
        text,
        transform=axes.get_yaxis_transform(),
        color=color,
        fontsize=size,
        fontweight=weight,
        va="center_baseline",
        ha="left",
        clip_on=False,
    )


def _label(axes: Axes, frame: pd.DataFrame, view: View) -> None:
    few_ticks(axes.xaxis, 7)
    axes.set_xlabel(axis_label(f"difference in test {view.measure.words}", view.measure.difference_unit), labelpad=4)
    if not np.isfinite(frame["lo"].to_numpy(float)[frame["mark"] == "mean"]).any():
        return
    for x, side, text in ((0, "left", "← the arm is worse"), (1, "right", "the arm is better →")):
        axes.annotate(
            text,
            (x, 0),
            (0, -22),
            xycoords="axes fraction",
            textcoords="offset points",
            ha=side,
            va="top",
            color=MUTED,
            fontsize=8.5,
        )


def _caption(view: View, rows: pd.DataFrame) -> str:
    n = sorted({int(value) for value in rows["n"]}) if len(rows) else [0]
    size = count(n[0], "replicate") if len(n) == 1 else f"{n[0]} to {n[-1]} replicates"
    margin = view.suite.compare.margin
    groups = set(rows["group"]) if len(rows) else set()
    parts = [
        f"Each row compares an arm with {view.baseline}; right of zero the arm is better. Small dots are "
        f"the differences of single replicates ({failed_words(view)}), the large marker is their mean, the bar its "
        f"interval. n = {size} per row.",
        "No margin was declared."
        if margin is None
        else "A bar that lies wholly right of the grey margin is a gain of more than the margin.",
        "Below the declared rows all is exploratory and not adjusted for many comparisons." if len(groups) > 1 else "",
        "The leading arm is also compared with the arms that are not the baseline." if "leader" in groups else "",
        "Hollow dots: every arm at its defaults." if "untuned" in groups else "",
    ]
    return " ".join(filter(None, parts))
