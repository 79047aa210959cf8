"""What is gained on the target against what is lost on the source."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from harness.report import transfer
from harness.report.chart import Chart, chart
from harness.report.counted import span
from harness.report.plotting import (
    MUTED,
    PAPER,
    canvas,
    few_ticks,
    grid,
    grid_height,
    handle,
    leftmost,
    legend,
    legend_height,
    lowest,
    pad_limits,
    place,
    tagged,
)
from harness.report.scale import Scale, scale_of, stretched
from harness.report.view import View, short
from harness.verdict.format import listed

COLUMNS = ["problem", "setting", "arm", "head", "mark", "replicate", "checkpoint", "source_change", "value", "unit"]
HEADS = {"kept": "with the head it had", "refit": "with a head refitted"}
EVEN, WIDE_FROM = 1.0, 10.0
"""Percentage points up to which the axis of the source is even, and so many times which a run must have changed for the
rest to be logarithmic."""
WIDE, HIGH, GAP, LEFT = 3.85, 2.9, 0.75, 0.8
"""Inches: of a panel, between two, and left of the first."""


def forgetting(view: View, problem: str) -> Chart | None:
    """Target value against the change on the source, a panel for each head; None without forgetting."""
    frame = forgetting_frame(view, problem)
    points = frame[frame["mark"] == "run"]
    done = transfer.runs_of(view, problem, view.main_setting).query("status == 'ok'")["arm"]
    absent = [arm for arm in view.arms if arm in set(done) - set(frame["arm"])]
    without = f" Not here, since nothing could be forgotten: {listed(absent)}." if absent else ""
    marked = "the digit is the checkpoint that it starts from" if _numbered(frame) else "all start from one checkpoint"
    if (many := view.alike(frame["arm"].unique())) and len(frame):
        marked = "filled with the head that the source had, hollow with one refitted"
    apart = f" A panel for each arm, and {view.baseline} in grey." if many else ""
    n = span(points.groupby(["arm", "head"]).size(), "replicate")
    return chart(
        _draw,
        frame,
        view,
        name="forgetting",
        problem=problem,
        title="What is gained, and what is forgotten",
        caption=f"Test {view.measure.words} on the target against the change in accuracy on the source's test set; up "
        f"and right is better, at 0 nothing is forgotten. Small marks are final runs ({view.main_setting}), {marked}; "
        f"large markers are means. n = {n} per arm.{apart}{without} {_spread_said(frame, many=many)}"
        f"{stretched(_scale(frame, view))}".strip(),
    )


def forgetting_frame(view: View, problem: str) -> pd.DataFrame:
    """What is plotted: of each finished run, and of each arm's mean, in percent and percentage points."""
    if not transfer.moved(view):
        return pd.DataFrame(columns=COLUMNS)
    runs = transfer.runs_of(view, problem, view.main_setting)
    runs = runs[(runs["status"] == "ok") & runs["value"].notna()]
    parts = []
    for head in HEADS:
        known = runs[runs[f"forgetting_{head}"].notna()]
        change = -100 * known[f"forgetting_{head}"].astype(float) + 0.0
        each = known.assign(source_change=change, value=view.measure.factor * known["value"], head=head, mark="run")
        means = each.groupby("arm", sort=False)[["source_change", "value"]].mean().reset_index()
        parts += [each, means.assign(head=head, mark="mean")]
    made = pd.concat(parts) if any(map(len, parts)) else pd.DataFrame(columns=COLUMNS)
    made = made.assign(problem=problem, setting=view.main_setting, unit=view.measure.value_unit)
    return made[COLUMNS].astype({"replicate": "Int64", "checkpoint": "Int64"}).reset_index(drop=True)


def _numbered(frame: pd.DataFrame) -> bool:
    return bool(frame["checkpoint"].nunique() > 1)


def _scale(frame: pd.DataFrame, view: View) -> Scale:
    return scale_of(view.measure, frame["value"].astype(float))


def _is_wide(frame: pd.DataFrame) -> bool:
    """Whether some runs forgot so much that on an even axis all others would lie on each other at 0."""
    return bool(frame["source_change"].astype(float).abs().max() > WIDE_FROM * EVEN)


def _spread_said(frame: pd.DataFrame, *, many: bool) -> str:
    if not len(frame) or not _is_wide(frame):
        return ""
    panels = [_is_wide(frame[frame["head"] == head]) for head in HEADS if (frame["head"] == head).any()]
    which = "source" if all(panels) or many else ("left" if panels[0] else "right") + " panel"
    said = f"The axis of the {which} is even from -{EVEN:g} to {EVEN:g} pp and logarithmic beyond, "
    return f"{said}so that runs near 0 are told apart. "


def _source_axis(axes: Axes, frame: pd.DataFrame, *, most: int) -> None:
    """Scale, limits and ticks of the change on the source."""
    values = [*frame["source_change"].astype(float), 0.0]
    axes.axvline(0, color=MUTED, linewidth=1, zorder=1)
    if not _is_wide(frame):
        axes.set_xlim(*pad_limits(values, 0.07))
        few_ticks(axes.xaxis, most)
        return
    axes.set_xscale("symlog", linthresh=EVEN, linscale=0.6)
    low, high = min(values), max(values)
    axes.set_xlim(min(1.6 * low, -EVEN), max(1.6 * high, EVEN))
    ticks = [sign * 10.0**power * EVEN for sign in (-1, 1) for power in range(4)]
    axes.xaxis.set_major_locator(
        FixedLocator([0.0, *(tick for tick in ticks if 1.6 * low < tick < max(1.6 * high, EVEN))])
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _draw(frame: pd.DataFrame, view: View) -> Figure:
    arms = [arm for arm in view.arms if (frame["arm"] == arm).any()]
    if view.alike(arms):
        return _draw_many(frame, view, arms)
    heads = [head for head in HEADS if (frame["head"] == head).any()]
    top = legend_height(len(arms))
    figure = canvas(top + 0.35 + HIGH + 0.6)
    handles = [handle(view.styles[arm], short(arm), line=False) for arm in arms]
    legend(figure, handles, [view.styles[arm].gid for arm in arms], top=0.02)
    scale, numbered = _scale(frame, view), _numbered(frame)
    for at, head in enumerate(heads):
        axes = place(figure, LEFT + at * (WIDE + GAP), top + 0.35, WIDE, HIGH)
        part = frame[frame["head"] == head]
        _source_axis(axes, part, most=6)
        scale.apply(axes, frame["value"].astype(float), air=0.08)
        for arm in arms:
            with tagged(axes, view.styles[arm].gid):
                _arm(axes, part[part["arm"] == arm], view, arm, numbered=numbered)
        axes.set_title(f"Source {HEADS[head]}")
        axes.set_xlabel("change in source accuracy (pp)")
        axes.set_ylabel("" if at else scale.label("test"))
    return figure


def _draw_many(frame: pd.DataFrame, view: View, arms: list[str]) -> Figure:
    """A panel for each arm with both heads, and the baseline in grey; all have the same axes."""
    figure, scale = canvas(grid_height(len(arms))), _scale(frame, view)
    kept = frame[(frame["arm"] == view.baseline) & (frame["head"] == next(iter(HEADS)))]
    for at, (arm, axes) in enumerate(zip(arms, grid(figure, [short(arm, 22) for arm in arms]), strict=True)):
        _source_axis(axes, frame, most=4)
        scale.apply(axes, frame["value"].astype(float), air=0.08, ticks=3)
        if arm != view.baseline:
            with tagged(axes, view.styles[view.baseline].gid):
                _dots(axes, kept, MUTED, view.styles[view.baseline].marker, hollow=False)
        style = view.styles[arm]
        with tagged(axes, style.gid):
            for head in HEADS:
                mine = frame[(frame["arm"] == arm) & (frame["head"] == head)]
                _dots(axes, mine, style.colour, style.marker, hollow=head != next(iter(HEADS)))
        axes.tick_params(axis="x", labelsize=8)
        axes.set_xlabel("source, change (pp)" if lowest(at, len(arms)) else "")
        axes.set_ylabel(scale.label("test") if leftmost(at) else "")
    return figure


def _dots(axes: Axes, rows: pd.DataFrame, colour: str, marker: str, *, hollow: bool) -> None:
    """Small marks of runs and a large one of their mean."""
    edge: dict[str, Any] = {
        "color": colour,
        "mfc": PAPER if hollow else colour,
        "mec": colour if hollow else PAPER,
        "alpha": 0.8,
    }
    for mark, shape, size in (("run", "o", 4.0), ("mean", marker, 8.0)):
        some = rows[rows["mark"] == mark].astype({"source_change": float, "value": float})
        look = {**edge, "marker": shape, "markersize": size, "mew": 1.1 if hollow else 0.6, "linestyle": "none"}
        axes.plot(some["source_change"], some["value"], **look)


def _arm(axes: Axes, rows: pd.DataFrame, view: View, arm: str, *, numbered: bool) -> None:
    style = view.styles[arm]
    for _, row in rows[rows["mark"] == "run"].iterrows():
        at = (float(row["source_change"]), float(row["value"]))
        if numbered:
            look: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": 7.5, "fontweight": "bold"}
            axes.text(*at, str(row["checkpoint"]), color=style.colour, zorder=3, **look)
        else:
            axes.plot(*at, marker="o", markersize=4, color=style.colour, alpha=0.6, mew=0, zorder=3)
    for _, row in rows[rows["mark"] == "mean"].iterrows():
        if math.isfinite(float(row["value"])):
            shown: dict[str, Any] = {
                "marker": style.marker,
                "markersize": 9,
                "mec": "#ffffff",
                "mew": 0.9,
                "alpha": 0.85,
            }
            axes.plot(float(row["source_change"]), float(row["value"]), color=style.colour, zorder=2, **shown)
