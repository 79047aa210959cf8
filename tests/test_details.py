"""What final runs keep of the test set, against scikit-learn, numpy and closed forms."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import nn

from harness import details
from harness.train.feed import Resident, Streamed

torch.set_num_threads(1)
CPU = torch.device("cpu")


def drawn(classes=4, n=300, *, skill=1.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % classes
    outputs = torch.randn(n, classes, generator=generator) + skill * nn.functional.one_hot(targets, classes)
    return outputs, targets


def images(n, channels=1, side=6, *, seed=0):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


def kept(outputs, targets, *, classes=4, inputs=None, forward=None):
    inputs = torch.zeros(len(targets), 3) if inputs is None else inputs
    examples = Resident((inputs, targets), CPU)
    return details.of(outputs, targets, classes=classes, examples=examples, forward=forward or (lambda given: given))


def pixels(text, *shape):
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(shape)


# Classes


def test_counts_equal_sklearns():
    outputs, targets = drawn()
    found, due = kept(outputs, targets), sk.confusion_matrix(targets, outputs.argmax(1))
    assert found["confusion"] == due.tolist()
    assert found["support"] == due.sum(1).tolist()
    assert found["predicted"] == due.sum(0).tolist()
    assert found["right"] == due.diagonal().tolist()
    assert found["examples"] == 300


@pytest.mark.parametrize("decimals", [7, 0])
def test_areas_equal_sklearns_with_ties_too(decimals):
    outputs, targets = drawn()
    outputs = outputs.round(decimals=decimals)
    given = outputs.double().softmax(1).numpy()
    due = [sk.roc_auc_score(targets.numpy() == at, given[:, at].round(12)) for at in range(4)]
    assert kept(outputs, targets)["auc"] == pytest.approx(due, rel=1e-12)


def test_curves_of_few_points_equal_sklearns():
    outputs, targets = drawn(n=60)
    false, true = details.curve(outputs[:, 1], targets == 1)
    fpr, tpr, _ = sk.roc_curve(targets == 1, outputs[:, 1], drop_intermediate=False)
    assert np.allclose(false / false[-1], fpr)
    assert np.allclose(true / true[-1], tpr)


def test_a_long_curve_is_thinned_to_points_of_itself_that_hold_its_area():
    generator = torch.Generator().manual_seed(3)
    positive = torch.arange(20_000) % 10 == 0
    scores = torch.randn(20_000, generator=generator) + 4 * positive
    false, true = details.curve(scores, positive)
    few_false, few_true = details.thinned(false, true)
    assert 50 < len(few_false) <= details.POINTS < len(false)
    assert set(zip(few_false.tolist(), few_true.tolist(), strict=True)) <= set(
        zip(false.tolist(), true.tolist(), strict=True)
    )
    assert (few_false[0], few_true[0], few_false[-1], few_true[-1]) == (0, 0, 18_000, 2_000)
    assert (few_false.diff() >= 0).all()
    assert (few_true.diff() >= 0).all()
    assert details.area(few_false, few_true) == pytest.approx(details.area(false, true), abs=2e-4)


def test_the_mean_curve_is_the_mean_of_the_classes_curves():
    outputs, targets = drawn()
    given, rates = details.log_odds(outputs).numpy(), np.array(details.RATES)
    due = []
    for at in range(4):
        fpr, tpr, _ = sk.roc_curve(targets == at, given[:, at], drop_intermediate=False)
        due.append(np.interp(rates, fpr, tpr))
    assert kept(outputs, targets)["roc"]["macro"] == pytest.approx(np.mean(due, axis=0), abs=1e-6)


def test_log_odds_are_those_of_the_probabilities():
    outputs, _ = drawn()
    shares = outputs.double().softmax(1)
    assert torch.allclose(details.log_odds(outputs), shares.logit(), rtol=0, atol=1e-10)


def test_log_odds_tell_apart_what_probabilities_round_to_1():
    outputs = torch.tensor([[50.0, 0.0], [60.0, 0.0], [900.0, 0.0]])
    assert (outputs.double().softmax(1)[:, 0] == 1).all()
    assert details.log_odds(outputs).tolist() == [[50.0, -50.0], [60.0, -60.0], [900.0, -900.0]]


def test_a_class_without_examples_has_no_area_and_there_is_no_mean_curve():
    outputs, targets = drawn(classes=3)
    found = kept(torch.cat([outputs, torch.zeros(300, 1)], 1), targets)
    assert found["auc"][3] is None
    assert found["support"] == [100, 100, 100, 0]
    assert "roc" not in found


def test_more_than_20_classes_have_a_mean_curve_only_and_more_than_100_counts_alone():
    many = kept(*drawn(classes=21, n=210), classes=21)
    assert len(many["roc"]["macro"]) == 101
    assert "classes" not in many["roc"]
    assert len(many["auc"]) == len(many["confusion"]) == 21
    more = kept(*drawn(classes=101, n=404), classes=101)
    assert {"confusion", "auc", "roc"}.isdisjoint(more)
    assert sum(more["support"]) == 404


# Mistakes


def test_the_surest_mistakes_come_first_and_equal_ones_in_order():
    outputs = torch.tensor([[0.0, 9.0], [0.0, 3.0], [5.0, 0.0], [0.0, 3.0], [0.0, 80.0], [0.0, 90.0]])
    targets = torch.tensor([0, 0, 1, 0, 0, 1])
    rows = kept(outputs, targets, classes=2)["mistakes"]
    assert [row["index"] for row in rows] == [4, 0, 2, 1, 3]
    assert [(row["true"], row["predicted"]) for row in rows] == [(0, 1), (0, 1), (1, 0), (0, 1), (0, 1)]
    assert rows[2]["probability"] == pytest.approx(1 / (1 + math.exp(-5)), rel=1e-5)


def test_at_most_twelve_mistakes_are_kept():
    outputs, targets = drawn(skill=0.0)
    assert len(kept(outputs, targets)["mistakes"]) == 12


def test_without_mistakes_there_are_no_pictures():
    targets = torch.arange(8) % 4
    found = kept(nn.functional.one_hot(targets, 4).float(), targets, inputs=images(8))
    assert found["mistakes"] == []
    assert "pictures" not in found


def flat(weights):
    """A linear model on pixels, whose gradient is its weights."""
    return lambda inputs: inputs.flatten(1) @ weights.T


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_the_inputs_as_bytes(channels):
    inputs, targets = images(30, channels) * 4 - 2, torch.arange(30) % 4
    weights = torch.randn(4, channels * 36, generator=torch.Generator().manual_seed(1))
    found = kept(flat(weights)(inputs), targets, inputs=inputs, forward=flat(weights))
    pictures, chosen = found["pictures"], [row["index"] for row in found["mistakes"]]
    assert (pictures["height"], pictures["width"], pictures["channels"]) == (6, 6, channels)
    shown = inputs[chosen].movedim(1, -1).numpy()
    due = np.round((shown - shown.min()) / (shown.max() - shown.min()) * 255)
    for text, one in zip(pictures["images"], due, strict=True):
        assert np.abs(pixels(text, 6, 6, channels).astype(int) - one).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_saliency_of_a_linear_model_is_the_size_of_its_weights(channels):
    inputs, targets = images(30, channels), torch.arange(30) % 4
    weights = torch.randn(4, channels * 36, generator=torch.Generator().manual_seed(1))
    found = kept(flat(weights)(inputs), targets, inputs=inputs, forward=flat(weights))
    for row, text in zip(found["mistakes"], found["pictures"]["saliency"], strict=True):
        size = weights[row["predicted"]].reshape(channels, 6, 6).abs().amax(0).numpy()
        assert np.abs(pixels(text, 6, 6).astype(int) - np.round(size / size.max() * 255)).max() <= 1


def test_saliency_equals_finite_differences():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 2)).double().requires_grad_(False)
    inputs, taken = images(2).double(), torch.tensor([1, 0])
    found = details.saliency(inputs, taken, model)
    step = 1e-6
    for example, row, column in ((0, 2, 3), (1, 5, 0), (1, 4, 4)):
        nudged = inputs.clone()
        nudged[example, 0, row, column] += step
        slope = (model(nudged) - model(inputs))[example, taken[example]] / step
        assert float(found[example, row, column]) == pytest.approx(abs(float(slope)), rel=1e-4)


class Normed(nn.Module):
    """What must not be touched: running statistics, dropout, frozen and trained parameters with gradients."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten())
        self.head = nn.Linear(64, 3)

    def forward(self, inputs):
        return self.head(self.body(inputs))


@pytest.mark.parametrize("frozen", ["none", "body", "all"])
def test_making_details_changes_no_weight_no_gradient_no_mode_and_no_generator(frozen):
    torch.manual_seed(0)
    model = Normed()
    model(images(8)).sum().backward()
    for parameter in {"none": nn.Module(), "body": model.body, "all": model}[frozen].parameters():
        parameter.requires_grad_(False)
    model.eval()
    with torch.inference_mode():
        outputs = model(images(20))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    generator = torch.get_rng_state()
    targets = (outputs.argmax(1) + 1) % 3
    found = kept(outputs, targets.clone(), classes=3, inputs=images(20), forward=model)
    assert len(found["pictures"]["saliency"]) == 12
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(p.grad, grad) for p, grad in zip(model.parameters(), gradients, strict=True))
    assert not any(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), generator)
    assert found == kept(outputs, targets.clone(), classes=3, inputs=images(20), forward=model)


def test_a_model_without_a_gradient_leaves_the_maps_out():
    inputs, targets = images(8), torch.arange(8) % 4

    def steps(given):
        return nn.functional.one_hot((given.flatten(1).sum(1) * 7).long() % 4, 4).float()

    found = kept(steps(inputs), targets, inputs=inputs, forward=steps)
    assert found["pictures"]["images"]
    assert "saliency" not in found["pictures"]


def test_large_images_are_shrunk_and_their_maps_keep_the_strongest_pixels():
    inputs, targets = images(6, side=64), torch.arange(6) % 4
    weights = torch.zeros(4, 64 * 64)
    weights[:, 64 * 63 + 63] = 1.0
    found = kept(torch.eye(4)[(targets + 1) % 4], targets, inputs=inputs, forward=flat(weights))
    pictures = found["pictures"]
    assert (pictures["height"], pictures["width"]) == (32, 32)
    strongest = pixels(pictures["saliency"][0], 32, 32)
    assert strongest[31, 31] == 255
    assert strongest.sum() == 255
    due = inputs[[row["index"] for row in found["mistakes"]], 0].reshape(-1, 32, 2, 32, 2).mean((2, 4)).numpy()
    due = np.round((due - due.min()) / (due.max() - due.min()) * 255)
    assert np.abs(pixels(pictures["images"][0], 32, 32).astype(int) - due[0]).max() <= 1


@pytest.mark.parametrize("shape", [(5,), (2, 6, 6), (4, 8)])
def test_inputs_that_are_no_images_have_no_pictures(shape):
    outputs, targets = drawn(skill=0.0)
    assert "pictures" not in kept(outputs, targets, inputs=torch.zeros(300, *shape))


def test_details_of_ten_classes_of_colour_images_stay_under_60_kilobytes():
    outputs, targets = drawn(classes=10, n=10_000, skill=3.0)
    weights = torch.randn(10, 3 * 32 * 32, generator=torch.Generator().manual_seed(1))
    found = kept(outputs, targets, classes=10, inputs=images(10_000, 3, 32), forward=flat(weights))
    assert len(found["pictures"]["images"]) == 8
    assert len(json.dumps(found, separators=(",", ":"), allow_nan=False)) < 60_000


class Numbered(torch.utils.data.Dataset):
    """Images on disk, as it were: each read by itself, with a draw."""

    def __init__(self, inputs, targets):
        self.inputs, self.targets = inputs, targets

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return self.inputs[index] + 0.01 * torch.rand(()), self.targets[index]


@pytest.mark.parametrize("loaders", [0, 1])
def test_images_of_a_map_style_split_are_read_by_index_as_they_were_evaluated(loaders):
    inputs, targets = images(40), torch.arange(40) % 4
    weights = torch.randn(4, 36, generator=torch.Generator().manual_seed(1))
    streamed = Streamed(Numbered(inputs, targets), None, CPU, loaders=loaders)
    seen = torch.cat([chunk for chunk, _ in streamed.chunks()])
    outputs = flat(weights)(seen)
    found = details.of(outputs, targets, classes=4, examples=streamed, forward=flat(weights))
    assert found == kept(outputs, targets, inputs=seen, forward=flat(weights))


# Values


def test_pairs_of_a_regression_lie_evenly_and_quantiles_equal_numpys():
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(1234, generator=generator)
    outputs = targets[:, None] + 0.2 * torch.randn(1234, 1, generator=generator)
    found = kept(outputs, targets, classes=None)
    assert found["task"] == "regression"
    at = [1234 * place // 500 for place in range(500)]
    assert found["pairs"]["target"] == pytest.approx(targets[at].tolist(), rel=1e-5)
    assert found["pairs"]["output"] == pytest.approx(outputs[at, 0].tolist(), rel=1e-5)
    shares, values = zip(*found["residuals"], strict=True)
    assert values == pytest.approx(np.quantile((outputs[:, 0] - targets).double(), shares), rel=1e-5)


def test_a_small_regression_keeps_every_pair_and_every_value_of_an_example():
    targets = torch.arange(6.0).reshape(3, 2)
    found = kept(targets + 1, targets, classes=None)
    assert found["pairs"] == {"target": [0, 1, 2, 3, 4, 5], "output": [1, 2, 3, 4, 5, 6]}
    assert {value for _, value in found["residuals"]} == {1.0}


# What is not of the usual form


@pytest.mark.parametrize(
    ("outputs", "targets", "classes"),
    [
        (torch.tensor([[math.nan, 1.0]]), torch.tensor([0]), 2),
        (torch.tensor([[-math.inf, 1.0]]), torch.tensor([0]), 2),
        (torch.zeros(2, 3), torch.tensor([0, 1]), 2),
        (torch.zeros(2, 2, 4), torch.zeros(2, 4, dtype=torch.int64), 2),
        (torch.zeros(2, 3), torch.zeros(2), None),
        (torch.tensor([[math.inf]]), torch.zeros(1), None),
    ],
)
def test_outputs_of_another_form_keep_nothing_and_fail_nothing(outputs, targets, classes):
    assert kept(outputs, targets, classes=classes) is None
