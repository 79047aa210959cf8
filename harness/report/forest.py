"""The main figure: paired differences to the baseline, each with its interval and its replicates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report import transfer, wording
from harness.report.chart import Chart, chart
from harness.report.counted import senseless, span
from harness.report.plotting import (
    BAND,
    INK,
    MUTED,
    WIDTH,
    canvas,
    few_ticks,
    place,
    tagged,
)
from harness.report.rows import bar, beyond, dots, reach
from harness.report.values import failed_words
from harness.report.view import UNTUNED, View, difference_axis, short
from harness.verdict.format import Measure, percent
from harness.verdict.pairs import judged

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
DOTS = ("replicate", "checkpoint")
"""Marks of single differences."""
GROUPS = ("primary", "further", "leader", UNTUNED)
"""Declared verdicts; further arms against the baseline; the leading arm against others; all at their defaults."""
LEFT, PLOT, ROW, HEAD = 2.35, 5.15, 0.5, 0.42
"""Inches: width of the names, width of the plot, height of a row and of a heading."""
ABOVE, BELOW = 0.5, 0.75
"""Inches above an axes box, for the margin's name or a heading, and below it, for its scale."""
BESIDE = 38
"""Characters of an axis label that leave room for a note at either side of it."""


def forest(view: View, problem: str) -> Chart | None:
    """The forest plot of one problem; None where no comparison exists."""
    rows = comparisons(view, problem)
    sentences = [str(text) for text in rows.loc[rows["primary"].astype(bool), "sentence"]]
    title, frame = f"Paired differences to {view.baseline}", _frame(view, rows)
    return chart(
        _draw,
        frame,
        view,
        name="forest",
        problem=problem,
        title=title,
        caption=_caption(view, rows, frame),
        alt=" ".join([f"{title} on {problem}.", *sentences]),
    )


def comparisons(view: View, problem: str) -> pd.DataFrame:
    """The comparisons of a problem with their group, the declared ones first."""
    rows = view.comparisons
    rows = rows[(rows["problem"] == problem) & (rows["kind"] == "pair")]
    rows = rows.assign(group=[_group(view, row) for _, row in rows.iterrows()])

    def rank(at: int) -> tuple[int, int, int]:
        row = rows.iloc[at]
        return GROUPS.index(row["group"]), view.order[row["arm"]], view.order[row["baseline"]]

    return rows.iloc[sorted(range(len(rows)), key=rank)]


def _group(view: View, row: pd.Series) -> str:
    if bool(row["primary"]):
        return "primary"
    if row["setting"] == UNTUNED:
        return UNTUNED
    return "further" if row["baseline"] == view.baseline else "leader"


def paired_differences(view: View, row: pd.Series) -> pd.DataFrame:
    """Replicate, difference (stored unit, positive: the arm is better) and whether one of both runs failed.

    Where replicates share source checkpoints: the means of these, by their number.
    """
    finals = judged(view.finals(str(row["problem"]), str(row["setting"])))
    arm, baseline = (finals[finals["arm"] == row[side]] for side in ("arm", "baseline"))
    both = arm.merge(baseline, on="replicate", suffixes=("_a", "_b")).sort_values("replicate")
    pairs = pd.DataFrame(
        {
            "replicate": both["replicate"].to_numpy(int),
            "difference": (view.measure.sign * (both["counted_a"] - both["counted_b"])).to_numpy(float),
            "failed": ((both["status_a"] != "ok") | (both["status_b"] != "ok")).to_numpy(bool),
        }
    )
    if (shared := transfer.shared_by(view)) is None:
        return pairs
    known = pairs[pairs["difference"].notna()]
    of = {"difference": ("difference", "mean"), "failed": ("failed", "any")}
    return known.groupby(known["replicate"] % shared).agg(**of).reset_index()


def _frame(view: View, rows: pd.DataFrame) -> pd.DataFrame:
    measure, margin = view.measure, view.suite.compare.margin
    unit, plotted = _unit(view), list[dict[str, Any]]()
    for _, row in rows.iterrows():
        same = {name: row[name] for name in ("problem", "group", "setting", "arm", "baseline", "verdict")}
        same |= {"unit": measure.difference_unit}
        mean, lo, hi = (measure.factor * float(row[name]) for name in ("delta", "lo", "hi"))
        plotted.append({**same, "mark": "mean", "difference": mean, "lo": lo, "hi": hi, "level": row["level"]})
        if bool(row["paired"]):
            for _, pair in paired_differences(view, row).iterrows():
                shown = {"mark": unit, unit: int(pair["replicate"]), "failed": bool(pair["failed"])}
                plotted.append({**same, **shown, "difference": measure.factor * float(pair["difference"])})
    if plotted and margin is not None:
        edges = {"lo": -measure.factor * margin, "hi": measure.factor * margin}
        plotted.append({"problem": rows["problem"].iat[0], "mark": "margin", "unit": measure.difference_unit, **edges})
    columns = [unit if name == "replicate" else name for name in COLUMNS]
    return pd.DataFrame(plotted, columns=columns).astype({unit: "Int64", "failed": "boolean"})


def _unit(view: View) -> str:
    """What one of n is, which a dot stands for."""
    return "replicate" if transfer.shared_by(view) is None else "checkpoint"


def _panels(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """Untuned rows apart, since arms at their defaults lie much further apart; the margin in both."""
    untuned, margin = frame["group"] == UNTUNED, frame["mark"] == "margin"
    return [part for part in (frame[~untuned], frame[untuned | margin]) if (part["mark"] == "mean").any()]


def _limits(part: pd.DataFrame) -> tuple[float, float]:
    """Limits of a panel's axis, judged by the declared rows first, the narrowest before the wider ones."""
    means, margin = part[part["mark"] == "mean"], part[part["mark"] == "margin"]
    widths = means.assign(other=means["group"] != "primary", width=means["hi"] - means["lo"])
    bars = widths.sort_values(["other", "width"], kind="stable")[["lo", "hi"]].to_numpy(float).tolist()
    alone = means.loc[means["lo"].isna(), "difference"]
    marks = [0.0, *alone.astype(float), *margin[["lo", "hi"]].to_numpy(float).ravel()]
    return reach(bars, part.loc[part["mark"].isin(DOTS), "difference"].astype(float).tolist(), marks)


def _clipped(part: pd.DataFrame) -> bool:
    return beyond(_limits(part), part[["difference", "lo", "hi"]].to_numpy(float).ravel().tolist())


def _draw(frame: pd.DataFrame, view: View) -> Figure:
    parts = _panels(frame)
    heights = [_height(part) for part in parts]
    figure, top = canvas(sum(heights) + len(parts) * (ABOVE + BELOW)), ABOVE
    for part, height in zip(parts, heights, strict=True):
        _panel(place(figure, LEFT, top, PLOT, height), part, view, height)
        top += height + BELOW + ABOVE
    return figure


def _groups(part: pd.DataFrame) -> list[str]:
    return [group for group in GROUPS if (part["group"] == group).any()]


def _height(part: pd.DataFrame) -> float:
    """Inches; the heading of untuned rows stands above the axes, in place of the margin's name."""
    headings = sum(group != UNTUNED for group in _groups(part))
    return ROW * int((part["mark"] == "mean").sum()) + HEAD * headings + 0.15


def _panel(axes: Axes, part: pd.DataFrame, view: View, height: float) -> None:
    """One axis; heights on it are inches from its upper edge."""
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlim(*_limits(part))
    _ground(axes, part, view)
    top = 0.0
    for group in _groups(part):
        rows = part[part["group"] == group]
        top = top if group == UNTUNED else top + HEAD
        _heading(axes, rows, group, top - HEAD)
        for arm, other in dict.fromkeys(zip(rows["arm"], rows["baseline"], strict=True)):
            with tagged(axes, view.styles[other if group == "leader" else arm].gid):
                _row(axes, rows[(rows["arm"] == arm) & (rows["baseline"] == other)], view, top + ROW / 2)
            top += ROW
    _label(axes, part, view)


def _ground(axes: Axes, part: pd.DataFrame, view: View) -> None:
    """Zero and the margin, which is named where no heading stands above the axes."""
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    for _, band in part[part["mark"] == "margin"].iterrows():
        axes.axvspan(band["lo"], band["hi"], color=BAND, linewidth=0, zorder=0)
        if _groups(part) == [UNTUNED]:
            continue
        low, high = axes.get_xlim()
        share = -low / (high - low)
        side = "left" if share < 0.2 else "right" if share > 0.8 else "center"
        axes.annotate(
            f"grey: declared margin ±{view.measure.margin(view.suite.compare.margin or 0.0)}",
            (0, 1),
            (0, 6),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha=side,
            color=MUTED,
            fontsize=8.5,
        )


def _heading(axes: Axes, rows: pd.DataFrame, group: str, top: float) -> None:
    levels = sorted(set(rows.loc[rows["mark"] == "mean", "level"].dropna()))
    level = f"[{percent(levels[0])} interval]" if len(levels) == 1 else "[interval]"
    setting = "As given" if rows["setting"].iat[0] == "given" else str(rows["setting"].iat[0]).capitalize()
    text = {
        "primary": f"{setting}, declared",
        "further": "Exploratory: further arms",
        "leader": "Exploratory: leading arm",
        UNTUNED: "Exploratory: untuned, every arm at its defaults (an axis of its own)",
    }[group]
    unit = f", {rows['unit'].iat[0]}" if rows["unit"].iat[0] else ""
    middle = top + HEAD * 0.62
    _beside(axes, text, middle, weight="bold", size=9.5)
    _beside(axes, f"mean {level}{unit}", middle, right=True, color=MUTED, size=8.5)
    if top:
        box = axes.get_position()
        ends = (-LEFT / (box.width * WIDTH), (WIDTH - LEFT) / (box.width * WIDTH))
        axes.plot(
            ends,
            (top + 0.04, top + 0.04),
            transform=axes.get_yaxis_transform(),
            color=MUTED,
            linewidth=0.6,
            clip_on=False,
        )


def _row(axes: Axes, rows: pd.DataFrame, view: View, middle: float) -> None:
    style, mean = view.styles[str(rows["arm"].iat[0])], rows[rows["mark"] == "mean"].iloc[0]
    setting = str(mean["setting"])
    bar(axes, mean, x="difference", at=middle - 0.06, style=style)
    dots(
        axes,
        rows[rows["mark"].isin(DOTS)],
        x="difference",
        at=middle + 0.13,
        style=style,
        hollow=setting == UNTUNED,
    )
    name = short(str(mean["arm"]))
    if mean["group"] == "leader":
        name = f"{short(str(mean['arm']), 14)} vs {short(str(mean['baseline']), 14)}"
    _beside(axes, name, middle - 0.07, weight="bold" if mean["group"] == "primary" else "normal")
    _beside(axes, wording.verdict(str(mean["verdict"])), middle + 0.12, color=MUTED, size=8.5)
    numbers = _numbers(mean, view.measure, view.suite.compare.margin or 0.0)
    _beside(axes, "not applicable" if senseless(view, mean) else numbers, middle - 0.02, right=True)


def _numbers(mean: pd.Series, measure: Measure, margin: float) -> str:
    """`1.27 [0.73, 1.81]`, or as much of it as exists."""
    value, lo, hi = (float(mean[name]) / measure.factor for name in ("difference", "lo", "hi"))
    if math.isnan(value):
        return "no mean difference"
    places = measure.decimals(lo, hi, 0.0, margin, -margin) if math.isfinite(lo) else 2
    text = measure.bare(value, places)
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
    label = difference_axis(view.measure)
    axes.set_xlabel(label, labelpad=4)
    if not np.isfinite(frame["lo"].to_numpy(float)[frame["mark"] == "mean"]).any():
        return
    for x, side, text in ((0, "left", "← the arm is worse"), (1, "right", "the arm is better →")):
        axes.annotate(
            text,
            (x, 0),
            (0, -22 if len(label) <= BESIDE else -36),
            xycoords="axes fraction",
            textcoords="offset points",
            ha=side,
            va="top",
            color=MUTED,
            fontsize=8.5,
        )


def _caption(view: View, rows: pd.DataFrame, frame: pd.DataFrame) -> str:
    unit, sizes = _unit(view), [int(row["n"]) for _, row in rows.iterrows() if not senseless(view, row)]
    margin, failed = view.suite.compare.margin, failed_words(view)
    groups, has_bars = set(rows["group"]), bool(frame.loc[frame["mark"] == "mean", "lo"].notna().any())
    parts = [
        f"Each row compares an arm with {view.baseline}; right of zero the arm is better. Small dots are "
        f"the differences of single {unit}s{', means of their replicates' if unit == 'checkpoint' else ''}"
        f"{f' ({failed})' if failed else ''}, the large marker is their mean"
        f"{', the bar its interval' if has_bars else ''}. n = {span(sizes, unit)} per row.",
        "An arrow at the edge stands for what lies beyond it: an interval, whose ends stand at the right, or single "
        f"{unit}s, with their values."
        if any(map(_clipped, _panels(frame)))
        else "",
        "No margin was declared." if margin is None else "",
        "A bar that lies wholly right of the grey margin is a gain of more than the margin."
        if margin is not None and has_bars
        else "",
        "Below the declared rows all is exploratory and not adjusted for many comparisons." if len(groups) > 1 else "",
        "The leading arm is also compared with the arms that are not the baseline; since it was picked by these runs, "
        "they favour it."
        if "leader" in groups
        else "",
        "Hollow dots: every arm at its defaults, on an axis of another range." if UNTUNED in groups else "",
    ]
    return " ".join(filter(None, parts))
