"""Metrics from the suite to the report: recorded, summed up, refused, and failed with a reason in plain words."""

from __future__ import annotations

import json

import pytest

import harness
from harness.recheck import different
from tests.small import failed

ALSO = ["f1", "roc_auc", {"use": "calibration_error", "bins": 5}]
GIVEN = {"tuning": None, "compare.replicates": 3, "problem.epochs": 1}

LINE = '''
"""A regression that trains in milliseconds."""

import torch
from torch import nn

import harness


def line_data(root):
    """Values on a line with noise."""
    generator = torch.Generator().manual_seed(0)

    def split(n):
        inputs = torch.randn(n, 4, generator=generator)
        return inputs, inputs[:, 0] * 2 + 0.1 * torch.randn(n, generator=generator)

    return harness.Splits(train=split(240), test=split(100), classes=None)


def squares():
    """Half the mean squared error."""
    return lambda outputs, targets: 0.5 * (outputs.reshape(targets.shape) - targets).square().mean()


@harness.hookimpl
def harness_datasets():
    return [harness.Dataset("values", load=line_data)]


@harness.hookimpl
def harness_losses():
    return [harness.Loss("squares", build=squares)]
'''
REGRESSION = {
    **GIVEN,
    "problem.dataset": "values",
    "problem.loss": "squares",
    "compare.metric": "r2",
    "compare.also": ["mse", "mae"],
    "compare.margin": None,
}


def records(project):
    return [json.loads(path.read_text()) for path in sorted(project.folder.glob("results/suite/runs/*/*.json"))]


def test_further_metrics_reach_every_table_and_the_report(project):
    result = project.write(suite={**GIVEN, "compare.also": ALSO}).run("run", "suite.toml")
    assert result.code == 0, result.err
    found = harness.load("results/suite")
    names = {"accuracy", "f1", "roc_auc", "calibration_error", "loss"}
    assert set(found.summary["metric"]) == set(found.table("metrics")["metric"]) == names
    evaluations = found.table("evaluations")
    assert set(evaluations["metric"]) == names
    assert set(evaluations[evaluations["metric"] == "roc_auc"]["split"]) == {"train", "validation", "test"}
    assert all(record["spec"]["metrics"]["calibration_error"] == {"bins": 5} for record in records(project))
    markdown = project.read("results/suite/report/report.md")
    assert "Further metrics of the same final runs" in markdown
    assert "| Arm | Setting | F1, % ↑ | ROC AUC ↑ | Calibration error, % ↓ |" in markdown
    assert "Also measured: F1, ROC AUC and calibration error (bins 5)" in markdown


def test_classes_and_pairs_of_classes_can_be_loaded(project):
    assert project.write(suite=GIVEN).run("run", "suite.toml").code == 0
    found = harness.load("results/suite")
    assert len(found.classes) == 2 * 3 * 2
    assert found.classes["support"].eq(50).all()
    right = found.confusion.query("true == predicted").groupby(["arm", "replicate"])["count"].sum() / 100
    test = found.table("evaluations").query("split == 'test' and metric == 'accuracy'")
    runs = found.runs.merge(test, on="run_id").set_index(["arm", "replicate"])["value"]
    assert right.sort_index().tolist() == pytest.approx(runs.sort_index().tolist())
    assert "## Detail per problem" in project.read("results/suite/report/report.md")


def test_tables_of_an_earlier_harness_say_how_to_have_the_new_ones(finished):
    (finished.folder / "results/suite/tables/classes.csv").unlink()
    with pytest.raises(harness.ResultsError, match="'harness report SUITE' writes them anew"):
        _ = harness.load("results/suite").classes


def test_a_class_that_validation_lacks_fails_the_runs_with_the_reason(project):
    changes = {**GIVEN, "compare.metric": "f1", "problem.validation_examples": 1}
    result = project.write(suite=changes).run("run", "suite.toml")
    assert result.code == 1
    assert "Traceback" not in result.err
    reasons = {record["result"]["reason"] for record in records(project)}
    assert all(reason.startswith("metric 'f1' on the validation split: class ") for reason in reasons)
    assert all(reason.endswith(" of 2 has no example among the 1 of the split") for reason in reasons)
    assert {record["result"]["status"] for record in records(project)} == {"error"}


def test_a_regression_is_measured_summed_up_and_shown_as_one(project):
    result = project.plugin("line_data", LINE).write(suite=REGRESSION).run("run", "suite.toml")
    assert result.code == 0, result.err
    found = harness.load("results/suite")
    assert set(found.summary["metric"]) == {"r2", "mse", "mae", "loss"}
    assert found.classes.empty
    assert found.confusion.empty
    markdown = project.read("results/suite/report/report.md")
    assert "Predicted against true values of" in markdown
    assert "in test R2" in project.read("results/suite/report/report.md")
    assert "Confusion" not in markdown


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({**REGRESSION, "compare.also": ["f1"]}, "metric 'f1' needs classes, and 'values' is a regression"),
        ({**GIVEN, "compare.also": ["r2"]}, "metric 'r2' needs values, and 'clouds' is a classification"),
    ],
)
def test_a_metric_that_the_task_does_not_have_is_refused_before_anything_runs(project, changes, says):
    result = project.plugin("line_data", LINE).write(suite=changes).run("run", "suite.toml")
    assert result.code == 2
    assert says in result.err
    assert not (project.folder / "results").exists()


def test_a_metric_that_is_added_later_is_a_change_of_the_suite(project):
    assert project.write(suite=GIVEN).run("run", "suite.toml").code == 0
    result = project.write(suite={**GIVEN, "compare.also": ["f1"]}).run("run", "suite.toml")
    assert result.code == 0
    assert "the suite changed: compare.also was [], it is ['f1']; 6 finished runs fell out" in result.err


class Entry:
    """A record as a recheck sees it."""

    def __init__(self, result):
        self.run_id, self.result = "one", result


@pytest.mark.parametrize(
    ("before", "now", "differs"),
    [
        ({}, {"details": {"examples": 5}}, False),
        ({"details": {"examples": 5}}, {"details": {"examples": 5}}, False),
        ({"details": {"examples": 5}}, {"details": {"examples": 6}}, True),
        ({"details": {"examples": 5}}, {}, True),
        ({"steps": 3}, {"steps": 4, "details": {}}, True),
    ],
)
def test_a_repetition_is_not_asked_for_details_that_the_record_has_not(before, now, differs):
    base = {**failed(), "status": "ok"}
    again = {"id": "one", "result": {**base, **now}}
    assert bool(different([Entry({**base, **before})], [again])) == differs
