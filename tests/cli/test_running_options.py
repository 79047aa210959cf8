"""`harness run` with augmentation, penalties, early stopping, a schedule that watches, and both tasks."""

from __future__ import annotations

import csv
import json

import pytest

IMAGES = '''
"""Images of two kinds, and values to be guessed from points."""

import torch
from torch import nn

import harness


def dots(root):
    """A bright pixel on the left or on the right."""
    generator = torch.Generator().manual_seed(0)

    def split(n):
        labels = torch.arange(n) % 2
        images = 0.8 * torch.randn(n, 1, 6, 6, generator=generator)
        images[torch.arange(n), 0, 3, 1 + 3 * labels] += 1.5
        return images, labels

    return harness.Splits(train=split(240), test=split(100), classes=2)


def sums(root):
    """The sum of four numbers."""
    inputs = torch.randn(340, 4, generator=torch.Generator().manual_seed(0))
    values = inputs.sum(1)
    return harness.Splits(train=(inputs[:240], values[:240]), test=(inputs[240:], values[240:]), classes=None)


def flat(input_shape, outputs):
    """A linear model of flattened inputs."""
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(input_shape).numel(), outputs))


@harness.hookimpl
def harness_datasets():
    return [harness.Dataset("dots", load=dots), harness.Dataset("sums", load=sums)]


@harness.hookimpl
def harness_models():
    return [harness.Model("flat", build=flat)]
'''
EVERYTHING = {
    "problem.dataset": "dots",
    "problem.model": "flat",
    "problem.loss": "mse",
    "problem.schedule": {"use": "plateau", "patience": 0, "metric": "loss"},
    "problem.augmentation": ["crop", {"use": "rotate", "degrees": 10}],
    "problem.regularisation": {"l1": 1e-4},
    "problem.early_stopping": {"patience": 1, "metric": "loss"},
    "problem.epochs": 8,
    "arms": {"optimizer": ["sgd"], "early_stopping": ["none", {"metric": "accuracy"}]},
    "tuning": {"trials": 2, "sampler": "random"},
    "compare.baseline": "sgd+none",
    "compare.replicates": 2,
}


FEW = {"tuning": {"trials": 1}, "compare.replicates": 1, "compare.untuned": False}


def everything(project, **changes):
    space = {"regularisation.l2": {"low": 1e-6, "high": 1e-2, "log": True}}
    tuning = {**EVERYTHING["tuning"], "space": space}
    return project.plugin("tiny", IMAGES).write(suite={**EVERYTHING, "tuning": tuning, **changes})


def rows(project, table, results="results/suite"):
    return list(csv.DictReader(project.read(f"{results}/tables/{table}.csv").splitlines()))


def test_a_suite_of_all_of_these_runs_and_its_tables_say_what_stopped(project):
    result = everything(project).run("run", "suite.toml")
    assert result.code == 0, result.err
    runs = rows(project, "runs")
    assert {(row["arm"], row["epoch_rule"]) for row in runs} == {
        ("sgd+none", "best_validation"),
        ("sgd+metric-accuracy", "early_stopping"),
    }
    stopped = [row for row in runs if row["stopped_early"] == "true"]
    assert {row["arm"] for row in stopped} == {"sgd+metric-accuracy"}
    assert {row["phase"] for row in stopped} == {"tune", "final"}
    for row in runs:
        assert (float(row["epochs"]) < 8) == (row["stopped_early"] == "true")
        assert (row["selected_epoch"] != "") == (row["phase"] == "final" or row["epoch_rule"] == "early_stopping")
    assert {(row["arm"], row["epoch_rule"]) for row in rows(project, "summary")} == {
        (row["arm"], row["epoch_rule"]) for row in runs
    }
    searched = {row["name"] for row in rows(project, "trial_parameters")}
    assert searched == {"optimizer.lr", "regularisation.l2"}


def test_a_trials_value_is_the_compared_metric_at_the_epoch_that_early_stopping_chose(project):
    # Compared by loss, stopped by accuracy: the two are best at different epochs in some run.
    everything(project, **{"compare.metric": "loss", "compare.margin": None}).run("run", "suite.toml")
    runs = {row["run_id"]: row for row in rows(project, "runs")}
    validation = [row for row in rows(project, "evaluations") if row["split"] == "validation"]
    elsewhere = 0
    for trial in rows(project, "trials"):
        run = runs[trial["run_ids"]]
        curve = {row["epoch"]: float(row["value"]) for row in validation
                 if row["run_id"] == trial["run_ids"] and row["metric"] == "loss"}  # fmt: skip
        early = run["epoch_rule"] == "early_stopping"
        due = curve[run["selected_epoch"]] if early else min(curve.values())
        assert float(trial["value"]) == due
        elsewhere += early and due != min(curve.values())
    assert elsewhere


def test_workers_of_their_own_give_equal_bytes(project):
    everything(project, **FEW).run("run", "suite.toml", "--results", "one")
    result = project.run("run", "suite.toml", "--executor", "process", "--workers", "2", "--results", "other")
    assert result.code == 0, result.err
    for table in ("runs", "evaluations", "trials", "summary"):
        assert project.read(f"one/tables/{table}.csv") == project.read(f"other/tables/{table}.csv")


def test_the_report_says_what_was_held_equal_and_what_varied(project):
    everything(project, arms=None, **{"compare.baseline": None, "tuning": None}).run("run", "suite.toml")
    said = project.read("results/suite/report/report.md")
    assert "augmentation crop (padding 4), rotate (degrees 10)" in said
    assert "regularisation (l1 0.0001, l2 0)" in said
    assert "early stopping (metric loss, min delta 0, patience 1)" in said
    assert "order of examples, augmentation" in said
    assert "where early stopping does not choose it by its own metric" in said


def test_an_augmentation_put_into_the_suite_is_a_changed_suite_and_no_changed_plugin(project):
    plain = {"problem.augmentation": None, "arms": None, "compare.baseline": None, "tuning": None}
    everything(project, **plain).run("run", "suite.toml")
    everything(project, **{**plain, "problem.augmentation": "rotate"})
    result = project.run("run", "suite.toml")
    assert result.code == 0, result.err
    assert "the suite changed: augmentation was not there" in result.err
    assert "set aside" not in result.err


VALUES = {"problem.dataset": "sums", "problem.model": "flat", "arms.optimizer": ["sgd"], "compare.baseline": None,
          "compare.replicates": 1, "compare.margin": None, "tuning": None}  # fmt: skip


def test_a_regression_runs_with_the_loss_of_values(project):
    changes = {**VALUES, "problem.loss": "mse", "compare.metric": "loss", "problem.early_stopping": {}}
    result = project.plugin("tiny", IMAGES).write(suite=changes).run("run", "suite.toml")
    assert result.code == 0, result.err
    assert {row["metric"] for row in rows(project, "evaluations")} == {"loss"}


@pytest.mark.parametrize(
    ("changes", "says", "allowed"),
    [
        ({"compare.metric": "loss"}, "loss 'cross_entropy' needs classes, and 'sums' is a regression", "allowed: mse"),
        ({"problem.loss": "mse"}, "metric 'accuracy' needs classes, and 'sums' is a regression", "allowed: loss"),
    ],
    ids=["loss", "metric"],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_what_a_regression_does_not_have_is_refused_before_anything_runs(project, command, changes, says, allowed):
    result = project.plugin("tiny", IMAGES).write(suite={**VALUES, **changes}).run(command, "suite.toml")
    assert result.code == 2
    assert says in result.err
    assert allowed in result.err
    assert "suite.toml:" in result.err
    assert "Traceback" not in result.err
    assert not (project.folder / "results").exists()


def test_augmentation_of_points_is_refused_before_anything_runs(project):
    result = project.write(suite={"problem.augmentation": "rotate"}).run("run", "suite.toml")
    assert result.code == 2
    assert "augmentation needs images (C, H, W), and inputs of 'clouds' have the shape (4,)" in result.err


def test_an_option_that_an_augmentation_does_not_take_is_found_by_plan(project):
    changes = {"problem.augmentation": {"use": "rotate", "degrees": 400.0}, "tuning": None}
    result = everything(project, **changes).run("plan", "suite.toml")
    assert result.code == 2
    assert "rotate: degrees must be from 0 to 180, got 400.0" in result.err


def test_the_augmentations_are_listed_with_their_options(project):
    found = project.run("list", "augmentations", "--json").json()
    assert {part["name"]: part["options"] for part in found["parts"]} == {
        "crop": {"padding": 4}, "rotate": {"degrees": 15.0}, "scale": {"amount": 0.2},
    }  # fmt: skip
    assert json.loads(project.run("show", "rotate", "--json").out)[0]["kind"] == "augmentation"
