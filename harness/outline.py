"""What a strategy would train of a model, block by block, given by the child process of `harness.registry.describe`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from harness import strategies
from harness.hookspecs import NotApplicable
from harness.registry import load_part
from harness.registry.catalog import Origin
from harness.strategies import RunningPhase, Transfer
from harness.strategies.heads import NewHead
from harness.strategies.selection import Parameter

STEPS = 1000
"""Of the run that is asked about: shares of phases are read from it."""


def outline(question: Mapping[str, Any]) -> dict[str, Any]:
    """Blocks of the model with each phase's multipliers as plain data, or why the strategy is `not_applicable` to it.

    Raises:
        Exception: whatever model and strategy have against each other.
    """
    try:
        return _outlined(_prepared(question))
    except NotApplicable as error:
        return {"not_applicable": str(error)}


def _prepared(question: Mapping[str, Any]) -> Transfer:
    """The strategy on the model, from random weights and with a new head."""
    parts = {
        kind: load_part(kind, question[kind], Origin(**question["origins"][kind])) for kind in ("model", "strategy")
    }
    torch.manual_seed(0)
    shape, outputs = tuple(question["input_shape"]), question["outputs"]
    model = parts["model"].build(shape, outputs, **question["model_options"])
    generator = torch.Generator().manual_seed(0)
    return strategies.prepare(
        parts["strategy"],
        model,
        input_example=torch.zeros(1, *shape),
        head=parts["model"].head,
        steps=STEPS,
        options=question["options"],
        generator=generator,
        stages=question["stages"],
        norm=question["norm"],
        blocks=parts["model"].blocks,
        new_head=NewHead(outputs, "default", generator),
    )


def _outlined(transfer: Transfer) -> dict[str, Any]:
    return {
        "phases": [[phase.name, phase.start / STEPS, phase.end / STEPS] for phase in transfer.phases],
        "blocks": [_block(transfer, block) for block in range(transfer.n_blocks)],
        "trains": [sum(p.tensor.numel() for p in phase.parameters()) for phase in transfer.phases],
        "parameters": sum(p.tensor.numel() for p in transfer.parameters()),
        "unused": list(transfer.unused),
        "idle": sorted({name for phase in transfer.phases for name in phase.idle()}),
    }


def _block(transfer: Transfer, block: int) -> dict[str, Any]:
    """First and last parameter of a block, how many numbers it holds, and what each phase trains of it how fast."""
    own = [p for p in transfer.parameters() if p.block == block]
    names = [p.name for p in own if not p.added] or [p.name for p in own]
    return {
        "first": names[0] if names else "",
        "last": names[-1] if names else "",
        "parameters": sum(p.tensor.numel() for p in own),
        "phases": [_part_of(own, phase) for phase in transfer.phases],
    }


def _part_of(own: Sequence[Parameter], phase: RunningPhase) -> dict[str, Any]:
    trained = [p for p in own if p.name in phase.multipliers]
    multipliers = sorted({phase.multipliers[p.name] for p in trained}, reverse=True)
    return {"multipliers": multipliers, "parameters": sum(p.tensor.numel() for p in trained)}
