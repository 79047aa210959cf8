"""Which modules of a network stay in evaluation mode while some of its parameters train."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Literal

from torch import nn

from harness.strategies.blocks import NORMS, BlockMap

NormPolicy = Literal["follow", "eval", "train"]
"""Norm layers while training: each trains if its own parameters do (without parameters: if its block does); all in
evaluation mode; all in training mode."""


def held(
    model: nn.Module, blocks: BlockMap, *, trains: Set[int], open_blocks: Set[int], norm: NormPolicy
) -> Iterator[tuple[str, nn.Module]]:
    """Paths and modules that stay in evaluation mode: held norms, and what lies before the first block that trains.

    Args:
        trains: identities of the tensors that train.
        open_blocks: blocks that hold any of them.
    """
    for path, module in model.named_modules():
        if isinstance(module, NORMS):
            moves = norm == "train" or (norm == "follow" and _follows(path, module, blocks, trains, open_blocks))
        else:
            # Dropout above all: what is frozen gives the same features at every step.
            moves = blocks.last_block(path) >= min(open_blocks)
        if not moves:
            yield path, module


def _follows(path: str, module: nn.Module, blocks: BlockMap, trains: Set[int], open_blocks: Set[int]) -> bool:
    own = {id(tensor) for tensor in module.parameters()}
    return bool(own & trains) if own else blocks.block(path) in open_blocks
