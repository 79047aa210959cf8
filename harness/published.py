"""Files of weights, without torch: chosen by name, found on this machine or downloaded, and held against their hash.

Weights that someone published lie in `weights` of the data root, or in torch hub's cache. Their SHA-256 is part of the
id of every run that starts from them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from harness import registry
from harness.download import fetch
from harness.errors import DataError, PluginError
from harness.hookspecs import DEFAULT_WEIGHTS, Weights, weights_from_plain
from harness.locations import may_download
from harness.registry import child
from harness.registry.catalog import PartInfo, few_names, nearest
from harness.store import sweep_abandoned

FOLDER = "weights"
"""In the data root, where published weights are looked for first and downloaded into."""


class DamagedWeights(DataError):
    """A file of weights is not there, is no regular file, or is not what was written; says which."""


@dataclass(frozen=True)
class Found:
    """A file of published weights that was held against its hash and its model."""

    name: str
    """Of the weights, never `DEFAULT`."""
    path: Path
    sha256: str
    outputs: int

    def to_plain(self) -> dict[str, Any]:
        """What a run is told of them."""
        return {"weights": self.name, "path": str(self.path), "sha256": self.sha256, "outputs": self.outputs}


# Which ---------------------------------------------------------------------------------------------------------------


def names(part: PartInfo) -> list[str]:
    """What a suite may call the model's published weights: their names, and `DEFAULT` for the first of them."""
    declared = list(part.extra.get("weights") or ())
    return [*declared, DEFAULT_WEIGHTS] if declared else []


def choose(part: PartInfo, name: str) -> tuple[str, Weights]:
    """The model's weights of that name, `DEFAULT` resolved to theirs.

    Raises:
        PluginError: the model has none of that name; says which it has.
    """
    declared = weights_from_plain(part.extra.get("weights") or {})
    chosen = next(iter(declared), name) if name == DEFAULT_WEIGHTS else name
    if chosen in declared:
        return chosen, declared[chosen]
    if not declared:
        raise PluginError(f"model '{part.name}' has no published weights, and '{name}' was asked for")
    known, near = few_names(name, names(part)), nearest(name, names(part))
    hint = f"; did you mean '{near}'?" if near else ""
    raise PluginError(f"model '{part.name}' has no weights named '{name}' (known: {known}){hint}")


def unfit(model: str, weights: Weights, *, input_shape: Sequence[int], options: Mapping[str, Any]) -> str:
    """Why the weights cannot be put into a model of these options for inputs (C, H, W); '' where they can.

    The scale of the images is not looked at: the user chooses it by the data set's `normalize`, and `mean` and `std`
    of the weights say which one they were published for.
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or shape[0] != weights.channels:
        return (
            f"{weights.file} of model '{model}' takes images of {weights.channels} channels, and the data's have "
            f"the shape {shape}; its first layer is not adapted: choose other data, or train a source of your own"
        )
    for name, due in weights.options.items():
        if options.get(name) != due:
            return f"{weights.file} fits model '{model}' with {name} = {due!r} only, got {options.get(name)!r}"
    return ""


# Where ---------------------------------------------------------------------------------------------------------------


def hub_folder() -> Path:
    """Where torch hub keeps weights for this user, which torch is not asked."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))).expanduser() / "hub" / "checkpoints"


def folders(root: Path) -> tuple[Path, Path]:
    """Where published weights are looked for, the first place first."""
    return root / FOLDER, hub_folder()


def find(weights: Weights, *, root: Path) -> tuple[Path, str]:
    """The first file that is as published, and its SHA-256; where none is, downloaded into the data root if allowed.

    Raises:
        DataError: there is no such file, it cannot be downloaded, or it is damaged; says where and what was found.
    """
    damage = ""
    if may_download():
        sweep_abandoned(folders(root)[0])
    for folder in folders(root):
        path = folder / weights.file
        if not os.path.lexists(path):
            continue
        try:
            return path, _published(path, weights)
        except DamagedWeights as error:
            damage = damage or str(error)
            if not may_download():
                raise
    if may_download() and weights.url:
        path = folders(root)[0] / weights.file
        return path, fetch(weights.url, path, digest=weights.sha256_prefix)
    if damage:
        raise DamagedWeights(damage)
    ways = "put the file there or name another folder by --data DIR"
    ways += f", or let it be downloaded from {weights.url} by --download" if weights.url else ""
    raise DataError(f"no {weights.file} in {folders(root)[0]} nor in {folders(root)[1]}; {ways}")


def _published(path: Path, weights: Weights) -> str:
    """SHA-256 of the file.

    Raises:
        DamagedWeights: it does not begin as published.
    """
    with opened(path) as file:
        found = digest_of(file)
    check_published(path, found, weights)
    return found


def check_published(path: Path, found: str, weights: Weights) -> None:
    """Refuse a file whose SHA-256 does not begin as published.

    Raises:
        DamagedWeights: what was due, and what was found.
    """
    if not found.startswith(weights.sha256_prefix):
        due = f"its SHA-256 must begin with {weights.sha256_prefix}, got {found}"
        raise DamagedWeights(f"{path} is not as published: {due}; remove it, and have it downloaded by --download")


# Bytes ---------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(path: Path, *, follow: bool = True) -> Iterator[BinaryIO]:
    """The regular file, opened for reading; nothing else is waited for.

    Raises:
        DamagedWeights: there is none, it cannot be read, or it is a folder, a pipe or (unless `follow`) a link.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DamagedWeights(f"cannot read {path}: it is not a regular file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                yield file
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = "it is a link" if path.is_symlink() and not follow else error.strerror or str(error)
        raise DamagedWeights(f"cannot read {path}: {reason}") from error


def verify(path: Path, sha256: str) -> None:
    """Hold a file of weights that harness wrote against its hash.

    Raises:
        DamagedWeights: it is not there, no regular file, or other bytes.
    """
    with opened(path, follow=False) as file:
        check_digest(path, digest_of(file), sha256)


def check_digest(path: Path, found: str, due: str) -> None:
    """Refuse a file whose SHA-256 is another than it was.

    Raises:
        DamagedWeights: both are said.
    """
    if found != due:
        raise DamagedWeights(f"{path} is not what it was: its SHA-256 must be {due}, got {found}")


def digest_of(file: BinaryIO) -> str:
    """SHA-256 of what is left of an open file."""
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


# Asked by the coordinator --------------------------------------------------------------------------------------------


def ask(part: PartInfo, name: str, *, input_shape: Sequence[int], options: Mapping[str, Any], root: Path) -> Found:
    """Find a model's published weights and hold them against the model, in a child process.

    The answer is kept for as long as the file has its place, size and time, so that it is hashed and loaded once.

    Args:
        part: the model.
        name: of the weights, or `DEFAULT`.
        input_shape: of the target's examples, (C, H, W).
        options: of the model.
        root: the data root.

    Raises:
        PluginError: no weights of that name, or they are of another model, or do not fit the data.
        DataError: the file cannot be had, or is damaged.
    """
    chosen, weights = choose(part, name)
    options = {**part.options, **options}
    if reason := unfit(part.name, weights, input_shape=input_shape, options=options):
        raise PluginError(reason)
    file = _state(weights, root)
    question = {
        "ask": "weights",
        "model": {"use": part.name, **options},
        "name": chosen,
        "origin": part.origin.__dict__,
        "input_shape": list(input_shape),
        "root": str(root),
        "file": file,
    }
    # Where there is no file yet, the answer holds for this moment only.
    (answered,) = registry.ask_cached([question]) if file else child.ask([question])
    if isinstance(answered, child.Failed):
        registry.raise_failure(answered, f"model '{part.name}', weights '{chosen}'")
    return Found(chosen, Path(answered["path"]), answered["sha256"], answered["outputs"])


def _state(weights: Weights, root: Path) -> list[Any]:
    """Path, size and time of each file of that name that there is: what an answer about them depends on."""
    found: list[Any] = []
    for folder in folders(root):
        with contextlib.suppress(OSError):
            status = os.stat(folder / weights.file)
            found.append([str(folder / weights.file), status.st_size, status.st_mtime_ns, status.st_ino])
    return found
