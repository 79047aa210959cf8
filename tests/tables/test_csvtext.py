"""CSV that reads back equal and that a spreadsheet may open."""

from __future__ import annotations

import csv
import datetime
import io
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tables.csvtext import csv_text


def test_types_are_written_as_the_tables_promise() -> None:
    frame = pd.DataFrame(
        {
            "s": ["a", None],
            "i": pd.array([5, None], dtype="Int64"),
            "f": [0.1, math.nan],
            "b": [True, False],
            "t": pd.to_datetime(["2024-05-01T12:00:00+02:00", None], utc=True),
        }
    )
    assert csv_text(frame) == "s,i,f,b,t\na,5,0.1,true,2024-05-01T10:00:00Z\n,,,false,\n"


@pytest.mark.parametrize("cell", ["=cmd()", "+1", "-1", "@sum", "\tx", "\rx"])
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(cell: str) -> None:
    assert next(csv.reader(io.StringIO(csv_text(pd.DataFrame({"s": [cell]})).split("\n", 1)[1])))[0] == (
        "'" + cell.replace("\r", "")
    )


def test_a_column_name_is_text_too() -> None:
    assert csv_text(pd.DataFrame({"=x": [1]})) == "'=x\n1\n"


def test_negative_numbers_stay_numbers() -> None:
    assert csv_text(pd.DataFrame({"f": [-0.5], "i": [-2]})) == "f,i\n-0.5,-2\n"


def test_carriage_returns_are_stripped_and_line_feeds_quoted() -> None:
    assert csv_text(pd.DataFrame({"s": ['a\r\nb, "c"']})) == 's\n"a\nb, ""c"""\n'


def test_infinity_and_missing_are_told_apart() -> None:
    assert csv_text(pd.DataFrame({"f": [math.inf, math.nan], "g": [1.0, 2.0]})) == "f,g\ninf,1.0\n,2.0\n"


def test_names_that_look_like_missing_survive() -> None:
    names = ["NA", "null", "nan", "001"]
    back = pd.read_csv(io.StringIO(csv_text(pd.DataFrame({"s": names}))), keep_default_na=False, dtype=str)
    assert back["s"].tolist() == names


def test_a_frame_without_rows_keeps_its_header() -> None:
    assert csv_text(pd.DataFrame(columns=["a", "b"])) == "a,b\n"


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a time zone"):
        csv_text(pd.DataFrame({"t": [datetime.datetime(2024, 5, 1)]}))


def test_a_cell_that_is_no_plain_value_is_refused() -> None:
    with pytest.raises(TypeError, match="got list"):
        csv_text(pd.DataFrame({"x": [[1, 2]]}))


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_floats_read_back_equal(values: list[float]) -> None:
    rows = list(csv.reader(io.StringIO(csv_text(pd.DataFrame({"f": np.array(values)})))))
    assert [float(row[0]) for row in rows[1:]] == values


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r")), min_size=1))
def test_text_reads_back_but_for_the_apostrophe(values: list[str]) -> None:
    rows = list(csv.reader(io.StringIO(csv_text(pd.DataFrame({"i": range(len(values)), "s": values})), newline="")))
    assert [row[1].removeprefix("'") for row in rows[1:]] == [value.removeprefix("'") for value in values]
