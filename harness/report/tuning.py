"""How the tuning went: trials over time, and trial values against each hyperparameter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.hookspecs import Choice
from harness.report.chart import Chart, chart
from harness.report.plotting import (
    INK,
    MUTED,
    canvas,
    category_axis,
    few_ticks,
    log_axis,
    pad_limits,
    place,
    replicate_lines,
    scatter,
    tagged,
)
from harness.report.scale import scale_of, stretched
from harness.report.view import View, short
from harness.verdict.format import count

HISTORY = ["problem", "arm", "replicate", "trial", "state", "value", "best", "median_best", "unit"]
SENSITIVITY = [
    "problem",
    "arm",
    "parameter",
    "replicate",
    "trial",
    "state",
    "x",
    "x_text",
    "value",
    "chosen",
    "low",
    "high",
    "log",
    "unit",
]
SHEET = 6
"""Arms per sensitivity figure; more arms go to further figures."""
ABREAST = 3
"""Panels side by side at least, so that one of them is not as wide as the page."""
_GUIDED = (
    "Trials are not spread evenly, since the sampler follows what went well: read it as a picture of the search, not "
    "as effects."
)
_EVEN = "each is one training run with its luck, and the best of many looks better than it is."
SPREAD = {
    "random": f"The sampler spreads its trials evenly at random, whatever their values; {_EVEN}",
    "qmc": f"The sampler spreads its trials evenly, quasi-randomly, whatever their values; {_EVEN}",
    "tpe": _GUIDED,
    "gp": _GUIDED,
}
"""How the trials of each sampler lie in the space, and how to read them therefore."""


def trials_of(view: View, problem: str) -> pd.DataFrame:
    """The trials of a problem with arm, replicate and whether the trial was chosen, in order."""
    studies = view.table("studies", "study_id", "problem", "arm", "replicate", "best_trial")
    studies = studies.loc[studies["problem"] == problem, ["study_id", "arm", "replicate", "best_trial"]]
    trials = view.table("trials", "study_id", "trial", "state", "value")
    data = trials[["study_id", "trial", "state", "value"]].merge(studies, on="study_id")
    # A study without a complete trial has no best one, and comparing with it gives neither true nor false.
    chosen = (data["trial"] == data["best_trial"]).fillna(False).astype(bool)
    data = data.assign(chosen=chosen, place=data["arm"].map(_places(view)))
    return data.sort_values(["place", "replicate", "trial"]).reset_index(drop=True)


def _places(view: View) -> dict[str, int]:
    return {arm: at for at, arm in enumerate(view.arms)}


def history(view: View, problem: str) -> Chart | None:
    """Each trial and the best so far, a panel per arm."""
    frame = history_frame(view, problem)
    tuning, studies = view.suite.tuning, frame["replicate"].nunique()
    return chart(
        _draw_history,
        frame,
        view,
        name="history",
        problem=problem,
        title="Tuning history",
        caption=f"Small dots are trials, steps the best validation {view.measure.words} so far in each study, the "
        f"thick line their median. n = {count(studies, 'replicate')} per arm, a study of "
        f"{count(tuning.trials, 'trial')} each.{_crosses(frame)} A line that still improves at the right asks for more "
        f"trials. {stretched(scale_of(view.measure, frame['value']))}".strip(),
    )


def _crosses(frame: pd.DataFrame) -> str:
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
    _without_value(axes, data.loc[data["value"].isna(), "trial"])


def _without_value(axes: Axes, x: pd.Series) -> None:
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


def sensitivity(view: View, problem: str) -> list[Chart]:
    """Trial values against each hyperparameter, in as many figures as the arms need."""
    frame = sensitivity_frame(view, problem)
    arms = list(dict.fromkeys(frame["arm"]))
    charts = []
    for start in range(0, len(arms), SHEET):
        some = frame[frame["arm"].isin(arms[start : start + SHEET])]
        part = f", part {start // SHEET + 1}" if len(arms) > SHEET else ""
        drawn = chart(
            _draw_sensitivity,
            some,
            view,
            name=f"sensitivity{start // SHEET + 1 if part else ''}",
            problem=problem,
            title=f"Sensitivity to each hyperparameter{part}",
            caption=_sensitivity_caption(some, view),
        )
        charts += [drawn] if drawn else []
    return charts


def _sensitivity_caption(frame: pd.DataFrame, view: View) -> str:
    edges = " Dashed lines are the edges of the search space." if frame["low"].notna().any() else ""
    return (
        f"Each dot is a trial, all replicates together (n = {count(len(_points(frame)), 'trial')}); ringed dots are "
        f"the settings that were chosen.{edges}{_crosses(frame)} {SPREAD[view.suite.tuning.sampler]} "
        f"{stretched(scale_of(view.measure, frame['value']))}".strip()
    )


def _points(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["arm", "replicate", "trial"]].drop_duplicates()


def sensitivity_frame(view: View, problem: str) -> pd.DataFrame:
    """What `sensitivity` plots: one row per trial and hyperparameter; `x_text` for options without an order."""
    trials = trials_of(view, problem)
    parameters = view.table("trial_parameters", "study_id", "trial", "name", "value", "text", "low", "high", "log")
    data = trials.drop(columns="place").merge(parameters, on=["study_id", "trial"], suffixes=("", "_parameter"))
    if data.empty:
        return pd.DataFrame(columns=SENSITIVITY)
    spaces = {item.arm: item.space for item in view.suite.settings if item.problem == problem}
    order = _parameter_order(spaces, data["name"])
    text = [_option(spaces.get(row["arm"], {}).get(row["name"]), row) for _, row in data.iterrows()]
    shown = pd.to_numeric(data["value"]).where(data["state"] == "complete") * view.measure.factor
    data = data.assign(
        problem=problem,
        parameter=data["name"],
        x=data["value_parameter"],
        x_text=text,
        value=shown,
        unit=view.measure.value_unit,
        log=data["log"].fillna(False).astype(bool),
        place=data["arm"].map(_places(view)),
        column=data["name"].map(order),
    )
    data["x"] = pd.to_numeric(data["x"]).where(pd.Series([value is None for value in text], index=data.index))
    return data.sort_values(["place", "column", "replicate", "trial"])[SENSITIVITY].reset_index(drop=True)


def _parameter_order(spaces: Mapping[str, Mapping[str, Any]], names: pd.Series) -> dict[str, int]:
    declared = dict.fromkeys(name for space in spaces.values() for name in space)
    return {name: at for at, name in enumerate(dict.fromkeys([*declared, *sorted(set(names))]))}


def _option(domain: Any, row: pd.Series) -> str | None:
    """The option as text where the hyperparameter is a choice; None where it is a number on an axis."""
    if isinstance(row["text"], str):
        return row["text"]
    if isinstance(domain, Choice):
        return f"{row['value_parameter']:g}"
    return None


def _draw_sensitivity(frame: pd.DataFrame, view: View) -> Figure:
    names = {arm: list(dict.fromkeys(rows["parameter"])) for arm, rows in frame.groupby("arm", sort=False)}
    columns = max(ABREAST, *map(len, names.values()))
    panels = _grid(names, columns)
    abreast = all(len(found) == 1 for found in names.values())
    wide, high, pitch = (8.7 - 0.3 * (columns - 1)) / columns, 1.65, 2.6
    figure = canvas(pitch * (1 + max(row for *_, row, _ in panels)))
    scale = scale_of(view.measure, frame["value"].astype(float))
    for arm, name, row, column in panels:
        axes = place(figure, 0.75 + column * (wide + 0.3), 0.3 + row * pitch, wide, high)
        mine = frame[frame["arm"] == arm]
        rows = mine[mine["parameter"] == name]
        with tagged(axes, view.styles[arm].gid):
            _sensitivity_panel(axes, rows, view, arm)
        scale.apply(axes, (frame if abreast else mine)["value"].astype(float), air=0.12, ticks=4)
        axes.set_xlabel(_parameter_label(name, rows, 34 if columns < 4 else 20))
        axes.set_ylabel("" if column else scale.label("validation"))
        axes.tick_params(labelleft=not column)
        axes.set_title("" if column and not abreast else short(arm))
    return figure


def _grid(names: Mapping[str, list[str]], columns: int) -> list[tuple[str, str, int, int]]:
    """Arm, hyperparameter, row and column of each panel: a row per arm, or arms abreast where each has only one."""
    if all(len(found) == 1 for found in names.values()):
        return [(arm, found[0], *divmod(at, columns)) for at, (arm, found) in enumerate(names.items())]
    rows = enumerate(names.items())
    return [(arm, name, row, column) for row, (arm, found) in rows for column, name in enumerate(found)]


def _parameter_label(name: str, rows: pd.DataFrame, limit: int) -> str:
    """Name and kind of a hyperparameter; its unit is that of the optimizer's formula."""
    kind = "option" if rows["x_text"].notna().any() else "log scale" if rows["log"].any() else "linear scale"
    return f"{short(name, limit)} ({kind})"


def _sensitivity_panel(axes: Axes, rows: pd.DataFrame, view: View, arm: str) -> None:
    style, low, high = view.styles[arm], rows["low"].iat[0], rows["high"].iat[0]
    if rows["x_text"].notna().any():
        options = sorted(set(rows["x_text"].dropna()), key=_option_key)
        data = rows.assign(at=rows["x_text"].map({option: float(at) for at, option in enumerate(options)}))
        axes.set_xlim(-0.5, len(options) - 0.5)
        category_axis(axes.xaxis, [short(option, 12) for option in options])
    else:
        data = rows.assign(at=rows["x"].astype(float))
        _number_axis(axes, data, low, high)
    seen = data[data["value"].notna()].astype({"value": float})
    scatter(axes, seen, x="at", y="value", style=style, marker=style.marker, s=22, alpha=0.6, linewidth=0)
    chosen = seen[seen["chosen"].astype(bool)]
    axes.plot(
        chosen["at"],
        chosen["value"],
        linestyle="none",
        marker="o",
        markersize=8.5,
        markerfacecolor="none",
        markeredgecolor=INK,
        markeredgewidth=1.1,
        zorder=4,
    )
    _without_value(axes, data.loc[data["value"].isna(), "at"])


def _option_key(option: str) -> tuple[int, float, str]:
    try:
        return (0, float(option), option)
    except ValueError:
        return (1, 0.0, option)


def _number_axis(axes: Axes, data: pd.DataFrame, low: Any, high: Any) -> None:
    ends = [float(end) for end in (low, high) if not pd.isna(end)]
    every = [*ends, *data["at"].tolist()]
    if bool(data["log"].any()) and min(every) > 0:
        axes.set_xscale("log")
        first, last = pad_limits([math.log10(value) for value in every])
        axes.set_xlim(10**first, 10**last)
        log_axis(axes.xaxis)
    else:
        axes.set_xlim(*pad_limits(every))
        few_ticks(axes.xaxis, 4)
    for end in ends:
        axes.axvline(end, color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)), zorder=1)
