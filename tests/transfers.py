"""Tiny networks, data and one training loop for tests of strategies; everything in it goes through the phases."""

from __future__ import annotations

import importlib

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from harness import strategies
from harness.strategies.heads import NewHead

torch.set_num_threads(1)

MODULES = ("strategies", "strategies_exact", "strategies_select", "strategies_weights")
PARTS = {
    part.name: part
    for module in MODULES
    for part in importlib.import_module(f"harness_plugins.{module}").harness_strategies()
}
STEPS = 60
INPUTS = torch.randn(16, 1, 6, 6, generator=torch.Generator().manual_seed(5))
TARGETS = torch.arange(16) % 3
DATA = INPUTS, TARGETS
OPTIMIZERS = {
    "momentum": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
}


def conv_bn_net():
    """Two conv-BN-dropout blocks, the second without parameters in its norm, a dense block with a norm, a head of 5."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2),
        nn.Conv2d(4, 4, 3, stride=2), nn.BatchNorm2d(4, affine=False), nn.ReLU(), nn.Dropout(0.2),
        nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 5),
    )  # fmt: skip


def plain_net():
    """Two convolutions and a dense layer without any norm, a head of 5."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 5),
    )  # fmt: skip


NETS = {"conv-bn": conv_bn_net, "plain": plain_net}


def prepared(name, net=conv_bn_net, *, steps=STEPS, init="normal:0.01", outputs=3, **given):
    """A strategy on a trained network with a new head; keyword arguments of `prepare` pass through, others are options.

    Its batch statistics are not those of a fresh norm.
    """
    model = net()
    model.train()
    with torch.no_grad():
        model(INPUTS * 2 + 1)
    fields = {key: given.pop(key) for key in ("norm", "stages", "blocks", "head") if key in given}
    new = None if init is None else NewHead(outputs, init, torch.Generator().manual_seed(7))
    strategy = PARTS[name] if isinstance(name, str) else name
    generator = torch.Generator().manual_seed(1)
    return strategies.prepare(
        strategy,
        model,
        input_example=INPUTS[:1],
        steps=steps,
        options=given,
        generator=generator,
        new_head=new,
        **fields,
    )


def carry_out(transfer, optimizer="momentum", *, schedule=None, data=DATA, **changes):
    """Train phase by phase, as a run does; yields after each with the phase and its optimizer."""
    kind, hyperparameters = OPTIMIZERS[optimizer]
    hyperparameters = {**hyperparameters, **changes}
    torch.manual_seed(2)
    for phase in transfer.begin():
        built = kind(phase.groups(hyperparameters), **hyperparameters)
        phase.adopt(built)
        make = schedule or (lambda built, steps: torch.optim.lr_scheduler.CosineAnnealingLR(built, steps))
        scheduler = make(built, phase.steps)
        for _ in range(phase.steps):
            phase.train_mode()
            built.zero_grad(set_to_none=True)
            F.cross_entropy(transfer.model(data[0]), data[1]).backward()
            if transfer.penalty is not None:
                transfer.penalty().backward()
            built.step()
            scheduler.step()
        yield phase, built


def trained(name, net=conv_bn_net, optimizer="momentum", *, weight_decay=None, **given):
    """The transfer after all its steps and `finish`."""
    transfer = prepared(name, net, **given)
    for _ in carry_out(transfer, optimizer, **({} if weight_decay is None else {"weight_decay": weight_decay})):
        pass
    transfer.end()
    return transfer


def state(model):
    """A copy of the state dict."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def moved(model, before):
    """Names of the tensors that differ in any bit from those of that name."""
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def outputs(model):
    """In evaluation mode."""
    with torch.no_grad():
        return model.eval()(INPUTS)
