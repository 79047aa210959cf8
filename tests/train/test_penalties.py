"""Gradients of the penalties against their closed form, and against autograd of the formula as it is written."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from harness.train.penalties import penalties

torch.set_num_threads(1)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2))


def loss(model):
    inputs = torch.randn(6, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    return nn.functional.cross_entropy(model(inputs), torch.arange(6) % 2)


def gradients(model, penalty=None, add=None):
    value = loss(model)
    (value if penalty is None else value + penalty).backward()
    if add is not None:
        add()
    return {name: tensor.grad for name, tensor in model.named_parameters()}


STRENGTHS = [(0.3, 0.0), (0.0, 0.02), (0.01, 0.5)]


@pytest.mark.parametrize(("l1", "l2"), STRENGTHS)
def test_the_gradient_has_the_closed_form(l1, l2):
    model, plain = network(), gradients(network())
    found = gradients(model, add=penalties(model.parameters(), l1=l1, l2=l2))
    for name, tensor in model.named_parameters():
        weights = tensor.detach().numpy().astype(np.float64)
        due = l1 * np.sign(weights) + 2 * l2 * weights if tensor.dim() >= 2 else 0.0
        assert np.allclose(found[name].numpy(), plain[name].numpy() + due, rtol=1e-5, atol=1e-7), name


@pytest.mark.parametrize(("l1", "l2"), STRENGTHS)
def test_the_gradient_equals_autograd_of_the_written_formula(l1, l2):
    model, written = network().double(), network().double()
    weights = [tensor for tensor in written.parameters() if tensor.dim() >= 2]
    assert [tuple(tensor.shape) for tensor in weights] == [(3, 1, 3, 3), (2, 27)]
    penalty = sum(l1 * tensor.abs().sum() + l2 * tensor.square().sum() for tensor in weights)

    def loss_of(net):
        inputs = torch.randn(6, 1, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        return nn.functional.cross_entropy(net(inputs), torch.arange(6) % 2)

    (loss_of(written) + penalty).backward()
    loss_of(model).backward()
    penalties(model.parameters(), l1=l1, l2=l2)()
    for (name, found), due in zip(model.named_parameters(), written.parameters(), strict=True):
        torch.testing.assert_close(found.grad, due.grad, rtol=1e-12, atol=1e-15, msg=name)


def test_a_weight_of_zero_is_left_at_zero_by_the_absolute_value():
    weight = nn.Parameter(torch.tensor([[0.0, 2.0, -3.0]]))
    weight.grad = torch.zeros(1, 3)
    penalties([weight], l1=0.5)()
    assert weight.grad.tolist() == [[0.0, 0.5, -0.5]]


def test_a_weight_that_the_loss_does_not_depend_on_is_penalised_too():
    weight = nn.Parameter(torch.tensor([[1.0, -2.0]]))
    penalties([weight], l2=0.25)()
    assert weight.grad.tolist() == [[0.5, -1.0]]


def test_steps_of_sgd_under_l2_are_those_of_weight_decay_of_twice_the_strength():
    one = nn.Linear(4, 3, bias=False)
    other = copy.deepcopy(one)
    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(2))
    add = penalties(one.parameters(), l2=0.05)
    for model, decay in ((one, 0.0), (other, 0.1)):
        stepper = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=decay)
        for _ in range(3):
            stepper.zero_grad()
            model(inputs).square().mean().backward()
            if model is one:
                add()
            stepper.step()
    torch.testing.assert_close(one.weight, other.weight)


def test_nothing_to_add_is_nothing_at_all():
    assert penalties(network().parameters()) is None
    assert penalties(network().parameters(), l1=0.0, l2=0.0) is None
    assert penalties([nn.Parameter(torch.ones(3))], l1=1.0) is None
