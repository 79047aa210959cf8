"""Blocks of any network by order of execution: how deep each parameter lies, and which layer is the head.

One forward pass of one example tells: see `trace`.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from harness.errors import PluginError
from harness.strategies.trace import Trace, owns_parameters, trace

NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)


@dataclass(frozen=True)
class BlockMap:
    """Where everything lies, in blocks counted from the input side; the head is alone in the last one."""

    n_blocks: int
    head: str
    of_owner: Mapping[str, int]
    """Block of each module that was called, at its first call."""
    reach: Mapping[str, int]
    """Last block in which the module, or anything inside it, was called."""
    unused: tuple[str, ...]
    """Parameters that the pass did not read."""
    outputs: int | None = None
    """K of the network's outputs (N, K), where they were one such tensor."""
    followed: tuple[tuple[str, str], ...] = ()
    """Names of layers whose output goes into a batch or instance normalisation as it is, and the name of that."""
    of_parameter: Mapping[str, int] = field(default_factory=dict)
    """Block of each parameter of the backbone, where the model says it by regular expressions."""
    head_calls: int = 1
    """How often the pass called the head."""
    head_apart: bool = True
    """Whether the head's tensors are read in its calls alone, so that what goes into it does not depend on them."""

    def block(self, path: str, attr: str = "") -> int:
        """The block of what the module of that name owns: its own, or that of the nearest ancestor that was called.

        Where the model says which of its parameters lie where, `attr` tells them apart.
        """
        if _inside(path, self.head):
            return self.n_blocks - 1
        said = self.of_parameter.get(_original(path, attr))
        return self.of_owner[_called(path, self.of_owner)] if said is None else said

    def last_block(self, path: str) -> int:
        """The last block in which the module of that name, or anything inside it, has a part."""
        return next(self.reach[name] for name in _upwards(path) if name in self.reach)


def map_blocks(
    model: nn.Module,
    example: torch.Tensor,
    *,
    head: str | None,
    stages: int | Literal["all"],
    patterns: Sequence[str] = (),
) -> BlockMap:
    """Each module that owns parameters opens a block; norm layers join the block before them.

    Parameters of modules that are never called themselves (attention's output projection, a class token) join the
    nearest ancestor that is. Beyond `stages` blocks those of the backbone are merged into `stages - 1` contiguous
    pieces, at most 1 apart in size, larger ones first.

    Args:
        patterns: blocks of the backbone as the model gives them, from the input side: regular expressions, of which
            each parameter's dotted name matches exactly one from its beginning.

    Raises:
        PluginError: there is no module of the name `head`, no layer can be told to be the head, or the patterns do not
            fit the parameters or the order of execution.
    """
    seen = trace(model, example)
    head = _find_head(model, seen, head)
    groups = _match(model, head, seen, patterns)
    opened = _opened(model, seen, head, groups)
    sizes = _stage_sizes(len(patterns) or len(opened), stages)
    stage_of = [stage for stage, size in enumerate(sizes) for _ in range(size)]
    calls, n_blocks = [call for call, _ in opened], len(sizes) + 1

    def at(name: str, call: int) -> int:
        if _inside(name, head):
            return n_blocks - 1
        # What comes before the first parameter, such as dropout of the inputs, counts to the first block.
        return stage_of[opened[max(bisect.bisect_right(calls, call) - 1, 0)][1]] if opened else 0

    return BlockMap(
        n_blocks,
        head,
        of_owner={name: at(name, call) for name, call in seen.first.items()},
        reach=_reach({name: at(name, call) for name, call in seen.last.items()}),
        unused=tuple(name for name, tensor in model.named_parameters() if id(tensor) not in seen.used),
        outputs=seen.widths.get(""),
        followed=tuple(seen.followed),
        of_parameter={_dotted(path, attr): stage_of[group] for (path, attr), group in groups.items()},
        head_calls=seen.of_module[head],
        head_apart=_is_apart(model, head, seen),
    )


def _is_apart(model: nn.Module, head: str, seen: Trace) -> bool:
    """Whether nothing but the head reads its parameters and buffers."""
    layer = model.get_submodule(head)
    own = [id(tensor) for tensor in (*layer.parameters(), *layer.buffers())]
    return all(_inside(reader, head) for tensor in own for reader in seen.readers.get(tensor, ()))


def own_parameters(model: nn.Module, head: str) -> Iterator[tuple[str, nn.Module, str, nn.Parameter]]:
    """Path of the owner, owner, attribute and tensor of each parameter, once: tied ones at the head, else first."""
    held_by_head = {id(tensor) for tensor in model.get_submodule(head).parameters()}
    seen: set[int] = set()
    for path, module in model.named_modules(remove_duplicate=False):
        for attr, tensor in module.named_parameters(recurse=False):
            misplaced = id(tensor) in held_by_head and not _inside(path, head)
            if id(tensor) not in seen and not misplaced:
                seen.add(id(tensor))
                yield path, module, attr, tensor


def _find_head(model: nn.Module, seen: Trace, named: str | None) -> str:
    if named is not None:
        if named not in dict(model.named_modules()):
            raise PluginError(f"{type(model).__name__} has no module '{named}', which its part names as head")
        return named
    owners = {_called(path, seen.first) for path, module in model.named_modules() if owns_parameters(module)}
    if not owners:
        raise PluginError(f"{type(model).__name__} has no parameters, so there is nothing to train")
    last = max(owners, key=seen.last.__getitem__)
    if seen.widths.get(last) != seen.widths.get(""):
        raise PluginError(
            f"cannot tell the head of {type(model).__name__}: its last layer with parameters, '{last}', gives "
            f'{seen.widths.get(last)} outputs, the network {seen.widths.get("")}; name it: Model(..., head="...")'
        )
    return last


def _opened(model: nn.Module, seen: Trace, head: str, groups: Mapping[tuple[str, str], int]) -> list[tuple[int, int]]:
    """When each block of the backbone was opened, as a count of calls, and which it is; blocks by `groups`, if any."""
    if groups:
        owners: dict[int, int] = {}
        for (path, _), group in groups.items():
            call = seen.first[_called(path, seen.first)]
            owners[call] = min(group, owners.get(call, group))
        return sorted(owners.items())
    found = {
        _called(path, seen.first)
        for path, _, _, tensor in own_parameters(model, head)
        # What is never used, such as a branch for training only, opens no block of its own.
        if not _inside(path, head) and (path in seen.first or id(tensor) in seen.used)
    }
    called = sorted(found, key=seen.first.__getitem__)
    openers = [name for place, name in enumerate(called) if place == 0 or not _is_norm(model, name)]
    return [(seen.first[name], block) for block, name in enumerate(openers)]


def _match(model: nn.Module, head: str, seen: Trace, patterns: Sequence[str]) -> dict[tuple[str, str], int]:
    """Which pattern each parameter of the backbone matches, by path and attribute; nothing without patterns.

    Raises:
        PluginError: a parameter matches none or several, a pattern none, or patterns are not in order of execution.
    """
    if not patterns:
        return {}
    place, found = f"blocks of {type(model).__name__}", dict[tuple[str, str], int]()
    compiled = [_compiled(pattern, place) for pattern in patterns]
    for path, _, attr, _ in own_parameters(model, head):
        if not _inside(path, head):
            name = _dotted(path, attr)
            fitting = [group for group, pattern in enumerate(compiled) if pattern.match(name)]
            if len(fitting) != 1:
                which = ", ".join(repr(patterns[group]) for group in fitting) or "none of them"
                raise PluginError(f"{place}: each parameter must match exactly one pattern, '{name}' matches {which}")
            found[path, attr] = fitting[0]
    if idle := [pattern for group, pattern in enumerate(patterns) if group not in found.values()]:
        raise PluginError(f"{place}: {idle[0]!r} matches no parameter of the backbone")
    begun = [
        min(seen.first[_called(path, seen.first)] for (path, _), group in found.items() if group == one)
        for one in range(len(patterns))
    ]
    for one, (before, after) in enumerate(itertools.pairwise(begun)):
        if after < before:
            raise PluginError(
                f"{place}: patterns must be in order of execution; {patterns[one + 1]!r} runs before {patterns[one]!r}"
            )
    return found


def _compiled(pattern: str, place: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        raise PluginError(f"{place}: {pattern!r} is no regular expression: {error}") from error


def _dotted(path: str, attr: str) -> str:
    return f"{path}.{attr}" if path else attr


def _original(path: str, attr: str) -> str:
    """Name of the parameter, or of the one that it is a parametrization of."""
    owner, found, rest = path.partition("parametrizations.")
    return _dotted(owner.rstrip("."), rest.partition(".")[0]) if found else _dotted(path, attr)


def _is_norm(model: nn.Module, name: str) -> bool:
    return isinstance(model.get_submodule(name), NORMS)


def _stage_sizes(blocks: int, stages: int | Literal["all"]) -> list[int]:
    """How many blocks of the backbone each stage holds."""
    if stages != "all" and (isinstance(stages, bool) or not isinstance(stages, int) or stages < 2):
        raise ValueError(f"stages must be a whole number of at least 2, or 'all', got {stages!r}")
    if stages == "all" or blocks + 1 <= stages:
        return [1] * blocks
    size, larger = divmod(blocks, stages - 1)
    return [size + (stage < larger) for stage in range(stages - 1)]


def _reach(last: Mapping[str, int]) -> dict[str, int]:
    reach: dict[str, int] = {}
    for name, block in last.items():
        for ancestor in _upwards(name):
            reach[ancestor] = max(reach.get(ancestor, 0), block)
    return reach


def _called(path: str, calls: Mapping[str, int]) -> str:
    """The module or its nearest ancestor that was called; a parametrization is part of its layer."""
    parts = path.split(".")
    if "parametrizations" in parts:
        path = ".".join(parts[: parts.index("parametrizations")])
    return next(name for name in _upwards(path) if name in calls)


def _upwards(path: str) -> Iterator[str]:
    """The name itself, then its ancestors up to the root, which is ''."""
    while path:
        yield path
        path = path.rpartition(".")[0]
    yield ""


def _inside(path: str, module: str) -> bool:
    """Whether the path is the module or lies in it."""
    return path == module or path.startswith(f"{module}.") or module == ""
