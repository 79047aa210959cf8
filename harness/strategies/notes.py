"""Notes of a strategy (`t.memo`) as a checkpoint holds them, and as a resumed run gets them back.

A tensor of the model goes by its name: a copy of its numbers would no longer follow it. All else comes back into the
object that `prepare` or `phases` put there, since a hook may hold on to that.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import torch
from torch import nn

from harness.train import snapshot

_NAME, _PLAIN = "\0tensor of the model", "\0without gradient"


def written(memo: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """What of the notes a file can hold."""
    names = {_memory(tensor): name for name, tensor in _tensors(model).items() if tensor.numel()}
    return {name: _written(value, names) for name, value in memo.items() if snapshot.plain(value, name)}


def take_back(memo: MutableMapping[str, Any], kept: Mapping[str, Any], model: nn.Module) -> None:
    """Put what `written` gave into the notes."""
    tensors = _tensors(model)
    for name, value in kept.items():
        memo[name] = _taken(memo.get(name), value, tensors)


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _memory(tensor: torch.Tensor) -> tuple[Any, ...] | None:
    """Equal for tensors that are the same numbers in the same memory; None where that cannot be told."""
    if tensor.layout != torch.strided or tensor.numel() == 0:
        return None
    return tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def _written(value: Any, names: Mapping[Any, str]) -> Any:
    if isinstance(value, torch.Tensor):
        name = names.get(_memory(value))
        return value if name is None else {_NAME: name, _PLAIN: not isinstance(value, nn.Parameter)}
    if isinstance(value, Mapping):
        return {key: _written(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_written(item, names) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def _taken(now: Any, kept: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """What was kept, in the object that is there `now` where that is of its kind."""
    if isinstance(kept, Mapping) and _NAME in kept:
        found = tensors[kept[_NAME]]
        return found.detach() if kept[_PLAIN] else found
    if isinstance(kept, torch.Tensor):
        return _filled(now, kept)
    if isinstance(kept, Mapping):
        return _refilled(now, kept, tensors)
    if isinstance(kept, list | tuple):
        before = now if isinstance(now, list | tuple) else ()
        items = [_taken(before[at] if at < len(before) else None, item, tensors) for at, item in enumerate(kept)]
        if isinstance(kept, tuple):
            return tuple(items)
        if isinstance(now, list):
            now[:] = items
            return now
        return items
    return kept


def _filled(now: Any, kept: torch.Tensor) -> torch.Tensor:
    """The tensor that is there, with the numbers that were kept, if it can have them."""
    if not isinstance(now, torch.Tensor) or (now.shape, now.dtype) != (kept.shape, kept.dtype) or now.requires_grad:
        return kept
    return now.copy_(kept)


def _refilled(now: Any, kept: Mapping[Any, Any], tensors: Mapping[str, torch.Tensor]) -> Any:
    """The table that is there, with what was kept in place of all that it had, if it can be changed."""
    before = now if isinstance(now, Mapping) else {}
    found = {key: _taken(before.get(key), item, tensors) for key, item in kept.items()}
    if not isinstance(now, MutableMapping):
        return found
    now.clear()
    now.update(found)
    return now
