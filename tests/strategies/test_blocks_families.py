"""Blocks of twelve families of torchvision at full size, on the meta device, where a pass costs no arithmetic."""

from __future__ import annotations

import pytest
import torch
from torchvision import models

from harness.strategies import blocks
from harness.strategies.blocks import own_parameters
from harness.strategies.trace import trace

FAMILIES = {
    "resnet18": (21, "fc"),
    "mobilenet_v3_small": (54, "classifier.3"),
    "vit_b_16": (40, "heads.head"),
    "convnext_tiny": (77, "classifier.2"),
    "densenet121": (121, "classifier"),
    "vgg11_bn": (11, "classifier.6"),
    "efficientnet_b0": (82, "classifier.1"),
    "swin_t": (41, "head"),
    "alexnet": (8, "classifier.6"),
    "squeezenet1_1": (26, "classifier.1"),
    "regnet_y_400mf": (86, "fc"),
    "shufflenet_v2_x1_0": (57, "fc"),
}


# What test_strategies.py maps at a smaller size is left to `make test-slow`.
ELSEWHERE = ("resnet18", "mobilenet_v3_small", "densenet121", "vgg11_bn", "squeezenet1_1", "shufflenet_v2_x1_0")
CASES = [pytest.param(name, marks=[pytest.mark.slow] if name in ELSEWHERE else []) for name in FAMILIES]


@pytest.fixture(scope="module", params=CASES)
def network(request):
    """Name, network, and its blocks: all of them, and merged into five stages, from one pass."""
    name = request.param
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # computes its widths by tensors
        model = models.get_model(name, num_classes=7).to("meta")
    example = torch.zeros(1, 3, 224, 224, device="meta")
    seen = trace(model, example)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "trace", lambda *_: seen)
        fine, coarse = (blocks.map_blocks(model, example, head=None, stages=stages) for stages in ("all", 5))
    return name, model, fine, coarse


def test_a_family_has_as_many_blocks_as_it_has_layers_with_parameters_and_its_own_head(network):
    name, _, found, _ = network
    assert (found.n_blocks, found.head) == FAMILIES[name]
    assert found.unused == ()
    assert found.outputs == 7


def test_each_parameter_lies_in_one_block_and_only_the_heads_in_the_last(network):
    _, model, found, _ = network
    met = [(id(tensor), found.block(path, attr)) for path, _, attr, tensor in own_parameters(model, found.head)]
    assert sorted(one for one, _ in met) == sorted(map(id, model.parameters()))
    assert {block for _, block in met} == set(range(found.n_blocks))
    head = {id(tensor) for tensor in model.get_submodule(found.head).parameters()}
    assert {one for one, block in met if block == found.n_blocks - 1} == head


def test_five_stages_are_contiguous_pieces_of_the_blocks_at_most_one_apart_and_larger_first(network):
    _, model, fine, coarse = network
    pieces: dict[int, set[int]] = {}
    for path, _, attr, _ in own_parameters(model, fine.head):
        pieces.setdefault(coarse.block(path, attr), set()).add(fine.block(path, attr))
    sizes = [len(pieces[stage]) for stage in sorted(pieces)]
    assert [block for stage in sorted(pieces) for block in sorted(pieces[stage])] == list(range(fine.n_blocks))
    assert sizes[-1] == 1
    assert sum(sizes) == fine.n_blocks
    assert sizes[:-1] == sorted(sizes[:-1], reverse=True)
    assert max(sizes[:-1]) - min(sizes[:-1]) <= 1
