"""What a strategy of fine-tuning works on, and what carries it out: which parameter learns, how fast, in which phase.

The runner calls `prepare`, iterates over `Transfer.begin()`, and builds one optimizer and one schedule per phase from
`RunningPhase.groups`. Everything else about a strategy (what requires a gradient, modes of norm layers, stale
gradients, optimizer state across phases) is settled here, so that a strategy cannot get it wrong.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import nn

from harness.errors import PluginError
from harness.hookspecs import Phase, Strategy
from harness.registry.catalog import nearest
from harness.strategies import heads
from harness.strategies.blocks import BlockMap, map_blocks
from harness.strategies.calls import calling
from harness.strategies.heads import NewHead
from harness.strategies.modes import NormPolicy
from harness.strategies.selection import Parameter, collect, select
from harness.strategies.transfer import RunningPhase, Transfer, check_requires_grad, copy_state

__all__ = ["NewHead", "NormPolicy", "Parameter", "RunningPhase", "Transfer", "borders", "prepare"]


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
    norm: NormPolicy = "follow",
    blocks: Sequence[str] = (),
    new_head: NewHead | None = None,
) -> Transfer:
    """A model ready to be trained by a strategy, with everything refused that can be before the first step.

    Args:
        input_example: inputs (1, ...) on the model's device, for the block map.
        head: dotted name of the output layer; None: the last layer with parameters.
        steps: training steps over all phases.
        options: those of the strategy that differ from its defaults.
        generator: for what the strategy draws.
        stages: most blocks that a strategy tells apart, the head included.
        norm: what norm layers do while training.
        blocks: the model's own, as `Model.blocks` gives them.
        new_head: what the head of a model with loaded weights becomes; None leaves it as it is.

    Raises:
        PluginError: the strategy breaks its contract; the message names strategy, phase and parameter. Or the model's
            head or blocks do not fit it.
        NotApplicable: raised by the strategy itself, which has no meaning on this model.
    """
    found = map_blocks(model, input_example, head=head, stages=stages, patterns=blocks)
    fields: dict[str, Any] = {}
    if new_head is not None:
        tied = heads.tied(model, found.head)
        fields = _change_head(model, found, new_head)
        if tied:  # what the old head shared its weights with is now a layer of its own
            found = map_blocks(model, input_example, head=found.head, stages=stages, patterns=blocks)
    transfer = Transfer(strategy, model, found, steps=steps, generator=generator, norm=norm, **fields)
    _set_options(transfer, strategy, options or {})
    _edit_model(transfer, strategy)
    phases = _phases(transfer, strategy)
    spans = itertools.pairwise([0, *borders([phase.share for phase in phases], steps)])
    for number, (phase, (start, end)) in enumerate(zip(phases, spans, strict=True), start=1):
        label = f"strategy '{strategy.name}', phase {number}" + (f" '{phase.name}'" if phase.name else "")
        multipliers = select(transfer.parameters(), phase, label)
        transfer._running.append(RunningPhase(label, start, end, multipliers, transfer, phase))
    everything = {parameter.name for parameter in transfer.parameters()}
    check_requires_grad(transfer, everything, f"strategy '{strategy.name}'")
    if strategy.exact is not None:
        _check_exact(transfer, strategy)
    return transfer


def borders(shares: Sequence[float], steps: int) -> list[int]:
    """The step at which each phase ends: floor(steps x cumulative share / total + 0.5), so that the last is `steps`."""
    cumulative = list(itertools.accumulate(shares))
    return [math.floor(steps * share / cumulative[-1] + 0.5) for share in cumulative]


def _change_head(model: nn.Module, blocks: BlockMap, new: NewHead) -> dict[str, Any]:
    """Replace the head; what a transfer is to know of the old one."""
    heads.check(model, blocks.head, new, outputs=blocks.outputs)
    if blocks.head_calls != 1:
        raise PluginError(
            f"{type(model).__name__} calls its head '{blocks.head}' {blocks.head_calls} times in a forward pass; what "
            "goes into a head is measured, so it must be called once: add up what it is given, or name another layer, "
            'Model(..., head="...")'
        )
    source_head = MappingProxyType(copy_state(model.get_submodule(blocks.head), torch.device("cpu")))
    return {"source_head": source_head, "new_head": heads.replace(model, blocks.head, new)}


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
    with calling(f"strategy '{strategy.name}'", "prepare"):
        strategy.prepare(transfer)
    transfer.check_head("prepare")
    transfer._parameters = list(collect(transfer.model, transfer._blocks, before=transfer._parameters))


def _phases(transfer: Transfer, strategy: Strategy) -> list[Phase]:
    place = f"strategy '{strategy.name}'"
    with calling(place, "phases"):
        phases: Any = strategy.phases(transfer)
    if not isinstance(phases, list) or not phases or not all(isinstance(phase, Phase) for phase in phases):
        raise PluginError(f"{place}: phases must return a list of at least one harness.Phase, got {phases!r}")
    with_steps = sum(phase.share > 0 for phase in phases)
    if with_steps == 0:
        raise PluginError(f"{place}: the shares of its phases must sum to more than 0, got 0 for all {len(phases)}")
    if not math.isfinite(transfer.steps * sum(phase.share for phase in phases)):
        shares = ", ".join(f"{phase.share:g}" for phase in phases)
        raise PluginError(
            f"{place}: the shares of its phases are too large to add up, got {shares}; 1 and 3 are enough"
        )
    if transfer.steps < with_steps:
        raise PluginError(f"{place}: {with_steps} phases need at least as many training steps, got {transfer.steps}")
    kept = [phase.name for phase in phases if phase.keep]
    if "" in kept or len(set(kept)) < len(kept):
        raise PluginError(f"{place}: phases with keep=True need names of their own, got {kept}")
    return phases


def _check_exact(transfer: Transfer, strategy: Strategy) -> None:
    """What is fitted to its optimum is the head, in one phase, and nothing else has a say in it."""
    place, phases = f"strategy '{strategy.name}'", transfer.phases
    trains = {parameter.name for phase in phases for parameter in phase.parameters() if not parameter.head}
    if len(phases) != 1 or trains:
        also = f", got {len(phases)} phases" if len(phases) != 1 else f", and not {min(trains)}"
        raise PluginError(f"{place}: with exact it has one phase, in which the head alone trains{also}")
    if strategy.penalty is not None:
        raise PluginError(f"{place}: with exact it has no penalty of its own: exact says how strong the one there is")
