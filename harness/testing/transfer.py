"""Checks of strategies, on small networks with norm layers and dropout."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from harness import strategies
from harness.hookspecs import NotApplicable, Strategy
from harness.strategies.heads import NewHead
from harness.testing.case import Case, Options

State = dict[str, torch.Tensor]


def check_strategy(part: Strategy, *, steps: int = 24, options: Options = None) -> tuple[str, ...]:
    """Phases, frozen tensors, norms, draws and reproducibility of a strategy on small networks.

    They have norm layers and dropout, and a new head, a kept one, or random weights and no norm layer. A strategy that
    is not applicable to a network conforms.

    Raises:
        NonConforming: the first rule that the part breaks.
    """
    case = Case(part, options)
    with case.examined():
        _check_twice(case, steps)
        for ends in case.ends():
            with contextlib.suppress(NotApplicable):
                _transfer(case, steps, ends)
        for network in (_Network(head="keep"), _Network(head="zeros"), _Network(norms=False)):
            with contextlib.suppress(NotApplicable):
                _transfer(case, max(steps // 4, 6), case.options, network)
    return case.kept


def _check_twice(case: Case, steps: int) -> None:
    with contextlib.suppress(NotApplicable):
        (first, chosen, pulls), (second, again, _) = (_transfer(case, steps, case.options) for _ in range(2))
        for name in first:
            case.same(first[name], second[name], f"two runs are equal, here at {name}")
        if pulls is not None:
            case.require(pulls, "the penalty depends on what trains, in one step at least", "a constant in all of them")
        case.require(chosen == again, "two runs select the same", f"{chosen[:12]} and {again[:12]}")


@dataclass(frozen=True)
class _Network:
    """A small network of 3 outputs on its way to a new problem."""

    head: str | None = None
    """How its head begins; None: as it is."""
    norms: bool = True

    def build(self) -> nn.Module:
        def stage(before: int, after: int) -> list[nn.Module]:
            norm = [nn.BatchNorm2d(after)] if self.norms else []
            return [nn.Conv2d(before, after, 3, padding=1), *norm, nn.ReLU(), nn.Dropout(0.2)]

        backbone = [*stage(2, 4), *stage(4, 4), *stage(4, 6), *stage(6, 6)]
        return nn.Sequential(*backbone, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))


def _transfer(
    case: Case, steps: int, options: Mapping[str, Any], network: _Network | None = None
) -> tuple[State, str, bool | None]:
    """The network's state after training it, the hash of what was selected, and whether its penalty had a gradient."""
    assert isinstance(case.part, Strategy)
    network = network or _Network()
    torch.manual_seed(0)
    model = network.build()
    inputs, targets = torch.randn(8, 2, 8, 8), torch.arange(8) % 3
    generator = torch.Generator().manual_seed(1)
    head = None if network.head is None else NewHead(3, network.head, torch.Generator().manual_seed(2))
    settings = {"input_example": inputs[:1], "steps": steps, "options": options, "generator": generator}
    own = {**settings, "new_head": head}
    transfer: strategies.Transfer = _quietly(case, "is prepared", strategies.prepare, case.part, model, **own)
    loss = lambda: nn.functional.cross_entropy(model(inputs), targets)  # noqa: E731
    pulls = [_train_phase(case, phase, loss) for phase in transfer.begin()]
    _check_untouched(case, transfer)
    _quietly(case, "finishes", transfer.end)
    found = case.run("the network still runs", model.eval(), inputs)
    case.require(found.shape == (8, 3), "the network keeps the shape of its outputs", str(tuple(found.shape)))
    case.finite(found, "outputs are finite after training")
    case.same(found, model(inputs), "evaluation mode gives the same outputs twice")
    missing = sorted(set(transfer.start) - set(model.state_dict()))
    case.require(not missing, "what it puts on weights is merged or removed by finish", f"no {', '.join(missing[:3])}")
    return dict(model.state_dict()), transfer.selection, None if transfer.penalty is None else any(pulls)


def _check_untouched(case: Case, transfer: strategies.Transfer) -> None:
    trained = {name for phase in transfer.phases for name in phase.multipliers}
    for parameter in transfer.parameters():
        if parameter.name not in trained and parameter.name in transfer.start:
            came = transfer.start[parameter.name]
            case.same(parameter.tensor, came, f"what no phase trains is as it came, here {parameter.name}")


def _quietly(case: Case, rule: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the function returns, if it drew from nothing but the strategy's own generator."""
    before = torch.get_rng_state()
    returned = case.run(rule, function, *args, **kwargs)
    same = torch.equal(before, torch.get_rng_state())
    case.require(same, "draws from transfer.generator and not from torch's global one", "another state")
    return returned


def _train_phase(case: Case, phase: strategies.RunningPhase, loss: Callable[[], torch.Tensor]) -> bool:
    """Train as a run does; whether the penalty had a gradient in any step."""
    transfer, pulls = phase.transfer, False
    frozen: State = {p.name: p.tensor for p in transfer.parameters() if p.name not in phase.multipliers}
    frozen |= _held_buffers(phase)
    before = {name: tensor.detach().clone() for name, tensor in frozen.items()}
    hyperparameters: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}
    optimizer = torch.optim.SGD(phase.groups(hyperparameters), **hyperparameters)
    phase.adopt(optimizer)
    phase.train_mode()
    for _ in range(phase.steps):
        optimizer.zero_grad(set_to_none=True)
        loss().backward()  # type: ignore[no-untyped-call]
        if transfer.penalty is not None:
            added = case.run("the penalty is a finite scalar tensor", transfer.penalty)
            if added.requires_grad:
                pulls = True
                case.run("the penalty can be back-propagated", added.backward)
        optimizer.step()
    for name, tensor in frozen.items():
        case.same(tensor, before[name], f"what is frozen stays as it is, here {name}")
    return pulls


def _held_buffers(phase: strategies.RunningPhase) -> State:
    """Buffers of the layers that stay in evaluation mode, by name."""
    return {
        f"{path}.{name}": buffer
        for path, module in phase.held.items()
        for name, buffer in module.named_buffers(recurse=False)
    }
