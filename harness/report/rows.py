"""A row of a plot: a mean with its interval, single runs below it, and an axis that no run far away squashes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from harness.report.plotting import MUTED, pad_limits, strip
from harness.report.view import ArmStyle

WIDE = 10
"""A bar so many times as wide as what an axis holds already may run off it."""


def reach(
    bars: Sequence[tuple[float, float]], dots: Sequence[float], marks: Sequence[float], *, least: int = 1
) -> tuple[float, float]:
    """Limits of an axis that holds all marks, and those bars and dots that do not squash the rest.

    A run that failed is far away, and its arm's bar is wide. So a bar is left to run off the axis when it covers some
    of what the bars before it need and is `WIDE` times as wide, and a dot when it is further off than the whole width
    of what is held. The first `least` bars are held whatever they need; without a bar to judge by, every dot is held.
    """
    held = [mark for mark in marks if math.isfinite(mark)]
    known = [bar for bar in bars if all(map(math.isfinite, bar))]
    for at, bar in enumerate(known):
        if at < least or not _swamps(bar, (min(held), max(held))):
            held += bar
    if not known:
        return pad_limits([*held, *dots], 0.05)
    low, high = min(held), max(held)
    width = high - low
    return pad_limits([low, high, *(dot for dot in dots if low - width <= dot <= high + width)], 0.05)


def _swamps(bar: tuple[float, float], held: tuple[float, float]) -> bool:
    """Whether so wide a bar would squash what is held; a bar beside it is a difference to be seen."""
    overlap = bar[0] <= held[1] and held[0] <= bar[1]
    return overlap and 0 < WIDE * (held[1] - held[0]) < bar[1] - bar[0]


def beyond(limits: tuple[float, float], values: Sequence[float]) -> bool:
    """Whether something lies outside of the limits."""
    return any(value < limits[0] or value > limits[1] for value in values)


def bar(axes: Axes, mean: pd.Series, *, x: str, at: float, style: ArmStyle) -> None:
    """The interval of a mean with its marker, at a height; an arrow where it runs off the axis."""
    limits, lo, hi = axes.get_xlim(), float(mean["lo"]), float(mean["hi"])
    if math.isfinite(lo):
        axes.plot([lo, hi], [at, at], color=style.colour, linewidth=2.3, zorder=3)
        for outside, right in ((lo < limits[0], False), (hi > limits[1], True)):
            if outside:
                _arrow(axes, [], at, style, right=right)
    if math.isfinite(mean[x]):
        marker = style.marker
        axes.plot(mean[x], at, marker=marker, markersize=8, color=style.colour, mec="#ffffff", mew=0.9, zorder=4)


def dots(axes: Axes, data: pd.DataFrame, *, x: str, at: float, style: ArmStyle, hollow: bool) -> None:
    """A row of small dots, one per replicate; those beyond the axis are an arrow with their values."""
    low, high = axes.get_xlim()
    for side, right in ((data[x] < low, False), (data[x] > high, True)):
        if side.any():
            _arrow(axes, sorted(data.loc[side, x]), at, style, right=right)
    strip(axes, data[data[x].between(low, high)], x=x, at=at, style=style, hollow=hollow)


def _arrow(axes: Axes, values: Sequence[float], at: float, style: ArmStyle, *, right: bool) -> None:
    """An arrow at the edge, with values that lie beyond it."""
    across = axes.get_yaxis_transform()
    marker = ">" if right else "<"
    axes.plot(float(right), at, marker=marker, markersize=6, color=style.colour, transform=across, clip_on=False)
    axes.annotate(
        ", ".join(f"{value:.3g}" for value in values[:3]) + (", …" if len(values) > 3 else ""),
        (float(right), at),
        (-7 if right else 7, 0),
        xycoords=across,
        textcoords="offset points",
        ha="right" if right else "left",
        va="center_baseline",
        color=MUTED,
        fontsize=8,
    )
