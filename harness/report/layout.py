"""Tables as HTML, Markdown and LaTeX all need them: text with a sort key, a tone and an arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.verdict.format import Measure

NONE = "–"
"""What stands in a cell that has no value."""


@dataclass(frozen=True)
class Column:
    """Heading of a column."""

    label: str
    numeric: bool = False
    code: bool = False
    """Shown in a fixed-width face."""
    wide: bool = False
    """Long text, which may be broken into lines."""


@dataclass(frozen=True)
class Cell:
    """One cell; `sort` is the number behind the text."""

    text: str
    sort: float | None = None
    tone: str = ""
    """Colour class of a verdict, shown beside its word."""
    arm: str = ""
    """The arm whose marker stands before the text."""


Line = tuple[str, Sequence[Cell | str]]
"""Arm and cells of a row."""


@dataclass(frozen=True)
class Row:
    """Cells of one row; `arm` is whom it is about, so that it can be hidden."""

    cells: tuple[Cell, ...]
    arm: str = ""


@dataclass(frozen=True)
class Table:
    """A table with what it shows in a sentence."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def table(caption: str, columns: Sequence[Column], rows: Sequence[Line]) -> Table:
    """A table from (arm, cells); bare text is a cell without a sort key."""
    made = [Row(tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in cells), arm) for arm, cells in rows]
    if any(len(row.cells) != len(columns) for row in made):
        raise ValueError(f"table: every row needs {len(columns)} cells")
    return Table(caption, tuple(columns), tuple(made))


def number(text: str, value: float | None) -> Cell:
    """A numeric cell; a dash where there is no value."""
    if value is None or not math.isfinite(value):
        return Cell(NONE)
    return Cell(text, float(value))


def headed(label: str, unit: str) -> str:
    """`Difference, pp`: a column's head with the unit of its numbers, if they have one."""
    return f"{label}, {unit}" if unit else label


def as_float(value: object) -> float:
    """The number in a cell of a frame; nan where it is missing."""
    return math.nan if pd.isna(value) else float(value)  # type: ignore[arg-type]


def estimate(measure: Measure, middle: float, lo: float, hi: float, *marks: float, places: int = 2) -> Cell:
    """`97.12 [96.90, 97.34]`, bare; without an interval where there is none, a dash where there is no value.

    Args:
        marks: numbers that an end of the interval must not be written like, unless it is one (0, the margin).
        places: decimals of a number without an interval.
    """
    if not math.isfinite(middle):
        return Cell(NONE)
    if not math.isfinite(lo):
        return Cell(measure.bare(middle, places), middle)
    decimals = measure.decimals(lo, hi, *marks)
    return Cell(f"{measure.bare(middle, decimals)} {measure.interval(lo, hi, decimals)}", middle)


def mean_with_interval(measure: Measure, row: Mapping[str, Any]) -> Cell:
    """The mean in a row of the table `summary`, as `estimate` writes it."""
    return estimate(measure, *(as_float(row[name]) for name in ("mean", "lo", "hi")), places=measure.places)


def interval(measure: Measure, lo: float, hi: float, places: int) -> Cell:
    """`[0.73, 1.81]`, or a dash."""
    return Cell(measure.interval(lo, hi, places), lo) if math.isfinite(lo) else Cell(NONE)


def seconds(value: float) -> Cell:
    """Seconds with three significant digits below 100, whole above."""
    if not math.isfinite(value):
        return Cell(NONE)
    places = 0 if value >= 100 else 1 if value >= 10 else 2
    return Cell(f"{value:,.{places}f}", value)
