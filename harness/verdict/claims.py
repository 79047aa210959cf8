"""Published statements against the runs: the mean of one arm with its t-interval, and what the claim would take."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.verdict.format import Measure, count, percent
from harness.verdict.judgement import ERROR_RATE, SMALLEST_N, Code, Verdict, averaged_over, checkpoints_of, or_none
from harness.verdict.numbers import Estimate, Floats, mean_of, means_by
from harness.verdict.pairs import floats, judged

if TYPE_CHECKING:
    from harness.suite import Claim, Suite

BOUNDS = {"at_least": "at least", "at_most": "at most", "equals": "equal to"}
_SHOWN = {"reproduced": "reproduced", "not_reproduced": "not reproduced", "undecided": "undecided"}


@dataclass(frozen=True)
class Reach:
    """Epochs at which replicates came to the claimed value for the first time; inf for those that never did."""

    split: str
    epochs: Floats
    budget: float
    """Epochs that they had."""

    @property
    def reached(self) -> int:
        """How many replicates came to it."""
        return int(np.isfinite(self.epochs).sum())


def judge_claims(
    suite: Suite, tables: Mapping[str, pd.DataFrame], scores: pd.DataFrame, measures: Mapping[str, Measure]
) -> list[Verdict]:
    """One verdict a claim, in the suite's order.

    With the interval [lo, hi] of the arm's mean and the claimed value v with tolerance t, "at least v" is reproduced
    where lo >= v - t and not reproduced where hi < v - t; "at most" is its mirror image; "equals" is reproduced where
    the interval lies inside v - t to v + t, and not where it lies outside. All else is undecided. A failed run counts
    at the metric's floor.
    """
    return [_judge(suite, tables, scores, claim, measures[claim.metric.name]) for claim in suite.claims]


def claims_in_words(verdicts: Sequence[Verdict]) -> str:
    """One sentence for the report's first line, `Of 2 published claims: 1 reproduced, 1 undecided.`; or nothing."""
    codes = [verdict.verdict for verdict in verdicts if verdict.kind == "claim"]
    if not codes:
        return ""
    parts = [f"{codes.count(code)} {word}" for code, word in _SHOWN.items() if code in codes]
    parts += [f"{codes.count('not_compared')} not judged"] if "not_compared" in codes else []
    return f"Of {count(len(codes), 'published claim')}: {', '.join(parts)}."


def decide(claim: Claim, lo: float, hi: float) -> Code:
    """The word for an interval."""
    low, high = claim.value - claim.tolerance, claim.value + claim.tolerance
    if claim.bound == "at_least":
        return "reproduced" if lo >= low else "not_reproduced" if hi < low else "undecided"
    if claim.bound == "at_most":
        return "reproduced" if hi <= high else "not_reproduced" if lo > high else "undecided"
    if low <= lo and hi <= high:
        return "reproduced"
    return "not_reproduced" if hi < low or lo > high else "undecided"


def _judge(
    suite: Suite, tables: Mapping[str, pd.DataFrame], scores: pd.DataFrame, claim: Claim, measure: Measure
) -> Verdict:
    values, failed = _values(suite, tables, scores, claim)
    estimate = mean_of(values, folds=suite.compare.folds)
    known = len(values) >= SMALLEST_N and bool(np.isfinite(values).all())
    lo, hi = estimate.interval(ERROR_RATE) if known else (math.nan, math.nan)
    code: Code = decide(claim, lo, hi) if known else "not_compared"
    verdict = dataclasses.replace(
        _blank(suite, claim, n=len(values), failed=failed),
        delta=or_none(measure.sign * (estimate.mean - claim.value)),
        sd=or_none(estimate.sd),
        lo=or_none(min(measure.sign * (end - claim.value) for end in (lo, hi))),
        hi=or_none(max(measure.sign * (end - claim.value) for end in (lo, hi))),
        method=_method(suite) if known else "none",
        verdict=code,
    )
    reach = None if code == "reproduced" else reach_of(suite, tables, claim, sign=measure.sign)
    several = len(suite.claims) > 1
    said = _sentence(verdict, claim, measure, estimate, (lo, hi), reach, _unit(suite), several=several)
    only = " It holds for this source checkpoint only." if known and checkpoints_of(suite) == 1 else ""
    return dataclasses.replace(verdict, sentence=f"{said}{only}")


def _unit(suite: Suite) -> str:
    if _shared(suite) is not None:
        return "checkpoint"
    return "run" if suite.compare.folds is None else "fold"


def _method(suite: Suite) -> str:
    if _shared(suite) is not None:
        return "t of checkpoint means"
    return "t" if suite.compare.folds is None else "corrected t"


def _blank(suite: Suite, claim: Claim, *, n: int, failed: int) -> Verdict:
    missing: dict[str, Any] = {field.name: None for field in dataclasses.fields(Verdict)}
    known = {
        "question": suite.question,
        "kind": "claim",
        "primary": False,
        "family_size": 1,
        "looks": 1,
        "problem": claim.problem,
        "arm": claim.arm,
        "baseline": f"{BOUNDS[claim.bound]} {claim.value:g}",
        "metric": claim.metric.name,
        "split": claim.split,
        "setting": _setting(suite),
        "claim": suite.compare.claim if suite.tuning.trials else _untuned(suite, claim),
        "paired": False,
        "paired_on": "",
        "n": n,
        "failed_arm": failed,
        "failed_baseline": 0,
        "level": 1 - ERROR_RATE,
        "method": "none",
        "margin": claim.tolerance or None,
        "agree": 0,
        "analyses": 0,
        "verdict": "not_compared",
        "sentence": "",
    }
    return Verdict(**{**missing, **known})


def _untuned(suite: Suite, claim: Claim) -> str:
    mine = [setting for setting in suite.settings if (setting.problem, setting.arm) == (claim.problem, claim.arm)]
    return "given" if any(setting.given for setting in mine) else "defaults"


def _setting(suite: Suite) -> str:
    return "tuned" if suite.tuning.trials else "given"


def _values(suite: Suite, tables: Mapping[str, pd.DataFrame], scores: pd.DataFrame, claim: Claim) -> tuple[Floats, int]:
    """The arm's values in the claim's metric and split, by replicate, and how many of its runs failed."""
    scores = judged(scores)
    here = scores[
        (scores["problem"] == claim.problem)
        & (scores["arm"] == claim.arm)
        & (scores["setting"] == _setting(suite))
        & (scores["metric"] == claim.metric.name)
    ].sort_values("replicate")
    failed, counted = int((here["status"] != "ok").sum()), floats(here["counted"])
    if claim.split == "test":
        return _averaged(suite, here, counted), failed
    last = _curves(tables, here["run_id"], claim).sort_values("epoch").groupby("run_id")["value"].last()
    values = np.where(here["status"] == "ok", floats(last.reindex(here["run_id"])), counted)
    return _averaged(suite, here, values), failed


def _averaged(suite: Suite, runs: pd.DataFrame, values: Floats) -> Floats:
    """The values, or their means over the replicates of each source checkpoint, where these share one."""
    checkpoints = _shared(suite)
    if checkpoints is None or not len(values):
        return values
    return means_by(values, [int(replicate) % checkpoints for replicate in runs["replicate"]])


def _shared(suite: Suite) -> int | None:
    """Source checkpoints over whose replicates is averaged first; None where there is nothing to average."""
    return averaged_over(checkpoints_of(suite), replicates=suite.compare.replicates)


def _curves(tables: Mapping[str, pd.DataFrame], run_ids: pd.Series[Any], claim: Claim) -> pd.DataFrame:
    """Evaluations of those runs in the claim's metric.

    On validation for a claim about the test split, which is read only once.
    """
    rows, split = tables["evaluations"], _watched(claim)
    return rows[(rows["run_id"].isin(run_ids)) & (rows["split"] == split) & (rows["metric"] == claim.metric.name)]


def _watched(claim: Claim) -> str:
    return "train" if claim.split == "train" else "validation"


def reach_of(suite: Suite, tables: Mapping[str, pd.DataFrame], claim: Claim, *, sign: int) -> Reach | None:
    """When the arm came to the claimed value, on the problem like the claim's that had the most epochs.

    None for a claim that training leads away from or through, and where nothing was recorded.
    """
    if claim.bound == "equals" or (claim.bound == "at_least") != (sign > 0):
        return None
    runs = tables["runs"]
    runs = runs[(runs["phase"] == "final") & (runs["arm"] == claim.arm) & (runs["status"] == "ok")]
    runs = runs[(runs["setting"] == _setting(suite)) & runs["problem"].isin(_like(suite, claim))]
    curves = _curves(tables, runs["run_id"], claim).merge(runs[["run_id", "problem", "replicate"]], on="run_id")
    if curves.empty:
        return None
    curves = curves[curves["problem"] == curves.loc[curves["epoch"].idxmax(), "problem"]]
    there = curves[sign * curves["value"] >= sign * claim.value - claim.tolerance].groupby("replicate")["epoch"].min()
    epochs = floats(there.reindex(sorted(set(curves["replicate"]))).fillna(math.inf))
    return Reach(_watched(claim), epochs, float(curves["epoch"].max()))


def _like(suite: Suite, claim: Claim) -> list[str]:
    """Problems that differ from the claim's in their budget alone."""
    values = {setting.problem: setting.values for setting in suite.settings if setting.arm == claim.arm}

    def rest(problem: str) -> dict[str, Any]:
        return {key: value for key, value in values[problem].items() if key not in ("epochs", "steps")}

    return [problem for problem in values if rest(problem) == rest(claim.problem)]


# Words ---------------------------------------------------------------------------------------------------------------


def _sentence(
    verdict: Verdict,
    claim: Claim,
    measure: Measure,
    estimate: Estimate,
    interval: tuple[float, float],
    reach: Reach | None,
    unit: str,
    *,
    several: bool,
) -> str:
    tolerance = f" with a tolerance of {measure.margin(claim.tolerance)}" if claim.tolerance else ""
    value = measure.value(claim.value, measure.places)
    claimed = f"{claim.split} {measure.words} {BOUNDS[claim.bound]} {value}{tolerance}"
    head = f'Claim "{claim.statement}" ({claim.arm} on {claim.problem}, {claimed})'
    n = count(verdict.n, unit)
    if verdict.verdict == "not_compared":
        runs = count(verdict.failed_arm, "run")
        some = f"{runs} failed" if unit == "checkpoint" else f"{verdict.failed_arm} of {n} failed"
        few = f"{n}, and it takes {SMALLEST_N}" if verdict.n < SMALLEST_N else some
        return f"{head}: cannot be judged, {few}."
    decimals = measure.decimals(*interval, claim.value, claim.value - claim.tolerance, claim.value + claim.tolerance)
    numbers = f"{measure.value(estimate.mean, decimals)} {measure.interval(*interval, decimals)}"
    failed = f"; {verdict.failed_arm} failed" if verdict.failed_arm else ""
    corrected = " corrected for overlapping training sets" if unit == "fold" else ""
    how = f"{percent(verdict.level)} t-interval of the mean{corrected}, {n}{failed}{'; unadjusted' if several else ''}"
    return f"{head}: {_SHOWN[verdict.verdict]}: {numbers} ({how}). {_way(reach)}".rstrip()


def _way(reach: Reach | None) -> str:
    """What would have to change: how many epochs it took, where longer runs came there."""
    if reach is None:
        return ""
    n, where = len(reach.epochs), f"on {reach.split} within {count(round(reach.budget), 'epoch')}"
    if not reach.reached:
        return f"None of {count(n, 'run')} came to it {where}."
    median = float(np.median(reach.epochs))
    middle = f"the median at epoch {median:g}" if math.isfinite(median) else "fewer than half of them"
    return f"{reach.reached} of {count(n, 'run')} came to it {where}, {middle}."
