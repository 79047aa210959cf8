"""The state of a training as one file that holds tensors and plain data, and nothing that could run.

Tensors are stored by safetensors, everything around them as JSON in the file's header.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

_KEY = "state"


class NotPlain(TypeError):
    """A state holds something that is neither a tensor nor plain data."""


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write nested tables and lists of tensors and plain data.

    Raises:
        NotPlain: anything else, with its place.
    """
    tensors: dict[str, torch.Tensor] = {}
    described = _describe(state, "state", tensors)
    save_file(tensors, path, metadata={_KEY: json.dumps(described, allow_nan=False)})


def load(path: Path) -> Any:
    """What `save` wrote, its tensors on the CPU.

    Raises:
        Exception: of many kinds, when the file is damaged; callers check its SHA-256 first.
    """
    with safe_open(path, framework="pt", device="cpu") as file:
        return _rebuild(json.loads(file.metadata()[_KEY]), file)


def plain(value: Any, place: str) -> bool:
    """Whether `save` can hold the value."""
    try:
        _describe(value, place, {})
    except NotPlain:
        return False
    return True


def equal(one: Any, other: Any) -> bool:
    """Whether two states hold the same bits."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same = one.dtype == other.dtype and one.shape == other.shape
        return same and _bytes(one) == _bytes(other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over names and bytes of the state dict, in the order of names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        plain = tensor.detach().to("cpu").contiguous()
        digest.update(f"{name}{plain.dtype}{tuple(plain.shape)}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _bytes(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _describe(value: Any, place: str, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    if isinstance(value, torch.Tensor):
        return _describe_tensor(value, tensors)
    if isinstance(value, Mapping):
        return {
            "table": [[_key(key, place), _describe(item, f"{place}.{key}", tensors)] for key, item in value.items()]
        }
    if isinstance(value, list | tuple):
        items = [_describe(item, f"{place}[{index}]", tensors) for index, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or type(value) in (bool, int, float, str):
        return {"plain": value}
    raise NotPlain(f"{place} is {type(value).__name__}; a checkpoint holds tensors and plain data only")


def _describe_tensor(tensor: torch.Tensor, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    name = str(len(tensors))
    last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return {"tensor": name, "channels_last": last}


def _key(key: Any, place: str) -> Any:
    if type(key) in (str, int, bool):
        return key
    raise NotPlain(f"{place} has a key of type {type(key).__name__}; a checkpoint holds tensors and plain data only")


def _rebuild(described: Mapping[str, Any], file: Any) -> Any:
    ((kind, value), *rest) = described.items()
    if kind == "tensor":
        # A copy lies where torch aligns it: a sum over what lies elsewhere may be rounded in another way.
        tensor = file.get_tensor(value).clone()
        return tensor.contiguous(memory_format=torch.channels_last) if rest[0][1] else tensor
    if kind == "table":
        return {key: _rebuild(item, file) for key, item in value}
    if kind in ("list", "tuple"):
        items = [_rebuild(item, file) for item in value]
        return tuple(items) if kind == "tuple" else items
    return float(value) if kind == "float" else value
