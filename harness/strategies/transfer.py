"""A model on its way to a new problem, and a phase of it: what a strategy's callables and the runner hold on to."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType, SimpleNamespace
from typing import Any

import torch
from torch import nn

from harness.errors import PluginError
from harness.hookspecs import Phase, Strategy
from harness.spec import digest
from harness.strategies import modes, notes
from harness.strategies.blocks import BlockMap
from harness.strategies.calls import calling
from harness.strategies.modes import NormPolicy
from harness.strategies.selection import Parameter, collect


class Transfer:
    """A model on its way to a new problem: `t` of a strategy's callables, and the runner's handle on its phases."""

    model: nn.Module
    start: Mapping[str, torch.Tensor]
    """Parameters and buffers as they were before the strategy's `prepare`, with a new head if there is one: copies on
    the CPU, only to be read."""
    head: str
    """Dotted name of the output layer."""
    new_head: bool
    """Whether the head has not been trained before."""
    source_head: Mapping[str, torch.Tensor] | None
    """The head that came with loaded weights, by the names of its own state dict; None without them."""
    norm: NormPolicy
    """What norm layers do while training. A strategy that starts from random weights always has `follow`."""
    steps: int
    """Training steps over all phases."""
    options: SimpleNamespace
    """The strategy's `defaults`, changed by what the suite says."""
    generator: torch.Generator
    """For all that the strategy draws, so that it shifts no other stream."""
    memo: dict[str, Any]
    """Free for the strategy's own notes. A resumed run gets back what is a tensor (one of the model as that tensor) or
    plain data; the rest is what `prepare` and `phases` put there."""
    kept: dict[str, dict[str, torch.Tensor]]
    """State of the model at the end of each phase that has `keep`, by the phase's name."""
    unused: tuple[str, ...]
    """Names of parameters that a forward pass does not read."""
    penalty: Callable[[], torch.Tensor] | None
    """The strategy's addition to the loss, checked; None where it has none. One that hangs on no parameter is a
    constant, which changes nothing and has no gradient to ask for."""
    exact: Callable[[], float] | None
    """Penalty on the head that is fitted to its optimum, for a strategy that takes no steps; else None."""

    def __init__(
        self,
        strategy: Strategy,
        model: nn.Module,
        blocks: BlockMap,
        *,
        steps: int,
        generator: torch.Generator,
        norm: NormPolicy = "follow",
        source_head: Mapping[str, torch.Tensor] | None = None,
        new_head: bool = True,
    ) -> None:
        self.model, self.steps, self.generator = model, steps, generator
        self.head, self.unused = blocks.head, blocks.unused
        self.new_head, self.source_head = new_head, source_head
        self.norm = "follow" if strategy.start == "random" else norm
        self.start = MappingProxyType(copy_state(model, torch.device("cpu")))
        self.options = SimpleNamespace(**strategy.defaults)
        self.memo, self.kept = {}, {}
        self.penalty = None if strategy.penalty is None else self._checked_penalty
        self.exact = None if strategy.exact is None else self._checked_exact
        self._strategy, self._blocks, self._place = strategy, blocks, f"strategy '{strategy.name}'"
        self._whole = model, model.get_submodule(blocks.head)
        self._parameters = list(collect(model, blocks))
        self._running: list[RunningPhase] = []
        self._optimizer: torch.optim.Optimizer | None = None
        self._penalties = 0

    @property
    def head_apart(self) -> bool:
        """Whether what goes into the head does not depend on the head, as it does where layers share its weights."""
        return self._blocks.head_apart

    @property
    def n_blocks(self) -> int:
        """Number of stages, the head included."""
        return self._blocks.n_blocks

    def parameters(self) -> list[Parameter]:
        """Every parameter once, in the model's order, without those that the model itself holds fixed."""
        return list(self._parameters)

    @property
    def phases(self) -> tuple[RunningPhase, ...]:
        """The phases that have steps, in turn."""
        return tuple(phase for phase in self._running if phase.steps)

    @property
    def selection(self) -> str:
        """Hash of what trains, how fast and when, in hexadecimal: arms that share all else train the same if it agrees.

        Names and multipliers by phase; steps where there are several phases; norm policy, start and decay; and the
        options of a strategy that has hooks beside `phases`.
        """
        strategy, phases = self._strategy, self.phases
        hooked = any((strategy.prepare, strategy.penalty, strategy.finish, strategy.exact))
        steps = [[phase.steps, phase.phase.carry] for phase in phases] if len(phases) > 1 else []
        how = [self.norm, strategy.start, strategy.weight_decay, steps]
        own = [strategy.name, vars(self.options)] if hooked else []
        return digest([[phase.multipliers for phase in phases], how, own])

    def begin(self, *, after: int = 0) -> Iterator[RunningPhase]:
        """The phases that have steps, in turn, each ready to train when it is yielded and wound up after it.

        A run that goes on `after` some steps begins with the phase in which the last of them was.

        Raises:
            PluginError: the plugin changed in a phase which parameters require a gradient.
        """
        for phase in self.phases:
            if phase.end >= after:
                phase._enter()
                yield phase
                phase._leave()

    def notes(self) -> dict[str, Any]:
        """What a resumed run cannot make again: kept states, and those of the notes that a file can hold."""
        return {"kept": self.kept, "memo": notes.written(self.memo, self.model), "penalties": self._penalties}

    def recall(self, kept: Mapping[str, Any]) -> None:
        """Take back what `notes` gave."""
        device = next(self.model.parameters()).device
        self.kept = {name: {key: t.to(device) for key, t in state.items()} for name, state in kept["kept"].items()}
        notes.take_back(self.memo, kept["memo"], self.model)
        self._penalties = kept["penalties"]

    def end(self) -> None:
        """Let the strategy finish the model: merge or interpolate weights."""
        if self._strategy.finish is not None:
            with calling(self._place, "finish", training=True):
                self._strategy.finish(self)
            self.check_head("finish")
            now = self.model.state_dict()
            for name, before in self.start.items():
                if name.startswith(f"{self.head}.") and name in now and now[name].shape != before.shape:
                    shapes = f"{name} was {tuple(before.shape)}, is {tuple(now[name].shape)}"
                    raise PluginError(f"{self._place}: finish must not change the shape of the head: {shapes}")

    def check_head(self, who: str) -> None:
        """The model and its head are the ones that the run began with.

        Raises:
            PluginError: the strategy put others in their place; `who` is the callable that is to blame.
        """
        model, head = self._whole
        if self.model is not model:
            raise PluginError(f"{self._place}: {who} must not replace the model; change its layers in place")
        if dict(model.named_modules()).get(self.head) is not head:
            raise PluginError(f"{self._place}: {who} must not replace the head, '{self.head}'; change it in place")

    def _checked_exact(self) -> float:
        assert self._strategy.exact is not None
        with calling(self._place, "exact", training=True):
            value: Any = self._strategy.exact(self)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise PluginError(f"{self._place}: exact must return a finite number of at least 0, got {value!r}")
        return float(value)

    def _checked_penalty(self) -> torch.Tensor:
        assert self._strategy.penalty is not None
        with calling(self._place, "penalty", training=True):
            value: Any = self._strategy.penalty(self)
        place = f"{self._place}: penalty must return a finite floating-point scalar tensor, got"
        if not isinstance(value, torch.Tensor) or value.dim() != 0 or not value.is_floating_point():
            tensor = isinstance(value, torch.Tensor)
            shape = f" of shape {tuple(value.shape)} and dtype {value.dtype}" if tensor else ""
            raise PluginError(f"{place} {type(value).__name__}{shape}")
        # Later values are not finite when training diverges, which is a result and no defect of the plugin.
        if self._penalties == 0 and not bool(torch.isfinite(value.detach())):
            raise PluginError(f"{place} {float(value)} before the first step")
        self._penalties += 1
        return value


@dataclass(eq=False)
class RunningPhase:
    """A phase with its place in the run and its parameters, ready for one optimizer and one schedule."""

    label: str
    """Strategy, number and name, for messages."""
    start: int
    """Steps of the run before it."""
    end: int
    """Steps of the run up to its end."""
    multipliers: Mapping[str, float]
    """Share of the learning rate by name of each parameter that trains."""
    transfer: Transfer = field(repr=False)
    phase: Phase = field(repr=False)

    @property
    def name(self) -> str:
        """As the strategy names the phase; may be empty."""
        return self.phase.name

    @property
    def steps(self) -> int:
        """Training steps of the phase."""
        return self.end - self.start

    @cached_property
    def held(self) -> Mapping[str, nn.Module]:
        """What stays in evaluation mode while the phase trains, by path."""
        selected, transfer = self.parameters(), self.transfer
        trains, open_blocks = {id(p.tensor) for p in selected}, {p.block for p in selected}
        found = modes.held(transfer.model, transfer._blocks, trains=trains, open_blocks=open_blocks, norm=transfer.norm)
        return MappingProxyType(dict(found))

    def trains_norm(self, path: str) -> bool:
        """Whether the norm layer of that path is in training mode while the phase trains, so that its buffers move."""
        return path not in self.held

    def idle(self) -> list[str]:
        """Biases that are selected and cannot learn: a norm in training mode right behind subtracts any constant."""
        pairs = self.transfer._blocks.followed
        return [
            f"{layer}.bias" for layer, norm in pairs if f"{layer}.bias" in self.multipliers and self.trains_norm(norm)
        ]

    def parameters(self) -> list[Parameter]:
        """What trains, in the model's order."""
        return [parameter for parameter in self.transfer.parameters() if parameter.name in self.multipliers]

    def groups(self, hyperparameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Parameter groups for the optimizer's builder, one per (multiplier, decays or not), in the model's order.

        `lr` of a group is the hyperparameter times the multiplier. Tensors of fewer than 2 dimensions (biases, scales
        and shifts of norms) never decay: their groups have `weight_decay` 0. So has every group of a strategy with
        `weight_decay=False`. The other groups leave `weight_decay` to the optimizer.

        Raises:
            PluginError: a multiplier is not 1, and the optimizer has no `lr`.
        """
        lr = hyperparameters.get("lr")
        groups: dict[tuple[float, bool], dict[str, Any]] = {}
        for parameter in self.parameters():
            multiplier = self.multipliers[parameter.name]
            decays = self.transfer._strategy.weight_decay and parameter.tensor.dim() >= 2
            if lr is None and multiplier != 1:
                raise PluginError(f"{self.label}: {parameter.name} scales lr, but the optimizer has no option 'lr'")
            if (multiplier, decays) not in groups:
                rate = {} if lr is None else {"lr": lr * multiplier}
                groups[multiplier, decays] = {"params": [], **rate, **({} if decays else {"weight_decay": 0.0})}
            groups[multiplier, decays]["params"].append(parameter.tensor)
        return list(groups.values())

    def adopt(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the phase's optimizer on, with the state of parameters that also trained in the phase just before.

        Raises:
            PluginError: it does not hold exactly the parameters of the phase.
        """
        held = [id(tensor) for group in optimizer.param_groups for tensor in group["params"]]
        given = [id(parameter.tensor) for parameter in self.parameters()]
        if sorted(held) != sorted(given):
            raise PluginError(
                f"{self.label}: {type(optimizer).__name__} must hold the parameters that it was built with, each "
                f"once; {len(given)} were given, it holds {len(held)}, {len(set(held) & set(given))} of them the same"
            )
        before, self.transfer._optimizer = self.transfer._optimizer, optimizer
        if before is None or not self.phase.carry:
            return
        for parameter in self.parameters():
            if parameter.tensor in before.state:
                optimizer.state[parameter.tensor] = before.state[parameter.tensor]

    def train_mode(self) -> None:
        """Training mode but for what must hold still; call it in place of `model.train()`, after every evaluation.

        A norm layer trains if one of its own parameters does, or its block where it has none. Everything before the
        first block that trains is in evaluation mode, dropout above all.
        """
        self.transfer.model.train()
        for module in self.held.values():
            module.training = False

    def _enter(self) -> None:
        for parameter in self.transfer.parameters():
            # A gradient that stays would go on moving what is frozen, through momentum or decay.
            parameter.tensor.grad = None
            parameter.tensor.requires_grad_(parameter.name in self.multipliers)

    def _leave(self) -> None:
        check_requires_grad(self.transfer, self.multipliers, self.label)
        self.transfer.check_head("a plugin")
        if self.phase.keep:
            self.transfer.kept[self.phase.name] = copy_state(self.transfer.model)


def copy_state(model: nn.Module, device: torch.device | None = None) -> dict[str, torch.Tensor]:
    """Parameters and buffers as they are now, on the device where each lies unless one is given."""
    state = model.state_dict().items()
    return {name: value.detach().to(device, copy=True) for name, value in state if isinstance(value, torch.Tensor)}


def check_requires_grad(transfer: Transfer, due: Container[str], label: str) -> None:
    """Only `select` says what trains; a plugin that sets `requires_grad` itself is refused."""
    for parameter in transfer.parameters():
        if parameter.tensor.requires_grad != (parameter.name in due):
            raise PluginError(f"{label}: a plugin set requires_grad of {parameter.name}; freeze it by None from select")
