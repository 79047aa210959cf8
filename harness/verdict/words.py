"""The sentence of a verdict: what was compared, the answer, its interval, and what it does not cover."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from harness.suite.checks import unmatched
from harness.verdict.format import Measure, count, listed, percent
from harness.verdict.judgement import SMALLEST_N, Verdict
from harness.verdict.power import detectable

PREVIEW = (5, 10, 20, 40)
"""Replicates for which an undecided verdict without a margin tells what could be found."""

FOLDS = "corrected paired t"
"""The method of verdicts whose replicates are folds."""
CHECKPOINTS = "paired t of checkpoint means"
"""The method of verdicts whose values are averaged over the replicates of a source checkpoint first."""
Checkpoints = Literal["", "one", "averaged", "each"]
"""Whether replicates start from trained networks, and what one of n is: a replicate of the only checkpoint, a
checkpoint with several replicates, or a replicate with a checkpoint of its own."""
VERDICTS = {
    "better": "better",
    "better_small": "better, maybe by little",
    "equivalent": "equivalent",
    "undecided": "undecided",
    "worse_small": "worse, maybe by little",
    "worse": "worse",
    "identical": "identical",
    "not_compared": "not compared",
    "reproduced": "reproduced",
    "not_reproduced": "not reproduced",
}
"""The word for each code, wherever it stands alone."""
CLAIMS = {
    "method": "claim: method",
    "setting": "claim: setting",
    "given": "claim: as given",
    "defaults": "claim: at their defaults",
}


@dataclass(frozen=True)
class Facts:
    """What a sentence tells besides the numbers of its verdict."""

    noun: str
    trials: int
    """0: as the suite gives the arms, else at the defaults."""
    planned: int
    """Replicates that the suite asks for."""
    runs: tuple[int, int]
    """Final runs of the arm and of the baseline that are judged."""
    failures: tuple[tuple[str, ...], tuple[str, ...]]
    """How runs of the arm and of the baseline failed, each way once."""
    typical: float
    """Mean value of the finished runs; nan when none finished."""
    examples: int | None
    """Size of the test set."""
    reason: str = ""
    """Why there is no interval."""
    done: int | None = None
    """Replicates that the difference is of; None: as many as n."""
    sourceless: int = 0
    """Replicates whose source run failed."""
    checkpoints: Checkpoints = ""
    lacks: tuple[str, ...] = ()
    """Controls that no arm of the suite is."""
    stepless: tuple[str, ...] = ()
    """Which of the two takes no steps."""


def sentence(verdict: Verdict, metric: Measure, facts: Facts) -> str:
    """The verdict in words, with problem, budget, metric, difference, interval, level, n, claim and scope."""
    answer = _answer(verdict, metric, facts)
    studies = facts.done or verdict.n or facts.planned
    text = f"On {verdict.problem}, {budget(verdict.claim, facts.noun, facts.trials, studies)}, {answer}."
    notes = [_failures(verdict, metric, facts), _missing(verdict, facts), _not_equivalent(verdict)]
    scope = "" if verdict.lo is None else _scope(verdict, metric, facts)
    return " ".join(filter(None, [text, *notes, scope, unmatched(facts.stepless), without_controls(facts.lacks)]))


def without_controls(lacks: tuple[str, ...]) -> str:
    """What every answer of a suite says that leaves controls out; empty where none is."""
    return f"No arm is the control {listed(lacks, 'or')} (controls = false)." if lacks else ""


def budget(claim: str, noun: str, trials: int, studies: int) -> str:
    """How much each arm was tuned: `each optimizer tuned with 12 trials in each of 5 studies`."""
    if claim in ("given", "defaults") or not trials:
        return at_defaults(claim, noun)
    where = "one study" if claim == "setting" or studies == 1 else f"each of {studies} studies"
    return f"each {noun} tuned with {count(trials, 'trial')} in {where}"


def at_defaults(claim: str, noun: str) -> str:
    """How arms stand that nothing was tuned of: `each optimizer as the suite gives it`, or at its defaults."""
    return f"each {noun} as the suite gives it" if claim == "given" else f"each {noun} at its defaults"


def row_decimals(verdict: Verdict, metric: Measure) -> int:
    """Decimals of a verdict's difference and interval, wherever they are written."""
    if verdict.lo is None or verdict.hi is None:
        return 2
    margin = verdict.margin or 0.0
    return metric.decimals(verdict.lo, verdict.hi, 0.0, margin, -margin)


def units(verdict: Verdict, n: int, *, averaged: bool = False) -> str:
    """`5 replicates`, `5 folds`, `3 checkpoints`, or `5 runs` where only final runs are repeated."""
    if averaged or "checkpoint" in verdict.method:
        return count(n, "checkpoint")
    return count(n, "run" if verdict.claim == "setting" else "fold" if verdict.method == FOLDS else "replicate")


def floor_of(metric: Measure) -> str:
    """What a failed run counts as: a value, or where it differs by problem that it is the floor."""
    return "the metric's floor" if metric.floor is None else metric.value(metric.floor, 2)


def roughly(number: int) -> str:
    """A count that is only an estimate, with two significant digits from 100 on: `15`, `250,000`."""
    return f"{number if number < 100 else int(float(f'{number:.1e}')):,}"


# The answer ----------------------------------------------------------------------------------------------------------


def _answer(verdict: Verdict, metric: Measure, facts: Facts) -> str:
    if verdict.verdict == "not_compared":
        return _refused(verdict, metric, facts)
    if verdict.verdict == "identical":
        same = f"{verdict.arm} and {verdict.baseline} are the same computation"
        return f"{same}: equal weights in every replicate ({_kind(verdict, facts)})"
    if verdict.verdict == "undecided":
        between = f"{_claim(verdict, metric)}; mean difference {_difference(verdict, metric, facts)}"
        return f"{between}. {_outlook(verdict, metric)}"
    return f"{_claim(verdict, metric)}: {_difference(verdict, metric, facts)}"


def _claim(verdict: Verdict, metric: Measure) -> str:
    one, other = verdict.arm, verdict.baseline
    what = f"{verdict.split} {metric.words}"
    margin = "" if verdict.margin is None else f"the declared margin ({metric.margin(verdict.margin)})"
    full = f" by more than {margin}" if margin else ""
    return {
        "better": f"{one} is better than {other} in {what}{full}",
        "worse": f"{one} is worse than {other} in {what}{full}",
        "equivalent": f"{one} and {other} are equivalent in {what} within {margin}",
        "better_small": f"{one} is better than {other} in {what}, but the gain may be smaller than {margin}",
        "worse_small": f"{one} is worse than {other} in {what}, but the shortfall may be smaller than {margin}",
        "undecided": f"undecided: these runs do not separate {one} from {other} in {what}",
    }[verdict.verdict]


def _difference(verdict: Verdict, metric: Measure, facts: Facts) -> str:
    assert verdict.delta is not None
    assert verdict.lo is not None
    assert verdict.hi is not None
    places = row_decimals(verdict, metric)
    numbers = f"{metric.difference(verdict.delta, places)} {metric.interval(verdict.lo, verdict.hi, places)}"
    facing = "" if metric.sign == 1 else "; positive means lower, which is better"
    return f"{numbers} ({_method(verdict)}, {_kind(verdict, facts)}{facing})"


def _method(verdict: Verdict) -> str:
    name = "t-interval" if verdict.paired else "Welch t-interval"
    name += " corrected for overlapping training sets" if verdict.method == FOLDS else ""
    name += " of checkpoint means" if "checkpoint" in verdict.method else ""
    return f"{percent(verdict.level)} {name}{f', Bonferroni over {shared}' if (shared := sharing(verdict)) else ''}"


def sharing(verdict: Verdict) -> str:
    """Among what the error rate is shared out: `6 comparisons and 2 looks`; empty where among nothing."""
    family, looks = verdict.family_size, verdict.looks
    return " and ".join([f"{family} comparisons"] * (family > 1) + [f"{looks} looks"] * (looks > 1))


def _kind(verdict: Verdict, facts: Facts) -> str:
    number, unit = units(verdict, verdict.n, averaged=facts.checkpoints == "averaged").split()
    if not verdict.paired and facts.checkpoints != "averaged":
        number = f"{facts.runs[0]} and {facts.runs[1]}"
    exploratory = "" if verdict.primary else "; exploratory, unadjusted"
    return f"{number} {'paired' if verdict.paired else 'unpaired'} {unit}; {CLAIMS[verdict.claim]}{exploratory}"


def _outlook(verdict: Verdict, metric: Measure) -> str:
    """What so many replicates can find, and how many more the margin needs."""
    assert verdict.mde80 is not None
    assert verdict.sd is not None
    found = f"n = {verdict.n} finds a difference of {metric.roughly(verdict.mde80)} in 4 of 5 cases"
    if verdict.method == FOLDS:
        return f"{found}; more folds of the same data would hardly find less"
    if verdict.more is None or not verdict.margin:
        sizes = [(n, detectable(verdict.sd, n, alpha=verdict.alpha, paired=verdict.paired)) for n in PREVIEW]
        return f"{found}; {listed([f'n = {n} one of {metric.roughly(size)}' for n, size in sizes if n != verdict.n])}"
    margin = metric.margin(verdict.margin)
    if verdict.more == 0:
        return f"{found}, so one as large as the margin ({margin}) would probably have been found"
    unit = units(verdict, verdict.more).split()[1]
    span = f"between {roughly(verdict.more_lo or 0)} and {roughly(verdict.more_hi or 0)}"
    return f"{found}; about {roughly(verdict.more)} more {unit} ({span}) for the margin ({margin})"


# No answer -----------------------------------------------------------------------------------------------------------


def _refused(verdict: Verdict, metric: Measure, facts: Facts) -> str:
    pair = f"{verdict.arm} with {verdict.baseline} in {verdict.split} {metric.words}"
    more = units(verdict, SMALLEST_N - verdict.n, averaged=facts.checkpoints == "averaged")
    kind, few = _kind(verdict, facts), f"at least {more.replace(' ', ' more ')}"
    if "not applicable" in facts.reason:
        return f"{facts.reason}; no comparison of {pair} is made ({kind})"
    if facts.reason == "no_floor":
        return f"{_no_floor(verdict, metric, facts)} ({kind})"
    if facts.reason == "no_spread":
        return f"{_no_spread(verdict, metric)} ({kind})"
    reason = {
        0: f"no final run of both is there{'' if facts.sourceless else ' yet'}: no comparison of {pair} is possible",
        1: f"one run each: no comparison of {pair} is possible",
        2: f"two points each and no interval: no comparison of {pair} is possible",
    }[verdict.n]
    return f"{reason} ({kind}); {few} {'is' if verdict.n == SMALLEST_N - 1 else 'are'} needed"


def _no_floor(verdict: Verdict, metric: Measure, facts: Facts) -> str:
    failed = listed([_failed_in(verdict, *arm) for arm in _failed(verdict, facts)])
    return f"{failed}: no mean difference exists, since {metric.words} has no value that a failed run could count as"


def _no_spread(verdict: Verdict, metric: Measure) -> str:
    assert verdict.delta is not None
    size = metric.roughly(verdict.delta) if verdict.delta else metric.difference(0.0, 2)
    same = f"the difference of {verdict.arm} to {verdict.baseline} in {verdict.split} {metric.words}"
    return f"no spread: {same} is {size} in every replicate, so there is nothing to judge it by"


def _failed(verdict: Verdict, facts: Facts) -> list[tuple[str, int, int, tuple[str, ...]]]:
    """Arm, failed runs, runs, and ways of failing, of each side that had failures."""
    names, failed = (verdict.arm, verdict.baseline), (verdict.failed_arm, verdict.failed_baseline)
    return [side for side in zip(names, failed, facts.runs, facts.failures, strict=True) if side[1]]


def _failed_in(verdict: Verdict, name: str, failed: int, runs: int, ways: tuple[str, ...]) -> str:
    of = "run" if verdict.claim == "setting" else "replicate" if "checkpoint" in verdict.method else ""
    return f"{name} failed in {failed} of {count(runs, of) if of else units(verdict, runs)} ({', '.join(ways)})"


# What is to be known besides -----------------------------------------------------------------------------------------


def _failures(verdict: Verdict, metric: Measure, facts: Facts) -> str:
    failed = [_failed_in(verdict, *arm) for arm in _failed(verdict, facts)]
    if not failed or facts.reason == "no_floor":
        return ""
    return f"{listed(failed)}; a failed run counts as {floor_of(metric)}."


def _missing(verdict: Verdict, facts: Facts) -> str:
    missing = facts.planned - (verdict.n if facts.done is None else facts.done)
    if missing <= 0 or not (verdict.n or facts.sourceless):
        return ""
    folds = verdict.method == FOLDS
    unit = "run" if verdict.claim == "setting" else "fold" if folds else "replicate"
    planned, lost = count(facts.planned, unit).replace(" ", " planned "), min(facts.sourceless, missing)
    texts = [f"{lost} of {planned} could not start, since the run that trains the checkpoint failed."] if lost else []
    missing -= lost
    texts += [f"{missing} of {planned} {'is' if missing == 1 else 'are'} missing."] if missing else []
    return " ".join(texts)


def _not_equivalent(verdict: Verdict) -> str:
    if verdict.lo is None or verdict.hi is None or verdict.margin is None or verdict.verdict == "equivalent":
        return ""
    inside = -verdict.margin < verdict.lo and verdict.hi < verdict.margin
    return "Equivalence is not claimed while runs failed or are missing." if inside else ""


def _scope(verdict: Verdict, metric: Measure, facts: Facts) -> str:
    covered, left = ["split", "initialisation", "order"], []
    if facts.checkpoints in ("averaged", "each"):
        covered.insert(0, "source checkpoint")
    if verdict.claim == "method":
        covered.append("tuning")
    elif verdict.claim == "setting":
        left = ["the luck of the one study"]
    else:
        left = ["tuning"]
    folded = verdict.method == FOLDS  # each of their examples is tested once
    left.append("the data that the folds are of" if folded else f"the choice of test set{_test_set(metric, facts)}")
    only = ", for this source checkpoint only" if facts.checkpoints == "one" else ""
    return f"Covers {listed(covered)}{only}; not {listed([*left, 'other problems'], 'or')}."


def _test_set(metric: Measure, facts: Facts) -> str:
    if facts.examples is None:
        return ""
    size = count(facts.examples, "example")
    share = facts.typical
    proportion = metric.unit == "fraction" and ("accuracy" in metric.name or "error" in metric.name)
    if not proportion or not 0 < share < 1:
        return f" ({size})"
    error = math.sqrt(share * (1 - share) / facts.examples)
    return f" ({size}: binomial standard error {metric.roughly(error)})"
