"""The same numbers as PEFT's LoRA and timm's layer decay, where they are installed: `make test-peers` installs them."""

from __future__ import annotations

import copy
import importlib
import os
import warnings

import pytest
import torch
from torch import nn

from harness import strategies
from tests.transfers import PARTS

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def peft():
    return peer("peft")


@pytest.fixture(scope="module")
def timm():
    return peer("timm")


def peer(name):
    """The library, with whatever it warns of while it is imported left aside."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: make test-peers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


LAYERS = {
    "linear": (lambda: nn.Linear(12, 9), (5, 12)),
    "strided, padded convolution": (lambda: nn.Conv2d(3, 8, (3, 5), stride=2, padding=(2, 1)), (5, 3, 9, 11)),
}


@pytest.mark.parametrize(("r", "alpha", "rslora"), [(4, 4, False), (2, 16, False), (4, 8, True)])
@pytest.mark.parametrize("layer", LAYERS)
def test_lora_gives_the_outputs_and_gradients_of_peft(peft, layer, r, alpha, rslora):
    build, shape = LAYERS[layer]
    torch.manual_seed(0)
    model = nn.Sequential(build(), nn.Tanh(), nn.Flatten(), nn.LazyLinear(4)).double()
    inputs = torch.randn(shape, dtype=torch.float64)
    model(inputs)
    config = peft.LoraConfig(r=r, lora_alpha=alpha, use_rslora=rslora, target_modules=["0"])
    theirs = peft.get_peft_model(copy.deepcopy(model), config)
    transfer = strategies.prepare(
        PARTS["lora"],
        model,
        input_example=inputs[:1],
        steps=1,
        options={"r": r, "alpha": alpha, "rslora": rslora},
        generator=torch.Generator().manual_seed(1),
    )
    ranks = model[0].parametrizations.weight[0]
    low = {name.split(".")[-3]: tensor for name, tensor in theirs.named_parameters() if "lora_" in name}
    with torch.no_grad():
        ranks.b.normal_()
        low["lora_A"].copy_(ranks.a.reshape(low["lora_A"].shape))
        low["lora_B"].copy_(ranks.b.reshape(low["lora_B"].shape))
    (phase,) = transfer.begin()
    phase.train_mode()
    ours, peers = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    found, due = model(ours), theirs(peers)
    found.square().sum().backward()
    due.square().sum().backward()
    pairs = {
        "outputs": (found, due),
        "inputs": (ours.grad, peers.grad),
        "A": (ranks.a.grad, low["lora_A"].grad.reshape(ranks.a.shape)),
        "B": (ranks.b.grad, low["lora_B"].grad.reshape(ranks.b.shape)),
    }
    gaps = {name: float((one - other).norm() / other.norm()) for name, (one, other) in pairs.items()}
    assert max(gaps.values()) < 1e-12, gaps


def test_discriminative_rates_are_timms_layer_decay(timm):
    optim = importlib.import_module("timm.optim")
    model = timm.create_model("resnet18", pretrained=False, num_classes=10)
    groups = optim.param_groups_layer_decay(model, layer_decay=0.5)
    names = {id(tensor): name for name, tensor in model.named_parameters()}
    due = {names[id(tensor)]: group["lr_scale"] for group in groups for tensor in group["params"]}
    blocks = ["conv1|bn1", *(rf"layer{stage}\.{block}\." for stage in range(1, 5) for block in range(2))]
    transfer = strategies.prepare(
        PARTS["discriminative"],
        model,
        input_example=torch.zeros(1, 3, 32, 32),
        steps=1,
        options={"decay": 0.5},
        generator=torch.Generator(),
        stages="all",
        blocks=blocks,
    )
    (phase,) = transfer.phases
    assert dict(phase.multipliers) == due
    assert sorted(set(due.values()), reverse=True) == [0.5**depth for depth in range(10)]
