"""Published statements: the word by the interval of one arm's mean, and how many epochs the claim would have taken."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.suite import Claim, Compare
from harness.verdict.claims import claims_in_words, decide, judge_claims
from tests.verdict.conftest import ACCURACY, LOSS, make_finals

SGD = (0.960, 0.962, 0.958, 0.961, 0.959)


def claim(**changed):
    given = {
        "statement": "It reaches 98 %.",
        "problem": "mnist-cnn",
        "arm": "sgd",
        "metric": SimpleNamespace(name="accuracy"),
        "split": "test",
        "bound": "at_least",
        "value": 0.98,
        "tolerance": 0.0,
    }
    return Claim(**{**given, **changed})


def curve(finals, values, split="validation", metric="accuracy"):
    """The same learning curve for every run, one value an epoch."""
    return pd.DataFrame(
        [
            {"run_id": run_id, "epoch": float(epoch), "split": split, "metric": metric, "value": value}
            for run_id in finals["run_id"]
            for epoch, value in enumerate(values, start=1)
        ]
    )


def judged(
    finals,
    *claims,
    curves=None,
    problems=("mnist-cnn",),
    metric=ACCURACY,
    epochs=None,
    checkpoints=None,
    replicates=5,
    folds=None,
):
    settings = [
        SimpleNamespace(
            problem=problem,
            arm="sgd",
            values={"dataset": "mnist", "epochs": (epochs or {}).get(problem)},
            given=frozenset(),
        )
        for problem in problems
    ]
    suite = SimpleNamespace(
        claims=claims,
        source=checkpoints and SimpleNamespace(replicates=checkpoints),
        settings=settings,
        question="?",
        tuning=SimpleNamespace(trials=0),
        compare=Compare(metric=metric.name, baseline="sgd", replicates=replicates, folds=folds),
    )
    runs = finals.assign(phase="final")
    tables = {"runs": runs, "evaluations": curve(finals, []) if curves is None else curves}
    if not len(tables["evaluations"]):
        tables["evaluations"] = pd.DataFrame(columns=["run_id", "epoch", "split", "metric", "value"])
    return judge_claims(suite, tables, finals, {metric.name: metric})


def finals(values=SGD, **given):
    return make_finals({"sgd": values}, setting="given", **given)


def test_the_interval_is_the_t_interval_of_the_arms_mean():
    (verdict,) = judged(finals(), claim())
    lo, hi = stats.t.interval(0.95, 4, loc=np.mean(SGD), scale=stats.sem(SGD))
    assert (verdict.lo, verdict.hi) == pytest.approx((lo - 0.98, hi - 0.98))
    assert verdict.delta == pytest.approx(np.mean(SGD) - 0.98)
    assert (verdict.verdict, verdict.kind, verdict.n) == ("not_reproduced", "claim", 5)


@pytest.mark.parametrize(
    ("bound", "value", "tolerance", "word"),
    [
        ("at_least", 0.95, 0.0, "reproduced"),
        ("at_least", 0.98, 0.0, "not_reproduced"),
        ("at_least", 0.96, 0.0, "undecided"),
        ("at_least", 0.98, 0.03, "reproduced"),
        ("at_most", 0.98, 0.0, "reproduced"),
        ("at_most", 0.95, 0.0, "not_reproduced"),
        ("at_most", 0.96, 0.0, "undecided"),
        ("equals", 0.96, 0.01, "reproduced"),
        ("equals", 0.98, 0.01, "not_reproduced"),
        ("equals", 0.94, 0.01, "not_reproduced"),
        ("equals", 0.971, 0.01, "undecided"),
    ],
)
def test_the_word_follows_the_intervals_place_beside_the_value(bound, value, tolerance, word):
    # mean .960, half width t(.975, 4) * sd / sqrt(5) = 2.776 * .00158 / 2.236 = .00196
    assert decide(claim(bound=bound, value=value, tolerance=tolerance), 0.95804, 0.96196) == word


def test_the_sentence_says_what_was_claimed_what_was_found_and_on_how_many_runs():
    (verdict,) = judged(finals(), claim())
    assert verdict.sentence == (
        'Claim "It reaches 98 %." (sgd on mnist-cnn, test accuracy at least 98.00 %): not reproduced: '
        "96.00 % [95.80, 96.20] (95 % t-interval of the mean, 5 runs)."
    )


def test_several_claims_say_that_none_is_adjusted_for_the_others():
    assert all("5 runs; unadjusted)" in verdict.sentence for verdict in judged(finals(), claim(), claim(value=0.95)))


def test_an_end_of_the_interval_is_not_written_like_the_bound_of_the_tolerance_that_it_does_not_reach():
    lo, _ = stats.t.interval(0.95, 4, loc=np.mean(SGD), scale=stats.sem(SGD))
    # At least lo - 0.002 pp: reproduced, by less than the row's decimals would show.
    (verdict,) = judged(finals(), claim(value=0.98, tolerance=0.98 - lo + 2e-5))
    assert verdict.verdict == "reproduced"
    assert f"[{100 * lo:.3f}, " in verdict.sentence


def test_over_folds_the_interval_is_the_corrected_one_and_is_called_so():
    (verdict,) = judged(finals(), claim(), folds=5)
    half = stats.t.ppf(0.975, 4) * np.std(SGD, ddof=1) * np.sqrt(1 / 5 + 1 / 4)
    assert (verdict.lo, verdict.hi) == pytest.approx((np.mean(SGD) - half - 0.98, np.mean(SGD) + half - 0.98))
    assert "(95 % t-interval of the mean corrected for overlapping training sets, 5 folds)" in verdict.sentence


def test_where_longer_runs_came_to_the_value_their_median_epoch_is_told():
    long = finals((0.98, 0.981, 0.982), problem="long")
    curves = curve(long, [0.95, 0.97, 0.985, 0.99])
    (verdict,) = judged(
        pd.concat([finals(), long]), claim(), curves=curves, problems=("mnist-cnn", "long"), epochs={"long": 4}
    )
    assert verdict.sentence.endswith("3 of 3 runs came to it on validation within 4 epochs, the median at epoch 3.")


def test_where_no_run_came_to_the_value_that_is_told():
    (verdict,) = judged(finals(), claim(), curves=curve(finals(), [0.95, 0.96]))
    assert verdict.sentence.endswith("None of 5 runs came to it on validation within 2 epochs.")


def test_a_claim_about_training_looks_at_the_last_epoch_of_training():
    rows = curve(finals(), [0.90, 0.99], split="train")
    rows["value"] += np.tile([0.0, 0.001], len(finals())) * np.repeat(np.arange(len(finals())), 2)
    (verdict,) = judged(finals(), claim(split="train", value=0.985), curves=rows)
    assert verdict.verdict == "reproduced"
    assert verdict.delta == pytest.approx(0.99 + 0.001 * 2 - 0.985)


def test_failed_runs_count_at_the_floor_and_are_told():
    (verdict,) = judged(finals((0.96, 0.962, None, 0.961, 0.959)), claim(value=0.9))
    assert verdict.failed_arm == 1
    assert verdict.delta == pytest.approx(np.mean([0.96, 0.962, 0.1, 0.961, 0.959]) - 0.9)
    assert "1 failed" in verdict.sentence


def test_a_failed_run_without_a_floor_and_too_few_runs_cannot_be_judged():
    (verdict,) = judged(finals((0.3, None, 0.3), metric=LOSS), claim(metric=SimpleNamespace(name="loss")), metric=LOSS)
    assert verdict.verdict == "not_compared"
    (verdict,) = judged(finals(SGD[:2]), claim())
    assert verdict.sentence.endswith("cannot be judged, 2 runs, and it takes 3.")


def test_a_minimised_metric_is_better_below_and_its_difference_is_turned():
    low = claim(metric=SimpleNamespace(name="loss"), bound="at_most", value=0.4)
    (verdict,) = judged(finals((0.30, 0.31, 0.29), metric=LOSS), low, metric=LOSS)
    assert verdict.verdict == "reproduced"
    assert verdict.delta == pytest.approx(0.1)
    assert verdict.lo < verdict.delta < verdict.hi


def test_the_first_line_counts_the_words():
    verdicts = judged(finals(), claim(), claim(value=0.9), claim(value=0.96))
    assert claims_in_words(verdicts) == "Of 3 published claims: 1 reproduced, 1 not reproduced, 1 undecided."
    assert claims_in_words([]) == ""


def test_a_claim_is_judged_by_checkpoint_means_where_replicates_share_checkpoints():
    six = (*SGD, 0.967)
    (verdict,) = judged(make_finals({"sgd": six}, setting="given"), claim(value=0.95), checkpoints=3, replicates=6)
    means = [(six[at] + six[at + 3]) / 2 for at in range(3)]
    interval = stats.t.interval(0.95, 2, np.mean(means), stats.sem(means))
    assert (verdict.lo, verdict.hi) == pytest.approx([end - 0.95 for end in interval])
    assert (verdict.n, verdict.method) == (3, "t of checkpoint means")
    assert "(95 % t-interval of the mean, 3 checkpoints)." in verdict.sentence


def test_a_claim_about_one_checkpoint_says_so():
    (verdict,) = judged(make_finals({"sgd": SGD}, setting="given"), claim(value=0.95), checkpoints=1)
    assert verdict.sentence.endswith("It holds for this source checkpoint only.")
    assert "(95 % t-interval of the mean, 5 runs)" in verdict.sentence
