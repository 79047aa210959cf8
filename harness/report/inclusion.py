"""Whether a general arm does as well as the special one that it contains."""

from __future__ import annotations

from harness.report import wording
from harness.report.layout import NONE, Cell, Column, Line, Table, number, table
from harness.report.view import View
from harness.verdict.evidence import Evidence
from harness.verdict.lint_problems import included


def inclusion(view: View) -> Table | None:
    """One row a declared pair and problem; None where the suite declares none."""
    found = view.findings
    verdicts = included(Evidence(view.suite, found.tables, found.finals, (), view.measure, {}))
    if not verdicts:
        return None
    measure, margin = view.measure, view.suite.compare.margin or 0.0
    unit = f", {measure.difference_unit}" if measure.difference_unit else ""
    columns = [
        *view.problem_column(),
        Column("General arm"),
        Column("Contains"),
        Column("n", True),
        Column(f"Difference{unit}", True),
        Column("95 % interval", True),
        Column("Inclusion"),
    ]
    rows: list[Line] = []
    for verdict in verdicts:
        known = verdict.lo is not None and verdict.hi is not None
        lo, hi = (verdict.lo, verdict.hi) if verdict.lo is not None and verdict.hi is not None else (0.0, 0.0)
        places = measure.decimals(lo, hi, 0.0, margin, -margin) if known else 2
        delta = measure.difference(verdict.delta or 0.0, places).removesuffix(measure.difference_unit).strip()
        broken = verdict.verdict == "worse"
        word = "violated" if broken else "not judged" if verdict.verdict == "not_compared" else "holds"
        cells: list[Cell | str] = [
            *view.problem_cell(verdict.problem),
            view.arm_cell(verdict.arm),
            verdict.baseline,
            Cell(str(verdict.n), float(verdict.n)),
            number(delta, verdict.delta),
            Cell(measure.interval(lo, hi, places), lo) if known else Cell(NONE),
            Cell(word, tone=wording.tone(verdict.verdict if broken else "not_compared")),
        ]
        rows.append((verdict.arm, cells))
    than = f" by more than the margin of {measure.margin(margin)}" if margin else ""
    return table(
        "Inclusion: a general arm contains the other one as a special case, so that, tuned alike, it loses by no more "
        f"than noise. Violated where it is worse{than}, by a 95 % interval (exploratory): tuning was too small to find "
        "what it contains.",
        columns,
        rows,
    )
