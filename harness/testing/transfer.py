"""Checks of strategies, on a small network with norm layers and dropout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from harness import strategies
from harness.hookspecs import NotApplicable, Strategy
from harness.testing.case import Case, Options

State = dict[str, torch.Tensor]


def check_strategy(part: Strategy, *, steps: int = 24, options: Options = None) -> None:
    """Phases, frozen tensors and reproducibility of a strategy on a small network with norm layers and dropout.

    A strategy that is not applicable to that network conforms.

    Raises:
        NonConforming: the first rule that the part breaks.
    """
    case = Case(part, options)
    with case.examined():
        try:
            first, second = (_transfer(case, steps, case.options) for _ in range(2))
            for ends in case.ends():
                _transfer(case, steps, ends)
        except NotApplicable:
            return
        for name in first:
            case.same(first[name], second[name], f"two runs are equal, here at {name}")


def _transfer(case: Case, steps: int, options: Mapping[str, Any]) -> State:
    """The network's state after training it by the strategy."""
    assert isinstance(case.part, Strategy)
    torch.manual_seed(0)
    model = _small_network()
    inputs, targets = torch.randn(8, 2, 8, 8), torch.arange(8) % 3
    generator = torch.Generator().manual_seed(1)
    settings = {"input_example": inputs[:1], "steps": steps, "options": options, "generator": generator}
    transfer: strategies.Transfer = case.run("is prepared", strategies.prepare, case.part, model, **settings)
    for phase in transfer.begin():
        _train_phase(case, phase, lambda: nn.functional.cross_entropy(model(inputs), targets))
    case.run("finishes", transfer.end)
    found = case.run("the network still runs", model.eval(), inputs)
    case.require(found.shape == (8, 3), "the network keeps the shape of its outputs", str(tuple(found.shape)))
    case.finite(found, "outputs are finite after training")
    return dict(model.state_dict())


def _small_network() -> nn.Module:
    def stage(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.Dropout(0.2)]

    backbone = [*stage(2, 4), *stage(4, 4), *stage(4, 6), *stage(6, 6)]
    return nn.Sequential(*backbone, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))


def _train_phase(case: Case, phase: strategies.RunningPhase, loss: Callable[[], torch.Tensor]) -> None:
    transfer = phase.transfer
    frozen = [p for p in transfer.parameters() if p.name not in phase.multipliers]
    before = [parameter.tensor.detach().clone() for parameter in frozen]
    hyperparameters: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}
    optimizer = torch.optim.SGD(phase.groups(hyperparameters), **hyperparameters)
    phase.adopt(optimizer)
    phase.train_mode()
    for _ in range(phase.steps):
        optimizer.zero_grad(set_to_none=True)
        loss().backward()  # type: ignore[no-untyped-call]
        if transfer.penalty is not None:
            case.run("the penalty can be back-propagated", lambda penalty: penalty().backward(), transfer.penalty)
        optimizer.step()
    for parameter, tensor in zip(frozen, before, strict=True):
        case.same(parameter.tensor, tensor, f"what is frozen stays as it is, here {parameter.name}")
