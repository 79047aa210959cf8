"""Data sets that need no files of their own: scikit-learn's, and those drawn from a seed."""

import numpy as np
import pytest
import torch
from harness_plugins import random_data, sklearn_datasets
from harness_plugins.random_data import random
from harness_plugins.sklearn_datasets import breast_cancer, diabetes, digits, hold_out
from sklearn import datasets
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler

torch.set_num_threads(1)


def test_a_fifth_of_each_class_is_held_out_rounded_and_all_the_rest_is_there():
    labels = torch.tensor([0] * 10 + [1] * 12 + [2] * 3 + [3] * 2)
    train, test = hold_out(labels)
    assert labels[test].bincount(minlength=4).tolist() == [2, 2, 1, 0]
    assert sorted(train.tolist() + test.tolist()) == list(range(len(labels)))
    assert train.tolist() == sorted(train.tolist())


def test_the_same_are_held_out_whatever_was_drawn_before():
    labels = torch.arange(50) % 3
    first = hold_out(labels)[1]
    torch.manual_seed(5)
    assert torch.equal(hold_out(labels)[1], first)
    assert first.tolist() != list(range(len(first)))


@pytest.mark.parametrize("name", ["digits", "breast_cancer"])
def test_both_splits_have_the_classes_in_the_same_shares(name):
    splits = {"digits": digits, "breast_cancer": breast_cancer}[name](None)
    counts = getattr(datasets, f"load_{name}")().target
    whole = np.bincount(counts)
    held = splits.test[1].bincount().numpy()
    np.testing.assert_array_equal(held, np.floor(whole / 5 + 0.5))
    np.testing.assert_array_equal(splits.train[1].bincount().numpy(), whole - held)


def test_digits_are_scikit_learns_images_in_shades_of_sixteen():
    splits, source = digits(None, normalize="unit"), datasets.load_digits()
    train, test = hold_out(torch.from_numpy(source.target))
    np.testing.assert_array_equal(splits.train[0][:, 0] * 16, source.images[train])
    np.testing.assert_array_equal(splits.test[0][:, 0] * 16, source.images[test])
    np.testing.assert_array_equal(splits.test[1], source.target[test])
    assert splits.class_names == tuple("0123456789")
    assert digits(None, classes=[8, 3], invert=True).class_names == ("8", "3")


def test_breast_cancer_is_standardised_by_its_training_split():
    splits, source = breast_cancer(None), datasets.load_breast_cancer()
    train, test = hold_out(torch.from_numpy(source.target))
    scaler = StandardScaler().fit(source.data[train])
    np.testing.assert_allclose(splits.train[0], scaler.transform(source.data[train]), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(splits.test[0], scaler.transform(source.data[test]), rtol=1e-5, atol=1e-5)
    assert splits.class_names == ("malignant", "benign")
    model = LogisticRegression().fit(splits.train[0].numpy(), splits.train[1].numpy())
    assert model.score(splits.test[0].numpy(), splits.test[1].numpy()) > 0.95


def test_diabetes_gives_features_and_targets_in_deviations_of_the_training_split():
    splits, source = diabetes(None), datasets.load_diabetes(scaled=False)
    train, test = hold_out(torch.zeros(442))
    assert (splits.classes, splits.class_names) == (None, ())
    assert (len(splits.train[1]), len(splits.test[1])) == (354, 88)
    scaler = StandardScaler().fit(source.data[train])
    np.testing.assert_allclose(splits.test[0], scaler.transform(source.data[test]), rtol=1e-4, atol=1e-5)
    mean, deviation = source.target[train].mean(), source.target[train].std()
    np.testing.assert_allclose(splits.test[1], (source.target[test] - mean) / deviation, rtol=1e-5, atol=1e-6)
    assert float(splits.train[1].square().mean()) == pytest.approx(1, abs=1e-5)
    # About half the variance is explained by a line, as is well known of these data.
    line = LinearRegression().fit(splits.train[0].numpy(), splits.train[1].numpy())
    assert 0.35 < line.score(splits.test[0].numpy(), splits.test[1].numpy()) < 0.65


def test_random_classes_are_balanced_and_lie_around_their_centres():
    splits = random(None, shape=[2, 3], classes=4, train=4000, test=400, noise=0.5, seed=3)
    assert splits.train[1].bincount().tolist() == [1000] * 4
    centres = torch.stack([splits.train[0][splits.train[1] == number].mean(0) for number in range(4)])
    rest = splits.test[0] - centres[splits.test[1]]
    assert splits.test[0].shape == (400, 2, 3)
    assert float(rest.mean()) == pytest.approx(0, abs=0.05)
    assert float(rest.std()) == pytest.approx(0.5, rel=0.05)


def test_random_values_are_a_linear_function_with_noise():
    exact = random(None, shape=[6], classes=0, train=50, test=20, noise=0.0, seed=1)
    line = LinearRegression().fit(*(tensor.numpy().astype(np.float64) for tensor in exact.train))
    assert exact.classes is None
    np.testing.assert_allclose(line.predict(exact.test[0].numpy()), exact.test[1], atol=1e-5)
    noisy = random(None, shape=[6], classes=0, train=50, test=2000, noise=0.5, seed=1)
    assert torch.equal(noisy.train[0], exact.train[0])
    rest = noisy.test[1].numpy() - line.predict(noisy.test[0].numpy())
    assert float(rest.std()) == pytest.approx(0.5, rel=0.05)


def test_another_seed_is_another_draw_and_the_size_of_a_split_changes_no_other():
    first = random(None, train=20, test=20)
    again, more, other = random(None, train=20, test=20), random(None, train=30, test=20), random(None, seed=1)
    for name in ("train", "test"):
        assert torch.equal(getattr(first, name)[0], getattr(again, name)[0])
    assert torch.equal(first.test[0], more.test[0])
    assert not torch.equal(first.test[0], other.test[0][:20])
    assert not torch.equal(first.train[0], first.test[0])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"shape": []}, r"shape must be whole numbers of at least 1, got \[\]"),
        ({"shape": [3, 0]}, r"shape must be whole numbers of at least 1, got \[3, 0\]"),
        ({"shape": [2.5]}, r"shape must be whole numbers of at least 1, got \[2.5\]"),
        ({"classes": 1}, "classes must be at least 2, or 0 for a regression, got 1"),
        ({"classes": -3}, "classes must be at least 2, or 0 for a regression, got -3"),
        ({"train": 9}, "train and test must be at least 10, got 9 and 500"),
        ({"classes": 0, "test": 0}, "train and test must be at least 1, got 1000 and 0"),
        ({"noise": -1.0}, "noise must be a finite number of at least 0, got -1.0"),
        ({"noise": float("nan")}, "noise must be a finite number of at least 0, got nan"),
    ],
)
def test_an_option_of_random_that_makes_no_sense_is_refused_with_the_rule(option, message):
    with pytest.raises(ValueError, match=message):
        random(None, **option)


def test_every_data_set_of_scikit_learn_names_its_source():
    assert all(part.source for part in sklearn_datasets.harness_datasets())
    assert [part.name for part in random_data.harness_datasets()] == ["random"]


def test_they_are_trained_on_by_name(project):
    """A classification of images and one of a table; no model has to know which."""
    for dataset, model in (("digits", {"use": "cnn", "channels": [4]}), ("breast_cancer", "mlp")):
        changes = {"problem.dataset": dataset, "problem.model": model, "tuning": None, "compare.replicates": 1}
        result = project.write(suite=changes, name=f"{dataset}.toml").run("run", f"{dataset}.toml")
        assert result.code == 0, result.err
        assert "2 of 2 ok" in result.err


SQUARED = """
import harness

def squared():
    return lambda outputs, targets: (outputs.squeeze(1) - targets).square().mean()

@harness.hookimpl
def harness_losses():
    return [harness.Loss("squared", build=squared)]
"""


def test_the_regression_is_trained_on_by_name(project):
    changes = {"problem.dataset": "diabetes", "problem.model": {"use": "mlp", "hidden": [8]}, "problem.loss": "squared"}
    changes |= {"problem.train_examples": 250, "problem.epochs": 8, "tuning": None, "compare.metric": "loss"}
    changes |= {"arms.optimizer": [{"use": "adam", "lr": 0.01}], "compare.baseline": None, "compare.margin": None}
    result = project.plugin("squared", SQUARED).write(suite=changes).run("run", "suite.toml")
    assert result.code == 0, result.err
    summary = project.read("results/suite/tables/runs.csv").splitlines()
    assert len(summary) == 1 + 3
    rows = [line.split(",") for line in project.read("results/suite/tables/evaluations.csv").splitlines()]
    head = {name: at for at, name in enumerate(rows[0])}
    scores = [float(row[head["value"]]) for row in rows[1:] if row[head["split"]] == "test"]
    # Less than 1, which is what giving the mean would score.
    assert len(scores) == 3
    assert max(scores) < 0.8
