"""Data sets that torchvision reads: found in the data root, and downloaded into it only where that is allowed.

Tensor axes: N examples, H height, W width.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from harness.errors import DataError
from harness.hookspecs import Dataset, hookimpl
from harness.locations import may_download

from .images import Images, Pixels, idx, image_dataset

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist has its files."""
PATIENCE_SECONDS = 60.0
"""How long a download may stand still."""
LETTERS = "letters"
EMNIST_SPLITS = ("balanced", LETTERS, "digits", "byclass", "bymerge", "mnist")


@image_dataset
def fashion_mnist(root: Path) -> Images:
    """Pictures of clothes in ten kinds: 60,000 + 10,000 grey images (N, 1, 28, 28), made to be harder than MNIST."""
    from torchvision import datasets

    kind = datasets.FashionMNIST
    names = tuple(kind.classes)
    if _lacking(*_idx_files(kind, root)) and not _lacking(DEBIAN, {f"{file}.gz": None for file in _idx_names(kind)}):
        train, test = (_packed(prefix) for prefix in ("train", "t10k"))
        return Images(train, test, names)
    also = f" nor in {DEBIAN} (Debian's package dataset-fashion-mnist)"
    train, test = _read("fashion_mnist", kind, root, *_idx_files(kind, root), also=also)
    return Images(_grey(train), _grey(test), names)


@image_dataset
def kmnist(root: Path) -> Images:
    """Ten cursive Japanese characters (kuzushiji): 60,000 + 10,000 grey images (N, 1, 28, 28)."""
    from torchvision import datasets

    train, test = _read("kmnist", datasets.KMNIST, root, *_idx_files(datasets.KMNIST, root))
    return Images(_grey(train), _grey(test), tuple(datasets.KMNIST.classes))


@image_dataset
def emnist(root: Path, *, split: str = "balanced") -> Images:
    """Handwritten digits and letters: grey images (N, 1, 28, 28), upright, which they are not in their files.

    Args:
        split: `balanced` (47 classes, 112,800 + 18,800 images), `letters` (26 of either case, 124,800 + 20,800),
            `digits` (10, 240,000 + 40,000), `byclass` (62, 697,932 + 116,323), `bymerge` (the same images in 47
            classes), or `mnist` (10, 60,000 + 10,000).

    Raises:
        ValueError: no such split.
    """
    from torchvision import datasets

    if split not in EMNIST_SPLITS:
        raise ValueError(f"split must be one of {', '.join(EMNIST_SPLITS)}, got {split!r}")
    kinds = [f"emnist-{split}-{part}-{what}" for part in ("train", "test") for what in ("images-idx3", "labels-idx1")]
    files = {f"{kind}-ubyte": None for kind in kinds}
    train, test = _read("emnist", datasets.EMNIST, root, root / "EMNIST" / "raw", files, split=split)
    first = 1 if split == LETTERS else 0  # letters are numbered from 1 on
    names = tuple(datasets.EMNIST.classes_split_dict[split][first:])
    upright = [(read.data.mT.unsqueeze(1), read.targets - first) for read in (train, test)]
    return Images(upright[0], upright[1], names)


@image_dataset
def cifar10(root: Path) -> Images:
    """Photographs of ten kinds of animals and vehicles: 50,000 + 10,000 colour images (N, 3, 32, 32)."""
    from torchvision import datasets

    return _cifar("cifar10", datasets.CIFAR10, root)


@image_dataset
def cifar100(root: Path) -> Images:
    """Photographs of a hundred kinds of things: 50,000 + 10,000 colour images (N, 3, 32, 32)."""
    from torchvision import datasets

    return _cifar("cifar100", datasets.CIFAR100, root)


def _cifar(name: str, kind: Any, root: Path) -> Images:
    files = {**dict(kind.train_list), **dict(kind.test_list), kind.meta["filename"]: kind.meta["md5"]}
    train, test = _read(name, kind, root, root / kind.base_folder, files)
    pairs = [(torch.from_numpy(read.data).permute(0, 3, 1, 2), torch.tensor(read.targets)) for read in (train, test)]
    return Images(pairs[0], pairs[1], tuple(train.classes))


def _grey(read: Any) -> Pixels:
    return read.data.unsqueeze(1), read.targets


def _packed(prefix: str) -> Pixels:
    """One split of Fashion-MNIST as Debian's package has it."""
    found = []
    for file in (DEBIAN / f"{prefix}-images-idx3-ubyte.gz", DEBIAN / f"{prefix}-labels-idx1-ubyte.gz"):
        try:
            found.append(idx(bytearray(gzip.decompress(file.read_bytes()))))
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise DataError(f"fashion_mnist: cannot read {file} ({error}); install its package again") from error
    return found[0].unsqueeze(1), found[1].long()


def _idx_names(kind: Any) -> list[str]:
    return [Path(file).stem for file, _ in kind.resources]


def _idx_files(kind: Any, root: Path) -> tuple[Path, dict[str, None]]:
    """Where torchvision has the unpacked files of a data set like MNIST; there are no published checksums of these."""
    return root / kind.__name__ / "raw", dict.fromkeys(_idx_names(kind))


def _lacking(folder: Path, files: Mapping[str, str | None]) -> str:
    """Which files are not there, or are not the published ones by their MD5, in words; '' where all is well."""
    from torchvision.datasets.utils import check_integrity

    missing = [file for file in files if not (folder / file).is_file()]
    altered = [file for file, md5 in files.items() if file not in missing and not check_integrity(folder / file, md5)]
    words = [f"no {', '.join(missing)}"] if missing else []
    words += [f"{', '.join(altered)} other than published (by MD5)"] if altered else []
    return " and ".join(words)


def _refuse_odd(name: str, folder: Path, files: Iterable[str]) -> None:
    """Refuse folders and pipes in the place of files: who reads or writes a pipe may wait for ever.

    Raises:
        DataError: the first of them.
    """
    for path in (folder / file for file in files):
        if path.exists() and not path.is_file():
            raise DataError(f"{name}: {path} is not a regular file; remove it")


def _read(
    name: str, kind: Any, root: Path, folder: Path, files: Mapping[str, str | None], *, also: str = "", **own: str
) -> tuple[Any, Any]:
    """The training and the test split as torchvision reads them, downloaded before where they lack and may be.

    Raises:
        DataError: the files are not there, cannot be downloaded, or cannot be read.
    """
    _refuse_odd(name, folder, files)
    lacking, download = _lacking(folder, files), may_download()
    if lacking and not download:
        ways = "put the files there, name another folder by --data DIR, or let them be downloaded by --download"
        raise DataError(f"{name}: {lacking} in {folder}{also}; {ways}")
    try:
        with _impatient():
            train, test = (kind(root, train=train, download=download, **own) for train in (True, False))
    # Of many kinds: networks, archives, disks, and whatever reading damaged files comes upon.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        if lacking:
            way = f"the same command tries again, or put {', '.join(files)} into {folder}"
            raise DataError(f"{name}: cannot be downloaded into {folder} ({reason}); {way}") from error
        way = "remove them, and have them downloaded by --download"
        raise DataError(f"{name}: the files in {folder} cannot be read ({reason}); {way}") from error
    return train, test


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Let a connection that stands still fail; urllib would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@hookimpl
def harness_datasets() -> list[Dataset]:
    """`fashion_mnist`, `kmnist`, `emnist`, `cifar10`, `cifar100`."""
    krizhevsky = "Krizhevsky 2009, Learning multiple layers of features from tiny images"
    return [
        Dataset("fashion_mnist", load=fashion_mnist, source="Xiao, Rasul, Vollgraf 2017 (arXiv:1708.07747)"),
        Dataset("kmnist", load=kmnist, source="Clanuwat et al. 2018 (arXiv:1812.01718)"),
        Dataset("emnist", load=emnist, source="Cohen, Afshar, Tapson, van Schaik 2017 (arXiv:1702.05373)"),
        Dataset("cifar10", load=cifar10, source=krizhevsky),
        Dataset("cifar100", load=cifar100, source=krizhevsky),
    ]
