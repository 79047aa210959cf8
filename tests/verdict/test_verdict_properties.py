"""Symmetries that every verdict keeps (statistics, 13.4)."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.verdict import Measure, Verdict

MIRROR = {"better": "worse", "better_small": "worse_small", "worse": "better", "worse_small": "better_small"}
cautious = settings(derandomize=True, deadline=None, max_examples=40)
# Whole steps of 0.1 pp: no interval end lies within rounding of a margin by accident.
column = st.lists(st.integers(-40, 40), min_size=1, max_size=7)
margins = st.sampled_from([None, 0.0013, 0.0071, 0.0211])


def ask(kit, steps, *, margin=None, shift=0.0, swap=False, metric=None, sign=1, order=1) -> Verdict:
    """The verdict on paired values that differ by so many tenths of a point."""
    base = [sign * (kit.base[i % 5] + shift) for i in range(len(steps))]
    values = {"sgd": base, "adam": [b + sign * 0.001 * k for b, k in zip(base, steps, strict=True)]}
    metric = metric or Measure("score", "maximize")
    finals = kit.finals(values, metric=metric).iloc[::order]
    arms = ("adam", "sgd") if swap else ("sgd", "adam")
    return kit.judge(finals, arms=arms, metric=metric, margin=margin, replicates=len(steps))[0]


def numbers(verdict):
    skipped = {"sentence", "arm", "baseline", "metric", "agree", "p_signflip"}
    return {k: v for k, v in dataclasses.asdict(verdict).items() if isinstance(v, int | float) and k not in skipped}


@cautious
@given(steps=column, margin=margins)
def test_swapping_the_arms_mirrors_the_verdict(kit, steps, margin):
    verdict, swapped = ask(kit, steps, margin=margin), ask(kit, steps, margin=margin, swap=True)
    assert swapped.verdict == MIRROR.get(verdict.verdict, verdict.verdict)
    if verdict.lo is not None:
        assert (swapped.delta, swapped.lo, swapped.hi) == pytest.approx((-verdict.delta, -verdict.hi, -verdict.lo))
        assert swapped.wins == verdict.wins_n - verdict.wins
        assert swapped.p_superior == pytest.approx(1 - verdict.p_superior)


@cautious
@given(steps=column, margin=margins, shift=st.sampled_from([-0.3, 0.01, 0.05]))
def test_shifting_both_arms_changes_nothing(kit, steps, margin, shift):
    verdict, shifted = ask(kit, steps, margin=margin), ask(kit, steps, margin=margin, shift=shift)
    assert (shifted.verdict, shifted.analyses) == (verdict.verdict, verdict.analyses)
    assert numbers(shifted) == pytest.approx(numbers(verdict), abs=1e-9)


@cautious
@given(steps=column, margin=margins)
def test_a_minimised_metric_equals_its_negative_maximised(kit, steps, margin):
    less = Measure("score", "minimize")
    verdict, negative = ask(kit, steps, margin=margin), ask(kit, steps, margin=margin, metric=less, sign=-1)
    assert numbers(negative) == pytest.approx(numbers(verdict))
    assert negative.verdict == verdict.verdict


@cautious
@given(steps=column, margin=margins)
def test_row_order_is_irrelevant(kit, steps, margin):
    assert ask(kit, steps, margin=margin) == ask(kit, steps, margin=margin, order=-1)


@cautious
@given(steps=column, margin=st.sampled_from([0.0013, 0.0071, 0.0211]))
def test_equivalence_agrees_with_the_two_one_sided_tests(kit, steps, margin):
    verdict = ask(kit, steps, margin=margin)
    if verdict.p_tost is not None:
        assert (verdict.p_tost < 0.025) == (verdict.verdict == "equivalent")


@cautious
@given(steps=column)
def test_a_wider_margin_never_turns_equivalent_into_another_word(kit, steps):
    codes = [ask(kit, steps, margin=margin).verdict for margin in (0.0013, 0.0071, 0.0211, 0.5)]
    if "equivalent" in codes:
        assert set(codes[codes.index("equivalent") :]) == {"equivalent"}
