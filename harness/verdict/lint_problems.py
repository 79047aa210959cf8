"""Remarks on what is compared: problems that separate nothing, arms that are the same or one contained in another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

import pandas as pd

from harness.verdict.compare import inclusion
from harness.verdict.evidence import Evidence, Remark
from harness.verdict.format import listed
from harness.verdict.judgement import Verdict, context_of, shared_streams
from harness.verdict.pairs import judged

if TYPE_CHECKING:
    from harness.suite import Setting

PERFECT = 0.99
"""Accuracy above which no arm leaves room for another."""
NEAR_CHANCE = 0.02
"""Distance to a guess within which no arm has learnt anything."""


def included(evidence: Evidence) -> list[Verdict]:
    """Each general arm against the special one that the suite says it contains."""
    suite = evidence.suite
    if not suite.compare.nested:
        return []
    return inclusion(
        evidence.finals,
        suite_compare=suite.compare,
        metric=evidence.metric,
        seed=suite.seed,
        context=context_of(suite),
        paired_on=lambda problem, arm, other: shared_streams(suite, problem=problem, arm=arm, baseline=other),
    )


def inclusion_violated(evidence: Evidence) -> Iterator[Remark]:
    """H005: an arm is worse than one that it contains, by more than the margin."""
    for verdict in included(evidence):
        if verdict.verdict == "worse":
            assert verdict.delta is not None
            size = evidence.metric.roughly(abs(verdict.delta))
            message = f"{verdict.arm} on {verdict.problem} contains {verdict.baseline} as a special case, and is worse "
            yield Remark("H005", "W", f"{message}by {size}", "tuning is too small to find it: raise tuning.trials")


def separates_nothing(evidence: Evidence) -> Iterator[Remark]:
    """H022: all arms of a problem are above 99 % accuracy, or within 2 points of a guess."""
    if evidence.metric.unit != "fraction" or evidence.metric.name not in ("accuracy", "balanced_accuracy"):
        return
    finals = judged(evidence.finals)
    for problem in evidence.suite.problems:
        here = finals[(finals["problem"] == problem) & (finals["setting"] == evidence.setting)]
        means, finished = here.groupby("arm")["counted"].mean(), here.loc[here["status"] == "ok", "arm"]
        if len(means) < 2 or not means.index.isin(finished).all():
            continue
        low, high = _guesses(evidence, problem)
        if (means > PERFECT).all():
            message, remedy = f"every arm is above 99 % on {problem}", "take a harder problem, or fewer labels"
        elif means.between(low - NEAR_CHANCE, high + NEAR_CHANCE).all():
            message = f"no arm is further than 2 points from a guess on {problem}"
            remedy = "take an easier problem, more labels, or a larger budget"
        else:
            continue
        yield Remark("H022", "W", f"{message}, so it separates nothing", remedy)


def _guesses(evidence: Evidence, problem: str) -> tuple[float, float]:
    """Accuracy of guessing any class, and of always saying the most frequent one; nan where neither is known."""
    chance = math.nan if evidence.metric.floor is None else evidence.metric.floor
    if not (classes := evidence.classes(problem)):
        return chance, chance
    if evidence.metric.name != "accuracy":
        return 1 / classes, 1 / classes
    rows = evidence.tables["classes"]
    support = rows[rows["problem"] == problem].drop_duplicates("class")["support"]
    return 1 / classes, float(support.max() / support.sum())


def validation_beyond_budget(evidence: Evidence) -> Iterator[Remark]:
    """H023: validation has more labels than the arms may train on."""
    for problem in evidence.suite.problems:
        values = next(setting.values for setting in evidence.suite.settings if setting.problem == problem)
        labels, validation = values.get("labels_per_class"), values.get("validation_examples")
        classes = evidence.classes(problem)
        if not (isinstance(labels, int) and isinstance(validation, int) and classes):
            continue
        if validation > labels * classes:
            message = f"{validation:,} labels validate and {labels * classes:,} train on {problem}"
            remedy = "who has so few labels has no such validation set: write validation_within = 0.2 in its place, say"
            yield Remark("H023", "N", message, remedy)


def same_training(evidence: Evidence) -> Iterator[Remark]:
    """H024: two arms train the same parameters at the same multiples of the rate, and differ in nothing else."""
    runs = evidence.table("runs")
    if runs is None or "selection" not in runs:
        return
    judged = runs[(runs["phase"] == "final") & (runs["setting"] == evidence.setting) & (runs["status"] == "ok")]
    for problem in evidence.suite.problems:
        here = judged[judged["problem"] == problem]
        settings = [setting for setting in evidence.suite.settings if setting.problem == problem]
        for one, other in combinations(settings, 2):
            if _alike(one, other) and _equal_selection(here, one.arm, other.arm):
                names = listed([one.arm, other.arm])
                message = f"{names} train the same on {problem}: equal parameters at equal multiples of the rate"
                yield Remark("H024", "W", message, "their difference is chance alone: leave one of them out")


def _alike(one: Setting, other: Setting) -> bool:
    """Whether two arms differ in their strategy alone, and neither strategy does more than choose what learns."""

    def rest(setting: Setting) -> tuple[object, ...]:
        values = {key: value for key, value in setting.values.items() if key != "strategy"}
        space = {name: domain for name, domain in setting.space.items() if not name.startswith("strategy.")}
        return values, space, setting.beside

    hooks = {"prepare", "penalty", "finish"}
    return rest(one) == rest(other) and not hooks & set(one.beside)


def _equal_selection(runs: pd.DataFrame, one: str, other: str) -> bool:
    chosen = [runs[runs["arm"] == arm].set_index("replicate")["selection"].dropna() for arm in (one, other)]
    both = pd.concat(chosen, axis=1, join="inner")
    return len(both) > 0 and bool((both.iloc[:, 0] == both.iloc[:, 1]).all())
