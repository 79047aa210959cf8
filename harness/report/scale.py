"""The value axis of a metric: even, or stretched towards the best possible value where bad runs squash good ones."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from harness.report.plotting import few_ticks, pad_limits, power_text
from harness.report.view import value_axis
from harness.verdict.format import Measure

SQUASHED = 4
"""An axis is stretched when its worst value is more than so many times as far from the best possible as the median."""
GAP = 0.24
"""Inches between two tick labels at least."""
# 90 besides: an accuracy of 10 % is that of a guess among ten classes.
_LADDER = sorted([0.0, *(lead * 10.0**power for power in range(-9, 9) for lead in (1, 2, 5)), 90.0])


@dataclass(frozen=True)
class Scale:
    """How the values of one metric stand on their axis, in the unit of the axis."""

    measure: Measure
    step: float = 0.0
    """Distance to the best possible value from which on the axis is logarithmic; 0: the axis is even."""

    @property
    def best(self) -> float:
        """The best possible value, from which distances are counted."""
        return 100.0 if self.measure.sign > 0 else 0.0

    def label(self, split: str = "") -> str:
        """Name, unit and kind of the axis; two lines where one would be too long."""
        text = value_axis(self.measure, split, limit=16)
        if self.step:
            text = text[:-1] + (", log of error)" if self.measure.sign > 0 else ", log scale)")
        return text.replace(" (", "\n(") if len(text) > 24 else text

    def apply(self, axes: Axes, values: Iterable[float], *, air: float = 0.06, ticks: int = 5) -> None:
        """Scale, limits and ticks of the y axis around these values; after drawing, since seaborn rounds by scale."""
        if not self.step:
            axes.set_ylim(*pad_limits(list(values), air))
            few_ticks(axes.yaxis, ticks)
            return
        axes.set_yscale("function", functions=(self._place, self._value))
        low, high = pad_limits(self._place(np.array(list(values), float)).tolist(), air)
        axes.set_ylim(*self._value(np.array([low, high])))
        axes.yaxis.set_major_locator(FixedLocator(self._ticks(axes, low, high)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power_text(value)))
        axes.yaxis.set_minor_locator(NullLocator())

    def _place(self, values: np.ndarray) -> np.ndarray:
        # asinh is even near 0 and a logarithm further out, so that a perfect value has a place too.
        distance = self.measure.sign * (self.best - np.asarray(values, float))
        return np.asarray(-self.measure.sign * np.arcsinh(distance / self.step))

    def _value(self, places: np.ndarray) -> np.ndarray:
        distance = self.step * np.sinh(-self.measure.sign * np.asarray(places, float))
        return np.asarray(self.best - self.measure.sign * distance)

    def _ticks(self, axes: Axes, low: float, high: float) -> list[float]:
        """Distances of 1, 2, 5, 10, ... from the best value, as many as have room, the good end first."""
        gap = GAP * (high - low) * axes.figure.dpi / axes.get_window_extent().height
        found: list[float] = []
        taken: list[float] = []
        for distance in _LADDER:
            value = round(self.best - self.measure.sign * distance, 9)
            place = float(self._place(np.array(value)))
            if low <= place <= high and all(abs(place - other) >= gap for other in taken):
                found.append(value)
                taken.append(place)
        return found


def scale_of(measure: Measure, values: Iterable[float]) -> Scale:
    """The scale on which these values, in the unit of the axis, can be told apart."""
    percent = measure.unit == "fraction"
    if measure.sign > 0 and not percent:
        return Scale(measure)
    even = Scale(measure)
    distance = np.array([measure.sign * (even.best - value) for value in values if math.isfinite(value)])
    if not len(distance) or distance.min() < 0:
        return even
    middle = float(np.median(distance))
    return Scale(measure, middle / 10) if 0 < SQUASHED * middle < distance.max() else even


def stretched(*scales: Scale) -> str:
    """What a caption must say of stretched axes; empty where all are even."""
    kinds = {1: "towards 100 %, about as the logarithm of the error", -1: "towards 0, about as a logarithm"}
    named = [f"{scale.measure.words} {kinds[scale.measure.sign]}" for scale in scales if scale.step]
    return f"So that bad runs do not squash good ones, axes are stretched: {'; '.join(named)}." if named else ""
