"""Summaries of single arms, by hand and by scipy."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.verdict import optimism, summarise


def row_of(frame, **key):
    where = np.logical_and.reduce([frame[name] == value for name, value in key.items()])
    (row,) = frame[where].to_dict("records")
    return row


def test_a_summary_has_the_documented_columns(kit):
    table = summarise(kit.finals({"sgd": kit.base}), epoch_rule="last")
    names = "problem arm setting metric split epoch_rule unit n n_ok mean mean_ok sd median min max lo hi level method"
    assert list(table.columns) == names.split()
    assert (table["n"].dtype, table["n_ok"].dtype) == ("int64", "int64")
    assert list(summarise(kit.finals({}), epoch_rule="last").columns) == names.split()


def test_finished_runs_have_the_t_interval_of_their_mean(kit):
    row = summarise(kit.finals({"sgd": kit.base}), epoch_rule="best_validation").to_dict("records")[0]
    oracle = stats.ttest_1samp(kit.base, 0).confidence_interval(0.95)
    assert (row["lo"], row["hi"]) == pytest.approx(tuple(oracle))
    assert (row["mean"], row["sd"]) == pytest.approx((np.mean(kit.base), np.std(kit.base, ddof=1)))
    assert (row["median"], row["min"], row["max"], row["level"]) == (0.905, 0.9, 0.91, 0.95)
    assert (row["split"], row["epoch_rule"], row["unit"], row["method"]) == (
        "test",
        "best_validation",
        "replicate",
        "t",
    )


def test_failed_runs_count_at_the_floor_but_not_in_mean_ok(kit):
    row = summarise(kit.finals({"sgd": [0.8, 0.9, None, 0.7]}), epoch_rule="last").to_dict("records")[0]
    assert (row["n"], row["n_ok"]) == (4, 3)
    assert (row["mean"], row["mean_ok"]) == pytest.approx(((0.8 + 0.9 + 0.1 + 0.7) / 4, 0.8))
    assert row["min"] == 0.1


def test_without_a_floor_a_failed_run_leaves_only_mean_ok(kit):
    table = summarise(kit.finals({"sgd": [0.2, None, 0.4, 0.3]}, metric=kit.loss), epoch_rule="last")
    row = table.to_dict("records")[0]
    assert row["mean_ok"] == pytest.approx(0.3)
    assert all(math.isnan(row[name]) for name in ("mean", "sd", "median", "min", "max", "lo", "hi"))
    assert row["method"] == "none"


def test_all_runs_failed(kit):
    row = summarise(kit.finals({"sgd": [None] * 3}), epoch_rule="last").to_dict("records")[0]
    assert (row["n"], row["n_ok"], row["mean"]) == (3, 0, pytest.approx(0.1))
    assert math.isnan(row["mean_ok"])


@pytest.mark.parametrize(("n", "method"), [(1, "none"), (2, "none"), (3, "t")])
def test_an_interval_starts_at_three_runs(kit, n, method):
    row = summarise(kit.finals({"sgd": kit.base[:n]}), epoch_rule="last", claim="setting").to_dict("records")[0]
    assert (row["method"], math.isnan(row["lo"]), row["unit"]) == (method, n < 3, "run")


def test_groups_are_apart_and_sorted(kit):
    frames = [kit.finals({"sgd": kit.base, "adam": kit.base}, metric=m) for m in (kit.loss, kit.accuracy)]
    frames.append(kit.finals({"sgd": [0.5] * 3}, setting="untuned"))
    table = summarise(pd.concat(frames), epoch_rule="last")
    assert table[["arm", "setting", "metric"]].to_numpy().tolist() == [
        ["adam", "tuned", "accuracy"],
        ["adam", "tuned", "loss"],
        ["sgd", "tuned", "accuracy"],
        ["sgd", "tuned", "loss"],
        ["sgd", "untuned", "accuracy"],
    ]
    assert row_of(table, arm="sgd", setting="untuned")["mean"] == 0.5


def studies(direction, best, final):
    n = len(best)
    return pd.DataFrame(
        {
            "problem": ["p"] * n,
            "arm": ["adam"] * n,
            "direction": [direction] * n,
            "best_value": best,
            "final_value": final,
        }
    )


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1), ("minimize", -1)])
def test_optimism_is_positive_where_the_study_looked_better(direction, sign):
    best, final = [0.9, 0.8, 0.85], [0.88, 0.79, 0.8]
    row = optimism(studies(direction, best, final)).to_dict("records")[0]
    oracle = stats.ttest_rel(best, final).confidence_interval(0.95)
    assert row["mean"] == pytest.approx(sign * (0.02 + 0.01 + 0.05) / 3)
    assert (row["lo"], row["hi"]) == pytest.approx(tuple(sorted((sign * oracle.low, sign * oracle.high))))


def test_optimism_leaves_out_studies_without_a_final_run():
    row = optimism(studies("maximize", [0.9, None, 0.8], [0.8, 0.7, None])).to_dict("records")[0]
    assert (row["n"], row["mean"]) == (1, pytest.approx(0.1))
    assert math.isnan(row["lo"])


def test_optimism_without_studies_is_an_empty_table():
    assert optimism(studies("maximize", [], [])).empty
