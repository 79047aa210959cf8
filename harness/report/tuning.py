"""How the tuning went: trials over time, and the best so far."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.outcomes import source_failed
from harness.report.chart import Chart, chart
from harness.report.counted import span
from harness.report.plotting import (
    MUTED,
    canvas,
    few_ticks,
    place,
    replicate_lines,
    scatter,
    tagged,
)
from harness.report.scale import scale_of, stretched
from harness.report.view import View, short
from harness.verdict.format import count

HISTORY = ["problem", "arm", "replicate", "trial", "state", "value", "best", "median_best", "unit"]


def trials_of(view: View, problem: str) -> pd.DataFrame:
    """The trials of a problem with arm, replicate and whether the trial was chosen, in order.

    Trials that had no weights to start from are left out: they say nothing of their setting.
    """
    studies = view.table("studies", "study_id", "problem", "arm", "replicate", "best_trial")
    studies = studies.loc[studies["problem"] == problem, ["study_id", "arm", "replicate", "best_trial"]]
    trials = view.table("trials", "study_id", "trial", "state", "value", "reason")
    known = [str(text).partition(": ") for text in trials["reason"]]
    told = pd.Series([not source_failed(status, reason) for status, _, reason in known], trials.index, dtype=bool)
    trials = trials[told]
    data = trials[["study_id", "trial", "state", "value"]].merge(studies, on="study_id")
    # A study without a complete trial has no best one, and comparing with it gives neither true nor false.
    chosen = (data["trial"] == data["best_trial"]).fillna(False).astype(bool)
    data = data.assign(chosen=chosen, place=data["arm"].map(view.order))
    return data.sort_values(["place", "replicate", "trial"]).reset_index(drop=True)


def history(view: View, problem: str) -> Chart | None:
    """Each trial and the best so far, a panel per arm."""
    frame = history_frame(view, problem)
    tuning, studies = view.suite.tuning, frame.groupby("arm")["replicate"].nunique()
    return chart(
        _draw_history,
        frame,
        view,
        name="history",
        problem=problem,
        title="Tuning history",
        caption=f"Small dots are trials, steps the best validation {view.measure.words} so far in each study, the "
        f"thick line their median. n = {span(studies, 'replicate')} per arm, a study of "
        f"{count(tuning.trials, 'trial')} each.{crosses(frame)} A line that still improves at the right asks for more "
        f"trials. {stretched(scale_of(view.measure, frame['value']))}".strip(),
    )


def crosses(frame: pd.DataFrame) -> str:
    """What a caption must say when some trials have no value."""
    return " Crosses at the foot are trials without a value (failed or pruned)." if frame["value"].isna().any() else ""


def history_frame(view: View, problem: str) -> pd.DataFrame:
    """What `history` plots, in the unit of the axis; `median_best` from the studies that have a value by then."""
    data = trials_of(view, problem)
    if data.empty:
        return pd.DataFrame(columns=HISTORY)
    measure = view.measure
    shown = pd.to_numeric(data["value"]).where(data["state"] == "complete") * measure.factor
    signed = (measure.sign * shown).groupby(data["study_id"]).cummax()
    best = measure.sign * signed.groupby(data["study_id"]).ffill()
    data = data.assign(problem=problem, value=shown, best=best, unit=measure.value_unit)
    data["median_best"] = data.groupby(["arm", "trial"])["best"].transform("median")
    return data[HISTORY]


def _draw_history(frame: pd.DataFrame, view: View) -> Figure:
    arms = list(dict.fromkeys(frame["arm"]))
    columns = min(len(arms), 3 if len(arms) <= 6 else 5)
    high = 1.9 if len(arms) <= 6 else 1.15
    wide = (8.7 - 0.3 * (columns - 1)) / columns if columns > 1 else 4.5
    figure = canvas(0.32 + -(-len(arms) // columns) * (high + 0.85) - 0.25)
    scale = scale_of(view.measure, frame["value"].astype(float))
    for at, arm in enumerate(arms):
        row, column = divmod(at, columns)
        axes = place(figure, 0.75 + column * (wide + 0.3), 0.32 + row * (high + 0.85), wide, high)
        with tagged(axes, view.styles[arm].gid):
            _history_panel(axes, frame[frame["arm"] == arm], view, arm)
        axes.set_title(short(arm, 26 if columns < 4 else 16))
        axes.set_xlabel("trial (number)")
        few_ticks(axes.xaxis, 6, whole=True)
        scale.apply(axes, frame["value"].astype(float), air=0.1)
        axes.set_ylabel("" if column else scale.label("validation"))
        axes.tick_params(labelleft=not column)
    return figure


def _history_panel(axes: Axes, rows: pd.DataFrame, view: View, arm: str) -> None:
    style = view.styles[arm]
    data = rows.astype({"value": float, "best": float})
    last = float(data["trial"].max())
    axes.set_xlim(-0.04 * max(last, 1) - 0.3, last + 0.04 * max(last, 1) + 0.3)
    replicate_lines(
        axes, data, x="trial", y="best", color=style.colour, linewidth=0.8, alpha=0.45, drawstyle="steps-post"
    )
    scatter(axes, data, x="trial", y="value", style=style, marker="o", s=14, alpha=0.55, linewidth=0)
    median = data.drop_duplicates("trial")
    axes.plot(median["trial"], median["median_best"], color=style.colour, linewidth=2, drawstyle="steps-post", zorder=4)
    without_value(axes, data.loc[data["value"].isna(), "trial"])


def without_value(axes: Axes, x: pd.Series) -> None:
    """Crosses at the foot of the axes for trials that have no value."""
    if len(x):
        axes.plot(
            x.to_numpy(float),
            [0.03] * len(x),
            transform=axes.get_xaxis_transform(),
            linestyle="none",
            marker="x",
            markersize=4.5,
            color=MUTED,
            zorder=3,
        )
