"""What a strategy of fine-tuning works on, and what carries it out: which parameter learns, how fast, in which phase.

The runner calls `prepare`, iterates over `Transfer.begin()`, and builds one optimizer and one schedule per phase from
`RunningPhase.groups`. Everything else about a strategy (what requires a gradient, modes of norm layers, stale
gradients, optimizer state across phases) is settled here, so that a strategy cannot get it wrong.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace
from typing import Any, Literal

import torch
from torch import nn

from harness import snapshot
from harness.blocks import NORMS, BlockMap, map_blocks, own_parameters
from harness.catalog import nearest
from harness.errors import PluginError
from harness.hookspecs import Phase, Strategy
from harness.spec import digest


@dataclass(frozen=True, eq=False)
class Parameter:
    """One trainable tensor of the model, as `Phase.select` sees it; tied tensors are one."""

    name: str
    """Dotted name in the model, as it was before the strategy's `prepare`."""
    tensor: nn.Parameter
    module: nn.Module
    """The module that owns it."""
    attr: str
    """Its name in that module."""
    block: int
    """Stage that it lies in, 0 on the input side."""
    n_blocks: int
    head: bool
    added: bool = False
    """Made by the strategy's `prepare`."""

    @property
    def depth(self) -> int:
        """Distance from the head, which is at 0."""
        return self.n_blocks - 1 - self.block

    @property
    def bias(self) -> bool:
        """An additive constant, the shift of a norm layer included."""
        return self.attr == "bias" or self.attr.endswith("_bias") or self.attr.startswith("bias_")

    @property
    def norm(self) -> bool:
        """Scale or shift of a norm layer (torch's classes and their subclasses)."""
        return isinstance(self.module, NORMS)


class Transfer:
    """A model on its way to a new problem: `t` of a strategy's callables, and the runner's handle on its phases."""

    model: nn.Module
    start: Mapping[str, torch.Tensor]
    """Parameters and buffers as they were before the strategy's `prepare`: copies on the CPU, only to be read."""
    head: str
    """Dotted name of the output layer."""
    new_head: bool
    """Whether the head has not been trained before."""
    source_head: Mapping[str, torch.Tensor] | None
    """The head that came with loaded weights; None without them."""
    steps: int
    """Training steps over all phases."""
    options: SimpleNamespace
    """The strategy's `defaults`, changed by what the suite says."""
    generator: torch.Generator
    """For all that the strategy draws, so that it shifts no other stream."""
    memo: dict[str, Any]
    """Free for the strategy's own notes. A resumed run gets back what is a tensor or plain data; the rest is what
    `prepare` and `phases` put there."""
    kept: dict[str, dict[str, torch.Tensor]]
    """State of the model at the end of each phase that has `keep`, by the phase's name."""
    unused: tuple[str, ...]
    """Names of parameters that a forward pass does not read."""
    penalty: Callable[[], torch.Tensor] | None
    """The strategy's addition to the loss, checked; None where it has none."""

    def __init__(
        self, strategy: Strategy, model: nn.Module, blocks: BlockMap, *, steps: int, generator: torch.Generator
    ) -> None:
        self.model, self.steps, self.generator = model, steps, generator
        self.head, self.unused = blocks.head, blocks.unused
        self.new_head, self.source_head = True, None
        self.start = MappingProxyType(_copy_state(model, torch.device("cpu")))
        self.options = SimpleNamespace(**strategy.defaults)
        self.memo, self.kept = {}, {}
        self.penalty = None if strategy.penalty is None else self._checked_penalty
        self._strategy, self._blocks = strategy, blocks
        self._parameters = self._collect(before=())
        self._running: list[RunningPhase] = []
        self._optimizer: torch.optim.Optimizer | None = None
        self._penalties = 0

    @property
    def n_blocks(self) -> int:
        """Number of stages, the head included."""
        return self._blocks.n_blocks

    @property
    def phases(self) -> tuple[RunningPhase, ...]:
        """All phases in turn, those without steps too."""
        return tuple(self._running)

    @property
    def selection(self) -> str:
        """SHA-256 of names and multipliers of what trains, phase by phase: equal for arms that train the same."""
        return digest([dict(phase.multipliers) for phase in self._running])

    def parameters(self) -> list[Parameter]:
        """Every parameter once, in the model's order, without those that the model itself holds fixed."""
        return list(self._parameters)

    def begin(self, *, after: int = 0) -> Iterator[RunningPhase]:
        """The phases that have steps, in turn, each ready to train when it is yielded and wound up after it.

        A run that goes on `after` some steps begins with the phase in which the last of them was.

        Raises:
            PluginError: the plugin changed in a phase which parameters require a gradient.
        """
        for phase in self._running:
            if phase.steps and phase.end >= after:
                phase._enter()
                yield phase
                phase._leave()

    def notes(self) -> dict[str, Any]:
        """What a resumed run cannot make again: kept states, and those of the notes that a file can hold."""
        memo = {name: value for name, value in self.memo.items() if snapshot.plain(value, name)}
        return {"kept": self.kept, "memo": memo, "penalties": self._penalties}

    def recall(self, notes: Mapping[str, Any]) -> None:
        """Take back what `notes` gave."""
        device = next(self.model.parameters()).device
        self.kept = {name: {key: t.to(device) for key, t in state.items()} for name, state in notes["kept"].items()}
        self.memo.update(notes["memo"])
        self._penalties = notes["penalties"]

    def end(self) -> None:
        """Let the strategy finish the model: merge or interpolate weights."""
        if self._strategy.finish is not None:
            self._strategy.finish(self)

    def _collect(self, before: Sequence[Parameter]) -> list[Parameter]:
        """The model's parameters; those that were there `before` keep their names and places."""
        known = {id(parameter.tensor): parameter for parameter in before}
        found: list[Parameter] = []
        for path, module, attr, tensor in own_parameters(self.model, self.head):
            if id(tensor) in known:
                found.append(known[id(tensor)])
            elif tensor.requires_grad:
                block, last = self._blocks.block(path), self.n_blocks - 1
                name = f"{path}.{attr}".lstrip(".")
                added = bool(before)
                found.append(Parameter(name, tensor, module, attr, block, self.n_blocks, block == last, added))
        return found

    def _checked_penalty(self) -> torch.Tensor:
        assert self._strategy.penalty is not None
        value: Any = self._strategy.penalty(self)
        place = f"strategy '{self._strategy.name}': penalty must return a finite scalar tensor, got"
        if not isinstance(value, torch.Tensor) or value.dim() != 0 or not value.is_floating_point():
            shape = f" of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else ""
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
    _held: list[nn.Module] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """As the strategy calls the phase; may be empty."""
        return self.phase.name

    @property
    def steps(self) -> int:
        """Training steps of the phase."""
        return self.end - self.start

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
        for module in self._held:
            module.training = False

    def _enter(self) -> None:
        for parameter in self.transfer.parameters():
            # A gradient that stays would go on moving what is frozen, through momentum or decay.
            parameter.tensor.grad = None
            parameter.tensor.requires_grad_(parameter.name in self.multipliers)
        self._held = _held_modules(self.transfer.model, self.transfer._blocks, self.parameters())

    def _leave(self) -> None:
        _check_requires_grad(self.transfer, self.multipliers, self.label)
        if self.phase.keep:
            self.transfer.kept[self.phase.name] = _copy_state(self.transfer.model)


def prepare(
    strategy: Strategy,
    model: nn.Module,
    *,
    input_example: torch.Tensor,
    head: str | None = None,
    steps: int,
    options: Mapping[str, Any] | None = None,
    generator: torch.Generator,
    stages: int | Literal["all"] = 5,
) -> Transfer:
    """A model ready to be trained by a strategy, with everything refused that can be before the first step.

    Args:
        input_example: inputs (1, ...) on the model's device, for the block map.
        head: dotted name of the output layer; None: the last layer with parameters.
        steps: training steps over all phases.
        options: those of the strategy that differ from its defaults.
        generator: for what the strategy draws.
        stages: most blocks that a strategy tells apart, the head included.

    Raises:
        PluginError: the strategy breaks its contract; the message names strategy, phase and parameter.
        NotApplicable: raised by the strategy itself, which has no meaning on this model.
    """
    blocks = map_blocks(model, input_example, head=head, stages=stages)
    transfer = Transfer(strategy, model, blocks, steps=steps, generator=generator)
    _set_options(transfer, strategy, options or {})
    _edit_model(transfer, strategy)
    phases = _phases(transfer, strategy)
    spans = itertools.pairwise([0, *borders([phase.share for phase in phases], steps)])
    for number, (phase, (start, end)) in enumerate(zip(phases, spans, strict=True), start=1):
        label = f"strategy '{strategy.name}', phase {number}" + (f" '{phase.name}'" if phase.name else "")
        multipliers = _select(transfer.parameters(), phase, label)
        transfer._running.append(RunningPhase(label, start, end, multipliers, transfer, phase))
    everything = {parameter.name for parameter in transfer.parameters()}
    _check_requires_grad(transfer, everything, f"strategy '{strategy.name}'")
    return transfer


def borders(shares: Sequence[float], steps: int) -> list[int]:
    """The step at which each phase ends: floor(steps x cumulative share / total + 0.5), so that the last is `steps`."""
    cumulative = list(itertools.accumulate(shares))
    return [math.floor(steps * share / cumulative[-1] + 0.5) for share in cumulative]


def _copy_state(model: nn.Module, device: torch.device | None = None) -> dict[str, torch.Tensor]:
    """Parameters and buffers as they are now, on the device where each lies unless one is given."""
    state = model.state_dict().items()
    return {name: value.detach().to(device, copy=True) for name, value in state if isinstance(value, torch.Tensor)}


def _set_options(transfer: Transfer, strategy: Strategy, options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name not in strategy.defaults:
            near = nearest(name, strategy.defaults)
            way = f"; did you mean '{near}'?" if near else f" (known: {', '.join(strategy.defaults) or 'none'})"
            raise PluginError(f"strategy '{strategy.name}' has no option '{name}'{way}")
        setattr(transfer.options, name, value)


def _edit_model(transfer: Transfer, strategy: Strategy) -> None:
    """Run the strategy's `prepare`, and find the parameters that it made."""
    if strategy.prepare is None:
        return
    before = transfer.model.get_submodule(transfer.head)
    strategy.prepare(transfer)
    if dict(transfer.model.named_modules()).get(transfer.head) is not before:
        raise PluginError(f"strategy '{strategy.name}': prepare must not replace the head, '{transfer.head}'")
    transfer._parameters = transfer._collect(before=transfer._parameters)


def _phases(transfer: Transfer, strategy: Strategy) -> list[Phase]:
    place = f"strategy '{strategy.name}'"
    phases: Any = strategy.phases(transfer)
    if not isinstance(phases, list) or not phases or not all(isinstance(phase, Phase) for phase in phases):
        raise PluginError(f"{place}: phases must return a list of at least one harness.Phase, got {phases!r}")
    with_steps = sum(phase.share > 0 for phase in phases)
    if with_steps == 0:
        raise PluginError(f"{place}: the shares of its phases must sum to more than 0, got 0 for all {len(phases)}")
    if transfer.steps < with_steps:
        raise PluginError(f"{place}: {with_steps} phases need at least as many training steps, got {transfer.steps}")
    kept = [phase.name for phase in phases if phase.keep]
    if "" in kept or len(set(kept)) < len(kept):
        raise PluginError(f"{place}: phases with keep=True need names of their own, got {kept}")
    return phases


def _select(parameters: Sequence[Parameter], phase: Phase, label: str) -> dict[str, float]:
    """The multiplier of each parameter that trains in the phase."""
    multipliers: dict[str, float] = {}
    for parameter in parameters:
        value: Any = phase.select(parameter)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise PluginError(f"{label}: select must give {parameter.name} a number or None, got {value!r}")
        if value == 0:
            raise PluginError(
                f"{label}: the multiplier of {parameter.name} is 0; give None to freeze it, since a rate of 0 costs as "
                "much as training and lets norm layers drift"
            )
        if not (math.isfinite(value) and value > 0):
            raise PluginError(f"{label}: the multiplier of {parameter.name} must be above 0 and finite, got {value}")
        multipliers[parameter.name] = float(value)
    if not multipliers:
        raise PluginError(f"{label}: select gives None for all {len(parameters)} parameters, so nothing would train")
    return multipliers


def _check_requires_grad(transfer: Transfer, due: Container[str], label: str) -> None:
    """Only `select` says what trains; a plugin that sets `requires_grad` itself is refused."""
    for parameter in transfer.parameters():
        if parameter.tensor.requires_grad != (parameter.name in due):
            raise PluginError(f"{label}: a plugin set requires_grad of {parameter.name}; freeze it by None from select")


def _held_modules(model: nn.Module, blocks: BlockMap, selected: Sequence[Parameter]) -> list[nn.Module]:
    """The modules that stay in evaluation mode while `selected` trains."""
    trains = {id(parameter.tensor) for parameter in selected}
    open_blocks = {parameter.block for parameter in selected}
    held: list[nn.Module] = []
    for path, module in model.named_modules():
        if isinstance(module, NORMS):
            own = [id(tensor) for tensor in module.parameters()]
            moves = not trains.isdisjoint(own) if own else blocks.block(path) in open_blocks
        else:
            moves = blocks.last_block(path) >= min(open_blocks)
        if not moves:
            held.append(module)
    return held
