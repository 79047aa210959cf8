"""The metrics of classes and of values against scikit-learn and hand arithmetic."""

import math

import numpy as np
import pytest
import torch
from harness_plugins import metrics_classes, metrics_values
from harness_plugins.metrics_classes import (
    balanced_accuracy,
    calibration_error,
    f1,
    log_loss,
    precision,
    recall,
    roc_auc,
)
from harness_plugins.metrics_values import mae, mse, r2
from sklearn import metrics as sk
from torch.nn.functional import cross_entropy, mse_loss

from harness.hookspecs import NotApplicable, Predictions

torch.set_num_threads(1)


def classified(classes, *, n=400, dtype=torch.float32, seed=0):
    """Outputs that are right more often than not, on classes of unequal size."""
    generator = torch.Generator().manual_seed(seed)
    shares = torch.arange(1, classes + 1, dtype=torch.float64)
    targets = torch.multinomial(shares, n, replacement=True, generator=generator)
    outputs = torch.randn(n, classes, generator=generator) + 1.5 * torch.nn.functional.one_hot(targets, classes)
    return Predictions(outputs.to(dtype).float(), targets, cross_entropy, classes)


def valued(shape=(60,), *, scale=1.0, offset=0.0):
    generator = torch.Generator().manual_seed(1)
    targets = torch.randn(shape, generator=generator) * scale + offset
    outputs = targets + 0.3 * scale * torch.randn(shape, generator=generator)
    return Predictions(outputs.reshape(len(targets), -1), targets, mse_loss, None)


def labels(predictions):
    return predictions.targets.numpy(), predictions.outputs.argmax(1).numpy()


def shares(predictions):
    return predictions.outputs.double().softmax(1).numpy()


CASES = pytest.mark.parametrize(
    ("classes", "dtype"), [(2, torch.float32), (3, torch.float32), (12, torch.float32), (5, torch.bfloat16)]
)


@CASES
def test_metrics_of_counts_equal_sklearn(classes, dtype):
    predictions = classified(classes, dtype=dtype)
    due, found = labels(predictions)
    assert balanced_accuracy(predictions) == pytest.approx(sk.balanced_accuracy_score(due, found), rel=1e-12)
    assert recall(predictions) == pytest.approx(sk.recall_score(due, found, average="macro"), rel=1e-12)
    assert precision(predictions) == pytest.approx(sk.precision_score(due, found, average="macro"), rel=1e-12)
    assert f1(predictions) == pytest.approx(sk.f1_score(due, found, average="macro"), rel=1e-12)


@CASES
def test_metrics_of_probabilities_equal_sklearn(classes, dtype):
    predictions = classified(classes, dtype=dtype)
    due, given = predictions.targets.numpy(), shares(predictions)
    area = sk.roc_auc_score(due, given[:, 1] if classes == 2 else given, multi_class="ovr", average="macro")
    assert roc_auc(predictions) == pytest.approx(area, rel=1e-6)
    assert log_loss(predictions) == pytest.approx(sk.log_loss(due, given, labels=range(classes)), rel=1e-12)


def test_a_class_that_nothing_is_taken_for_has_no_precision():
    predictions = Predictions(torch.tensor([[2.0, 1.0], [2.0, 1.0], [2.0, 1.0]]), torch.tensor([0, 1, 1]), None, 2)
    assert (precision(predictions), recall(predictions), f1(predictions)) == (1 / 6, 0.5, 0.25)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_constant_guess_has_what_the_floors_are_judged_by(classes):
    targets = torch.arange(6 * classes) % classes
    outputs = torch.zeros(len(targets), classes)
    outputs[:, 1] = 1.0
    guess = Predictions(outputs, targets, cross_entropy, classes)
    assert balanced_accuracy(guess) == recall(guess) == pytest.approx(1 / classes, rel=1e-12)
    assert precision(guess) == pytest.approx(1 / classes**2, rel=1e-12)
    assert f1(guess) == pytest.approx(2 / (classes * (classes + 1)), rel=1e-12)
    assert roc_auc(guess) == 0.5


def test_tied_outputs_count_half_in_the_area():
    outputs = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    # Pairs (positive, negative): (row 1, row 0) tied, (1, 3) right, (2, 0) right, (2, 3) right.
    assert roc_auc(Predictions(outputs, torch.tensor([0, 1, 1, 0]), cross_entropy, 2)) == 3.5 / 4


@pytest.mark.parametrize("scale", [2.0**-10, 1.0, 2.0**8])
def test_the_area_depends_on_the_order_of_the_outputs_alone(scale):
    """Probabilities of outputs 256 times as far apart are all 0 or 1, and of small ones near 1/2."""
    predictions = classified(2)
    stretched = Predictions(predictions.outputs * scale, predictions.targets, cross_entropy, 2)
    assert roc_auc(stretched) == roc_auc(predictions)


def test_outputs_between_0_and_1_are_logits_all_the_same():
    outputs = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.3, 0.2], [0.1, 0.8]])
    predictions = Predictions(outputs, torch.tensor([0, 1, 1, 0]), cross_entropy, 2)
    given = shares(predictions)
    confidence, right = given.max(1), given.argmax(1) == predictions.targets.numpy()
    assert calibration_error(predictions, bins=1) == pytest.approx(abs(right.mean() - confidence.mean()), rel=1e-6)


@pytest.mark.parametrize("bins", [1, 5, 15])
@pytest.mark.parametrize("classes", [2, 7])
def test_calibration_error_equals_hand_arithmetic(classes, bins):
    predictions = classified(classes)
    given = shares(predictions)
    confidence, right = given.max(1), given.argmax(1) == predictions.targets.numpy()
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(right[place == b].mean() - confidence[place == b].mean()) * (place == b).mean() for b in set(place)]
    assert calibration_error(predictions, bins=bins) == pytest.approx(sum(gaps), abs=1e-6)


def test_confidence_of_just_1_lies_in_the_last_bin():
    outputs = torch.tensor([[100.0, 0.0], [100.0, 0.0], [3.0, 0.0], [3.0, 0.0]])
    near = 1 / (1 + math.exp(-3.0))
    due = abs(0.75 - (2 + 2 * near) / 4)
    found = calibration_error(Predictions(outputs, torch.tensor([0, 0, 0, 1]), cross_entropy, 2), bins=10)
    assert found == pytest.approx(due, abs=1e-6)


@pytest.mark.parametrize("bins", [0, -3])
def test_calibration_error_needs_a_bin(bins):
    with pytest.raises(ValueError, match="bins must be 1 or more"):
        calibration_error(classified(3), bins=bins)


@pytest.mark.parametrize("metric", [balanced_accuracy, precision, recall, f1, roc_auc])
def test_a_mean_over_classes_needs_an_example_of_each(metric):
    outputs = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    with pytest.raises(NotApplicable, match=r"^class 2 of 5 has no example among the 5 of the split$"):
        metric(Predictions(outputs, torch.tensor([0, 1, 3, 3, 4]), None, 5))
    with pytest.raises(NotApplicable, match=r"^2 of 5 classes have no example among the 5 of the split: 2, 4$"):
        metric(Predictions(outputs, torch.tensor([0, 1, 3, 3, 0]), None, 5))


@pytest.mark.parametrize("metric", [log_loss, calibration_error])
def test_a_mean_over_examples_needs_no_example_of_each_class(metric):
    predictions = Predictions(torch.tensor([[2.0, 0.0, 1.0]]), torch.tensor([0]), cross_entropy, 3)
    assert math.isfinite(metric(predictions))


CLASSES = metrics_classes.harness_metrics()
VALUES = metrics_values.harness_metrics()


@pytest.mark.parametrize("part", CLASSES, ids=lambda part: part.name)
def test_outputs_that_are_nan_give_nan(part):
    predictions = classified(3)
    predictions.outputs[7, 2] = math.nan
    assert math.isnan(part.apply(predictions))


@pytest.mark.parametrize("part", CLASSES, ids=lambda part: part.name)
def test_a_regression_has_no_metric_of_classes(part):
    with pytest.raises(NotApplicable, match="the problem is a regression"):
        part.apply(valued())


@pytest.mark.parametrize("part", VALUES, ids=lambda part: part.name)
def test_a_classification_has_no_metric_of_values(part):
    with pytest.raises(NotApplicable, match="the problem has classes"):
        part.apply(classified(3))


@pytest.mark.parametrize("part", CLASSES, ids=lambda part: part.name)
def test_counting_leaves_the_setting_for_deterministic_algorithms_as_it_is(part):
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        part.apply(classified(3))
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(before)


def test_counting_many_classes_takes_no_table_of_their_pairs_for_each_example(monkeypatch):
    largest = []
    real = torch.Tensor.repeat

    def repeat(tensor, *sizes):
        largest.append(tensor.numel() * math.prod(sizes))
        return real(tensor, *sizes)

    monkeypatch.setattr(torch.Tensor, "repeat", repeat)
    targets = torch.arange(600) % 60
    torch.use_deterministic_algorithms(True)
    try:
        predictions = Predictions(torch.nn.functional.one_hot(targets).float(), targets, cross_entropy, 60)
        assert f1(predictions) == roc_auc(predictions) == 1.0
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(size < 600 * 60**2 for size in largest)


@pytest.mark.parametrize("shape", [(60,), (60, 1), (60, 3)])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-4, 0.0), (2.0, 1e5)])
def test_metrics_of_values_equal_sklearn(shape, scale, offset):
    predictions = valued(shape, scale=scale, offset=offset)
    due = predictions.targets.double().numpy().reshape(60, -1)
    found = predictions.outputs.double().numpy().reshape(60, -1)
    assert mse(predictions) == pytest.approx(sk.mean_squared_error(due, found), rel=1e-9)
    assert mae(predictions) == pytest.approx(sk.mean_absolute_error(due, found), rel=1e-9)
    assert r2(predictions) == pytest.approx(sk.r2_score(due, found), rel=1e-9)


def test_targets_that_are_all_equal_have_no_r2():
    with pytest.raises(NotApplicable, match="the targets of the 4 examples of the split are all equal"):
        r2(Predictions(torch.randn(4, 1), torch.full((4,), 2.5), mse_loss, None))


def test_values_that_do_not_fit_the_targets_are_refused():
    with pytest.raises(ValueError, match=r"outputs \(4, 2\) do not fit targets \(4,\)"):
        mse(Predictions(torch.zeros(4, 2), torch.zeros(4), mse_loss, None))


def test_every_metric_says_what_it_is_for_which_way_is_better_and_what_a_failed_run_counts_as():
    said = {part.name: (part.task, part.direction, part.unit, part.floor, part.ceiling) for part in CLASSES + VALUES}
    kind = "classification"
    assert said == {
        "balanced_accuracy": (kind, "maximize", "fraction", "chance", 1.0),
        "recall": (kind, "maximize", "fraction", "chance", 1.0),
        "precision": (kind, "maximize", "fraction", 0.0, 1.0),
        "f1": (kind, "maximize", "fraction", 0.0, 1.0),
        "roc_auc": (kind, "maximize", "", 0.5, 1.0),
        "log_loss": (kind, "minimize", "nats", None, None),
        "calibration_error": (kind, "minimize", "fraction", 1.0, None),
        "mse": ("regression", "minimize", "", None, None),
        "mae": ("regression", "minimize", "", None, None),
        "r2": ("regression", "maximize", "", 0.0, 1.0),
    }
