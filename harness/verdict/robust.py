"""The rule that turns an interval into a word, and the same question asked in other ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.verdict.judgement import CLAIMED, SMALLEST_N, Code
from harness.verdict.numbers import Estimate, sign_flip, sign_flip_floor
from harness.verdict.pairs import Pair

Bound = Callable[[float], bool]


@dataclass(frozen=True)
class Rule:
    """What turns an analysis into a word: the error rate, the margin, and whether `equivalent` may be said."""

    alpha: float
    margin: float | None
    may_equal: bool
    """False when runs failed or are missing: arms that do not finish alike are not equivalent."""

    def decide(self, above: Bound, below: Bound) -> Code:
        """The code, where `above(c)` says that the difference is claimed to be above c, and `below(c)` mirrored."""
        margin = self.margin or 0.0
        if above(margin):
            return "better"
        if below(-margin):
            return "worse"
        if self.margin is None:
            return "undecided"
        if self.may_equal and above(-margin) and below(margin):
            return "equivalent"
        if above(0.0):
            return "better_small"
        return "worse_small" if below(0.0) else "undecided"

    def of(self, estimate: Estimate) -> Code:
        """The code of an estimate's t interval."""
        lo, hi = estimate.interval(self.alpha)
        return self.decide(lambda c: lo > c, lambda c: hi < c)


@dataclass(frozen=True)
class Analysis:
    """One further analysis of the same runs: the word it would have given, and whether it supports the verdict."""

    name: str
    verdict: Code
    agrees: bool


def robustness(pair: Pair, verdict: Code, rule: Rule, *, seed: int) -> tuple[Analysis, ...]:
    """The same question asked in other ways, for a pair that has a verdict.

    Welch's interval as if unpaired; flipping signs (only where n differences can reach the error rate at all); neither
    for folds, which are not independent; the median difference (only for a claim: it has no interval); each replicate
    (or checkpoint) left out (from n = 4); failed replicates left out. An analysis supports a verdict when it gives the
    same word, or the full claim where the verdict is the small one. The other epoch rule is not among them: the test
    set is read once, at the epoch of the declared rule.
    """
    codes = _unpaired(pair, rule) | _sign_flip(pair, rule, seed) | _median(pair, verdict, rule)
    codes |= _left_out(pair, rule) | _finished(pair, rule)
    return tuple(Analysis(name, code, _supports(code, verdict)) for name, code in codes.items())


def left_out(analyses: tuple[Analysis, ...]) -> tuple[Analysis, ...]:
    """Those that leave one replicate (or checkpoint) out."""
    return tuple(one for one in analyses if one.name.startswith(("without replicate ", "without checkpoint ")))


def _supports(code: Code, verdict: Code) -> bool:
    return code == verdict or f"{code}_small" == verdict


def _unpaired(pair: Pair, rule: Rule) -> dict[str, Code]:
    return {"unpaired (Welch)": rule.of(pair.welch())} if pair.paired and pair.folds is None else {}


def _sign_flip(pair: Pair, rule: Rule, seed: int) -> dict[str, Code]:
    if not pair.paired or pair.folds is not None or sign_flip_floor(pair.n) >= rule.alpha:
        return {}
    d = pair.d
    mean = float(np.mean(d))

    def differs(c: float) -> bool:
        return sign_flip(d - c, seed=seed) <= rule.alpha

    return {"sign flips": rule.decide(lambda c: mean > c and differs(c), lambda c: mean < c and differs(c))}


def _median(pair: Pair, verdict: Code, rule: Rule) -> dict[str, Code]:
    if not pair.paired or verdict not in CLAIMED:
        return {}
    median = float(np.median(pair.d))
    return {"median difference": rule.decide(lambda c: median > c, lambda c: median < c)}


def _left_out(pair: Pair, rule: Rule) -> dict[str, Code]:
    if pair.n <= SMALLEST_N:
        return {}
    unit = "replicate" if pair.checkpoints is None else "checkpoint"
    return {f"without {unit} {i}": rule.of(pair.without(i).estimate()) for i in pair.units}


def _finished(pair: Pair, rule: Rule) -> dict[str, Code]:
    finished = pair.without_failed()
    if not (pair.arm.failed or pair.baseline.failed) or finished.n < SMALLEST_N:
        return {}
    return {"without failed replicates": rule.of(finished.estimate())}
