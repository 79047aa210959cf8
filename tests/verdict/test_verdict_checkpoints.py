"""Runs that start from trained networks: what n counts, what intervals cover, and runs that say nothing of an arm."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.suite import Compare
from harness.verdict import Context, analyses_of, compare, headline
from harness.verdict.judgement import averaged_over, checkpoints_of
from harness.verdict.numbers import means_by
from harness.verdict.summary import optimism, spread, summarise
from tests.verdict.conftest import ACCURACY, BASE, make_finals

D = (0.012, 0.002, 0.015, 0.001, 0.009, 0.004)
SIX = (*BASE, 0.904)
VALUES = {"full": SIX, "lora": [base + d for base, d in zip(SIX, D, strict=True)]}
WHY = "the model has no norm layer with parameters"


def judged(values=VALUES, *, checkpoints=3, finals=None, arms=("full", "lora"), lacks=(), stepless=(), **chosen):
    given = {"replicates": 6, "metric": "accuracy", "baseline": arms[0], "primary": tuple(arms[1:])} | chosen
    said = {"checkpoints": checkpoints, "lacks": lacks, "stepless": stepless}
    context = Context("?", ("digits",), tuple(arms), 12, "strategy", **said)
    frame = make_finals(values, problem="digits") if finals is None else finals
    return compare(frame, suite_compare=Compare(**given), metric=ACCURACY, seed=0, context=context)


def changed(finals, arm, replicates, **columns):
    """The final runs with other columns in some replicates of an arm."""
    where = (finals["arm"] == arm) & finals["replicate"].isin(replicates)
    for name, value in columns.items():
        finals.loc[where, name] = value
    return finals


def lost(values=VALUES, *, arm="lora", replicates=(1,), status="crashed", reason="source_failed: diverged"):
    blank = {"value": math.nan, "counted": math.nan, "weights_hash": None, "status": status, "reason": reason}
    return changed(make_finals(values, problem="digits"), arm, replicates, **blank)


# What n counts -------------------------------------------------------------------------------------------------------


def test_replicates_that_share_a_checkpoint_are_averaged_before_the_interval_is_made():
    (verdict,) = judged(margin=0.001)
    # Replicates 0 and 3, 1 and 4, 2 and 5 start from one checkpoint.
    means = [(D[0] + D[3]) / 2, (D[1] + D[4]) / 2, (D[2] + D[5]) / 2]
    oracle = stats.ttest_1samp(means, 0)
    interval = oracle.confidence_interval(0.95)
    assert (verdict.lo, verdict.hi) == pytest.approx((interval.low, interval.high))
    assert (verdict.n, verdict.delta, verdict.p_t) == (3, pytest.approx(np.mean(D)), pytest.approx(oracle.pvalue))
    assert (verdict.sd, verdict.wins, verdict.wins_n) == (pytest.approx(np.std(means, ddof=1)), 3, 3)
    assert verdict.method == "paired t of checkpoint means"
    assert verdict.p_superior == pytest.approx(stats.mannwhitneyu(VALUES["lora"], SIX).statistic / 36)


@pytest.mark.parametrize("checkpoints", [1, 6, None])
def test_one_checkpoint_or_one_for_each_replicate_leave_a_replicate_the_unit(checkpoints):
    (verdict,) = judged(checkpoints=checkpoints)
    interval = stats.ttest_1samp(D, 0).confidence_interval(0.95)
    assert (verdict.n, verdict.method) == (6, "paired t")
    assert (verdict.lo, verdict.hi) == pytest.approx((interval.low, interval.high))
    assert averaged_over(checkpoints, replicates=6) is None


def test_unpaired_arms_are_averaged_within_checkpoints_too():
    context = Context("?", ("digits",), ("full", "lora"), 12, checkpoints=3)
    chosen = Compare("accuracy", "full", replicates=6, primary=("lora",))
    finals = make_finals(VALUES, problem="digits")
    (verdict,) = compare(finals, suite_compare=chosen, metric=ACCURACY, seed=0, context=context, paired_on="order")
    one, other = ([np.mean(VALUES[arm][at::3]) for at in range(3)] for arm in ("lora", "full"))
    interval = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert (verdict.lo, verdict.hi) == pytest.approx((interval.low, interval.high))
    assert verdict.n == 3


def test_a_missing_replicate_leaves_its_checkpoint_with_the_others():
    finals = make_finals({"full": SIX[:5], "lora": VALUES["lora"]}, problem="digits")
    (verdict,) = judged(finals=finals)
    means = [(D[0] + D[3]) / 2, (D[1] + D[4]) / 2, D[2]]
    assert verdict.delta == pytest.approx(np.mean(means))
    assert "1 of 6 planned replicates is missing." in verdict.sentence


def test_further_analyses_leave_checkpoints_out():
    values = {"full": [*SIX, 0.906, 0.903], "lora": [*VALUES["lora"], 0.916, 0.905]}
    (verdict,) = judged(values, checkpoints=4, replicates=8)
    chosen = Compare("accuracy", "full", replicates=8)
    finals = make_finals(values, problem="digits")
    found = analyses_of(finals, verdict, suite_compare=chosen, metric=ACCURACY, seed=0, checkpoints=4)
    assert [one.name for one in found if "checkpoint" in one.name] == [f"without checkpoint {at}" for at in range(4)]


def test_two_checkpoints_are_too_few_however_many_replicates_they_have():
    (verdict,) = judged(checkpoints=2)
    assert (verdict.verdict, verdict.n, verdict.lo) == ("not_compared", 2, None)
    assert "2 paired checkpoints" in verdict.sentence
    assert "at least 1 more checkpoint is needed" in verdict.sentence


@pytest.mark.parametrize(
    ("checkpoints", "n", "says"),
    [
        (1, "6 paired replicates", "Covers split, initialisation, order and tuning, for this source checkpoint only;"),
        (3, "3 paired checkpoints", "Covers source checkpoint, split, initialisation, order and tuning;"),
        (6, "6 paired replicates", "Covers source checkpoint, split, initialisation, order and tuning;"),
        (None, "6 paired replicates", "Covers split, initialisation, order and tuning;"),
    ],
)
def test_the_sentence_says_what_one_of_n_is_and_whether_the_interval_covers_the_checkpoint(checkpoints, n, says):
    (verdict,) = judged(checkpoints=checkpoints)
    assert n in verdict.sentence
    assert says in verdict.sentence
    assert "each of 6 studies" in verdict.sentence
    assert ("t-interval of checkpoint means" in verdict.sentence) == (checkpoints == 3)


def test_failed_runs_are_counted_by_replicate_within_a_checkpoint():
    values = {"full": SIX, "lora": [None, *VALUES["lora"][1:]]}
    (verdict,) = judged(values)
    first = (ACCURACY.floor + VALUES["lora"][3] - SIX[0] - SIX[3]) / 2
    means = [first, (D[1] + D[4]) / 2, (D[2] + D[5]) / 2]
    assert verdict.delta == pytest.approx(np.mean(means))
    assert "lora failed in 1 of 6 replicates (diverged)" in verdict.sentence


def test_the_summary_has_the_interval_of_checkpoint_means():
    table = summarise(make_finals(VALUES), epoch_rule="last", checkpoints=3)
    row = table[table["arm"] == "full"].iloc[0]
    means = [np.mean(SIX[at::3]) for at in range(3)]
    interval = stats.t.interval(0.95, 2, loc=np.mean(means), scale=stats.sem(means))
    assert (row["lo"], row["hi"]) == pytest.approx(interval)
    assert (row["n"], row["unit"], row["method"]) == (6, "checkpoint", "t of checkpoint means")
    assert row["sd"] == pytest.approx(np.std(SIX, ddof=1))


def test_optimism_is_of_checkpoint_means():
    studies = pd.DataFrame(
        {"problem": "p", "arm": "full", "direction": "maximize", "replicate": range(6), "best_value": SIX}
    ).assign(final_value=[value - d for value, d in zip(SIX, D, strict=True)])
    row = optimism(studies, checkpoints=3).iloc[0]
    means = [(D[0] + D[3]) / 2, (D[1] + D[4]) / 2, (D[2] + D[5]) / 2]
    interval = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert (row["n"], row["mean"]) == (3, pytest.approx(np.mean(D)))
    assert (row["lo"], row["hi"]) == pytest.approx((interval.low, interval.high))
    assert optimism(studies).iloc[0]["n"] == 6


def test_spread_within_and_between_is_that_of_a_one_way_analysis_of_variance():
    frame = make_finals({"full": SIX})
    between, within = spread(frame, "value", checkpoints=3)
    groups = [np.array(SIX[at::3]) for at in range(3)]
    f = stats.f_oneway(*groups).statistic
    assert 2 * between**2 / within**2 == pytest.approx(f)
    assert within == pytest.approx(math.sqrt(np.mean([np.var(group, ddof=1) for group in groups])))
    assert math.isnan(spread(frame.head(3), "value", checkpoints=3)[1])


def test_means_by_group_come_in_the_order_of_the_groups():
    assert means_by(np.array([1.0, 2.0, 3.0, 6.0]), [2, 0, 2, 0]).tolist() == [4.0, 2.0]


def test_checkpoints_as_units_keep_the_error_rate_where_replicates_as_units_do_not():
    """5 checkpoints x 3 replicates, arms that differ by checkpoint and in the mean by nothing."""
    rng, rounds, of = np.random.default_rng(0), 2000, list(np.arange(15) % 5)
    d = rng.normal(0, 1, (rounds, 5))[:, of] + rng.normal(0, 1, (rounds, 15))
    means = np.array([means_by(row, of) for row in d])
    assert np.mean(stats.ttest_1samp(means, 0, axis=1).pvalue < 0.05) < 0.06
    assert np.mean(stats.ttest_1samp(d, 0, axis=1).pvalue < 0.05) > 0.1


# Runs that say nothing of an arm -------------------------------------------------------------------------------------


def test_a_run_without_weights_to_start_from_is_no_failure_of_its_arm():
    (verdict,) = judged(finals=lost(), checkpoints=6)
    kept = [D[at] for at in (0, 2, 3, 4, 5)]
    assert (verdict.n, verdict.failed_arm, verdict.delta) == (5, 0, pytest.approx(np.mean(kept)))
    said = "1 of 6 planned replicates could not start, since the run that trains the checkpoint failed."
    assert said in verdict.sentence
    assert "missing" not in verdict.sentence


def test_an_arm_without_meaning_is_not_compared_and_says_why():
    finals = lost(replicates=range(6), status="not_applicable", reason=WHY)
    (verdict,) = judged(finals=finals, checkpoints=6)
    assert (verdict.verdict, verdict.n, verdict.failed_arm, verdict.delta) == ("not_compared", 0, 0, None)
    assert (
        f"lora is not applicable: {WHY}; no comparison of lora with full in test accuracy is made" in verdict.sentence
    )


def test_other_arms_are_led_and_compared_as_if_the_one_without_meaning_were_not_there():
    values = {"full": SIX, "probe": [x + 0.01 + 0.001 * at for at, x in enumerate(SIX)], "norm": SIX}
    finals = lost(values, arm="norm", replicates=range(6), status="not_applicable", reason=WHY)
    three = ("full", "probe", "norm")
    with_it = judged(finals=finals, arms=three, checkpoints=6)
    without = judged(finals=finals[finals["arm"] != "norm"], arms=("full", "probe"), checkpoints=6, primary=("probe",))
    assert [(v.arm, v.baseline, v.verdict) for v in with_it] == [
        ("probe", "full", "better"),
        ("norm", "full", "not_compared"),
    ]
    assert with_it[0].delta == without[0].delta
    context = Context("?", ("digits",), three, 12, checkpoints=6)
    assert headline(with_it, metric=ACCURACY, context=context).count("norm cannot be compared with full") == 1
    said = headline(with_it, metric=ACCURACY, context=context, senseless={("digits", "norm"): WHY})
    assert said.count(f"; norm does not apply to digits ({WHY}) (") == 1
    assert "cannot be compared" not in said


def test_an_arm_without_meaning_widens_no_interval_of_the_others():
    values = {"full": SIX, "probe": [x + 0.01 + 0.001 * at for at, x in enumerate(SIX)], "norm": SIX}
    finals = lost(values, arm="norm", replicates=range(6), status="not_applicable", reason=WHY)
    with_it = judged(finals=finals, arms=("full", "probe", "norm"), checkpoints=6)
    (alone,) = judged({"full": SIX, "probe": values["probe"]}, arms=("full", "probe"), checkpoints=6)
    assert (with_it[0].family_size, with_it[0].lo, with_it[0].hi) == (1, alone.lo, alone.hi)
    half = lost(values, arm="norm", replicates=range(6), status="crashed", reason="source_failed: diverged")
    assert judged(finals=half, arms=("full", "probe", "norm"), checkpoints=6)[0].family_size == 2


def test_where_no_pair_has_a_meaning_the_headline_waits_for_nothing():
    finals = lost(replicates=range(6), arm="full", status="not_applicable", reason=WHY)
    verdicts = judged(finals=finals, checkpoints=6)
    context = Context("?", ("digits",), ("full", "lora"), 12, checkpoints=6)
    said = headline(verdicts, metric=ACCURACY, context=context, senseless={("digits", "full"): WHY})
    assert said == f"No pair can be compared: full does not apply to digits ({WHY})."


def test_pairs_that_are_still_to_be_done_are_waited_for_beside_those_without_meaning():
    values = {"full": SIX[:2], "probe": SIX[:2], "norm": SIX[:2]}
    finals = lost(values, arm="norm", replicates=range(2), status="not_applicable", reason=WHY)
    verdicts = judged(finals=finals, arms=("full", "probe", "norm"), checkpoints=6)
    context = Context("?", ("digits",), ("full", "probe", "norm"), 12, checkpoints=6)
    said = headline(verdicts, metric=ACCURACY, context=context, senseless={("digits", "norm"): WHY})
    assert said == (
        "Nothing can be said yet: only 2 replicates are done, and it takes at least 3 to compare probe with full; "
        f"norm does not apply to digits ({WHY})."
    )


def test_a_summary_counts_no_runs_that_say_nothing_of_their_arm():
    table = summarise(lost(), epoch_rule="last").set_index("arm")
    assert table.loc["lora", "n"] == 5
    assert table.loc["lora", "mean"] == pytest.approx(np.mean([VALUES["lora"][at] for at in (0, 2, 3, 4, 5)]))
    senseless = summarise(lost(replicates=range(6), status="not_applicable"), epoch_rule="last").set_index("arm")
    assert (senseless.loc["lora", "n"], senseless.loc["lora", "method"]) == (0, "none")
    assert math.isnan(senseless.loc["lora", "mean"])


def test_other_crashes_are_failures_of_the_arm():
    values = {"full": SIX, "lora": [VALUES["lora"][0], None, *VALUES["lora"][2:]]}
    finals = changed(make_finals(values, problem="digits", how="crashed"), "lora", (1,), reason="signal 9")
    (verdict,) = judged(finals=finals, checkpoints=6)
    assert (verdict.n, verdict.failed_arm) == (6, 1)


# Controls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("checkpoints", "says"), [(1, True), (3, False), (6, False), (None, False)])
def test_the_first_line_says_where_all_runs_start_from_one_checkpoint(checkpoints, says):
    context = Context("?", ("digits",), ("full", "lora"), 12, checkpoints=checkpoints)
    line = headline(judged(checkpoints=checkpoints), metric=ACCURACY, context=context)
    assert ("for one source checkpoint only" in line) == says


def test_the_first_line_counts_checkpoints_where_there_are_too_few():
    context = Context("?", ("digits",), ("full", "lora"), 12, checkpoints=2, averaged=True)
    line = headline(judged(checkpoints=2), metric=ACCURACY, context=context)
    assert line.startswith("Nothing can be said yet: only 2 checkpoints are done, and it takes at least 3")


def test_without_any_weights_the_sentence_still_says_why_nothing_started():
    (verdict,) = judged(finals=lost(replicates=range(6)), checkpoints=6)
    assert verdict.n == 0
    assert "no final run of both is there: no comparison" in verdict.sentence
    assert "6 of 6 planned replicates could not start, since the run that trains the" in verdict.sentence


def test_every_sentence_of_a_suite_without_controls_says_which_it_has_not():
    (verdict,) = judged(lacks=("scratch", "linear_probe"))
    assert verdict.sentence.endswith("No arm is the control scratch or linear_probe (controls = false).")
    assert "controls" not in judged()[0].sentence


def test_a_sentence_about_an_arm_that_takes_no_steps_says_so_and_no_other_does():
    says = "lora is not matched in steps: the head is fitted to its optimum."
    assert judged(stepless=("lora",))[0].sentence.endswith(says)
    assert "matched in steps" not in judged(stepless=("other",))[0].sentence


def test_the_checkpoints_of_a_suite_are_those_of_its_source():
    assert checkpoints_of(SimpleNamespace(source=None)) is None
    assert checkpoints_of(SimpleNamespace(source=SimpleNamespace(replicates=3))) == 3
