"""The final runs themselves: values per arm, and how each replicate goes through the arms."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.chart import Chart, chart
from harness.report.counted import interval, per_arm
from harness.report.plotting import (
    INK,
    MUTED,
    canvas,
    category_axis,
    few_ticks,
    place,
    replicate_lines,
    tagged,
)
from harness.report.rows import bar, beyond, dots, reach
from harness.report.scale import scale_of, stretched
from harness.report.view import UNTUNED, View, short, value_axis
from harness.verdict.format import count
from harness.verdict.pairs import judged

VALUES = ["problem", "setting", "arm", "mark", "replicate", "failed", "value", "lo", "hi", "level", "unit"]
SLOPES = ["problem", "setting", "arm", "replicate", "failed", "value", "unit"]
LEFT, PLOT, ROW, HEAD, BELOW = 2.35, 6.9, 0.4, 0.4, 0.62
"""Inches: width of the names, width of the plot, height of a row, of a heading and of a scale."""


def values(view: View, problem: str) -> Chart | None:
    """Every final run as a point, with the mean and its t-interval per arm."""
    words, frame = view.measure.words, values_frame(view, problem)
    return chart(
        _draw_values,
        frame,
        view,
        name="values",
        problem=problem,
        title=f"Test {words} of each final run (not for pairwise reading)",
        caption=_values_caption(view, problem, frame),
    )


def _values_caption(view: View, problem: str, frame: pd.DataFrame) -> str:
    bars = bool(frame["lo"].notna().any())
    marks = f"the large marker is the mean, the bar its {interval(view)}" if bars else "the large marker is the mean"
    advice = (
        " Two bars that overlap say nothing about a difference: runs are paired, and what replicates share widens both "
        "bars alike. For comparisons read the paired differences."
    )
    return (
        f"Small dots are final runs, one per replicate; {marks}. {_runs(view, problem)}{_beyond(view, frame)}"
        f"{advice if bars else ''}"
    )


def values_frame(view: View, problem: str) -> pd.DataFrame:
    """What `values` plots, in the unit of the axis."""
    summary = view.table("summary", "problem", "setting", "arm", "metric")
    measure, rows = view.measure, []
    every = view.findings.finals
    for setting in view.settings(every[every["problem"] == problem]):
        finals = judged(view.finals(problem, setting))
        for arm in dict.fromkeys(finals["arm"]):
            same: dict[str, Any] = {"problem": problem, "setting": setting, "arm": arm, "unit": measure.value_unit}
            found = summary[(summary["problem"] == problem) & (summary["setting"] == setting) & (summary["arm"] == arm)]
            for _, row in found[found["metric"] == measure.name].iterrows():
                mean, lo, hi = (measure.factor * float(row[name]) for name in ("mean", "lo", "hi"))
                rows.append({**same, "mark": "mean", "value": mean, "lo": lo, "hi": hi, "level": row["level"]})
            rows += [{**same, "mark": "run", **run} for run in _points(finals[finals["arm"] == arm], measure.factor)]
    return pd.DataFrame(rows, columns=VALUES).astype({"replicate": "Int64", "failed": "boolean"})


def _beyond(view: View, frame: pd.DataFrame) -> str:
    """What a caption must say when something lies outside of its axis."""
    parts = [frame[frame["setting"] == setting] for setting in view.settings(frame)]
    if not any(beyond(_limits(part), part[["value", "lo", "hi"]].to_numpy(float).ravel().tolist()) for part in parts):
        return ""
    return (
        " An arrow at the edge stands for what lies beyond it: an interval, whose ends stand in the table below, or "
        "single runs, with their values."
    )


def _points(finals: pd.DataFrame, factor: int) -> list[dict[str, Any]]:
    """Runs that have a value, a failed one with what it counts as."""
    return [
        {"replicate": int(row["replicate"]), "failed": row["status"] != "ok", "value": factor * float(row["counted"])}
        for _, row in finals.iterrows()
        if not pd.isna(row["counted"])
    ]


def _draw_values(frame: pd.DataFrame, view: View) -> Figure:
    """A panel per setting, each with an axis of its own: arms at their defaults lie much further apart."""
    parts = [frame[frame["setting"] == setting] for setting in view.settings(frame)]
    heights = [ROW * part["arm"].nunique() + 0.1 for part in parts]
    above = HEAD if len(parts) > 1 else 0.15
    figure, top = canvas(sum(heights) + len(parts) * (above + BELOW)), above
    for part, height in zip(parts, heights, strict=True):
        axes = place(figure, LEFT, top, PLOT, height)
        if len(parts) > 1:
            _name(axes, _heading(str(part["setting"].iat[0])), -0.18, weight="bold")
        _values_panel(axes, part, view, height)
        top += height + BELOW + above
    return figure


def _heading(setting: str) -> str:
    words = {UNTUNED: "Exploratory: untuned, every arm at its defaults (an axis of its own)", "given": "As given"}
    return words.get(setting, setting.capitalize())


def _values_panel(axes: Axes, part: pd.DataFrame, view: View, height: float) -> None:
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlim(*_limits(part))
    for at, arm in enumerate(dict.fromkeys(part["arm"])):
        with tagged(axes, view.styles[arm].gid):
            _draw_arm(axes, part[part["arm"] == arm], view, ROW * (at + 0.5))
    few_ticks(axes.xaxis, 7)
    axes.set_xlabel(value_axis(view.measure, "test"))


def _limits(part: pd.DataFrame) -> tuple[float, float]:
    """Limits of a panel's axis, judged by the narrowest intervals first; half of them are held in any case."""
    means, runs = part[part["mark"] == "mean"], part[part["mark"] == "run"]
    widths = means.assign(width=means["hi"] - means["lo"]).sort_values("width", kind="stable")
    marks = means.loc[means["lo"].isna(), "value"].astype(float).tolist()
    bars, half = widths[["lo", "hi"]].to_numpy(float).tolist(), (int(means["lo"].notna().sum()) + 1) // 2
    return reach(bars, runs["value"].astype(float).tolist(), marks, least=half)


def _draw_arm(axes: Axes, rows: pd.DataFrame, view: View, middle: float) -> None:
    arm, setting = str(rows["arm"].iat[0]), str(rows["setting"].iat[0])
    style = view.styles[arm]
    for _, mean in rows[rows["mark"] == "mean"].iterrows():
        bar(axes, mean, x="value", at=middle - 0.06, style=style)
    runs = rows[rows["mark"] == "run"]
    dots(axes, runs, x="value", at=middle + 0.11, style=style, hollow=setting == UNTUNED)
    _name(axes, short(arm), middle)


def _name(axes: Axes, text: str, y: float, weight: str = "normal") -> None:
    axes.text(
        -LEFT / PLOT + 0.012,
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
    lines = int((frame.groupby("replicate")["arm"].nunique() > 1).sum())
    scale = scale_of(view.measure, frame["value"])
    return chart(
        _draw_slopes,
        frame,
        view,
        name="slopes",
        problem=problem,
        title=f"Test {view.measure.words} of each replicate across the arms",
        caption="Each line is one replicate: same split, same seeds in every arm. Lines that run parallel mean that "
        f"pairing takes out the luck of the replicate. n = {count(lines, 'replicate')}. "
        f"{stretched(scale)}".strip(),
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
    names = [short(arm, 16 if crowded else 26) for arm in arms]
    below = 0.5 + (0.058 * max(map(len, names)) if crowded else 0.0)
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
    category_axis(axes.xaxis, names)
    if crowded:
        axes.tick_params(axis="x", rotation=40)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    scale = scale_of(view.measure, data["value"])
    scale.apply(axes, data["value"], ticks=6)
    axes.set_xlabel("arm")
    axes.set_ylabel(scale.label("test"))
    return figure


def _runs(view: View, problem: str) -> str:
    failed = failed_words(view)
    return f"{per_arm(view, problem, 'run')}{f'; {failed}' if failed else ''}."


def failed_words(view: View) -> str:
    """What a failed run looks like in a figure of values; empty when none failed."""
    if (judged(view.findings.finals)["status"] == "ok").all():
        return ""
    if view.measure.floor is None:
        return "a failed run has no value and is not drawn"
    return "crosses are failed runs, counted at the metric's floor"
