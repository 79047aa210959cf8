"""How numbers are written: one set of rules for sentences, tables and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_DECIMALS = 9
ABBREVIATIONS = frozenset({"auc", "f1", "mae", "mse", "r2", "roc"})


@dataclass(frozen=True)
class Measure:
    """A metric as the reader meets it: its name, which way is better, and how values and differences are written.

    Differences are stored so that positive is better, whatever the direction; they are written the same way.
    """

    name: str
    direction: str
    unit: str = ""
    floor: float | None = None
    """What a failed run counts as, in the metric's unit. None: it cannot be counted."""

    def __post_init__(self) -> None:
        if self.direction not in ("maximize", "minimize"):
            raise ValueError(f"Measure: direction must be 'maximize' or 'minimize', got {self.direction!r}")

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Measure:
        """The measure of one row of the table `metrics`."""
        floor, unit = row["floor"], row["unit"]
        return cls(
            name=str(row["metric"]),
            direction=str(row["direction"]),
            unit=unit if isinstance(unit, str) else "",
            floor=None if floor is None or math.isnan(float(floor)) else float(floor),
        )

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.direction == "maximize" else -1

    @property
    def words(self) -> str:
        """The name in a sentence: `top5 accuracy` for `top5_accuracy`, `ROC AUC` for `roc_auc`."""
        return " ".join(word.upper() if word in ABBREVIATIONS else word for word in self.name.split("_"))

    @property
    def factor(self) -> int:
        """From stored to written numbers: fractions are written in percent."""
        return 100 if self.unit == "fraction" else 1

    @property
    def value_unit(self) -> str:
        """The unit after a value: `%` for a fraction."""
        return "%" if self.unit == "fraction" else self.unit

    @property
    def difference_unit(self) -> str:
        """The unit after a difference: `pp` for a fraction."""
        return "pp" if self.unit == "fraction" else self.unit

    def decimals(self, lo: float, hi: float, *marks: float) -> int:
        """Decimals of a row: those that show two significant digits of the interval's half width.

        More where an end of the interval would else be written like a mark (0, the margin) that it does not touch.
        """
        places = significant_decimals((hi - lo) / 2 * self.factor)
        while places < MOST_DECIMALS and any(
            end != mark and _plain(end * self.factor, places) == _plain(mark * self.factor, places)
            for end in (lo, hi)
            for mark in marks
        ):
            places += 1
        return places

    @property
    def places(self) -> int:
        """Decimals of a value that has no interval to say how many count."""
        return 2 if self.unit == "fraction" else 4

    def bare(self, number: float, places: int) -> str:
        """`97.12`: a value or a difference without its unit, for a column whose head has it."""
        return _plain(number * self.factor, places)

    def value(self, number: float, places: int) -> str:
        """`97.12 %`, `0.310 nats`."""
        return _with_unit(self.bare(number, places), self.value_unit)

    def difference(self, number: float, places: int) -> str:
        """`1.27 pp`, `-0.031 nats`."""
        return _with_unit(self.bare(number, places), self.difference_unit)

    def interval(self, lo: float, hi: float, places: int) -> str:
        """`[0.73, 1.81]`, in the unit of the difference that stands before it."""
        return f"[{self.bare(lo, places)}, {self.bare(hi, places)}]"

    def span(self, lo: float, hi: float, places: int) -> str:
        """`0.73 to 1.81`, the interval in plain words."""
        return f"{self.bare(lo, places)} to {self.bare(hi, places)}"

    def margin(self, margin: float) -> str:
        """The margin with at least two significant digits and as many as it was declared with: `0.20 pp`."""
        written = margin * self.factor
        declared = len(f"{round(written, MOST_DECIMALS):.{MOST_DECIMALS}f}".rstrip("0").partition(".")[2])
        return _with_unit(_plain(written, max(significant_decimals(written), declared)), self.difference_unit)

    def roughly(self, difference: float) -> str:
        """A size such as a detectable difference, with two significant digits: `0.61 pp`."""
        written = difference * self.factor
        return _with_unit(_plain(written, significant_decimals(written)), self.difference_unit)


def significant_decimals(size: float, digits: int = 2) -> int:
    """Decimals that show so many significant digits of a size; 2 where the size is 0 or unknown."""
    if not math.isfinite(size) or size == 0:
        return 2
    # Rounded first: 0.0996 with two digits is 0.10, not 0.100.
    exponent = int(f"{abs(size):.{digits - 1}e}".partition("e")[2])
    return min(max(digits - 1 - exponent, 0), MOST_DECIMALS)


def p_value(p: float | None) -> str:
    """`p < 0.001`, `p = 0.014`, `p = 0.31`; `p = -` where there is none."""
    if p is None or math.isnan(p):
        return "p = -"
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.0995 else f"p = {p:.2f}"


def percent(share: float) -> str:
    """A level in percent, as exact as it must be to differ from 100: `95 %`, `97.5 %`, `98.33 %`."""
    places = max(2, significant_decimals(100 * (1 - share)))
    text = f"{100 * share:.{places}f}"
    return f"{text.rstrip('0').rstrip('.')} %"


def count(number: int, noun: str) -> str:
    """`1 replicate`, `5 replicates`, `1,200 examples`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(names: list[str] | tuple[str, ...], word: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def _plain(number: float, places: int) -> str:
    text = f"{number:,.{places}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def _with_unit(text: str, unit: str) -> str:
    return f"{text} {unit}" if unit else text
