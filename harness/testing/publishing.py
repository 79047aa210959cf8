"""Checks of the published weights that a model declares, against what it builds: nothing is looked for or downloaded.

Tensor axes: C channels, S pixels a side.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from collections.abc import Sequence

import torch
from torch import nn

from harness.hookspecs import Model, Weights
from harness.strategies import blocks, weights
from harness.testing.case import Case

_HASHED = re.compile(r"-([0-9a-f]{8,64})\.(?:pth|safetensors)")


def check_weights(case: Case, part: Model, input_shape: Sequence[int]) -> None:
    """Names, scale, options and tensors of all weights of a model.

    Args:
        input_shape: its last axis is the side of the images for weights that were published for none.

    Raises:
        NonConforming: the first rule that one of them breaks.
    """
    built: set[str] = set()
    for name, one in part.weights.items():
        _check_file(case, name, one)
        _check_scale(case, name, one)
        # Weights of one recipe and of the next are alike but for these: a large network is built once for them.
        alike = repr(dataclasses.replace(one, file="none.pth", mean=(), std=(), url="", sha256_prefix=""))
        if alike not in built:
            _check_fit(case, name, one, part, one.input_size or input_shape[-1])
            built.add(alike)


def _check_file(case: Case, name: str, one: Weights) -> None:
    rule = (
        f"weights '{name}': the file's name ends in the first 8 digits or more of its SHA-256, as in net-1a2b3c4d.pth"
    )
    said = _HASHED.search(one.file)
    case.require(said is not None and said.end() == len(one.file), rule, one.file)
    assert said is not None
    rule = f"weights '{name}': sha256_prefix begins with the digits in the file's name"
    case.require(one.sha256_prefix.startswith(said[1]), rule, f"'{one.sha256_prefix}' for {one.file}")


def _check_scale(case: Case, name: str, one: Weights) -> None:
    """Of pixels in [0, 1], which statistics of bytes are mistaken for."""
    shifts, scales = (all(isinstance(value, int | float) for value in values) for values in (one.mean, one.std))
    right = shifts and all(0 <= value <= 1 for value in one.mean)
    case.require(right, f"weights '{name}': mean is that of pixels in [0, 1]", str(one.mean))
    right = scales and all(0 < value <= 1 and math.isfinite(1 / value) for value in one.std)
    case.require(right, f"weights '{name}': std is above 0, and of pixels in [0, 1]", str(one.std))


def _check_fit(case: Case, name: str, one: Weights, part: Model, side: int) -> None:
    """Hold the model, as the weights want it built, against what a file of them has to hold."""
    shape, options = (one.channels, side, side), {**case.options, **one.options}
    torch.manual_seed(0)
    rule = f"weights '{name}': the model is built for their images {shape}, outputs and options"
    model: nn.Module = case.run(rule, part.build, shape, one.outputs, **options)
    rule = f"weights '{name}': the model takes images {shape}"
    found: blocks.BlockMap = case.run(
        rule, blocks.map_blocks, model, torch.zeros(1, *shape), head=part.head, stages="all"
    )
    case.require(found.outputs == one.outputs, f"weights '{name}': the model has their outputs", str(found.outputs))
    target = case.run(f"weights '{name}': module is one of the model's", model.get_submodule, one.module)
    held = not one.module or f"{found.head}.".startswith(f"{one.module}.")
    case.require(held, f"weights '{name}': the head lies in their module", f"'{found.head}' beside '{one.module}'")
    for key, value in target.state_dict().items():
        told = isinstance(value, torch.Tensor)
        case.require(told, f"weights '{name}': the state_dict holds tensors alone", f"{type(value).__name__} at {key}")
    _check_names(case, name, one, model)


def _check_names(case: Case, name: str, one: Weights, model: nn.Module) -> None:
    """Put a state dict of the model's own names into it, as if from a file; where files must have others, nobody knows.

    Names that `renamed` leaves alone are such as a file may have.
    """
    kept = copy.deepcopy(model.get_submodule(one.module).state_dict())
    pattern, by = one.renamed or ("(?!)", "")
    rule = f"weights '{name}': renamed and left_out are regular expressions"
    case.run(rule, re.sub, pattern, by, "")
    case.run(rule, re.compile, one.left_out)
    if all(re.sub(pattern, by, key) == key for key in kept):
        rule = f"weights '{name}': a file of the model's own names fills it"
        case.run(rule, weights.put_into, model, kept, one, name=case.part.name)
