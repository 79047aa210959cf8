"""Everything statistics say of a real, finished suite, in one call, against scipy on the same records."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import harness


@pytest.fixture
def results(finished):
    return harness.load("results/suite")


@pytest.fixture
def differences(results):
    """Test accuracy of adam less that of sgd, by replicate, straight from runs and evaluations."""

    def of(setting):
        runs = results.runs[(results.runs["phase"] == "final") & (results.runs["setting"] == setting)]
        scores = results.table("evaluations")
        scores = scores[(scores["split"] == "test") & (scores["metric"] == "accuracy")]
        table = runs.merge(scores, on="run_id").pivot(index="replicate", columns="arm", values="value")
        return (table["adam"] - table["sgd"]).to_numpy(float)

    return of


@pytest.mark.parametrize("setting", ["tuned", "untuned"])
def test_the_verdict_is_the_paired_t_test_of_the_records(results, differences, setting):
    row = results.verdicts[results.verdicts["setting"] == setting].iloc[0]
    d = differences(setting)
    expected = stats.ttest_1samp(d, 0.0)
    low, high = expected.confidence_interval(0.95)
    assert row["n"] == len(d) == 3
    assert row["delta"] == pytest.approx(d.mean())
    assert row["sd"] == pytest.approx(d.std(ddof=1))
    assert (row["lo"], row["hi"]) == (pytest.approx(low), pytest.approx(high))
    assert row["p_t"] == pytest.approx(expected.pvalue)


def test_only_the_tuned_comparison_is_primary(results):
    assert results.verdicts.set_index("setting")["primary"].to_dict() == {"tuned": True, "untuned": False}


def test_the_word_follows_from_the_interval_and_the_margin(results):
    for row in results.verdicts.to_dict("records"):
        words = {
            "better": row["lo"] > row["margin"],
            "worse": row["hi"] < -row["margin"],
            "equivalent": -row["margin"] < row["lo"] and row["hi"] < row["margin"],
            "better_small": 0 < row["lo"] <= row["margin"],
            "worse_small": -row["margin"] <= row["hi"] < 0,
        }
        expected = next((word for word, holds in words.items() if holds), "undecided")
        assert row["verdict"] == expected


def test_the_summary_is_mean_and_interval_of_the_same_values(results):
    scores = results.table("evaluations")
    final = results.runs[results.runs["phase"] == "final"]
    values = final.merge(scores[scores["split"] == "test"], on="run_id")
    for (arm, setting, metric), group in values.groupby(["arm", "setting", "metric"]):
        summary = results.summary
        row = summary[(summary["arm"] == arm) & (summary["setting"] == setting) & (summary["metric"] == metric)].iloc[0]
        numbers = group["value"].to_numpy(float)
        low, high = stats.ttest_1samp(numbers, 0.0).confidence_interval(0.95)
        assert (row["n"], row["n_ok"]) == (3, 3)
        assert row["mean"] == pytest.approx(numbers.mean())
        assert row["median"] == pytest.approx(np.median(numbers))
        assert (row["lo"], row["hi"]) == (pytest.approx(low), pytest.approx(high))


def test_optimism_is_the_studys_best_less_the_final_runs_validation(results):
    studies, trials = results.table("studies"), results.table("trials")
    best = trials.groupby("study_id")["value"].max()
    assert studies.set_index("study_id")["best_value"].to_dict() == pytest.approx(best.to_dict())
    scores = results.table("evaluations")
    validation = scores[(scores["split"] == "validation") & (scores["metric"] == "accuracy")]
    reached = validation.groupby("run_id")["value"].max()
    final = results.runs[(results.runs["phase"] == "final") & (results.runs["setting"] == "tuned")]
    for row in studies.to_dict("records"):
        run = final[(final["arm"] == row["arm"]) & (final["replicate"] == row["replicate"])]["run_id"].item()
        assert row["final_value"] == pytest.approx(reached[run])
        assert row["optimism"] == pytest.approx(row["best_value"] - reached[run])


def test_what_the_report_says_is_what_the_table_says(results, finished):
    page = finished.read("results/suite/report/report.md")
    assert all(sentence in page for sentence in results.verdicts["sentence"])
    assert pd.notna(results.verdicts["sentence"]).all()
