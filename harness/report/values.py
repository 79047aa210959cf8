"""The final runs themselves: values per arm, and how each replicate goes through the arms."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.chart import Chart, chart
from harness.report.plotting import (
    INK,
    MUTED,
    canvas,
    category_axis,
    few_ticks,
    pad_limits,
    place,
    replicate_lines,
    strip,
    tagged,
)
from harness.report.view import UNTUNED, View, axis_label, short
from harness.verdict.format import count

VALUES = ["problem", "setting", "arm", "mark", "replicate", "failed", "value", "lo", "hi", "level", "unit"]
SLOPES = ["problem", "setting", "arm", "replicate", "failed", "value", "unit"]
LEFT, ROW, HEAD = 2.35, 0.4, 0.36


def values(view: View, problem: str) -> Chart | None:
    """Every final run as a point, with the mean and its t-interval per arm."""
    words = view.measure.words
    return chart(
        _draw_values,
        values_frame(view, problem),
        view,
        name="values",
        problem=problem,
        title=f"Test {words} of each final run (not for pairwise reading)",
        caption=f"Small dots are final runs, one per replicate; the large marker is the mean, the bar its t-interval. "
        f"{_runs(view, problem)} Two bars that overlap say nothing about a difference: runs are paired, and what "
        "replicates share widens both bars alike. For comparisons read the paired differences.",
    )


def values_frame(view: View, problem: str) -> pd.DataFrame:
    """What `values` plots, in the unit of the axis."""
    summary = view.table("summary", "problem", "setting", "arm", "metric")
    measure, rows = view.measure, []
    every = view.findings.finals
    for setting in view.settings(every[every["problem"] == problem]):
        finals = view.finals(problem, setting)
        for arm in dict.fromkeys(finals["arm"]):
            same: dict[str, Any] = {"problem": problem, "setting": setting, "arm": arm, "unit": measure.value_unit}
            found = summary[(summary["problem"] == problem) & (summary["setting"] == setting) & (summary["arm"] == arm)]
            for _, row in found[found["metric"] == measure.name].iterrows():
                mean, lo, hi = (measure.factor * float(row[name]) for name in ("mean", "lo", "hi"))
                rows.append({**same, "mark": "mean", "value": mean, "lo": lo, "hi": hi, "level": row["level"]})
            rows += [{**same, "mark": "run", **run} for run in _points(finals[finals["arm"] == arm], measure.factor)]
    return pd.DataFrame(rows, columns=VALUES).astype({"replicate": "Int64", "failed": "boolean"})


def _points(finals: pd.DataFrame, factor: int) -> list[dict[str, Any]]:
    """Runs that have a value, a failed one with what it counts as."""
    return [
        {"replicate": int(row["replicate"]), "failed": row["status"] != "ok", "value": factor * float(row["counted"])}
        for _, row in finals.iterrows()
        if not pd.isna(row["counted"])
    ]


def _draw_values(frame: pd.DataFrame, view: View) -> Figure:
    groups = view.settings(frame)
    counts = [frame.loc[frame["setting"] == group, "arm"].nunique() for group in groups]
    height = ROW * sum(counts) + (HEAD * len(groups) if len(groups) > 1 else 0) + 0.1
    figure = canvas(0.15 + height + 0.6)
    axes = place(figure, LEFT, 0.15, 6.9, height)
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlim(*pad_limits(frame[["value", "lo", "hi"]].to_numpy(float).ravel().tolist()))
    top = 0.0
    for group in groups:
        if len(groups) > 1:
            text = (
                "Exploratory: untuned" if group == UNTUNED else "As given" if group == "given" else group.capitalize()
            )
            _name(axes, text, top + HEAD * 0.6, weight="bold")
            top += HEAD
        for arm in dict.fromkeys(frame.loc[frame["setting"] == group, "arm"]):
            with tagged(axes, view.styles[arm].gid):
                _draw_arm(axes, frame[(frame["setting"] == group) & (frame["arm"] == arm)], view, top + ROW / 2)
            top += ROW
    few_ticks(axes.xaxis, 7)
    axes.set_xlabel(axis_label(f"test {view.measure.words}", view.measure.value_unit))
    return figure


def _draw_arm(axes: Axes, rows: pd.DataFrame, view: View, middle: float) -> None:
    arm, setting = str(rows["arm"].iat[0]), str(rows["setting"].iat[0])
    style = view.styles[arm]
    for _, mean in rows[rows["mark"] == "mean"].iterrows():
        if math.isfinite(mean["lo"]):
            axes.plot([mean["lo"], mean["hi"]], [middle - 0.06] * 2, color=style.colour, linewidth=2.2, zorder=3)
        if math.isfinite(mean["value"]):
            axes.plot(
                mean["value"],
                middle - 0.06,
                marker=style.marker,
                markersize=7.5,
                color=style.colour,
                markeredgecolor="#ffffff",
                markeredgewidth=0.9,
                zorder=4,
            )
    runs = rows[rows["mark"] == "run"]
    strip(axes, runs, x="value", at=middle + 0.11, style=style, hollow=setting == UNTUNED)
    _name(axes, short(arm), middle)


def _name(axes: Axes, text: str, y: float, weight: str = "normal") -> None:
    axes.text(
        -LEFT / 6.9 + 0.012,
        y,
        text,
        transform=axes.get_yaxis_transform(),
        color=INK,
        fontweight=weight,
        va="center_baseline",
        ha="left",
        clip_on=False,
    )


def slopes(view: View, problem: str) -> Chart | None:
    """One line per replicate across the arms; None where there is nothing to connect."""
    frame = slopes_frame(view, problem)
    if frame["arm"].nunique() < 2:
        return None
    return chart(
        _draw_slopes,
        frame,
        view,
        name="slopes",
        problem=problem,
        title=f"Test {view.measure.words} of each replicate across the arms",
        caption="Each line is one replicate: same split, same seeds in every arm. Lines that run parallel mean that "
        f"pairing takes out the luck of the replicate. n = {count(frame['replicate'].nunique(), 'replicate')}.",
    )


def slopes_frame(view: View, problem: str) -> pd.DataFrame:
    """What `slopes` plots: the final runs of the main setting."""
    frame = values_frame(view, problem)
    frame = frame[(frame["mark"] == "run") & (frame["setting"] == view.main_setting)]
    return frame[SLOPES].reset_index(drop=True)


def _draw_slopes(frame: pd.DataFrame, view: View) -> Figure:
    arms = list(dict.fromkeys(frame["arm"]))
    crowded = len(arms) > 6
    # Labels are turned by 40 degrees: their height grows with their length.
    below = 0.5 + (0.058 * max(len(short(arm)) for arm in arms) if crowded else 0.0)
    figure = canvas(0.15 + 2.9 + below)
    axes = place(figure, 0.75, 0.15, 8.5 if len(arms) > 3 else 1.2 + 1.9 * len(arms), 2.9)
    data = frame.assign(at=frame["arm"].map({arm: at for at, arm in enumerate(arms)}))
    replicate_lines(axes, data, x="at", y="value", color=MUTED, linewidth=1.1, alpha=0.75)
    for arm in arms:
        style, rows = view.styles[arm], data[data["arm"] == arm]
        with tagged(axes, style.gid):
            for failed, marker in ((False, style.marker), (True, "x")):
                some = rows[rows["failed"].astype(bool) == failed]
                axes.plot(
                    some["at"],
                    some["value"].to_numpy(float),
                    linestyle="none",
                    marker=marker,
                    markersize=6.5,
                    color=style.colour,
                    markeredgecolor=style.colour if failed else "#ffffff",
                    markeredgewidth=1.4 if failed else 0.8,
                    zorder=4,
                )
    axes.set_xlim(-0.35, len(arms) - 0.65)
    axes.grid(False, axis="x")
    category_axis(axes.xaxis, [short(arm) for arm in arms])
    if crowded:
        axes.tick_params(axis="x", rotation=40)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    few_ticks(axes.yaxis, 6)
    axes.set_ylim(*pad_limits(data["value"].tolist()))
    axes.set_xlabel("arm")
    axes.set_ylabel(axis_label(f"test {view.measure.words}", view.measure.value_unit))
    return figure


def _runs(view: View, problem: str) -> str:
    rows = view.findings.finals
    rows = rows[(rows["problem"] == problem) & (rows["setting"] == view.main_setting)]
    sizes = sorted(set(rows.groupby("arm").size())) if len(rows) else [0]
    text = count(int(sizes[0]), "run") if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} runs"
    return f"n = {text} per arm; {failed_words(view)}."


def failed_words(view: View) -> str:
    """What a failed run looks like in a figure of values."""
    if view.measure.floor is None:
        return "a failed run has no value and is not drawn"
    return "crosses are failed runs, counted at the metric's floor"
