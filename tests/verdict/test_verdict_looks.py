"""Verdicts that are read several times, replicates being added: the level of their intervals pays for it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.verdict import Context, analyses_of, headline


def values(kit, *arms):
    """Arms whose differences to the baseline are those of the worked example, in percentage points."""
    d = [0.01 * difference for difference in kit.worked]
    return {"sgd": kit.base, **{arm: [b + x for b, x in zip(kit.base, d, strict=True)] for arm in arms}}


@pytest.mark.parametrize(("looks", "arms"), [(1, 1), (2, 1), (2, 2), (3, 2)])
def test_the_error_rate_is_shared_out_among_comparisons_and_looks(kit, looks, arms):
    names = ("adam", "lion")[:arms]
    verdict = kit.judge(kit.finals(values(kit, *names)), arms=("sgd", *names), looks=looks)[0]
    level = 1 - 0.05 / (arms * looks)
    interval = stats.ttest_1samp([0.01 * d for d in kit.worked], 0).confidence_interval(level)
    assert (verdict.lo, verdict.hi) == pytest.approx((interval.low, interval.high))
    assert (verdict.level, verdict.looks) == (pytest.approx(level), looks)
    assert verdict.alpha == pytest.approx(1 - level)


def test_exploratory_verdicts_are_not_adjusted_for_looks(kit):
    finals = kit.finals(values(kit, "adam", "lion"))
    further = [v for v in kit.judge(finals, arms=("sgd", "adam", "lion"), primary=("adam",), looks=2) if not v.primary]
    assert further
    assert {(v.level, v.looks, v.family_size) for v in further} == {(0.95, 1, 1)}


@pytest.mark.parametrize(
    ("looks", "arms", "says"),
    [
        (1, ("adam",), "(95 % t-interval, 5 paired"),
        (2, ("adam",), "(97.5 % t-interval, Bonferroni over 2 looks, 5 paired"),
        (1, ("adam", "lion"), "Bonferroni over 2 comparisons, 5 paired"),
        (2, ("adam", "lion"), "(98.75 % t-interval, Bonferroni over 2 comparisons and 2 looks, 5 paired"),
    ],
)
def test_sentence_and_first_line_say_among_what_it_is_shared(kit, looks, arms, says):
    verdicts = kit.judge(kit.finals(values(kit, *arms)), arms=("sgd", *arms), looks=looks)
    assert says in verdicts[0].sentence
    line = headline(verdicts, metric=kit.accuracy, context=Context("?", ("mnist-cnn",), ("sgd", *arms), 12))
    assert ("looks" in line) == (looks > 1)
    if looks > 1:
        assert f"with sgd, adjusted for {'2 comparisons and ' * (len(arms) > 1)}2 looks;" in line


def test_further_analyses_are_at_the_level_of_the_verdict(kit):
    """The same word at a wider interval: 97.5 % is that of one comparison in two looks and of two in one."""
    finals = kit.finals(values(kit, "adam"))
    (verdict, *_) = kit.judge(finals, arms=("sgd", "adam"), looks=2)
    chosen = kit.compare(baseline="sgd", primary=("adam",), looks=2)
    found = analyses_of(finals, verdict, suite_compare=chosen, metric=kit.accuracy, seed=0)
    assert (sum(one.agrees for one in found), len(found)) == (verdict.agree, verdict.analyses)


def test_a_shared_error_rate_is_kept_by_two_looks_and_an_unshared_one_is_not():
    """Two equal arms, looked at after 3 and again after 5 replicates."""
    d = np.random.default_rng(0).normal(0, 1, (20_000, 5))
    p = np.array([stats.ttest_1samp(d[:, :n], 0, axis=1).pvalue for n in (3, 5)])
    assert np.mean((p < 0.05 / 2).any(axis=0)) < 0.05
    assert np.mean((p < 0.05).any(axis=0)) > 0.07
