"""The built-in update rules against hand arithmetic in float64, and their search spaces."""

import inspect
import math

import numpy as np
import pytest
import torch
from harness_plugins.optimizers import adam, adamw, harness_optimizers, momentum, sgd
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

torch.set_num_threads(1)

START = np.array([1.0, -2.0, 0.5])
GRADIENTS = np.array([[0.3, -0.1, 2.0], [-0.2, 0.4, 1.0], [0.05, 0.0, -3.0], [1.0, 1.0, 1.0]])
PARTS = {part.name: part for part in harness_optimizers()}


def run(build, **hyperparameters):
    tensor = nn.Parameter(torch.tensor(START))
    optimizer = build([{"params": [tensor]}], **hyperparameters)
    for gradient in GRADIENTS:
        tensor.grad = torch.tensor(gradient)
        optimizer.step()
    return tensor.detach().numpy()


def test_sgd_steps_against_the_gradient():
    np.testing.assert_allclose(run(sgd, lr=0.1), START - 0.1 * GRADIENTS.sum(0), rtol=1e-14)


def test_sgd_decays_by_adding_the_weights_to_the_gradient():
    w = START
    for g in GRADIENTS:
        w = w - 0.1 * (g + 0.5 * w)
    np.testing.assert_allclose(run(sgd, lr=0.1, weight_decay=0.5), w, rtol=1e-14)


def test_momentum_is_the_heavy_ball_whose_velocity_begins_as_the_first_gradient():
    w, v = START, np.zeros(3)
    for g in GRADIENTS:
        v = 0.8 * v + g
        w = w - 0.1 * v
    np.testing.assert_allclose(run(momentum, lr=0.1, momentum=0.8), w, rtol=1e-14)


def test_momentum_equals_polyak_written_with_two_positions_while_lr_is_constant():
    before, w = START, START
    for g in GRADIENTS:
        before, w = w, w - 0.1 * g + 0.8 * (w - before)
    np.testing.assert_allclose(run(momentum, lr=0.1, momentum=0.8), w, rtol=1e-13)


def test_nesterov_looks_ahead():
    w, v = START, np.zeros(3)
    for g in GRADIENTS:
        v = 0.8 * v + g
        w = w - 0.1 * (g + 0.8 * v)
    np.testing.assert_allclose(run(momentum, lr=0.1, momentum=0.8, nesterov=True), w, rtol=1e-14)


def adam_by_hand(lr, beta1, beta2, eps, l2=0.0, decoupled=0.0):
    w, m, v = START, np.zeros(3), np.zeros(3)
    for t, gradient in enumerate(GRADIENTS, start=1):
        g = gradient + l2 * w
        w = w * (1 - lr * decoupled)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        w = w - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return w


def test_adam_is_algorithm_1_of_its_paper():
    due = adam_by_hand(0.1, 0.8, 0.95, 1e-3)
    np.testing.assert_allclose(run(adam, lr=0.1, beta1=0.8, beta2=0.95, eps=1e-3), due, rtol=1e-13)


def test_adam_with_decay_adds_the_weights_to_the_gradient():
    due = adam_by_hand(0.1, 0.9, 0.999, 1e-8, l2=0.3)
    np.testing.assert_allclose(run(adam, lr=0.1, weight_decay=0.3), due, rtol=1e-13)


def test_adamw_decays_apart_from_the_gradient():
    due = adam_by_hand(0.1, 0.9, 0.999, 1e-8, decoupled=0.3)
    np.testing.assert_allclose(run(adamw, lr=0.1, weight_decay=0.3), due, rtol=1e-13)


@pytest.mark.parametrize(
    ("build", "due"),
    [
        (sgd, {"lr": 1e-3, "momentum": 0, "weight_decay": 0}),
        (momentum, {"lr": 1e-3, "momentum": 0.9, "weight_decay": 0, "nesterov": False}),
        (adam, {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0}),
        (adamw, {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}),
    ],
)
def test_defaults_are_those_of_torch_and_of_the_article(build, due):
    group = build([{"params": [nn.Parameter(torch.zeros(1))]}]).param_groups[0]
    assert {name: group[name] for name in due} == due


@pytest.mark.parametrize("build", [sgd, momentum, adam, adamw])
def test_a_misspelt_hyperparameter_is_refused(build):
    with pytest.raises(TypeError, match="learning_rate"):
        build([{"params": [nn.Parameter(torch.zeros(1))]}], learning_rate=0.1)


def test_every_arm_searches_one_dimension_of_two_decades():
    for part in PARTS.values():
        assert list(part.space) == ["lr"]
        assert part.space["lr"].log
        assert math.log10(part.space["lr"].high / part.space["lr"].low) == pytest.approx(2)


# Best of a grid on 300 steps of the article's network (adamw: 100 steps), one or two seeds: see plugins/README.md.
@pytest.mark.parametrize(("name", "best"), [("sgd", 0.3), ("momentum", 0.03), ("adam", 2e-3), ("adamw", 3e-3)])
def test_the_space_leaves_a_factor_of_three_around_the_best_rate_measured(name, best):
    assert PARTS[name].space["lr"].low * 3 < best < PARTS[name].space["lr"].high / 3


def test_the_default_rate_is_torchs_and_the_articles():
    for part in PARTS.values():
        assert inspect.signature(part.build).parameters["lr"].default == 1e-3


def test_every_part_names_its_source():
    assert all(part.source for part in PARTS.values())


@pytest.mark.parametrize(
    ("build", "device", "fused"),
    [(sgd, "cpu", None), (momentum, "cpu", None), (adam, "cpu", True), (adamw, "cpu", True)]
    + [(build, "cuda", True) for build in (sgd, momentum, adam, adamw)],
)
def test_the_step_is_fused_where_that_is_the_fastest(build, device, fused):
    with FakeTensorMode():
        tensor = nn.Parameter(torch.zeros(2, device=device))
        assert build([{"params": [tensor]}]).defaults["fused"] is fused
        other = nn.Parameter(torch.zeros(2, device="meta"))
        assert build([{"params": [tensor, other]}]).defaults["fused"] is None
