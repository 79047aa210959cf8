"""Error rates by simulation (statistics, 13.2), first of the numbers alone, then of whole suites."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from harness.verdict import winner
from harness.verdict.numbers import mean_of, means_by
from harness.verdict.robust import Rule

pytestmark = pytest.mark.slow

DRAWS = 4000
SUITES = 400


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_t_interval_covers_the_mean_in_95_percent(n):
    generator = np.random.default_rng(n)
    covered = 0
    for _ in range(DRAWS):
        lo, hi = mean_of(generator.normal(0.3, 1.0, n)).interval()
        covered += lo <= 0.3 <= hi
    assert covered / DRAWS == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("margin", [None, 0.7])
def test_equal_arms_get_a_direction_in_at_most_6_percent(margin):
    generator, rule = np.random.default_rng(0), Rule(alpha=0.05, margin=margin, may_equal=True)
    codes = [rule.of(mean_of(generator.normal(0, np.sqrt(2), 5))) for _ in range(DRAWS)]
    wrong = sum(code in ("better", "worse", "better_small", "worse_small") for code in codes)
    assert wrong / DRAWS <= 0.06


@pytest.mark.parametrize("n", [3, 5, 10])
def test_equal_arms_that_fail_now_and_then_get_a_direction_in_at_most_6_percent(n):
    """A failed run counts at the floor, 80 SDs below the others; each arm has one run in ten of them."""
    generator, rule = np.random.default_rng(n), Rule(alpha=0.05, margin=None, may_equal=False)
    wrong = 0
    for _ in range(DRAWS):
        a, b = generator.normal(0, 1, (2, n)) - 80 * (generator.random((2, n)) < 0.1)
        wrong += rule.of(mean_of(a - b)) != "undecided"
    assert wrong / DRAWS <= 0.06


def test_means_of_three_checkpoints_keep_the_rate_where_replicates_are_missing():
    """3 checkpoints x 5 replicates, of which three in ten are missing: means of unequal numbers."""
    generator, wrong, judged, of = np.random.default_rng(6), 0, 0, np.arange(15) % 3
    for _ in range(DRAWS):
        d, there = generator.normal(0, 1, 3)[of] + generator.normal(0, 1, 15), generator.random(15) > 0.3
        means = means_by(d[there], list(of[there]))
        if len(means) == 3:
            lo, hi = mean_of(means).interval()
            judged, wrong = judged + 1, wrong + (lo > 0 or hi < 0)
    assert wrong / judged <= 0.06


def simulated(kit, generator, *, problems, shifts, n=5):
    """Verdicts of a suite whose arms differ by `shifts` SDs of a run, with a luck that replicates share."""
    frames = []
    for problem in problems:
        shared = generator.normal(0, 0.01, n)
        values = {arm: list(0.5 + shared + generator.normal(s * 0.01, 0.01, n)) for arm, s in shifts.items()}
        frames.append(kit.finals(values, problem=problem))
    return kit.judge(pd.concat(frames), arms=tuple(shifts), problems=problems)


@pytest.mark.parametrize("problems", [1, 4])
def test_an_adjusted_family_of_equal_arms_claims_a_direction_in_at_most_6_percent(problems):
    """Two arms against one baseline on each problem, so that their differences are correlated."""
    generator, family = np.random.default_rng(4), 2 * problems
    rule = Rule(alpha=0.05 / family, margin=None, may_equal=True)
    wrong = 0
    for _ in range(DRAWS):
        runs = generator.normal(0, 1, (problems, 3, 5))
        d = (runs[:, 1:] - runs[:, :1]).reshape(family, 5)
        wrong += any(rule.of(mean_of(row)) != "undecided" for row in d)
    assert wrong / DRAWS <= 0.06


@pytest.mark.parametrize("problems", [("a",), ("a", "b", "c", "d")])
def test_a_family_of_equal_arms_gets_a_wrong_word_in_at_most_6_percent(kit, problems):
    generator, wrong = np.random.default_rng(1), 0
    suites = SUITES if len(problems) == 1 else SUITES // 2
    for _ in range(suites):
        verdicts = simulated(kit, generator, problems=problems, shifts={"sgd": 0, "adam": 0, "lion": 0})
        wrong += any(verdict.primary and verdict.verdict != "undecided" for verdict in verdicts)
    # 6 % and two standard errors of this simulation.
    assert wrong / suites <= 0.06 + 2 * np.sqrt(0.05 * 0.95 / suites)


@pytest.mark.parametrize("top", [1, 2, 3])
def test_a_false_best_is_named_in_at_most_6_percent(kit, top):
    """Among `top` equal arms ahead of the others nobody is best, though one of them always leads."""
    names = ("sgd", "adam", "lion")
    shifts = {name: 0.0 if i < top else -8.0 for i, name in enumerate(names)}
    generator, best = np.random.default_rng(2), 0
    for _ in range(SUITES):
        name = winner(simulated(kit, generator, problems=("a",), shifts=shifts), problem="a")
        best += name is not None and (top > 1 or name != "sgd")
    assert best / SUITES <= 0.06 + 2 * np.sqrt(0.05 * 0.95 / SUITES)


def test_a_false_best_on_any_of_four_problems_is_named_in_at_most_6_percent(kit):
    """On each two equal arms lead; at one comparison's rate a problem it would be 19 percent."""
    problems, shifts = ("a", "b", "c", "d"), {"sgd": -8.0, "adam": 0.0, "lion": 0.0}
    generator, best = np.random.default_rng(5), 0
    for _ in range(SUITES // 2):
        verdicts = simulated(kit, generator, problems=problems, shifts=shifts)
        best += any(winner(verdicts, problem=problem) is not None for problem in problems)
    assert best / (SUITES // 2) <= 0.06 + 2 * np.sqrt(0.05 * 0.95 / (SUITES // 2))


def test_tuning_luck_is_in_the_interval_of_the_method(kit):
    """Equal arms, each replicate with its own study as lucky as a seed: a direction in at most 6 percent."""
    generator, wrong = np.random.default_rng(3), 0
    for _ in range(DRAWS):
        a, b = (generator.normal(0, 1, 5) + generator.normal(0, 1, 5) for _ in itertools.repeat(None, 2))
        lo, hi = mean_of(a - b).interval()
        wrong += lo > 0 or hi < 0
    assert wrong / DRAWS <= 0.06
