"""Every comparison of a suite, from the frame of final runs to verdicts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.outcomes import NOT_APPLICABLE, source_failed
from harness.spec import STREAMS, seed
from harness.verdict.format import Measure
from harness.verdict.judgement import ERROR_RATE, SMALLEST_N, Code, Context, Verdict, averaged_over, or_none
from harness.verdict.numbers import holm, p_superior, sign_flip, sign_flip_floor, wins
from harness.verdict.pairs import Pair, examples_of, judged, pair_of
from harness.verdict.power import detectable, more_replicates
from harness.verdict.robust import Analysis, Rule, robustness
from harness.verdict.words import CHECKPOINTS, Checkpoints, Facts, sentence

if TYPE_CHECKING:
    from harness.suite import Compare

ALL_STREAMS = ", ".join(STREAMS)
PairedOn = str | Callable[[str, str, str], str]


@dataclass(frozen=True)
class _Question:
    """One comparison that is asked for."""

    problem: str
    arm: str
    baseline: str
    setting: str
    primary: bool


@dataclass(frozen=True)
class _Asked:
    """What all comparisons of one call share."""

    finals: pd.DataFrame
    compare: Compare
    metric: Measure
    seed: int
    context: Context
    paired_on: PairedOn

    def streams(self, question: _Question) -> str:
        if isinstance(self.paired_on, str):
            return self.paired_on
        return self.paired_on(question.problem, question.arm, question.baseline)

    def alpha(self, primary: bool) -> float:
        return ERROR_RATE / (self.family * self.compare.looks if primary else 1)

    @cached_property
    def family(self) -> int:
        """Declared comparisons, but for those with an arm that has no meaning on the problem: they never get a word."""
        senseless, baseline = not_applicable(self.finals, self.context.setting).keys(), self.compare.baseline
        asked = [(problem, arm) for problem in self.context.problems for arm in self.compare.primary]
        return max(1, sum(not {(problem, arm), (problem, baseline)} & senseless for problem, arm in asked))

    def pair(self, question: _Question) -> Pair:
        return pair_of(
            self.finals,
            problem=question.problem,
            arm=question.arm,
            baseline=question.baseline,
            setting=question.setting,
            sign=self.metric.sign,
            paired="split" in self.streams(question).split(", "),
            folds=self.compare.folds,
            checkpoints=averaged_over(self.context.checkpoints, replicates=self.compare.replicates),
        )

    def not_applicable(self, problem: str, setting: str) -> dict[str, str]:
        """Arms that have no meaning on the problem, each with the reason."""
        found = not_applicable(self.finals, setting)
        return {arm: reason for (where, arm), reason in found.items() if where == problem}


def compare(
    finals: pd.DataFrame,
    *,
    suite_compare: Compare,
    metric: Measure,
    seed: int,
    context: Context,
    paired_on: PairedOn = ALL_STREAMS,
) -> list[Verdict]:
    """Pair every arm with the baseline on every problem; then the leading arm, if another, with every other arm.

    The primary verdicts come first and are one family: their intervals are at 1 - .05 / (problems x primary arms), of
    which pairs with an arm that has no meaning on the problem are not counted.
    All others are exploratory at 95 %: arms that are not declared primary, each arm at its defaults against the
    baseline at its defaults, and the leading arm against the arms that are not the baseline.

    An arm that has no meaning on a problem is compared with nothing there, and its verdict says why. Where replicates
    share source checkpoints, values are averaged within a checkpoint first, and n counts checkpoints.

    Args:
        finals: one row per (problem, arm, setting, replicate) of final runs; a run that is not there yet has no row.
        suite_compare: metric, baseline, planned replicates, margin, claim and primary arms.
        metric: the compared metric, with its direction, unit and floor.
        seed: the suite's seed, for p values by drawn sign flips (above 16 replicates).
        context: arms, problems and tuning budget as the suite declares them.
        paired_on: the seed streams that both arms share, for all pairs or as a function of (problem, arm, baseline);
            without `split` among them the pair is judged as two independent groups.
    """
    if finals.duplicated(["problem", "arm", "setting", "replicate"]).any():
        raise ValueError("compare: each (problem, arm, setting, replicate) may occur once in the final runs")
    asked = _Asked(finals, suite_compare, metric, seed, context, paired_on)
    return _with_holm([_judge(asked, question) for question in _questions(asked)])


def inclusion(
    finals: pd.DataFrame,
    *,
    suite_compare: Compare,
    metric: Measure,
    seed: int,
    context: Context,
    paired_on: PairedOn = ALL_STREAMS,
) -> list[Verdict]:
    """On every problem each declared general arm against the special one that it contains, exploratory.

    Tuned alike the general arm loses by no more than noise (Choi et al. 2019, arXiv:1910.05446, section 3); where it
    is worse, tuning was too small to find what it contains. Arms without meaning on a problem are left out there.
    """
    asked = _Asked(finals, suite_compare, metric, seed, context, paired_on)
    questions = [
        _Question(problem, outer, inner, context.setting, primary=False)
        for inner, outer in suite_compare.nested
        for problem in context.problems
        if not {inner, outer} & asked.not_applicable(problem, context.setting).keys()
    ]
    return [_judge(asked, question) for question in questions]


def analyses_of(
    finals: pd.DataFrame,
    verdict: Verdict,
    *,
    suite_compare: Compare,
    metric: Measure,
    seed: int,
    checkpoints: int | None = None,
) -> tuple[Analysis, ...]:
    """The further analyses that `agree` and `analyses` of a verdict count, each with its word."""
    context = Context("", (), (), 0, checkpoints=checkpoints)
    asked = _Asked(finals, suite_compare, metric, seed, context, verdict.paired_on)
    question = _Question(verdict.problem, verdict.arm, verdict.baseline, verdict.setting, verdict.primary)
    pair = asked.pair(question)
    if verdict.lo is None:
        return ()
    rule = _rule(pair, alpha=verdict.alpha, compare=suite_compare)
    return robustness(pair, verdict.verdict, rule, seed=_seed(asked, question))


def not_applicable(finals: pd.DataFrame, setting: str) -> dict[tuple[str, str], str]:
    """By problem and arm, why the arm has no meaning there."""
    rows = finals[(finals["setting"] == setting) & (finals["status"] == NOT_APPLICABLE)]
    rows = rows.drop_duplicates(["problem", "arm"])
    return {
        (str(problem), str(arm)): str(reason)
        for problem, arm, reason in zip(rows["problem"], rows["arm"], rows["reason"], strict=True)
    }


# Which comparisons ---------------------------------------------------------------------------------------------------


def _questions(asked: _Asked) -> list[_Question]:
    context, chosen = asked.context, asked.compare
    others = [arm for arm in context.arms if arm != chosen.baseline]

    def against_baseline(setting: str, arms: Iterable[str], primary: bool) -> list[_Question]:
        return [
            _Question(problem, arm, chosen.baseline, setting, primary) for problem in context.problems for arm in arms
        ]

    questions = against_baseline(context.setting, [arm for arm in others if arm in chosen.primary], True)
    questions += against_baseline(context.setting, [arm for arm in others if arm not in chosen.primary], False)
    for problem in context.problems:
        leader = _leader(asked, problem)
        if leader not in (None, chosen.baseline):
            senseless = asked.not_applicable(problem, context.setting)
            rivals = [arm for arm in others if arm != leader and arm not in senseless]
            questions += [_Question(problem, str(leader), arm, context.setting, False) for arm in rivals]
    if context.trials and chosen.untuned and (asked.finals["setting"] == "untuned").any():
        for question in against_baseline("untuned", others, False):
            senseless = asked.not_applicable(question.problem, "untuned")
            questions += [] if {question.arm, question.baseline} & senseless.keys() else [question]
    return questions


def _leader(asked: _Asked, problem: str) -> str | None:
    """The arm with the best mean over the replicates that all arms have; None where means do not exist."""
    finals, context = judged(asked.finals), asked.context
    senseless = asked.not_applicable(problem, context.setting)
    arms = [arm for arm in context.arms if arm not in senseless]
    here = finals[(finals["problem"] == problem) & (finals["setting"] == context.setting)]
    table = here.pivot(index="replicate", columns="arm", values="counted").reindex(columns=arms)
    runs = here.pivot(index="replicate", columns="arm", values="status").reindex(columns=arms)
    common = table[runs.notna().all(axis=1)]
    if len(common) < SMALLEST_N or common.isna().any(axis=None):
        return None
    means = asked.metric.sign * common.to_numpy(dtype=np.float64).mean(axis=0)
    return arms[int(np.argmax(means))]


# One comparison ------------------------------------------------------------------------------------------------------


def _judge(asked: _Asked, question: _Question) -> Verdict:
    pair = asked.pair(question)
    alpha = asked.alpha(question.primary)
    numbers: dict[str, Any] = {}
    code, reason = _refusal(pair)
    if reason == "no_runs" and asked.not_applicable(question.problem, question.setting):
        reason = _senseless(asked, question) or reason
    if code is None:
        rule = _rule(pair, alpha=alpha, compare=asked.compare)
        code = rule.of(pair.estimate())
        analyses = robustness(pair, code, rule, seed=_seed(asked, question))
        numbers = _numbers(asked, question, pair, alpha)
        numbers |= {"agree": sum(analysis.agrees for analysis in analyses), "analyses": len(analyses)}
    elif reason in ("identical", "no_spread"):
        numbers = {"delta": pair.estimate().mean, "sd": 0.0}
    verdict = _blank(asked, question, pair, alpha, code)
    known: dict[str, Any] = {name: or_none(number) for name, number in numbers.items()}
    verdict = dataclasses.replace(verdict, **known)
    return dataclasses.replace(verdict, sentence=sentence(verdict, asked.metric, _facts(asked, question, pair, reason)))


def _senseless(asked: _Asked, question: _Question) -> str:
    """Which of the two arms has no meaning on the problem, and why; empty where both have."""
    reasons = asked.not_applicable(question.problem, question.setting)
    sides = dict.fromkeys((question.arm, question.baseline))
    return "; ".join(f"{arm} is not applicable: {reasons[arm]}" for arm in sides if arm in reasons)


def _rule(pair: Pair, *, alpha: float, compare: Compare) -> Rule:
    complete = pair.runs >= compare.replicates and not pair.arm.failed and not pair.baseline.failed
    return Rule(alpha=alpha, margin=compare.margin, may_equal=complete)


def _refusal(pair: Pair) -> tuple[Code | None, str]:
    """The code of a pair that gets no interval, with the reason; (None, "") where it gets one."""
    if pair.n == 0:
        return "not_compared", "no_runs"
    if not pair.countable:
        return "not_compared", "no_floor"
    if pair.n < SMALLEST_N:
        return "not_compared", "one_run" if pair.n == 1 else "two_points"
    if pair.estimate().sd > 0:
        return None, ""
    if pair.paired and not pair.d.any() and pair.same_weights:
        return "identical", "identical"
    return "not_compared", "no_spread"


def _numbers(asked: _Asked, question: _Question, pair: Pair, alpha: float) -> dict[str, Any]:
    estimate, margin = pair.estimate(), asked.compare.margin
    lo, hi = estimate.interval(alpha)
    numbers: dict[str, Any] = {
        "delta": estimate.mean,
        "sd": estimate.sd,
        "lo": lo,
        "hi": hi,
        "p_t": estimate.p(),
        "p_superior": p_superior(asked.metric.sign * pair.arm.values, asked.metric.sign * pair.baseline.values),
        "mde80": detectable(estimate.sd, pair.n, alpha=alpha, paired=pair.paired, folds=pair.folds),
    }
    if pair.paired:
        won = wins(pair.d)
        numbers |= {"wins": won.k, "wins_n": won.n}
        if pair.folds is None:  # both ask for independent differences
            p = sign_flip(pair.d, seed=_seed(asked, question))
            numbers |= {"p_signflip": p, "p_floor": sign_flip_floor(pair.n), "wins_lo": won.lo, "wins_hi": won.hi}
    if margin is not None:
        numbers["p_tost"] = estimate.p_tost(margin)
    if margin and pair.folds is None:
        more = more_replicates(estimate.sd, pair.n, margin=margin, alpha=alpha, paired=pair.paired)
        numbers |= {"more": more.about, "more_lo": more.lo, "more_hi": more.hi}
    return numbers


def _blank(asked: _Asked, question: _Question, pair: Pair, alpha: float, code: Code) -> Verdict:
    """The verdict with all that is known without an interval."""
    tuned = question.setting == "tuned"
    known = {
        "question": asked.context.question,
        "kind": "pair",
        "family_size": asked.family if question.primary else 1,
        "looks": asked.compare.looks if question.primary else 1,
        "metric": asked.metric.name,
        "split": asked.context.split,
        "claim": asked.compare.claim if tuned else asked.context.untuned,
        "paired": pair.paired,
        "paired_on": asked.streams(question),
        "n": pair.n,
        "failed_arm": pair.arm.failed,
        "failed_baseline": pair.baseline.failed,
        "level": 1 - alpha,
        "method": "none" if code in ("identical", "not_compared") else _method(pair),
        "margin": asked.compare.margin,
        "agree": 0,
        "analyses": 0,
        "verdict": code,
        "sentence": "",
    }
    missing: dict[str, Any] = {field.name: None for field in dataclasses.fields(Verdict)}
    return Verdict(**(missing | dataclasses.asdict(question) | known))


def _method(pair: Pair) -> str:
    if not pair.paired:
        return "Welch t" if pair.checkpoints is None else "Welch t of checkpoint means"
    if pair.checkpoints is not None:
        return CHECKPOINTS
    return "paired t" if pair.folds is None else "corrected paired t"


def _facts(asked: _Asked, question: _Question, pair: Pair, reason: str) -> Facts:
    finite = np.concatenate([side.values[side.ok] for side in (pair.arm, pair.baseline)])
    return Facts(
        noun=asked.context.noun,
        trials=asked.context.trials if question.setting == "tuned" else 0,
        planned=asked.compare.replicates,
        runs=(len(pair.arm.values), len(pair.baseline.values)),
        failures=(pair.arm.failures, pair.baseline.failures),
        typical=float(np.mean(finite)) if len(finite) else math.nan,
        examples=examples_of(asked.finals, question.problem),
        reason=reason,
        done=pair.runs,
        sourceless=_sourceless(asked, question),
        checkpoints=_checkpoints(asked),
        lacks=asked.context.lacks,
        stepless=tuple(arm for arm in asked.context.stepless if arm in (question.arm, question.baseline)),
    )


def _sourceless(asked: _Asked, question: _Question) -> int:
    """Replicates in which either arm had no weights to start from."""
    rows = asked.finals
    here = (rows["problem"] == question.problem) & (rows["setting"] == question.setting)
    rows = rows[here & rows["arm"].isin([question.arm, question.baseline])]
    failed = [source_failed(*one) for one in zip(rows["status"], rows["reason"], strict=True)]
    return int(rows.loc[failed, "replicate"].nunique())


def _checkpoints(asked: _Asked) -> Checkpoints:
    source, replicates = asked.context.checkpoints, asked.compare.replicates
    if source is None:
        return ""
    if averaged_over(source, replicates=replicates) is not None:
        return "averaged"
    return "one" if source == 1 else "each"


def _seed(asked: _Asked, question: _Question) -> int:
    names = (question.problem, question.arm, question.baseline, question.setting)
    return seed(asked.seed, *names, asked.metric.name, "sign_flip")


def _with_holm(verdicts: list[Verdict]) -> list[Verdict]:
    family = [verdict for verdict in verdicts if verdict.primary]
    p = holm(np.array([math.nan if verdict.p_t is None else verdict.p_t for verdict in family], dtype=np.float64))
    adjusted = iter(float(value) for value in p)
    return [
        dataclasses.replace(verdict, p_holm=or_none(next(adjusted))) if verdict.primary else verdict
        for verdict in verdicts
    ]
