"""The built-in losses and metrics against sklearn, scipy and hand arithmetic."""

import math

import numpy as np
import pytest
import torch
from harness_plugins.losses import cross_entropy, harness_losses, mse
from harness_plugins.metrics import accuracy, harness_metrics, loss
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error

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


def test_mse_of_labels_is_half_the_mean_squared_distance_to_one_hot_targets():
    outputs = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.5, 0.0]])
    # (1 + 1 + 0) and (1 + 0.25 + 0), summed over the outputs, halved and averaged over two examples
    assert float(mse()(outputs, torch.tensor([1, 0]))) == (2 + 1.25) / 4


def test_mse_of_labels_equals_sklearn_on_one_hot_targets(predictions):
    outputs, targets = predictions.outputs.double(), predictions.targets
    due = mean_squared_error(np.eye(5)[targets.numpy()], outputs.numpy()) * 5 / 2
    assert float(mse()(outputs, targets)) == pytest.approx(due, rel=1e-12)


@pytest.mark.parametrize("width", [1, 3])
def test_mse_of_values_equals_sklearn(width):
    outputs, values = torch.randn(2, 40, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    due = mean_squared_error(values.numpy(), outputs.numpy()) * width / 2
    assert float(mse()(outputs, values)) == pytest.approx(due, rel=1e-12)


def test_mse_takes_one_value_an_example_as_a_column_or_flat():
    outputs, values = torch.tensor([[1.0], [4.0]]), torch.tensor([0.0, 2.0])
    assert float(mse()(outputs, values)) == float(mse()(outputs, values[:, None])) == (1 + 4) / 4


def test_mse_has_the_difference_over_the_examples_as_its_gradient(predictions):
    outputs = predictions.outputs.double().requires_grad_()
    mse()(outputs, predictions.targets).backward()
    due = (outputs.detach().numpy() - np.eye(5)[predictions.targets.numpy()]) / 200
    assert np.allclose(outputs.grad.numpy(), due, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("outputs", "targets"), [((4, 3), (4,)), ((4, 1), (4, 3)), ((4, 3), (3,)), ((4, 3), (4, 3, 1))], ids=str
)
def test_mse_of_values_in_another_shape_is_refused(outputs, targets):
    with pytest.raises(ValueError, match=r"mse: outputs \(4, \d\) for values .* they must agree"):
        mse()(torch.zeros(outputs), torch.zeros(targets))


def test_mse_of_bf16_outputs_is_summed_in_float32():
    outputs = torch.full((3, 257), 1.0, dtype=torch.bfloat16)
    found = mse()(outputs, torch.tensor([0, 1, 2]))
    assert found.dtype == torch.float32
    assert float(found) == 128.0


def test_losses_and_metrics_say_which_task_they_are_for():
    tasks = {part.name: part.task for part in (*harness_losses(), *harness_metrics())}
    assert tasks == {"cross_entropy": "classification", "mse": None, "accuracy": "classification", "loss": None}


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
