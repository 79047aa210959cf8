"""Tables as HTML, Markdown and LaTeX all need them: text with a sort key, a tone and an arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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


def seconds(value: float) -> Cell:
    """Seconds with three significant digits below 100, whole above."""
    if not math.isfinite(value):
        return Cell(NONE)
    places = 0 if value >= 100 else 1 if value >= 10 else 2
    return Cell(f"{value:,.{places}f}", value)
