"""Folds as replicates: wider intervals, by Nadeau and Bengio's correction, and what is not said of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.verdict.numbers import mean_of
from harness.verdict.power import detectable
from harness.verdict.summary import summarise
from tests.verdict.conftest import BASE, judge, make_finals

D = (0.012, 0.002, 0.015, 0.001, 0.009)
VALUES = {"sgd": BASE, "adam": [base + d for base, d in zip(BASE, D, strict=True)]}


def folded(**chosen):
    return judge(make_finals(VALUES), arms=["sgd", "adam"], folds=5, **chosen)[0]


@pytest.mark.parametrize("folds", [3, 5, 10])
def test_the_variance_of_the_mean_is_that_of_nadeau_and_bengio(folds):
    x = np.random.default_rng(folds).normal(size=folds)
    # With k folds of m examples each, m are tested and (k - 1) m trained on.
    m = 7
    variance = (1 / folds + m / ((folds - 1) * m)) * float(np.var(x, ddof=1))
    half = float(stats.t.ppf(0.975, folds - 1)) * math.sqrt(variance)
    assert mean_of(x, folds=folds).interval() == pytest.approx((x.mean() - half, x.mean() + half))


def test_the_interval_of_a_verdict_is_wider_than_that_of_independent_replicates_by_a_known_factor():
    plain = judge(make_finals(VALUES), arms=["sgd", "adam"])[0]
    verdict = folded()
    assert verdict.delta == pytest.approx(np.mean(D))
    assert (verdict.hi - verdict.lo) / (plain.hi - plain.lo) == pytest.approx(math.sqrt(5 * (1 / 5 + 1 / 4)))
    assert verdict.mde80 / plain.mde80 == pytest.approx(math.sqrt(5 * (1 / 5 + 1 / 4)))
    assert verdict.method == "corrected paired t"


def test_what_asks_for_independent_replicates_is_not_computed_of_folds():
    verdict = folded(margin=0.001)
    assert (verdict.p_signflip, verdict.p_floor, verdict.more) == (None, None, None)
    assert (verdict.wins, verdict.wins_n, verdict.wins_lo, verdict.wins_hi) == (5, 5, None, None)
    plain = judge(make_finals(VALUES), arms=["sgd", "adam"], margin=0.001)[0]
    assert verdict.analyses < plain.analyses


def test_the_sentence_speaks_of_folds_and_says_that_the_interval_is_corrected():
    verdict = folded()
    assert "5 paired folds" in verdict.sentence
    assert "t-interval corrected for overlapping training sets" in verdict.sentence
    assert verdict.sentence.endswith("not the data that the folds are of or other problems.")
    assert "more folds of the same data would hardly find less" in folded(margin=0.05).sentence or (
        folded(margin=0.05).verdict != "undecided"
    )


def test_a_mean_over_folds_has_the_corrected_interval_too():
    table = summarise(make_finals(VALUES), epoch_rule="last", folds=5)
    row = table[table["arm"] == "sgd"].iloc[0]
    se = np.std(BASE, ddof=1) * math.sqrt(1 / 5 + 1 / 4)
    assert row["hi"] - row["mean"] == pytest.approx(float(stats.t.ppf(0.975, 4)) * se)
    assert (row["unit"], row["method"]) == ("fold", "corrected t")


def test_detectable_differences_follow_the_corrected_spread():
    assert detectable(1.0, 5, folds=5) == pytest.approx(detectable(1.0, 5) * math.sqrt(5 * 0.45))


@pytest.mark.slow
def test_intervals_of_folds_cover_the_true_difference_where_uncorrected_ones_do_not():
    """Two ways to predict a mean, compared by squared error on 10 folds; the truth is their expected difference."""
    rng, folds, n, rounds = np.random.default_rng(0), 10, 60, 2000

    def scores(y):
        order = np.arange(n) % folds
        found = []
        for fold in range(folds):
            train, test = y[order != fold], y[order == fold]
            found.append(np.mean((test - train.mean()) ** 2) - np.mean((test - np.median(train)) ** 2))
        return np.array(found)

    truth = np.mean([scores(rng.normal(size=n)).mean() for _ in range(20_000)])
    hits = {None: 0, folds: 0}
    for _ in range(rounds):
        d = scores(rng.normal(size=n))
        for given in hits:
            lo, hi = mean_of(d, folds=given).interval()
            hits[given] += lo <= truth <= hi
    assert hits[folds] / rounds > 0.93
    assert hits[folds] > hits[None]
