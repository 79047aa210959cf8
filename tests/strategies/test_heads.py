"""The head of a loaded network for a new problem: found anywhere, drawn from its own generator, or refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import models

from harness import strategies
from harness.errors import PluginError
from harness.hookspecs import Phase, Strategy
from harness.strategies.heads import NewHead
from tests.transfers import conv_bn_net

EVERYTHING = Strategy("everything", phases=lambda t: [Phase(lambda p: 1.0)])


def new(init, outputs=7, seed=3):
    return NewHead(outputs, init, torch.Generator().manual_seed(seed))


def moved_to(model, new_head, *, example=None, head=None):
    example = torch.zeros(1, 1, 6, 6) if example is None else example
    return strategies.prepare(
        EVERYTHING, model, input_example=example, head=head, steps=2, generator=torch.Generator(), new_head=new_head
    )


def test_a_head_of_a_deviation_is_drawn_with_biases_of_zero():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 400), nn.Linear(400, 5))
    transfer = moved_to(model, new("normal:0.01", outputs=300))
    weight = transfer.model[2].weight.detach()
    assert weight.shape == (300, 400)
    # Of 120,000 draws the deviation is within 1 % and the mean within 4 standard errors.
    assert float(weight.std()) == pytest.approx(0.01, rel=0.01)
    assert abs(float(weight.mean())) < 4 * 0.01 / 120_000**0.5
    assert torch.equal(transfer.model[2].bias, torch.zeros(300))
    assert transfer.new_head
    assert transfer.model[2].out_features == 300


def test_a_head_of_zeros_gives_zeros():
    transfer = moved_to(conv_bn_net(), new("zeros"))
    assert torch.equal(transfer.model.eval()(torch.randn(2, 1, 6, 6)), torch.zeros(2, 7))


@pytest.mark.parametrize(
    ("model", "fresh"),
    [
        (conv_bn_net(), lambda: nn.Linear(8, 7)),
        (
            nn.Sequential(nn.Conv2d(1, 6, 3), nn.Conv2d(6, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            lambda: nn.Conv2d(6, 7, 1),
        ),
    ],
    ids=["linear", "convolution"],
)
def test_the_default_is_what_torch_draws_for_such_a_layer(model, fresh):
    transfer = moved_to(model, new("default", seed=11))
    with torch.random.fork_rng():
        torch.manual_seed(11)
        due = fresh()
    found = transfer.model.get_submodule(transfer.head)
    assert torch.equal(found.weight, due.weight)
    assert torch.equal(found.bias, due.bias)


def test_a_kept_head_stays_and_is_not_new():
    model = conv_bn_net()
    before = model[11].weight.clone()
    transfer = moved_to(model, new("keep", outputs=5))
    assert torch.equal(model[11].weight, before)
    assert not transfer.new_head
    assert torch.equal(transfer.source_head["weight"], before)


def test_the_source_head_is_remembered_and_the_start_has_the_new_one():
    model = conv_bn_net()
    before = model[11].weight.detach().clone()
    transfer = moved_to(model, new("normal:0.5"))
    assert torch.equal(transfer.source_head["weight"], before)
    assert transfer.start["11.weight"].shape == (7, 8)
    assert torch.equal(transfer.start["11.weight"], model[11].weight)
    assert {p.name for p in transfer.parameters() if p.head} == {"11.weight", "11.bias"}


def test_without_a_new_head_nothing_is_replaced():
    transfer = moved_to(conv_bn_net(), None)
    assert (transfer.new_head, transfer.source_head) == (True, None)
    assert transfer.model[11].out_features == 5


@pytest.mark.parametrize("init", ["normal:0.01", "zeros", "default", "keep"])
def test_drawing_a_head_leaves_the_global_generator_alone(init):
    before = torch.get_rng_state()
    moved_to(conv_bn_net(), new(init, outputs=5))
    assert torch.equal(torch.get_rng_state(), before)


def test_equal_generators_draw_equal_heads_and_others_others():
    one, same, other = (moved_to(conv_bn_net(), new("normal:1", seed=s)).model[11].weight for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtype_and_memory_format_are_those_of_the_old_head(layout, dtype):
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Conv2d(6, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = model.to(dtype).to(memory_format=layout)
    strides = nn.Conv2d(6, 7, 1).to(memory_format=layout).weight.stride()
    moved_to(model, new("default"), example=torch.zeros(1, 1, 6, 6, dtype=dtype))
    assert model[1].weight.dtype == model[1].bias.dtype == dtype
    assert model[1].weight.stride() == strides
    assert model[1].weight.requires_grad


def test_a_head_without_bias_stays_without():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 5, bias=False))
    moved_to(model, new("default"))
    assert model[1].bias is None


def test_whoever_else_refers_to_the_head_has_the_new_one_with_its_hooks():
    model = conv_bn_net()
    seen, other = [], model[11]
    model[11].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    moved_to(model, new("zeros"))
    model.eval()(torch.zeros(2, 1, 6, 6))
    assert other is model[11]
    assert seen[-1] == (2, 7)


def test_what_is_tied_to_the_old_head_keeps_its_weights_and_joins_the_backbone():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Linear(36, 36, bias=False), nn.Linear(36, 36)
            self.head.weight = self.embed.weight

        def forward(self, inputs):
            return self.head(self.embed(inputs.flatten(1)))

    model = Tied()
    before = model.embed.weight.detach().clone()
    transfer = moved_to(model, new("zeros"))
    assert torch.equal(model.embed.weight, before)
    assert {p.name: p.head for p in transfer.parameters()} == {
        "embed.weight": False, "head.weight": True, "head.bias": True
    }  # fmt: skip


@pytest.mark.parametrize(
    ("build", "head"),
    [
        (lambda: models.resnet18(num_classes=5), "fc"),
        (lambda: models.mobilenet_v3_small(num_classes=5), "classifier.3"),
        (lambda: models.squeezenet1_1(num_classes=5), "classifier.1"),
        (lambda: models.VisionTransformer(32, 16, 1, 2, 16, 16, num_classes=5), "heads.head"),
    ],
    ids=["fc", "classifier.N", "1x1 convolution", "heads.head"],
)
def test_the_head_of_a_torchvision_network_is_replaced_wherever_it_lies(build, head):
    transfer = moved_to(build(), new("normal:0.01"), example=torch.zeros(1, 3, 32, 32))
    assert transfer.head == head
    assert transfer.model.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 7)


@pytest.mark.parametrize(
    ("model", "head", "says"),
    [
        (
            nn.Sequential(nn.Conv2d(1, 5, 6), nn.Flatten()),
            None,
            "the head of Sequential is '0', Conv2d; only a Linear or a 1x1 Conv2d inside the network",
        ),
        (nn.Linear(6, 5), None, "the head of Linear is the whole network, Linear; only a Linear"),
        (
            nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(36, 5))),
            None,
            "is '1', ParametrizedLinear; only a Linear",
        ),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 5))),
            "2",
            'name such a layer, Model\\(..., head="..."\\), or end the network in one',
        ),
        (conv_bn_net(), "9", "the head '9' of Sequential gives 8 outputs and the network 5, so another head would not"),
    ],
)
def test_a_head_that_cannot_be_replaced_is_refused_with_the_way_out(model, head, says):
    with pytest.raises(PluginError, match=says):
        moved_to(model, new("zeros"), head=head)


class Twice(nn.Module):
    """Calls its head as often as it is told."""

    def __init__(self, calls):
        super().__init__()
        self.body, self.head, self.calls = nn.Linear(36, 4), nn.Linear(4, 5), calls

    def forward(self, inputs):
        features = self.body(inputs.flatten(1))
        called = [self.head(features * (call + 1)) for call in range(self.calls)]
        return sum(called) if called else features @ self.head.weight.T


@pytest.mark.parametrize("calls", [0, 2])
def test_a_head_that_is_to_be_measured_is_called_once(calls):
    with pytest.raises(
        PluginError, match=f"Twice calls its head 'head' {calls} times in a forward pass; .*called once"
    ):
        moved_to(Twice(calls), new("zeros"), head="head")


def test_without_a_source_a_head_may_be_called_as_often_as_the_network_likes():
    assert moved_to(Twice(2), None).head == "head"


def test_a_head_is_not_kept_for_another_number_of_outputs():
    with pytest.raises(PluginError, match="cannot be kept: it has 5 outputs, the new problem 7; give the new head"):
        moved_to(conv_bn_net(), new("keep"))


@pytest.mark.parametrize("init", ["normal", "normal:", "normal:0", "normal:-1", "normal:inf", "warm", "zeros:1", ""])
def test_an_init_that_means_nothing_is_refused_with_what_is_allowed(init):
    with pytest.raises(ValueError, match=r"must be one of normal:STD, zeros, default, keep \(STD above 0\), got"):
        new(init)
