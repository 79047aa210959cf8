"""From final runs to verdicts: codes, families, failures, pairing."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.tables import frame
from harness.verdict import Verdict, analyses_of

PP = 0.01


def pp(*differences):
    return [d * PP for d in differences]


# Codes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("margin", "code", "mirrored"),
    [
        (None, "better", "worse"),
        (0.1 * PP, "better", "worse"),
        (0.2 * PP, "better_small", "worse_small"),
        (0.6 * PP, "equivalent", "equivalent"),
    ],
)
def test_worked_example_gets_its_words(kit, margin, code, mirrored):
    worked = pp(*kit.worked)
    assert kit.verdict_of(worked, margin=margin).verdict == code
    assert kit.verdict_of([-d for d in worked], margin=margin).verdict == mirrored


@pytest.mark.parametrize("margin", [None, 0.0, 0.1 * PP])
def test_an_interval_across_zero_and_the_margin_is_undecided(kit, margin):
    assert kit.verdict_of(pp(1, -2, 3, -1, 0.5), margin=margin).verdict == "undecided"


def test_worked_example_gets_its_numbers(kit):
    verdict = kit.verdict_of(pp(*kit.worked), margin=0.6 * PP)
    numbers = [verdict.delta, verdict.lo, verdict.hi, verdict.p_t, verdict.p_signflip, verdict.p_floor, verdict.wins_lo]
    assert numbers == pytest.approx([0.34 * PP, 0.114 * PP, 0.566 * PP, 0.0139, 0.0625, 0.0625, 0.478], abs=5e-4)
    assert (verdict.wins, verdict.wins_n, verdict.wins_hi, verdict.n) == (5, 5, 1.0, 5)
    assert verdict.p_tost is not None
    assert verdict.p_tost < 0.025
    assert verdict.mde80 == pytest.approx(1.682 * float(np.std(pp(*kit.worked), ddof=1)), rel=1e-3)


def test_advice_uses_the_margin_and_not_the_difference(kit):
    near, far = (kit.verdict_of([d + shift for d in pp(1, -1, 0, 2, -2)], margin=PP) for shift in (0.0, 0.5))
    assert (near.more, near.more_lo, near.more_hi) == (far.more, far.more_lo, far.more_hi)
    assert near.more is not None
    assert near.more > 0


def test_without_a_margin_there_is_no_advice_and_no_equivalence(kit):
    verdict = kit.verdict_of(pp(*kit.worked))
    assert (verdict.margin, verdict.more, verdict.more_lo, verdict.more_hi, verdict.p_tost) == (None,) * 5


def test_lower_is_better_for_a_metric_to_be_minimised(kit):
    verdict = kit.verdict_of([-0.3, -0.2, -0.4, -0.3, -0.2], metric=kit.loss)
    assert verdict.verdict == "better"
    assert verdict.delta == pytest.approx(0.28)
    assert verdict.wins == 5


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_replicates_are_not_compared_and_leave_no_numbers(kit, n):
    verdict = kit.verdict_of(pp(*kit.worked)[:n])
    assert (verdict.verdict, verdict.n, verdict.method) == ("not_compared", n, "none")
    empty = ("delta", "sd", "lo", "hi", "p_t", "p_holm", "p_signflip", "wins", "wins_lo", "p_superior", "mde80", "more")
    assert [getattr(verdict, name) for name in empty] == [None] * len(empty)
    assert (verdict.agree, verdict.analyses) == (0, 0)


def test_an_empty_frame_gives_a_verdict_for_each_declared_comparison(kit):
    verdicts = kit.judge(kit.finals({}), arms=("sgd", "adam", "lion"))
    assert [(v.arm, v.verdict, v.n) for v in verdicts] == [("adam", "not_compared", 0), ("lion", "not_compared", 0)]


def test_equal_weights_in_all_replicates_are_identical(kit):
    values = {"sgd": kit.base, "momentum": kit.base}
    finals = kit.finals(values, weights=lambda arm, i: f"w{i}")
    verdict = kit.judge(finals, arms=("sgd", "momentum"))[0]
    assert (verdict.verdict, verdict.delta, verdict.sd, verdict.lo) == ("identical", 0.0, 0.0, None)


@pytest.mark.parametrize("shift", [0.0, 0.01])
def test_no_spread_without_equal_weights_is_not_compared(kit, shift):
    values = {"sgd": kit.base, "adam": [x + shift for x in kit.base]}
    verdict = kit.judge(kit.finals(values), arms=("sgd", "adam"))[0]
    assert verdict.verdict == "not_compared"
    assert "no spread" in verdict.sentence


def test_unknown_weights_are_not_equal_weights(kit):
    values = {"sgd": kit.base, "momentum": kit.base}
    finals = kit.finals(values, weights=lambda arm, i: None)
    assert kit.judge(finals, arms=("sgd", "momentum"))[0].verdict == "not_compared"


# Failures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["diverged", "error", "bad_output", "timeout", "oom", "crashed"])
def test_a_failed_run_counts_at_the_floor_and_is_told(kit, how):
    values = {"sgd": kit.base, "adam": [None, *[x + 0.01 for x in kit.base[1:]]]}
    verdict = kit.judge(kit.finals(values, how=how), arms=("sgd", "adam"))[0]
    assert (verdict.n, verdict.failed_arm, verdict.failed_baseline) == (5, 1, 0)
    assert verdict.delta == pytest.approx(((0.1 - 0.9) + 4 * 0.01) / 5)
    assert f"adam failed in 1 of 5 replicates ({how}); a failed run counts as 10.00 %." in verdict.sentence


def test_failed_runs_are_told_where_the_floor_differs_by_problem(kit):
    values = {"sgd": kit.base, "adam": [None, *[x + 0.01 for x in kit.base[1:]]]}
    metric = dataclasses.replace(kit.accuracy, floor=None)
    verdict = kit.judge(kit.finals(values), arms=("sgd", "adam"), metric=metric)[0]
    assert "adam failed in 1 of 5 replicates (diverged); a failed run counts as the metric's floor." in verdict.sentence


def test_a_failed_run_of_a_metric_without_floor_means_no_mean_difference(kit):
    values = {"sgd": [0.3, 0.31, None, 0.29, 0.3], "adam": [None, 0.2, None, 0.2, None]}
    verdict = kit.judge(kit.finals(values, metric=kit.loss), arms=("sgd", "adam"), metric=kit.loss)[0]
    assert (verdict.verdict, verdict.failed_arm, verdict.failed_baseline, verdict.delta) == ("not_compared", 3, 1, None)
    assert "adam failed in 3 of 5 replicates (diverged) and sgd failed in 1 of 5 replicates" in verdict.sentence
    assert "no mean difference exists" in verdict.sentence


def test_an_arm_that_always_fails_is_worse_where_failures_can_be_counted(kit):
    values = {"sgd": kit.base, "adam": [None] * 5}
    verdict = kit.judge(kit.finals(values), arms=("sgd", "adam"))[0]
    assert (verdict.verdict, verdict.failed_arm) == ("worse", 5)


def test_two_arms_that_always_fail_are_not_the_same_computation(kit):
    verdict = kit.judge(kit.finals({"sgd": [None] * 5, "adam": [None] * 5}), arms=("sgd", "adam"))[0]
    assert verdict.verdict == "not_compared"


def test_a_finished_run_whose_value_is_not_finite_has_failed(kit):
    finals = kit.finals({"sgd": [0.3, 0.31, 0.32], "adam": [0.2, 0.21, math.inf]}, metric=kit.loss)
    verdict = kit.judge(finals, arms=("sgd", "adam"), metric=kit.loss, replicates=3)[0]
    assert (verdict.verdict, verdict.failed_arm) == ("not_compared", 1)
    assert "not finite" in verdict.sentence


def test_arms_with_failed_runs_are_not_equivalent(kit):
    values = {"sgd": [*kit.base[:4], None], "adam": [*[x + 1e-4 * i for i, x in enumerate(kit.base[:4])], None]}
    verdict = kit.judge(kit.finals(values), arms=("sgd", "adam"), margin=0.05)[0]
    assert verdict.verdict == "undecided"
    assert "Equivalence is not claimed while runs failed or are missing." in verdict.sentence


def test_arms_with_missing_runs_are_not_equivalent_yet(kit):
    full = kit.verdict_of(pp(0.1, -0.1, 0.05, 0, -0.05), margin=PP, replicates=5)
    partial = kit.verdict_of(pp(0.1, -0.1, 0.05, 0, -0.05), margin=PP, replicates=6)
    assert (full.verdict, partial.verdict) == ("equivalent", "undecided")
    assert "1 of 6 planned replicates is missing." in partial.sentence


# Pairing -------------------------------------------------------------------------------------------------------------


def test_only_replicates_of_both_arms_count(kit):
    values = {"sgd": kit.base, "adam": [x + d for x, d in zip(kit.base, pp(*kit.worked), strict=True)]}
    finals = kit.finals(values)
    finals = finals[~((finals.arm == "sgd") & (finals.replicate == 0))]
    finals = finals[~((finals.arm == "adam") & (finals.replicate == 4))]
    verdict = kit.judge(finals, arms=("sgd", "adam"))[0]
    assert verdict.n == 3
    assert verdict.delta == pytest.approx(PP * (0.2 + 0.5 + 0.1) / 3)
    assert "2 of 5 planned replicates are missing." in verdict.sentence


def test_a_replicate_may_not_occur_twice(kit):
    finals = kit.finals({"sgd": kit.base, "adam": kit.base})
    with pytest.raises(ValueError, match="may occur once"):
        kit.judge(pd.concat([finals, finals.head(1)]), arms=("sgd", "adam"))


def test_arms_without_a_common_split_are_judged_by_welch(kit):
    adam = [x + d for x, d in zip(kit.base, pp(*kit.worked), strict=True)]
    finals = kit.finals({"sgd": kit.base, "adam": adam[:4]})
    verdict = kit.judge(finals, arms=("sgd", "adam"), paired_on="order")[0]
    oracle = stats.ttest_ind(adam[:4], kit.base, equal_var=False)
    assert (verdict.paired, verdict.method, verdict.paired_on, verdict.n) == (False, "Welch t", "order", 4)
    assert (verdict.lo, verdict.hi) == pytest.approx(tuple(oracle.confidence_interval(0.95)))
    assert verdict.p_t == pytest.approx(oracle.pvalue)
    assert (verdict.p_signflip, verdict.wins) == (None, None)
    assert "Welch t-interval, 4 and 5 unpaired replicates" in verdict.sentence


def test_streams_may_differ_by_pair(kit):
    finals = kit.finals({"cnn": kit.base, "mlp": kit.base, "cnn2": kit.base})
    streams = {"mlp": "split, order", "cnn2": "split, init, order"}
    verdicts = kit.judge(finals, arms=("cnn", "mlp", "cnn2"), paired_on=lambda problem, arm, baseline: streams[arm])
    assert [verdict.paired_on for verdict in verdicts[:2]] == ["split, order", "split, init, order"]


# The family ----------------------------------------------------------------------------------------------------------


def three_arms(kit, problem="mnist-cnn", setting="tuned", lead=0.02):
    adam = [x + lead + d for x, d in zip(kit.base, pp(*kit.worked), strict=True)]
    lion = [x + d for x, d in zip(kit.base, pp(0.1, -0.1, 0.2, 0, 0.1), strict=True)]
    return kit.finals({"sgd": kit.base, "adam": adam, "lion": lion}, problem=problem, setting=setting)


def test_the_family_is_all_primary_verdicts_over_problems_too(kit):
    finals = pd.concat([three_arms(kit, "a"), three_arms(kit, "b")])
    verdicts = kit.judge(finals, arms=("sgd", "adam", "lion"), problems=("a", "b"))
    primary = [verdict for verdict in verdicts if verdict.primary]
    assert [(v.problem, v.arm) for v in primary] == [("a", "adam"), ("a", "lion"), ("b", "adam"), ("b", "lion")]
    assert {(v.family_size, v.level) for v in primary} == {(4, 1 - 0.05 / 4)}
    assert (primary[0].lo, primary[0].hi) == pytest.approx(
        tuple(stats.ttest_1samp([0.02 + d for d in pp(*kit.worked)], 0).confidence_interval(1 - 0.05 / 4))
    )


def test_the_family_is_as_large_as_declared_while_runs_are_missing(kit):
    verdicts = kit.judge(kit.finals({"sgd": kit.base}), arms=("sgd", "adam", "lion"))
    assert {verdict.family_size for verdict in verdicts} == {2}


def test_holm_is_over_the_primary_verdicts_only(kit):
    verdicts = kit.judge(three_arms(kit), arms=("sgd", "adam", "lion"))
    adam, lion, rival = verdicts
    assert adam.p_holm == pytest.approx(2 * adam.p_t)
    assert lion.p_holm == pytest.approx(lion.p_t)
    assert (rival.primary, rival.p_holm) == (False, None)


def test_arms_that_are_not_primary_are_exploratory_at_95_percent(kit):
    verdicts = kit.judge(three_arms(kit), arms=("sgd", "adam", "lion"), primary=("adam",))
    assert [(v.arm, v.baseline, v.primary, v.family_size, v.level) for v in verdicts] == [
        ("adam", "sgd", True, 1, 0.95),
        ("lion", "sgd", False, 1, 0.95),
        ("adam", "lion", False, 1, 0.95),
    ]
    assert "exploratory, unadjusted" in verdicts[1].sentence
    assert "exploratory" not in verdicts[0].sentence


def test_the_leading_arm_is_compared_with_the_others_where_it_is_not_the_baseline(kit):
    leads = kit.judge(three_arms(kit), arms=("sgd", "adam", "lion"))
    trails = kit.judge(three_arms(kit, lead=-0.1), arms=("sgd", "adam", "lion"))
    assert [(v.arm, v.baseline) for v in leads if not v.primary] == [("adam", "lion")]
    assert [(v.arm, v.baseline) for v in trails if not v.primary] == [("lion", "adam")]


def test_a_leading_baseline_needs_no_further_comparison(kit):
    values = {"sgd": kit.base, "adam": [x - 0.1 for x in kit.base], "lion": [x - 0.2 for x in kit.base]}
    assert all(verdict.primary for verdict in kit.judge(kit.finals(values), arms=("sgd", "adam", "lion")))


def test_untuned_arms_are_compared_with_the_untuned_baseline(kit):
    finals = pd.concat([three_arms(kit), three_arms(kit, setting="untuned", lead=-0.02)])
    verdicts = kit.judge(finals, arms=("sgd", "adam", "lion"))
    untuned = [verdict for verdict in verdicts if verdict.setting == "untuned"]
    assert [(v.arm, v.baseline, v.primary, v.claim) for v in untuned] == [
        ("adam", "sgd", False, "defaults"),
        ("lion", "sgd", False, "defaults"),
    ]
    assert untuned[0].verdict == "worse"
    assert "each optimizer at its defaults" in untuned[0].sentence


def test_untuned_rows_are_left_out_when_the_suite_says_so(kit):
    finals = pd.concat([three_arms(kit), three_arms(kit, setting="untuned")])
    verdicts = kit.judge(finals, arms=("sgd", "adam", "lion"), untuned=False)
    assert {verdict.setting for verdict in verdicts} == {"tuned"}


def test_without_trials_the_given_setting_is_judged(kit):
    verdicts = kit.judge(three_arms(kit, setting="given"), arms=("sgd", "adam", "lion"), trials=0)
    assert {(v.setting, v.claim) for v in verdicts} == {("given", "defaults")}
    assert verdicts[0].verdict == "better"


# Robustness ----------------------------------------------------------------------------------------------------------


def analyses(kit, differences, **options):
    verdict = kit.verdict_of(differences, **options)
    base = [kit.base[i % 5] + 0.001 * (i // 5) for i in range(len(differences))]
    values = {"sgd": base, "adam": [b + d for b, d in zip(base, differences, strict=True)]}
    chosen = kit.compare(baseline="sgd", primary=("adam",), replicates=len(differences), margin=options.get("margin"))
    found = analyses_of(kit.finals(values), verdict, suite_compare=chosen, metric=kit.accuracy, seed=0)
    return verdict, {analysis.name: (analysis.verdict, analysis.agrees) for analysis in found}


def test_a_clear_verdict_is_supported_by_every_analysis(kit):
    verdict, found = analyses(kit, pp(5.0, 5.1, 5.2, 4.9, 5.0, 5.1))
    assert verdict.agree == verdict.analyses == len(found) == 9
    assert set(found.values()) == {("better", True)}


def test_sign_flips_are_asked_only_where_they_can_reach_the_level(kit):
    assert "sign flips" not in analyses(kit, pp(5.0, 5.1, 5.2, 4.9, 5.0))[1]
    assert "sign flips" in analyses(kit, pp(5.0, 5.1, 5.2, 4.9, 5.0, 5.1))[1]


def test_leaving_one_out_starts_at_four_replicates(kit):
    assert not [name for name in analyses(kit, pp(5.0, 5.1, 5.2))[1] if name.startswith("without")]
    names = [name for name in analyses(kit, pp(5.0, 5.1, 5.2, 4.9))[1] if name.startswith("without")]
    assert names == [f"without replicate {i}" for i in range(4)]


def test_an_undecided_verdict_has_no_median_analysis(kit):
    verdict, found = analyses(kit, pp(1, -2, 3, -1, 0.5))
    assert verdict.verdict == "undecided"
    assert "median difference" not in found


def test_a_verdict_that_turns_without_one_replicate_is_not_supported_there(kit):
    verdict, found = analyses(kit, pp(0.4, 0.4, 0.4, 0.4, 2.0, 2.0, -0.4))
    assert verdict.verdict == "undecided"
    assert found["without replicate 6"] == ("better", False)


def test_the_full_claim_supports_the_small_one(kit):
    verdict, found = analyses(kit, pp(*kit.worked), margin=0.2 * PP)
    assert verdict.verdict == "better_small"
    assert found["median difference"] == ("better", True)


def test_failed_replicates_left_out_are_an_analysis_of_their_own(kit):
    values = {"sgd": kit.base, "adam": [None, *[x + 0.01 + 0.001 * i for i, x in enumerate(kit.base[1:])]]}
    finals = kit.finals(values)
    verdict = kit.judge(finals, arms=("sgd", "adam"))[0]
    chosen = kit.compare(baseline="sgd", primary=("adam",))
    found = analyses_of(finals, verdict, suite_compare=chosen, metric=kit.accuracy, seed=0)
    assert [(a.verdict, a.agrees) for a in found if a.name == "without failed replicates"] == [("better", False)]
    assert (verdict.verdict, len(found)) == ("undecided", verdict.analyses)


def test_a_refused_comparison_has_no_analyses(kit):
    verdict, found = analyses(kit, pp(1.0, 2.0))
    assert (found, verdict.analyses) == ({}, 0)


# The table -----------------------------------------------------------------------------------------------------------


def test_the_table_has_the_documented_columns_and_types(kit):
    names = (
        "question kind primary family_size looks problem arm baseline metric split setting claim paired paired_on n "
        "failed_arm failed_baseline delta sd lo hi level method p_t p_holm p_signflip p_floor p_tost wins wins_n "
        "wins_lo wins_hi p_superior margin mde80 more more_lo more_hi agree analyses verdict sentence"
    )
    made = frame("comparisons", [one.to_plain() for one in (kit.verdict_of(pp(*kit.worked)), kit.verdict_of(pp(0.1)))])
    assert list(made.columns) == [field.name for field in dataclasses.fields(Verdict)] == names.split()
    dtypes = {name: str(made[name].dtype) for name in ("primary", "n", "wins", "lo", "more")}
    assert dtypes == {"primary": "boolean", "n": "Int64", "wins": "Int64", "lo": "float64", "more": "Int64"}
    assert made["wins"].tolist() == [5, pd.NA]
    assert list(frame("comparisons", []).columns) == names.split()


def test_a_verdict_is_plain_data(kit):
    verdict = kit.verdict_of(pp(*kit.worked), margin=0.2 * PP)
    plain = json.loads(json.dumps(verdict.to_plain(), allow_nan=False))
    assert plain == dataclasses.asdict(verdict)
    assert all(type(value) in (str, bool, int, float, type(None)) for value in verdict.to_plain().values())


def test_equal_frames_give_equal_verdicts_above_sixteen_replicates(kit):
    differences = [0.001 * (i % 7) - 0.0015 for i in range(18)]
    first, again = kit.verdict_of(differences), kit.verdict_of(differences)
    assert first == again
    assert first.p_signflip != kit.verdict_of(differences, seed=1).p_signflip
