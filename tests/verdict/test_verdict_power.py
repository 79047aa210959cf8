"""What n replicates can find, against statsmodels and the table of section 4."""

from __future__ import annotations

import math

import pytest
from statsmodels.stats.power import TTestIndPower, TTestPower

from harness.verdict import power

TABLE = {3: 3.26, 4: 2.13, 5: 1.68, 6: 1.43, 8: 1.16, 10: 1.00, 20: 0.66}
FACTORS = {
    3: (0.52, 6.3),
    4: (0.57, 3.7),
    5: (0.60, 2.9),
    6: (0.62, 2.5),
    8: (0.66, 2.0),
    10: (0.69, 1.8),
    20: (0.76, 1.5),
}


@pytest.mark.parametrize(("n", "size"), TABLE.items())
def test_detectable_difference_is_that_of_the_table(n, size):
    assert power.detectable(1.0, n) == pytest.approx(size, abs=0.006)


@pytest.mark.parametrize(("n", "alpha"), [(3, 0.05), (5, 0.05), (5, 0.0125), (12, 0.01), (40, 0.05)])
def test_detectable_difference_is_that_of_statsmodels(n, alpha):
    oracle = TTestPower().solve_power(nobs=n, alpha=alpha, power=0.8, alternative="two-sided")
    assert power.detectable(2.0, n, alpha=alpha) == pytest.approx(2.0 * float(oracle), rel=1e-4)


@pytest.mark.parametrize("n", [3, 5, 30])
def test_unpaired_detectable_difference_is_that_of_statsmodels(n):
    oracle = TTestIndPower().solve_power(nobs1=n, alpha=0.05, power=0.8)
    assert power.detectable(1.0, n, paired=False) == pytest.approx(float(oracle), rel=1e-4)


def test_unpaired_worked_example():
    assert power.detectable(0.3, 5, paired=False) == pytest.approx(0.61, abs=0.005)
    assert power.replicates_for(0.3, margin=0.2, paired=False) == 37


def test_two_replicates_and_strict_levels_still_have_a_detectable_difference():
    assert 20 < power.detectable(1.0, 2, alpha=0.05 / 20) < 1e4


@pytest.mark.parametrize(("sd", "n"), [(1.0, 1), (math.nan, 5)])
def test_nothing_is_detectable_without_spread_to_judge_by(sd, n):
    assert math.isnan(power.detectable(sd, n))


@pytest.mark.parametrize(("n", "factors"), FACTORS.items())
def test_sd_factors_are_those_of_the_table(n, factors):
    low, high = power.sd_factors(n)
    assert low == pytest.approx(factors[0], abs=0.006)
    assert high == pytest.approx(factors[1], abs=0.06)


@pytest.mark.parametrize("margin", [0.4, 0.9, 2.0, 3.5])
def test_replicates_for_a_margin_are_the_smallest_that_find_it(margin):
    n = power.replicates_for(1.0, margin=margin)
    assert power.detectable(1.0, n) <= margin
    assert n == 3 or power.detectable(1.0, n - 1) > margin


def test_many_replicates_follow_the_normal_approximation():
    n = power.replicates_for(1.0, margin=0.01)
    assert n == pytest.approx((1.959964 + 0.841621) ** 2 / 0.01**2, rel=1e-4)
    assert power.replicates_for(1.0, margin=0.0626) > power.replicates_for(1.0, margin=0.0627)


def test_more_replicates_come_with_the_range_of_the_sd():
    more = power.more_replicates(0.3, 5, margin=0.2)
    low, high = power.sd_factors(5)
    assert more.about == power.replicates_for(0.3, margin=0.2) - 5
    assert more.lo == power.replicates_for(0.3 * low, margin=0.2) - 5
    assert more.hi == power.replicates_for(0.3 * high, margin=0.2) - 5
    assert more.lo < more.about < more.hi


def test_enough_replicates_need_no_more():
    assert power.more_replicates(0.01, 5, margin=1.0) == power.More(0, 0, 0)


@pytest.mark.parametrize(("sd", "n", "margin"), [(1.0, 1, 0.1), (math.nan, 5, 0.1), (1.0, 5, 0.0)])
def test_more_replicates_states_what_it_needs(sd, n, margin):
    with pytest.raises(ValueError, match=r"n >= 2, sd >= 0 and margin > 0 are needed"):
        power.more_replicates(sd, n, margin=margin)
