"""Numbers against scipy, statsmodels and hand arithmetic."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_paired

from harness.verdict import numbers

WORKED = np.array([0.4, 0.2, 0.5, 0.1, 0.5])


def draw(n, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1.0, n)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 40])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 3])
def test_paired_interval_and_p_are_those_of_ttest_rel(n, alpha):
    a, b = draw(n, 1, 0.5), draw(n, 2)
    oracle = stats.ttest_rel(a, b)
    estimate = numbers.mean_of(a - b)
    assert estimate.interval(alpha) == pytest.approx(tuple(oracle.confidence_interval(1 - alpha)))
    assert estimate.p() == pytest.approx(oracle.pvalue)


@pytest.mark.parametrize(("na", "nb"), [(2, 2), (3, 5), (10, 4)])
def test_welch_is_that_of_ttest_ind(na, nb):
    a, b = draw(na, 3, 1.0), 3 * draw(nb, 4)
    oracle = stats.ttest_ind(a, b, equal_var=False)
    estimate = numbers.welch(a, b)
    assert estimate.interval(0.02) == pytest.approx(tuple(oracle.confidence_interval(0.98)))
    assert (estimate.p(), estimate.df) == pytest.approx((oracle.pvalue, oracle.df))


def test_welch_sd_is_the_root_of_the_mean_variance():
    assert numbers.welch(np.array([0.0, 2.0]), np.array([0.0, 4.0])).sd == pytest.approx(math.sqrt((2 + 8) / 2))


@pytest.mark.parametrize("n", [3, 5, 8, 12])
def test_sign_flip_is_the_exact_permutation_test(n):
    d = draw(n, n, 0.6)
    oracle = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True)
    assert numbers.sign_flip(d, seed=0) == pytest.approx(oracle.pvalue)


def test_sign_flip_counts_ties_by_enumeration():
    d = np.array([1.0, 1.0, -1.0, 2.0, 0.0])
    sums = [abs(np.dot(signs, d)) for signs in itertools.product((1, -1), repeat=5)]
    assert numbers.sign_flip(d, seed=0) == np.mean(np.array(sums) >= abs(d.sum()))


def test_drawn_sign_flip_is_near_the_exact_one_and_repeats_with_its_seed():
    d = draw(17, 5, 0.4)
    signs = 1 - 2 * ((np.arange(2**17)[:, None] >> np.arange(17)) & 1)
    exact = np.mean(np.abs(signs @ d) >= abs(d.sum()) - 1e-12)
    drawn = numbers.sign_flip(d, seed=7)
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact / 1e5))
    assert drawn == numbers.sign_flip(d, seed=7) != numbers.sign_flip(d, seed=8)


def test_drawn_sign_flip_never_reaches_zero():
    assert numbers.sign_flip(np.full(60, 1.0) + 1e-3 * draw(60), seed=0) == pytest.approx(1 / 100_001)


@pytest.mark.parametrize(("n", "floor"), [(3, 0.25), (4, 0.125), (5, 0.0625), (6, 0.031), (8, 0.0078), (20, 2e-6)])
def test_sign_flip_floor_is_that_of_the_table(n, floor):
    assert numbers.sign_flip_floor(n) == pytest.approx(floor, rel=0.06)


def test_sign_flip_of_all_wins_is_the_floor_and_of_no_difference_is_one():
    assert numbers.sign_flip(np.array([1.0, 2.0, 3.0, 4.0]), seed=0) == numbers.sign_flip_floor(4) == 0.125
    assert numbers.sign_flip(np.zeros(4), seed=0) == 1.0
    assert math.isnan(numbers.sign_flip(np.array([]), seed=0))


@pytest.mark.parametrize(
    ("n", "lower"), [(3, 0.29), (4, 0.40), (5, 0.48), (6, 0.54), (8, 0.63), (10, 0.69), (20, 0.83)]
)
def test_lower_end_of_all_wins_is_that_of_the_table(n, lower):
    assert numbers.wins(np.ones(n)).lo == pytest.approx(lower, abs=0.005)


def test_wins_leave_ties_out_and_have_the_exact_binomial_interval():
    won = numbers.wins(np.array([1.0, 0.0, 2.0, -1.0, 3.0]))
    assert (won.k, won.n) == (3, 4)
    assert (won.lo, won.hi) == pytest.approx(proportion_confint(3, 4, method="beta"))


def test_only_ties_leave_the_share_of_wins_open():
    assert numbers.wins(np.zeros(3)) == numbers.Wins(0, 0, 0.0, 1.0)


def test_wilson_is_that_of_statsmodels_and_open_without_trials():
    assert numbers.wilson(3, 7) == pytest.approx(proportion_confint(3, 7, method="wilson"))
    assert numbers.wilson(0, 0) == (0.0, 1.0)


def test_p_superior_counts_ties_half():
    assert numbers.p_superior(np.array([1.0, 2.0]), np.array([1.0, 1.5])) == (0.5 + 0 + 1 + 1) / 4
    assert math.isnan(numbers.p_superior(np.array([]), np.array([1.0])))


@pytest.mark.parametrize("margin", [0.1, 0.5, 2.0])
def test_tost_is_that_of_statsmodels(margin):
    a, b = draw(6, 8), draw(6, 9)
    oracle = ttost_paired(a, b, -margin, margin)[0]
    assert numbers.mean_of(a - b).p_tost(margin) == pytest.approx(oracle)


@pytest.mark.parametrize("p", [[0.01, 0.04, 0.03], [0.5], [0.2, 0.2, 0.9, 0.001], [0.04, 0.01, 0.01]])
def test_holm_is_that_of_statsmodels(p):
    assert numbers.holm(np.array(p)) == pytest.approx(multipletests(p, method="holm")[1])


def test_a_missing_p_keeps_the_family_as_large_as_it_was_declared():
    adjusted = numbers.holm(np.array([0.01, math.nan, 0.04]))
    assert adjusted[[0, 2]] == pytest.approx([0.03, 0.08])
    assert math.isnan(adjusted[1])


def test_worked_example():
    estimate, won = numbers.mean_of(WORKED), numbers.wins(WORKED)
    assert estimate.mean == pytest.approx(0.34)
    assert estimate.interval() == pytest.approx((0.114, 0.566), abs=5e-4)
    assert estimate.p() == pytest.approx(0.0139, abs=5e-5)
    assert numbers.sign_flip(WORKED, seed=0) == numbers.sign_flip_floor(5) == 0.0625
    assert (won.k, won.n, won.hi) == (5, 5, 1.0)
    assert won.lo == pytest.approx(0.478, abs=5e-4)


@pytest.mark.parametrize(("n", "half"), [(3, 2.48), (4, 1.59), (5, 1.24), (6, 1.05), (8, 0.84), (10, 0.72), (20, 0.47)])
def test_half_width_in_sds_is_that_of_the_table(n, half):
    lo, hi = numbers.Estimate(0.0, 1.0, 1 / math.sqrt(n), n - 1).interval()
    assert (hi - lo) / 2 == pytest.approx(half, abs=0.006)


def test_one_value_has_a_mean_and_nothing_else():
    estimate = numbers.mean_of(np.array([0.5]))
    assert estimate.mean == 0.5
    assert all(map(math.isnan, (*estimate.interval(), estimate.p(), estimate.sd, estimate.p_tost(1.0))))


def test_no_value_has_no_mean():
    assert math.isnan(numbers.mean_of(np.array([])).mean)
    assert math.isnan(numbers.welch(np.array([]), np.array([1.0])).mean)


def test_a_group_of_one_has_a_difference_and_no_interval():
    estimate = numbers.welch(np.array([1.0]), np.array([0.2, 0.4]))
    assert estimate.mean == pytest.approx(0.7)
    assert math.isnan(estimate.interval()[0])


@pytest.mark.parametrize("estimate", [numbers.mean_of(np.full(4, 0.1)), numbers.welch(np.ones(3), np.zeros(3))])
def test_without_spread_there_is_no_p(estimate):
    assert estimate.sd == 0.0
    assert math.isnan(estimate.p())
    assert math.isnan(estimate.p_tost(0.2))


def test_rounding_error_is_neither_a_difference_nor_spread():
    b = np.array([0.1, 0.2, 0.3])
    assert numbers.differences(b + 0.1 + 0.2, b + 0.3).tolist() == [0.0, 0.0, 0.0]
    assert numbers.mean_of(numbers.differences(b + 0.01, b)).sd == 0.0


def test_sign_turns_a_minimised_metric():
    assert numbers.differences(np.array([1.0]), np.array([3.0]), sign=-1).tolist() == [2.0]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(arrays(np.float64, st.integers(2, 10), elements=st.floats(-5, 5).map(lambda x: round(x, 3))))
def test_tost_below_half_alpha_is_the_interval_inside_the_margin(d):
    estimate = numbers.mean_of(d)
    if not estimate.sd > 0:
        return
    lo, hi = estimate.interval()
    for margin in (0.5, 2.0, 6.0):
        if min(abs(lo + margin), abs(hi - margin)) > 1e-9:
            assert (estimate.p_tost(margin) < 0.025) == (-margin < lo and hi < margin)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_never_below_p_nor_above_bonferroni(p):
    adjusted = numbers.holm(np.array(p))
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= np.minimum(1.0, len(p) * np.array(p)) + 1e-12).all()


@settings(derandomize=True, deadline=None, max_examples=40)
@given(arrays(np.float64, st.integers(1, 9), elements=st.floats(-5, 5)))
def test_sign_flip_lies_between_its_floor_and_one_and_ignores_order_and_direction(d):
    p = numbers.sign_flip(d, seed=0)
    assert numbers.sign_flip_floor(len(d)) <= p <= 1
    assert p == pytest.approx(numbers.sign_flip(-d[::-1], seed=0))
