"""Trial values against each hyperparameter."""

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
    scatter,
    tagged,
)
from harness.report.scale import scale_of, stretched
from harness.report.tuning import crosses, trials_of, without_value
from harness.report.view import View, short
from harness.verdict.format import count

COLUMNS = [
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


def sensitivity(view: View, problem: str) -> list[Chart]:
    """Trial values against each hyperparameter, in as many figures as the arms need."""
    frame = sensitivity_frame(view, problem)
    arms = list(dict.fromkeys(frame["arm"]))
    charts = []
    for start in range(0, len(arms), SHEET):
        some = frame[frame["arm"].isin(arms[start : start + SHEET])]
        part = f", part {start // SHEET + 1}" if len(arms) > SHEET else ""
        drawn = chart(
            _draw,
            some,
            view,
            name=f"sensitivity{start // SHEET + 1 if part else ''}",
            problem=problem,
            title=f"Sensitivity to each hyperparameter{part}",
            caption=_caption(some, view),
        )
        charts += [drawn] if drawn else []
    return charts


def _caption(frame: pd.DataFrame, view: View) -> str:
    edges = " Dashed lines are the edges of the search space." if frame["low"].notna().any() else ""
    return (
        f"Each dot is a trial, all replicates together (n = {count(len(_points(frame)), 'trial')}); ringed dots are "
        f"the settings that were chosen.{edges}{crosses(frame)} {SPREAD[view.suite.tuning.sampler]} "
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
        return pd.DataFrame(columns=COLUMNS)
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
        place=data["arm"].map(view.order),
        column=data["name"].map(order),
    )
    data["x"] = pd.to_numeric(data["x"]).where(pd.Series([value is None for value in text], index=data.index))
    return data.sort_values(["place", "column", "replicate", "trial"])[COLUMNS].reset_index(drop=True)


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


def _draw(frame: pd.DataFrame, view: View) -> Figure:
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
            _panel(axes, rows, view, arm)
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


def _panel(axes: Axes, rows: pd.DataFrame, view: View, arm: str) -> None:
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
    without_value(axes, data.loc[data["value"].isna(), "at"])


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
