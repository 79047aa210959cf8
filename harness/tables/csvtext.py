"""Frames as CSV text that reads back equal and is safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

# A spreadsheet takes a cell that begins so for a formula (OWASP, "CSV Injection").
_FORMULA = frozenset("=+-@\t\r")


def csv_text(frame: pd.DataFrame) -> str:
    """The frame as UTF-8 CSV by RFC 4180, but with LF as line end; rows and columns as given, without the index.

    Floats are written as the shortest text that reads back equal, booleans as true and false, missing cells empty,
    times in UTC as ISO 8601. A text cell that a spreadsheet would take for a formula gets a leading apostrophe;
    carriage returns are stripped. Read it back with `keep_default_na=False` where `NA` or `null` may be a name.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_text(str(name)) for name in frame.columns])
    columns = (map(_cell, frame.iloc[:, at].tolist()) for at in range(frame.shape[1]))
    writer.writerows(zip(*columns, strict=True))
    return out.getvalue()


def _cell(value: Any) -> str:
    if (plain := _PLAIN.get(type(value))) is not None:
        return plain(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if value is None or value is pd.NaT or value is pd.NA:
        return ""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else repr(float(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, datetime.datetime):
        return _time(value)
    raise TypeError(f"csv_text: a cell must be text, number, boolean, time or missing, got {type(value).__name__}")


def _text(text: str) -> str:
    return ("'" + text if text[:1] in _FORMULA else text).replace("\r", "")


def _number(value: float) -> str:
    return repr(value) if value == value else ""  # nan is not equal to itself


# Nearly all cells are of these types; the rest is found out one by one.
_PLAIN: dict[type, Callable[[Any], str]] = {str: _text, float: _number, int: str}


def _time(value: datetime.datetime) -> str:
    if value.tzinfo is None:
        raise ValueError(f"csv_text: a time needs a time zone, got {value.isoformat()}")
    return value.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
