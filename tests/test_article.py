"""Everything that the tutorial names, row by row: what this project starts from must run here and be measured."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from harness import load
from harness.registry import load_catalog, load_part
from harness.train.feed import Budget
from tests.conftest import Project

SUITES = Path(__file__).parents[1] / "suites"
DIGITS: dict[str, Any] = {
    "problem.dataset": "digits",
    "problem.model": {"use": "cnn", "channels": [4], "hidden": 8},
    "problem.optimizer": "adam",
    "problem.train_examples": 400,
    "problem.validation_examples": 200,
    "arms": None,
    "compare.baseline": None,
    "compare.margin": None,
    "compare.replicates": 3,
    "tuning": None,
}


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


def build(catalog, kind, name):
    part = load_part(kind, name, catalog.find(kind, name).origin)
    return getattr(part, part.call)


def run(project: Project, **changes: Any):
    """Results of a suite on scikit-learn's digits, with some keys changed."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    result = project.write(suite={**DIGITS, **dotted}).run("run", "suite.toml")
    assert result.code == 0, result.err
    return load(project.folder / "results/suite")


def records(project: Project):
    return [json.loads(path.read_text()) for path in sorted((project.folder / "results/suite/runs").glob("*/*.json"))]


def table_of(project: Project, name: str):
    return pd.read_csv(project.folder / f"results/suite/tables/{name}.csv")


def names(catalog, kind):
    return set(catalog.names(kind))


# Data, networks, losses, optimizers ----------------------------------------------------------------------------------


def test_row_mnist_has_60000_training_and_10000_test_images_of_28_by_28(catalog):
    splits = build(catalog, "dataset", "mnist")(None)
    assert (splits.train[0].shape, splits.test[0].shape) == ((60_000, 1, 28, 28), (10_000, 1, 28, 28))
    assert splits.classes == 10


def test_row_pixels_are_scaled_to_one_to_minus_one_and_one_or_to_mean_and_deviation(catalog):
    mnist = build(catalog, "dataset", "mnist")
    symmetric = mnist(None).test[0]
    assert [symmetric.min(), symmetric.max()] == [-1, 1]
    unit = mnist(None, normalize="unit").test[0]
    assert [unit.min(), unit.max()] == [0, 1]
    standard = mnist(None, normalize="standard").train[0]
    assert standard.mean().item() == pytest.approx(0, abs=1e-3)
    assert standard.std().item() == pytest.approx(1, abs=1e-3)


def test_row_the_cnn_has_421642_parameters(catalog):
    network = build(catalog, "model", "cnn")((1, 28, 28), 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == 421_642


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_row_activations_are_options_of_both_networks(catalog, name):
    for model in ("cnn", "mlp"):
        network = build(catalog, "model", model)((1, 8, 8), 3, activation=name)
        assert name in {type(module).__name__.lower() for module in network.modules()}


def test_row_cross_entropy_and_squared_error_with_its_half(catalog):
    outputs, labels = torch.tensor([[2.0, 0.0], [1.0, 3.0]]), torch.tensor([0, 1])
    logs = [(2 - torch.tensor([2.0, 0.0]).logsumexp(0)), (3 - torch.tensor([1.0, 3.0]).logsumexp(0))]
    entropy = build(catalog, "loss", "cross_entropy")()(outputs, labels)
    assert entropy.item() == pytest.approx(-sum(logs).item() / 2)
    squared = build(catalog, "loss", "mse")()
    # ((2 - 1)^2 + 0^2) / 2 and (1^2 + (3 - 1)^2) / 2, then their mean
    assert squared(outputs, labels).item() == pytest.approx((0.5 + 2.5) / 2)
    assert squared(torch.tensor([[1.0], [4.0]]), torch.tensor([2.0, 2.0])).item() == pytest.approx((0.5 + 2.0) / 2)


# Two steps from 1 along a gradient of 1 at rate 0.1. Momentum 0.9 goes 0.1 and 0.19; Adam's corrected moments are
# 1 at every step of an equal gradient; AdamW takes 0.1 x 0.5 of the weight away before each.
TWO_STEPS = {
    "sgd": ({}, 1 - 0.1 - 0.1),
    "momentum": ({"momentum": 0.9}, 1 - 0.1 - 0.19),
    "adam": ({}, 1 - 0.1 - 0.1),
    "adamw": ({"weight_decay": 0.5}, (0.95 - 0.1) * 0.95 - 0.1),
}


@pytest.mark.parametrize("name", TWO_STEPS)
def test_row_sgd_momentum_adam_and_adamw_step_as_their_formulas_do(catalog, name):
    options, expected = TWO_STEPS[name]
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = build(catalog, "optimizer", name)([{"params": [weight]}], lr=0.1, **options)
    for _ in range(2):
        weight.grad = torch.ones(1)
        optimizer.step()
    assert weight.item() == pytest.approx(expected, abs=1e-6)


# Training ------------------------------------------------------------------------------------------------------------


def test_row_rate_and_batch_size_are_tuned_on_validation(project):
    run(project, tuning={"trials": 2, "space": {"batch_size": [20, 40]}}, compare__untuned=False)
    assert set(table_of(project, "trial_parameters")["name"]) == {"optimizer.lr", "batch_size"}
    tune = {record["id"] for record in records(project) if record["spec"]["phase"] == "tune"}
    rows = table_of(project, "evaluations")
    assert set(rows[rows["run_id"].isin(tune)]["split"]) == {"train", "validation"}


def test_row_loss_and_accuracy_at_each_step_of_training_are_in_a_table_and_a_figure(project):
    run(project)
    rows = table_of(project, "evaluations")
    for split in ("train", "validation"):
        for metric in ("loss", "accuracy"):
            assert sorted(set(rows[(rows["split"] == split) & (rows["metric"] == metric)]["epoch"])) == [1, 2]
    assert (project.folder / "results/suite/report/figures/curves.svg").exists()


def test_row_the_articles_settings_and_its_claims_are_a_suite(catalog):
    suite = tomllib.loads((SUITES / "article.toml").read_text())
    assert suite["problem"]["batch_size"] == 64
    assert 2 in suite["problems"]["epochs"]
    arms = {arm["name"]: arm["optimizer"] for arm in suite["arm"]}
    assert arms["code"] == {"use": "momentum", "lr": 0.001, "momentum": 0.9}
    assert arms["text"] == {"use": "sgd", "lr": 0.001}
    claimed = {(claim["arm"], claim.get("split", "test")): claim["at_least"] for claim in suite["claim"]}
    assert claimed == {(arm, split): value for arm in arms for split, value in (("test", 0.98), ("train", 0.99))}


def test_row_schedules_by_steps_and_by_epochs(catalog):
    assert {"constant", "step", "multistep", "cosine", "plateau"} <= names(catalog, "schedule")
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    for unit, steps in (("steps", 1000), ("epochs", 2000)):
        optimizer = torch.optim.SGD([weight], lr=1.0)
        # The article divides by 10 every 1000 iterations; 2 epochs of 1000 steps here.
        every = 1000 if unit == "steps" else 2
        schedule = build(catalog, "schedule", "step")(optimizer, 4000, 1000, every=every, gamma=0.1, unit=unit)
        rates = []
        for _ in range(steps + 1):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        assert rates[steps - 1] == 1.0
        assert rates[steps] == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["multistep", "cosine", "plateau"])
def test_row_the_other_schedules_lower_the_rate(catalog, name):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build(catalog, "schedule", name)(optimizer, 40, 10)
    for _ in range(30):
        optimizer.step()
        schedule.step(*([1.0] if name == "plateau" else []))
    assert optimizer.param_groups[0]["lr"] < 0.2


def test_row_an_epoch_ends_before_the_articles_code_prints_its_first_loss():
    assert Budget.of({"batch_size": 64, "epochs": 2}, 60_000).steps_per_epoch == 938 < 2000


# Against overfitting -------------------------------------------------------------------------------------------------


REMEDIES = {
    "l1": {"problem.regularisation": {"l1": 1e-3}},
    "l2": {"problem.regularisation": {"l2": 1e-2}},
    "rotation": {"problem.augmentation": {"use": "rotate", "degrees": 10}},
    "scaling and cropping": {"problem.augmentation": [{"use": "scale", "amount": 0.1}, {"use": "crop", "padding": 1}]},
    "dropout": {"problem.model": {"use": "cnn", "channels": [4], "hidden": 8, "dropout": 0.5}},
}


@pytest.mark.parametrize("remedy", REMEDIES)
def test_row_each_remedy_against_overfitting_changes_what_is_learnt(project, remedy):
    weights = []
    for changes in ({}, REMEDIES[remedy]):
        run(project, **{key.replace(".", "__"): value for key, value in changes.items()})
        weights.append({record["result"]["weights_hash"] for record in records(project)})
    assert len(weights[0]) == 3
    assert len(weights[1]) == 6


def test_row_early_stopping_leaves_the_stopped_epoch_in_the_record(project):
    run(project, problem__epochs=8, problem__early_stopping={"patience": 1, "metric": "accuracy", "min_delta": 0.5})
    for record in records(project):
        result = record["result"]
        assert result["epochs"] < 8
        assert result["stopped_early"] is True
        assert result["selected_epoch"] <= result["epochs"]


def test_row_more_training_data_is_an_axis(project):
    run(project, problem__train_examples=None, problems={"train_examples": [50, 400]})
    figure = pd.read_csv(project.folder / "results/suite/report/figures/over-train-examples.csv")
    assert figure["x"].tolist() == [50, 400]


# Measuring -----------------------------------------------------------------------------------------------------------


def test_row_accuracy_precision_recall_f1_and_auc_per_class_and_averaged_with_matrix_and_curve(project):
    also = ["precision", "recall", "f1", "roc_auc"]
    results = run(project, compare__also=also)
    assert set(also) | {"accuracy"} <= set(results.summary["metric"])
    classes = table_of(project, "classes")
    assert set(classes["class"]) == set(range(10))
    assert {"precision", "recall", "f1", "auc"} <= set(classes)
    # F1 is the harmonic mean of the two.
    row = classes[(classes["precision"] > 0) & (classes["recall"] > 0)].iloc[0]
    assert row["f1"] == pytest.approx(2 / (1 / row["precision"] + 1 / row["recall"]))
    figures = {path.stem for path in (project.folder / "results/suite/report/figures").glob("*.svg")}
    assert {"confusion", "roc"} <= figures


def test_row_cross_validation(project):
    results = run(project, problem__folds=3, compare__replicates=None, problem__train_examples=None)
    assert set(results.summary["unit"]) == {"fold"}
    tested = table_of(project, "evaluations").query("split == 'test' and metric == 'accuracy'")["n_examples"]
    # Every one of the 1,438 training examples is tested in one of the folds.
    assert (len(tested), sum(tested)) == (3, 1438)


def test_row_interpretability_shows_mistakes_and_saliency(project):
    run(project)
    details = [record["result"]["details"] for record in records(project)]
    assert all(detail["pictures"]["saliency"] for detail in details)
    figures = {path.stem for path in (project.folder / "results/suite/report/figures").glob("*.svg")}
    assert {"confusion", "mistakes"} <= figures


# Beyond --------------------------------------------------------------------------------------------------------------


def test_row_freezing_trains_a_part_of_what_full_fine_tuning_trains(project):
    run(project, arms={"strategy": ["full", {"use": "freeze", "last_k": 1}]}, compare__baseline="full")
    runs = table_of(project, "runs").groupby("arm")["trainable_parameters"].agg(set)
    # cnn: 4 x 9 + 4, then 4 x 4 x 4 to 8, then 8 to 10 outputs
    head, whole = 8 * 10 + 10, (4 * 9 + 4) + (4 * 4 * 4 * 8 + 8) + (8 * 10 + 10)
    assert sorted(runs) == [{head}, {whole}]


def test_row_large_models_come_by_torchvisions_names(catalog):
    assert {"resnet18", "vgg11_bn", "vit_b_16", "convnext_tiny"} <= names(catalog, "model")
    network = build(catalog, "model", "resnet18")((3, 32, 32), 10)
    # He et al. 2016: 11,689,512 with 1,000 classes, whose layer has 513 parameters a class
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_689_512 - 990 * 513


def test_row_a_regression_and_a_tabular_problem_run_by_the_same_command(project):
    regression = {
        "problem__dataset": "diabetes",
        "problem__loss": "mse",
        "problem__model": {"use": "mlp", "hidden": [8]},
        "problem__train_examples": 200,
        "problem__validation_examples": 50,
        "compare__metric": "r2",
        "compare__also": ["mse", "mae"],
    }
    results = run(project, **regression)
    assert {"r2", "mse", "mae"} <= set(results.summary["metric"])
    assert "accuracy" not in set(results.summary["metric"])


def test_row_a_table_of_measurements_runs_by_the_same_command(project):
    changes = {
        "problem__dataset": "breast_cancer",
        "problem__model": {"use": "mlp", "hidden": [8]},
        "problem__optimizer": {"use": "adam", "lr": 0.01},
        "problem__validation_examples": 100,
        "problem__epochs": 5,
    }
    results = run(project, **changes, problem__train_examples=200)
    (mean,) = results.summary.query("metric == 'accuracy'")["mean"]
    assert mean > 0.8  # 63 % are benign
    assert set(table_of(project, "classes")["name"]) == {"malignant", "benign"}


def test_row_distributed_training_is_an_executor(catalog):
    # tests/execute/test_dask.py trains on a cluster.
    assert "scheduler" in catalog.find("executor", "dask").options


def test_row_notebooks_get_tables_and_a_page_and_editors_a_schema(project):
    results = run(project)
    assert "<table" in results._repr_html_()
    assert set(results.runs["status"]) == {"ok"}
    said = project.run("schema")
    assert said.code == 0
    assert '"mnist"' in json.dumps(said.json()["$defs"])
    assert set(said.json()["properties"]) >= {"question", "problem", "arms", "tuning", "compare", "claim"}
