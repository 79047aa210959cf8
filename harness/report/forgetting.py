"""What is gained on the target against what is lost on the source."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report import transfer
from harness.report.chart import Chart, chart
from harness.report.counted import span
from harness.report.plotting import MUTED, canvas, few_ticks, handle, legend, legend_height, pad_limits, place, tagged
from harness.report.scale import Scale, scale_of, stretched
from harness.report.view import View, short
from harness.verdict.format import listed

COLUMNS = ["problem", "setting", "arm", "head", "mark", "replicate", "checkpoint", "source_change", "value", "unit"]
HEADS = {"kept": "with the head it had", "refit": "with a head refitted"}
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
        f"large markers are means. n = {n} per arm.{without} {stretched(_scale(frame, view))}".strip(),
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


def _draw(frame: pd.DataFrame, view: View) -> Figure:
    arms = [arm for arm in view.arms if (frame["arm"] == arm).any()]
    heads = [head for head in HEADS if (frame["head"] == head).any()]
    top = legend_height(len(arms))
    figure = canvas(top + 0.35 + HIGH + 0.6)
    handles = [handle(view.styles[arm], short(arm), line=False) for arm in arms]
    legend(figure, handles, [view.styles[arm].gid for arm in arms], top=0.02)
    scale, numbered = _scale(frame, view), _numbered(frame)
    for at, head in enumerate(heads):
        axes = place(figure, LEFT + at * (WIDE + GAP), top + 0.35, WIDE, HIGH)
        part = frame[frame["head"] == head]
        low, high = pad_limits([*part["source_change"].astype(float), 0.0], 0.07)
        axes.set_xlim(low, high)
        scale.apply(axes, frame["value"].astype(float), air=0.08)
        axes.axvline(0, color=MUTED, linewidth=1, zorder=1)
        for arm in arms:
            with tagged(axes, view.styles[arm].gid):
                _arm(axes, part[part["arm"] == arm], view, arm, numbered=numbered)
        axes.set_title(f"Source {HEADS[head]}")
        axes.set_xlabel("change in source accuracy (pp)")
        axes.set_ylabel("" if at else scale.label("test"))
        few_ticks(axes.xaxis, 6)
    return figure


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
