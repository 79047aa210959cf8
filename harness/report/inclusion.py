"""Whether a general arm does as well as the special one that it contains."""

from __future__ import annotations

import math

from harness.report import wording
from harness.report.layout import Cell, Column, Line, Table, as_float, headed, interval, number, table
from harness.report.view import View
from harness.verdict.evidence import Evidence
from harness.verdict.judgement import Verdict
from harness.verdict.lint_problems import included

VIOLATED = "violated"


def inclusion(view: View) -> Table | None:
    """One row a declared pair and problem; None where the suite declares none."""
    found = view.findings
    verdicts = included(Evidence(view.suite, found.tables, found.finals, (), view.measure, {}))
    if not verdicts:
        return None
    measure, margin = view.measure, view.suite.compare.margin or 0.0
    columns = [
        *view.problem_column(),
        Column("General arm"),
        Column("Contains"),
        Column("n", True),
        Column(headed("Difference", measure.difference_unit), True),
        Column("95 % interval", True),
        Column("Inclusion"),
    ]
    than = f" by more than the margin of {measure.margin(margin)}" if margin else ""
    return table(
        "Inclusion: a general arm contains the other one as a special case, so that, tuned alike, it loses by no more "
        f"than noise. Violated where it is worse{than}, by a 95 % interval (exploratory): tuning was too small to find "
        "what it contains. Holds where the whole interval lies above such a loss; else undecided.",
        columns,
        [_pair(view, verdict) for verdict in verdicts],
    )


def _pair(view: View, verdict: Verdict) -> Line:
    measure, margin = view.measure, view.suite.compare.margin or 0.0
    lo, hi = as_float(verdict.lo), as_float(verdict.hi)
    places = measure.decimals(lo, hi, 0.0, margin, -margin) if math.isfinite(lo) else 2
    word = _word(verdict, margin)
    cells: list[Cell | str] = [
        *view.problem_cell(verdict.problem),
        view.arm_cell(verdict.arm),
        verdict.baseline,
        Cell(str(verdict.n), float(verdict.n)),
        number(measure.bare(verdict.delta or 0.0, places), verdict.delta),
        interval(measure, lo, hi, places),
        Cell(word, tone=wording.tone("worse" if word == VIOLATED else "not_compared")),
    ]
    return verdict.arm, cells


def _word(verdict: Verdict, margin: float) -> str:
    """What the interval shows: one that is wide neither shows a loss nor that there is none."""
    if verdict.lo is None:
        return "holds" if verdict.verdict == "identical" else "not judged"
    if verdict.verdict == "worse":
        return VIOLATED
    return "holds" if verdict.lo > -margin else "undecided"
