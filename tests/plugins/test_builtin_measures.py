"""The built-in losses and metrics against sklearn, scipy and hand arithmetic."""

import math

import numpy as np
import pytest
import torch
from harness_plugins.losses import cross_entropy
from harness_plugins.metrics import accuracy, harness_metrics, loss
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, log_loss

from harness.hookspecs import Predictions

torch.set_num_threads(1)


@pytest.fixture
def predictions():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(200, 5, generator=generator)
    targets = torch.randint(5, (200,), generator=generator)
    return Predictions(outputs, targets, cross_entropy(), classes=5)


def test_cross_entropy_of_equal_outputs_is_the_logarithm_of_the_classes():
    assert float(cross_entropy()(torch.zeros(3, 10), torch.tensor([0, 4, 9]))) == pytest.approx(math.log(10))


def test_cross_entropy_equals_sklearn(predictions):
    shares = predictions.outputs.double().softmax(1).numpy()
    due = log_loss(predictions.targets.numpy(), shares, labels=range(5))
    found = cross_entropy()(predictions.outputs.double(), predictions.targets)
    assert float(found) == pytest.approx(due, rel=1e-12)


def test_label_smoothing_spreads_its_share_over_all_classes(predictions):
    outputs, targets = predictions.outputs.double(), predictions.targets
    due = np.full((200, 5), 0.3 / 5)
    due[np.arange(200), targets.numpy()] += 0.7
    by_hand = -(due * log_softmax(outputs.numpy(), axis=1)).sum(1).mean()
    assert float(cross_entropy(label_smoothing=0.3)(outputs, targets)) == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("smoothing", [-0.1, 1.5, math.nan])
def test_label_smoothing_outside_zero_to_one_is_refused(smoothing):
    with pytest.raises(ValueError, match="label_smoothing must be from 0 to 1"):
        cross_entropy(label_smoothing=smoothing)


def test_accuracy_equals_sklearn(predictions):
    due = accuracy_score(predictions.targets.numpy(), predictions.outputs.argmax(1).numpy())
    assert accuracy(predictions) == due


def test_accuracy_is_the_exact_fraction():
    outputs = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert accuracy(Predictions(outputs, torch.tensor([0, 1, 1]), cross_entropy(), 2)) == 2 / 3


def test_accuracy_takes_the_first_of_equal_outputs():
    assert accuracy(Predictions(torch.zeros(2, 3), torch.tensor([0, 1]), cross_entropy(), 3)) == 0.5


def test_accuracy_of_outputs_that_are_nan_is_nan(predictions):
    predictions.outputs[7, 2] = math.nan
    assert math.isnan(accuracy(predictions))


def test_accuracy_of_a_regression_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="the problem is a regression; measure 'loss'"):
        accuracy(Predictions(torch.zeros(2, 1), torch.zeros(2), cross_entropy(), None))


def test_loss_is_the_problems_own_over_the_whole_split(predictions):
    assert loss(predictions) == float(cross_entropy()(predictions.outputs, predictions.targets))
    absolute = Predictions(torch.tensor([[1.0], [4.0]]), torch.zeros(2), lambda o, t: (o[:, 0] - t).abs().mean(), None)
    assert loss(absolute) == 2.5


def test_metrics_say_which_way_is_better():
    found = {part.name: (part.direction, part.unit, part.floor, part.ceiling) for part in harness_metrics()}
    assert found == {"accuracy": ("maximize", "fraction", "chance", 1.0), "loss": ("minimize", "", None, None)}
