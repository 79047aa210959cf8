"""Learning curves of the final runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report import labels
from harness.report.chart import Chart, chart
from harness.report.plotting import (
    canvas,
    few_ticks,
    grid,
    grid_height,
    handle,
    leftmost,
    legend,
    legend_height,
    place,
    replicate_lines,
    tagged,
)
from harness.report.scale import Scale, scale_of, stretched
from harness.report.view import View, short
from harness.verdict.format import count, listed

COLUMNS = ["problem", "setting", "arm", "metric", "split", "mark", "replicate", "x", "value", "x_unit", "unit"]
SPLITS = ("validation", "train")
BORDER = "border"
"""The mark of a row that says where a phase of a strategy begins, in place of a value."""


@dataclass(frozen=True)
class Panel:
    """What one panel shows and where it stands."""

    metric: str
    split: str
    row: int
    column: int


def curves(view: View, problem: str) -> Chart | None:
    """Training and validation over the epochs: a thin line per replicate, a thick one for the median."""
    frame = curves_frame(view, problem)
    if view.alike(view.arms) and (frame["metric"] == view.measure.name).any():
        frame = frame[frame["metric"] == view.measure.name]
    lines = frame[frame["mark"] != BORDER]
    points = int(lines.groupby(["arm", "metric", "split", "replicate"]).size().max()) if len(lines) else 0
    runs = frame.loc[frame["mark"] == "run", ["arm", "replicate"]].drop_duplicates()
    sizes = sorted(set(runs.groupby("arm").size())) if len(runs) else [0]
    n = count(int(sizes[-1]), "run") if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} runs"
    seen = "points are the epochs" if points <= 2 else "a thin line per run"
    seen += ", training dashed" if view.alike(view.arms) and not labels.within(view) else ""
    return chart(
        _draw_many if view.alike(view.arms) else _draw,
        frame,
        view,
        name="curves",
        problem=problem,
        title="Learning curves of the final runs",
        caption=f"Raw values, {seen}; the thick line is the median over replicates. n = {n} per arm "
        f"({view.main_setting}). Training values are running means over the epoch with the model in training mode"
        f"{_beside_validation(view)} No band is drawn: so few runs would not carry one. "
        f"{_curveless(view)}{_phases_said(view, problem)} {_stopped(view, problem)}{_stretched(frame, view)}".strip(),
    )


def _beside_validation(view: View) -> str:
    """How the curves lie to those on validation, or why there are none."""
    if not labels.within(view):
        return ", so they may look worse than validation."
    return ". There is no curve on validation: final runs train on all their labels, and nothing validates."


def _curveless(view: View) -> str:
    arms = view.suite.stepless
    return f"Without a curve, since no steps are taken: {listed(arms)}. " if arms else ""


def _stopped(view: View, problem: str) -> str:
    """How many runs early stopping ended, since a median is over fewer runs after that; empty where it ended none."""
    runs = _finals(view, problem)
    runs = runs.reindex(columns=[*dict.fromkeys((*runs.columns, "stopped_early"))])
    ended = runs[runs["stopped_early"].eq(True)].groupby("arm").size().to_dict()
    counted = [
        f"{ended[arm]} of {count(int((runs['arm'] == arm).sum()), 'run')} of {arm}" for arm in view.arms if arm in ended
    ]
    if not counted:
        return ""
    return f"Early stopping ended {listed(counted)}; from there on a median is over the runs that went on. "


def _scale(frame: pd.DataFrame, view: View, metric: str) -> Scale:
    """One scale for all panels of a metric, so that they can be read together."""
    return scale_of(view.measure_of(metric), frame.loc[frame["metric"] == metric, "value"])


def _stretched(frame: pd.DataFrame, view: View) -> str:
    return stretched(*(_scale(frame, view, metric) for metric in dict.fromkeys(frame["metric"])))


def curves_frame(view: View, problem: str) -> pd.DataFrame:
    """Values per epoch of the main setting's final runs, and their median; in the units of the axes."""
    runs = _finals(view, problem)
    points = view.table("evaluations", "run_id", "epoch", "step", "split", "metric", "value")
    points = points[points["split"].isin(SPLITS) & points["metric"].isin(_metrics(view))]
    data = points.merge(runs.loc[~runs["arm"].isin(view.suite.stepless), ["run_id", "arm", "replicate"]], on="run_id")
    if data.empty:
        return pd.DataFrame(columns=COLUMNS)
    key, unit = _x_axis(view, problem)
    factors = {metric: view.measure_of(metric).factor for metric in _metrics(view)}
    data = data.assign(x=data[key].astype(float), value=data["value"] * data["metric"].map(factors), mark="run")
    median = data.groupby(["arm", "metric", "split", "x"], as_index=False)["value"].median().assign(mark="median")
    data = pd.concat([data.astype({"replicate": "Int64"}), median])
    units = {metric: view.measure_of(metric).value_unit for metric in factors}
    data = data.assign(problem=problem, setting=view.main_setting, x_unit=unit, unit=data["metric"].map(units))
    place_of: dict[str, Any] = {name: at for at, name in enumerate((*view.arms, *factors, *SPLITS, "run", "median"))}
    keys = ["metric", "split", "arm", "mark", "replicate", "x"]
    data = data.sort_values(keys, key=lambda column: column.map(place_of) if column.name in keys[:4] else column)
    data = pd.concat([data, _borders(data, view, problem)]) if _phases(view, problem) else data
    return data[COLUMNS].reset_index(drop=True)


def _phases(view: View, problem: str) -> dict[str, list[tuple[str, float]]]:
    """Of each arm with several phases their names and beginnings, as shares of the run's steps."""
    runs = view.table("runs").reindex(columns=["phase", "problem", "setting", "arm", "status", "steps", "phases"])
    runs = runs[(runs["phase"] == "final") & (runs["problem"] == problem) & (runs["setting"] == view.main_setting)]
    found = {}
    for arm, rows in runs[runs["status"] == "ok"].groupby("arm"):
        texts = [text for text in rows["phases"] if isinstance(text, str) and text]
        phases = json.loads(texts[0]) if texts else []
        if len(phases) > 1:
            end = max(float(phase[2]) for phase in phases)
            names = [str(phase[0]) or f"phase {at}" for at, phase in enumerate(phases, 1)]
            found[str(arm)] = [(name, float(phase[1]) / end) for name, phase in zip(names, phases, strict=True)]
    return found


def _borders(data: pd.DataFrame, view: View, problem: str) -> pd.DataFrame:
    """A row for each border between two phases, in each panel; `x` in the unit of the axis, no value."""
    rows = []
    for arm, phases in _phases(view, problem).items():
        mine = data[data["arm"] == arm]
        end = float(mine["x"].max()) if len(mine) else math.nan
        for metric, split in dict.fromkeys(zip(mine["metric"], mine["split"], strict=True)):
            same = {"arm": arm, "metric": metric, "split": split, "mark": BORDER, "value": math.nan}
            same |= {name: mine[name].iat[0] for name in ("problem", "setting", "x_unit")}
            unit = view.measure_of(metric).value_unit
            rows += [{**same, "unit": unit, "x": begin * end} for _, begin in phases if begin > 0]
    return pd.DataFrame(rows, columns=data.columns).astype({"replicate": "Int64"})


def _phases_said(view: View, problem: str) -> str:
    """`Dotted: where an arm's next phase begins (lp_ft: probe, all).`; empty where no arm has several."""
    phases = _phases(view, problem)
    said = "; ".join(f"{arm}: {', '.join(name for name, _ in phases[arm])}" for arm in view.arms if arm in phases)
    return f"Dotted: where an arm's next phase begins ({said})." if said else ""


def _finals(view: View, problem: str) -> pd.DataFrame:
    """The main setting's final runs of the problem."""
    runs = view.table("runs", "run_id", "phase", "problem", "arm", "setting", "replicate")
    return runs[(runs["phase"] == "final") & (runs["problem"] == problem) & (runs["setting"] == view.main_setting)]


def _metrics(view: View) -> list[str]:
    """The metric of the verdicts and the loss."""
    return list(dict.fromkeys([view.measure.name, "loss"]))


def _x_axis(view: View, problem: str) -> tuple[str, str]:
    """Column and unit: training steps where the suite counts in steps, else epochs."""
    values: Mapping[str, Any] = next((item.values for item in view.suite.settings if item.problem == problem), {})
    return ("step", "steps") if values.get("steps") else ("epoch", "epochs")


def _draw(frame: pd.DataFrame, view: View) -> Figure:
    metrics = [metric for metric in _metrics(view) if (frame["metric"] == metric).any()]
    splits = [split for split in SPLITS if (frame["split"] == split).any()]
    arms = [arm for arm in view.arms if (frame["arm"] == arm).any()]
    top = legend_height(len(arms)) if len(arms) > 1 else 0.05
    high, gap, wide = 2.05, 0.9, 3.85
    panels = [Panel(m, s, i, j) for i, m in enumerate(metrics) for j, s in enumerate(splits)]
    if len(splits) == 1:  # metrics beside each other
        panels = [Panel(m, splits[0], 0, i) for i, m in enumerate(metrics)]
    figure = canvas(top + 0.3 + (panels[-1].row + 1) * (high + gap) - 0.3)
    if len(arms) > 1:
        handles = [handle(view.styles[arm], short(arm)) for arm in arms]
        legend(figure, handles, [view.styles[arm].gid for arm in arms], top=0.02)
    for panel in panels:
        axes = place(figure, 0.7 + panel.column * (wide + 0.9), top + 0.3 + panel.row * (high + gap), wide, high)
        part = frame[(frame["metric"] == panel.metric) & (frame["split"] == panel.split)]
        for arm in arms:
            with tagged(axes, view.styles[arm].gid):
                _lines(axes, part[part["arm"] == arm], view, arm)
        _finish(axes, part, panel, _scale(frame, view, panel.metric), frame)
    return figure


def _lines(axes: Axes, rows: pd.DataFrame, view: View, arm: str, *, dashed: bool = False) -> None:
    style = view.styles[arm]
    for x in sorted(set(rows.loc[rows["mark"] == BORDER, "x"].astype(float))):
        axes.axvline(x, color=style.colour, linewidth=1.1, linestyle=(0, (1, 2)), zorder=2)
    runs, median = (rows[rows["mark"] == mark].astype({"x": float, "value": float}) for mark in ("run", "median"))
    if runs.empty:
        return
    few = runs["x"].nunique() <= 2
    dash = "--" if dashed else "-"
    replicate_lines(
        axes,
        runs,
        x="x",
        y="value",
        color=style.colour,
        linewidth=0.8,
        alpha=0.45,
        linestyle=dash,
        marker="o" if few else None,
        markersize=3.2,
        markeredgewidth=0,
    )
    axes.plot(
        median["x"],
        median["value"],
        color=style.colour,
        linewidth=2,
        linestyle=dash,
        marker=style.marker if few or not dashed else None,
        markersize=5.5,
        markeredgecolor="#ffffff",
        markeredgewidth=0.7,
        zorder=4,
    )


def _finish(axes: Axes, part: pd.DataFrame, panel: Panel, scale: Scale, frame: pd.DataFrame) -> None:
    unit = str(part["x_unit"].iat[0]) if len(part) else "epochs"
    split = "Validation" if panel.split == "validation" else "Training"
    axes.set_title(f"{split} {scale.measure.words}")
    axes.set_xlabel(f"training ({unit})")
    scale.apply(axes, frame.loc[frame["metric"] == panel.metric, "value"])
    axes.set_ylabel(scale.label())
    _x_limits(axes, part.loc[part["mark"] != BORDER, "x"])


def _x_limits(axes: Axes, x: pd.Series) -> None:
    low, high = float(x.min()), float(x.max())
    air = 0.06 * (high - low) or 0.5
    axes.set_xlim(low - air, high + air)
    distinct = sorted(set(x.astype(float)))
    if len(distinct) <= 6:
        axes.set_xticks(distinct)
    else:
        few_ticks(axes.xaxis, 6, whole=True)


def _draw_many(frame: pd.DataFrame, view: View) -> Figure:
    """A panel per arm, the metric of the verdicts only: validation solid, training dashed where it is there."""
    metric = str(frame["metric"].iat[0])
    part = frame[frame["metric"] == metric]
    arms = [arm for arm in view.arms if (part["arm"] == arm).any()]
    figure = canvas(grid_height(len(arms)))
    scale, solid = _scale(frame, view, metric), (part["split"] == "validation").any()
    for at, (arm, axes) in enumerate(zip(arms, grid(figure, [short(arm, 22) for arm in arms]), strict=True)):
        with tagged(axes, view.styles[arm].gid):
            for split in SPLITS:
                rows = part[(part["arm"] == arm) & (part["split"] == split)]
                _lines(axes, rows, view, arm, dashed=split == "train" and solid)
        _finish(axes, part, Panel(metric, "validation", 0, 0), scale, part)
        axes.set_title(short(arm, 22), fontsize=9)
        if not leftmost(at):
            axes.set_ylabel("")
    return figure
