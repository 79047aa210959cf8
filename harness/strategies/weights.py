"""State dicts as files: what a run of this suite trained, written and read; what someone published, put into its model.

Nothing in such a file is ever run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from harness.errors import DataError, PluginError, ResultsError
from harness.hookspecs import Model, Weights
from harness.published import DamagedWeights, check_digest, check_published, digest_of, opened, unfit
from harness.store import write_atomically

State = Mapping[str, torch.Tensor]
MARK = "harness.weights"
"""Key of a file's own metadata: the names of tied tensors, each with the name that their numbers lie under."""
_MOST_NAMED = 3


# Of this suite -------------------------------------------------------------------------------------------------------


def save_state(path: Path, state: State) -> str:
    """Write a state dict atomically; returns the SHA-256 of the file.

    Names are written in their order and tensors contiguously, so that equal states are equal bytes, whatever their
    layout in memory. Tensors that are the same memory are written once.

    Raises:
        TypeError: something in the state is no tensor that a file can hold.
        ResultsError: the disk is full, read-only or broken, or there is a link or a folder in the file's place.
    """
    if path.is_symlink() or path.is_dir():
        raise ResultsError(f"cannot write {path}: there is a {'link' if path.is_symlink() else 'folder'} in its place")
    data = to_bytes(state)
    write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def to_bytes(state: State) -> bytes:
    """The bytes of the file that `save_state` writes.

    Raises:
        TypeError: something in the state is no tensor that a file can hold.
    """
    held: dict[str, torch.Tensor] = {}
    tied: dict[str, str] = {}
    places: dict[Any, str] = {}
    for name, tensor in sorted(state.items()):
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.is_quantized:
            raise TypeError(f"'{name}' of the state is no dense tensor but {_kind(tensor)}; weights are tensors alone")
        if tensor.device.type == "meta":
            raise TypeError(f"'{name}' of the state is on the meta device, where no tensor has numbers")
        first = places.setdefault(_memory(tensor) or name, name)
        if first == name:
            plain = tensor.detach().resolve_conj().resolve_neg().to("cpu")
            held[name] = plain.clone(memory_format=torch.contiguous_format)
        else:
            tied[name] = first
    try:
        # One entry of metadata: several would be written in no fixed order.
        return bytes(safetensors.torch.save(held, metadata={MARK: json.dumps(tied, sort_keys=True)}))
    except (KeyError, ValueError) as error:
        raise TypeError(f"a tensor of the state is of a type that no file holds: {error}") from error


def _kind(value: Any) -> str:
    return f"{value.layout} {value.dtype}" if isinstance(value, torch.Tensor) else type(value).__name__


def _memory(tensor: torch.Tensor) -> tuple[Any, ...] | None:
    """Equal for tensors that are the same numbers in the same memory; None for one without numbers."""
    if tensor.numel() == 0:
        return None
    return tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def load_state(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    """What `save_state` wrote, by name in their order, on the CPU and contiguous; tied tensors are one tensor again.

    Raises:
        DamagedWeights: the file is not there, no regular file, not the one of that SHA-256, or none of these.
    """
    with opened(path, follow=False) as file:
        data = file.read()
    check_digest(path, hashlib.sha256(data).hexdigest(), sha256)
    try:
        tied = json.loads(_metadata(data)[MARK])
        # A copy lies where torch aligns it: a sum over what lies elsewhere may be rounded in another way.
        held = {name: tensor.clone() for name, tensor in safetensors.torch.load(data).items()}
        return {name: held[tied.get(name, name)] for name in sorted([*held, *tied])}
    # The file is the one that was asked for, but nobody knows what that is.
    except (safetensors.SafetensorError, LookupError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DamagedWeights(f"{path} holds no weights that harness wrote ({reason})") from error


def _metadata(data: bytes) -> dict[str, str]:
    """The metadata of a file of safetensors: eight bytes of length, then that much JSON, then numbers."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header["__metadata__"]  # type: ignore[no-any-return]


# Published -----------------------------------------------------------------------------------------------------------


def build(
    part: Model,
    input_shape: Sequence[int],
    weights: Weights,
    path: Path,
    *,
    sha256: str = "",
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """The model with published weights and the outputs that they were trained with; its head is replaced afterwards.

    Args:
        input_shape: of the target's examples, (C, H, W).
        path: the file, as `published.find` found it.
        sha256: what its SHA-256 must be; '' where only the published digits are known.
        options: of the model.

    Raises:
        PluginError: the weights are of another model, or do not fit the inputs or options.
        DataError: the file is damaged, or holds numbers that are not finite.
    """
    given = dict(options or {})
    if reason := unfit(part.name, weights, input_shape=input_shape, options=_all_options(part, given)):
        raise PluginError(reason)
    state = load(path, weights, sha256=sha256)
    model = part.build(tuple(input_shape), weights.outputs, **given)
    put_into(model, state, weights, name=part.name)
    return model


def _all_options(part: Model, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that count: those given, then those of the part, then those of its callable."""
    import inspect

    own = {p.name: p.default for p in inspect.signature(part.build).parameters.values() if p.default is not p.empty}
    return {**own, **part.defaults, **given}


def load(path: Path, weights: Weights, *, sha256: str = "") -> dict[str, torch.Tensor]:
    """The state dict in a file of published weights, on the CPU, with the names that it has there.

    Raises:
        DamagedWeights: the file is not the published one (or not the one of that SHA-256), or cannot be read.
    """
    with opened(path) as file:
        found = digest_of(file)
        check_published(path, found, weights)
        if sha256:
            check_digest(path, found, sha256)
        file.seek(0)
        try:
            if weights.file.endswith(".safetensors"):
                state: Any = safetensors.torch.load(file.read())
            else:
                state = torch.load(file, map_location="cpu", weights_only=True)
        # Of many kinds: archives, pickles that name something else than tensors, and whatever a damaged file gives.
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise DamagedWeights(f"{path} cannot be read ({reason})") from error
    if not isinstance(state, Mapping) or not all(isinstance(one, torch.Tensor) for one in state.values()):
        raise DamagedWeights(f"{path} must hold a state dict, tensors by name, and holds {type(state).__name__}")
    return state  # type: ignore[return-value]


def put_into(model: nn.Module, state: State, weights: Weights, *, name: str) -> None:
    """Put the state dict of a file into the model, every tensor of both.

    Modules may read older files in their own way, as batch normalisation does those without counts of batches.

    Raises:
        PluginError: names or shapes are those of another model.
        DataError: a number is not finite.
    """
    target = model.get_submodule(weights.module)
    named = _as_the_model_has_them(state, target, weights)
    own = target.state_dict()
    other = [
        f"{key} {tuple(named[key].shape)} in place of {tuple(own[key].shape)}"
        for key in own
        if key in named and named[key].shape != own[key].shape
    ]
    missing, unexpected = [key for key in own if key not in named], [key for key in named if key not in own]
    try:
        missing, unexpected = target.load_state_dict(named, strict=False)
    except (RuntimeError, AssertionError) as error:
        other = other or [str(error)]
    else:
        other = []
    if words := _words(missing, unexpected, other):
        raise PluginError(f"{weights.file} is of another model than '{name}': {words}")
    for key, tensor in target.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DataError(f"{weights.file}: '{key}' has numbers that are not finite")


def _as_the_model_has_them(state: State, target: nn.Module, weights: Weights) -> OrderedDict[str, torch.Tensor]:
    """The tensors of the file by the names that the model has, with the versions of modules that the file is of."""
    pattern, by = weights.renamed or ("(?!)", "")
    kept = [key for key in state if not (weights.left_out and re.match(weights.left_out, key))]
    named = OrderedDict((re.sub(pattern, by, key), state[key]) for key in kept)
    # A file of safetensors says nothing of versions, and is as new as the model.
    plain = weights.file.endswith(".safetensors")
    versions = getattr(target.state_dict() if plain else state, "_metadata", None)
    if versions is not None:
        named._metadata = versions  # type: ignore[attr-defined]
    return named


def _words(missing: Sequence[str], unexpected: Sequence[str], other: Sequence[str]) -> str:
    """The first few of each kind."""
    listed = (("no", missing), ("it has", unexpected), ("shape of", other))
    return "; ".join(f"{what} {_few(found)}" for what, found in listed if found)


def _few(found: Sequence[str]) -> str:
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return ", ".join(found[:_MOST_NAMED]) + more
