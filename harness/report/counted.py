"""What one of n is, in captions: a replicate, a run, or a source checkpoint whose replicates are averaged first."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from harness.outcomes import NOT_APPLICABLE
from harness.report import transfer
from harness.report.view import View
from harness.verdict.format import count
from harness.verdict.pairs import judged


def span(numbers: Iterable[int], noun: str) -> str:
    """`5 replicates`, or `2 to 5 replicates`."""
    known = sorted({int(number) for number in numbers}) or [0]
    return count(known[0], noun) if len(known) == 1 else f"{known[0]} to {known[-1]} {noun}s"


def senseless(view: View, pair: pd.Series) -> bool:
    """Whether an arm of the comparison has no meaning on its problem: every run of it is `not_applicable`."""
    finals = view.finals(str(pair["problem"]), str(pair["setting"]))
    return any(
        len(runs) and bool((runs["status"] == NOT_APPLICABLE).all())
        for runs in (finals[finals["arm"] == pair[side]] for side in ("arm", "baseline"))
    )


def interval(view: View) -> str:
    """What the interval of an arm's mean is."""
    if view.suite.compare.folds is not None:
        return "95 % t-interval corrected for overlapping training sets"
    return "95 % t-interval" if transfer.shared_by(view) is None else "95 % t-interval of checkpoint means"


def per_arm(view: View, problem: str | None = None, noun: str = "replicate") -> str:
    """`n = 5 replicates per arm`: of final runs of the main setting that say something of their arm, failed or not.

    Where replicates share checkpoints: `n = 3 checkpoints per arm, the means of 6 replicates`.
    """
    shared, finals = transfer.shared_by(view), judged(view.findings.finals)
    finals = finals[finals["setting"] == view.main_setting]
    finals = finals if problem is None else finals[finals["problem"] == problem]
    arms = [rows["replicate"] for _, rows in finals.groupby(["problem", "arm"])]
    runs = span((len(replicates) for replicates in arms), noun)
    if shared is None:
        return f"n = {runs} per arm"
    checkpoints = span(((replicates % shared).nunique() for replicates in arms), "checkpoint")
    return f"n = {checkpoints} per arm, the means of {runs}"
