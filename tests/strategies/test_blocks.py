"""Blocks by order of execution: each parameter in one, the head alone in the last."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.errors import PluginError
from harness.strategies.blocks import map_blocks, own_parameters
from harness.strategies.trace import trace


def stack(layers):
    return nn.Sequential(*(nn.Linear(4, 4) for _ in range(layers)), nn.Linear(4, 2))


EXAMPLE = torch.zeros(1, 4)


@pytest.mark.parametrize(
    ("layers", "stages", "sizes"),
    [
        (4, 5, [1, 1, 1, 1]),
        (5, 5, [2, 1, 1, 1]),
        (6, 5, [2, 2, 1, 1]),
        (9, 5, [3, 2, 2, 2]),
        (9, "all", [1] * 9),
        (3, 2, [3]),
    ],
)
def test_stages_are_contiguous_at_most_one_apart_and_larger_ones_come_first(layers, stages, sizes):
    blocks = map_blocks(stack(layers), EXAMPLE, head=None, stages=stages)
    found = [blocks.block(str(layer)) for layer in range(layers)]
    assert found == [stage for stage, size in enumerate(sizes) for _ in range(size)]
    assert blocks.block(str(layers)) == blocks.n_blocks - 1 == len(sizes)


class Backwards(nn.Module):
    """Layers that run in another order than they are declared in."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.late, self.early = nn.Linear(4, 2), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, inputs):
        return self.head(self.late(self.early(inputs)))


def test_execution_counts_and_not_declaration():
    blocks = map_blocks(Backwards(), EXAMPLE, head=None, stages=5)
    assert [blocks.block(name) for name in ("early", "late", "head")] == [0, 1, 2]
    assert blocks.head == "head"


def test_a_norm_layer_joins_the_block_before_it():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    blocks = map_blocks(model, EXAMPLE, head=None, stages=5)
    assert [blocks.block(name) for name in ("0", "1", "3")] == [0, 0, 1]


def test_a_parameter_that_is_never_read_is_reported():
    model = stack(1)
    model.register_parameter("idle", nn.Parameter(torch.zeros(3)))
    assert map_blocks(model, EXAMPLE, head=None, stages=5).unused == ("idle",)


def test_a_tied_tensor_is_met_once_and_belongs_to_the_head():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[0].weight = model[1].weight
    met = [(path, attr) for path, _, attr, _ in own_parameters(model, "1")]
    assert met == [("0", "bias"), ("1", "weight"), ("1", "bias")]


def test_looking_leaves_no_trace_in_the_model_nor_in_the_generators():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    trace(model, EXAMPLE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("model", "head", "says"),
    [
        (stack(1), "nowhere", "Sequential has no module 'nowhere', which its part names as head"),
        (nn.Sequential(nn.Flatten()), None, "Sequential has no parameters, so there is nothing to train"),
        (
            nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3)), nn.Flatten(2)),
            None,
            "cannot tell the head of Sequential",
        ),
    ],
)
def test_a_head_that_cannot_be_told_is_refused_with_the_way_out(model, head, says):
    with pytest.raises(PluginError, match=says):
        map_blocks(model, EXAMPLE, head=head, stages=5)


@pytest.mark.parametrize("stages", [1, 0, True, 2.0, "some"])
def test_a_number_of_stages_that_means_nothing_is_refused(stages):
    with pytest.raises(ValueError, match="stages must be a whole number of at least 2, or 'all'"):
        map_blocks(stack(2), EXAMPLE, head=None, stages=stages)


class Noisy(nn.Module):
    """Draws in every pass, from torch's generator or one of its own; what it draws is a share of the outputs."""

    def __init__(self, share, generator=None):
        super().__init__()
        self.body, self.head, self.share, self.generator = nn.Linear(4, 4), nn.Linear(4, 3), share, generator

    def forward(self, inputs):
        noise = torch.randn(4, generator=self.generator)
        return self.head(self.body(inputs) + self.share * noise)


@pytest.mark.parametrize("generator", [None, torch.Generator()])
def test_a_model_whose_outputs_are_other_ones_each_time_is_refused(generator):
    with pytest.raises(PluginError, match="Noisy draws random numbers in evaluation mode: two passes over one example"):
        map_blocks(Noisy(1e-2, generator), EXAMPLE, head=None, stages=5)


def test_a_model_may_draw_what_does_not_matter():
    assert map_blocks(Noisy(0.0), EXAMPLE, head=None, stages=5).head == "head"


class Pair(nn.Module):
    """Returns its outputs twice."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, inputs):
        return self.head(inputs), self.head(inputs)


def test_a_model_that_returns_no_tensor_is_refused():
    with pytest.raises(PluginError, match="Pair must return one tensor of outputs in evaluation mode, got tuple"):
        map_blocks(Pair(), EXAMPLE, head=None, stages=5)


# Blocks that a model gives itself


def own(patterns, *, stages="all", model=None):
    return map_blocks(stack(3) if model is None else model, EXAMPLE, head=None, stages=stages, patterns=patterns)


def test_a_model_may_give_its_blocks_by_the_beginnings_of_names():
    found = own([r"[01]\.", r"2\."])
    assert [found.block(str(layer), "weight") for layer in range(4)] == [0, 0, 1, 2]
    assert found.n_blocks == 3


def test_blocks_may_part_the_parameters_of_one_layer():
    found = own([r"0\.weight", r"0\.bias|[12]\."])
    assert [found.block("0", attr) for attr in ("weight", "bias")] == [0, 1]


def test_what_parametrizes_a_weight_lies_in_the_block_of_the_weight():
    found = own([r"0\.bias", r"0\.weight|[12]\."])
    assert found.block("0.parametrizations.weight.0", "a") == 1
    assert found.block("0.parametrizations.bias.0", "a") == 0


def test_more_blocks_than_stages_are_merged_as_others_are():
    found = own([r"0\.", r"1\.", r"2\."], stages=3)
    assert [found.block(str(layer), "weight") for layer in range(4)] == [0, 0, 1, 2]


def test_dropout_between_blocks_of_a_models_own_counts_to_the_one_before_it():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 4), nn.Linear(4, 2))
    found = own([r"0", r"2"], model=model)
    assert [found.last_block(str(layer)) for layer in range(4)] == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("patterns", "says"),
    [
        ([r"0\.", r"2\."], "each parameter must match exactly one pattern, '1.weight' matches none of them"),
        ([r"[01]\.", r"[12]\."], r"'1.weight' matches '\[01\]\\\\.', '\[12\]\\\\.'"),
        ([r"[012]\.", "nowhere"], "blocks of Sequential: 'nowhere' matches no parameter of the backbone"),
        ([r"[12]\.", r"0\."], r"patterns must be in order of execution; '0\\\\.' runs before"),
        (["("], r"'\(' is no regular expression: missing \)"),
    ],
)
def test_blocks_that_do_not_fit_the_model_are_refused(patterns, says):
    with pytest.raises(PluginError, match=says):
        own(patterns)
