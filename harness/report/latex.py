"""The main table for a paper."""

from __future__ import annotations

import pandas as pd

from harness.report import results
from harness.report.view import View

# pdflatex knows neither arrows nor dashes by these code points.
_ASCII = str.maketrans({"–": "--", "↑": "(higher is better)", "↓": "(lower is better)", "…": "..."})


def summary(view: View) -> str:
    """The main table as `tabular` with the rules of booktabs."""
    table = results.summary(view)
    labels = [column.label.translate(_ASCII) for column in table.columns]
    rows = [[_clean(cell.text) for cell in row.cells] for row in table.rows]
    frame = pd.DataFrame(rows, columns=labels, dtype=object)
    styler = frame.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    align = "".join("r" if column.numeric else "l" for column in table.columns)
    return str(styler.to_latex(hrules=True, column_format=align))


def _clean(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text.translate(_ASCII)).split())
