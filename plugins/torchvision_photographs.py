"""Photographs of all sizes that torchvision reads: found in the data root, cut to squares of one size, held in memory.

They are downloaded into the data root only where that is allowed.

Tensor axes: N examples, C channels, H height, W width.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.download import fetch, unpack
from harness.errors import DataError
from harness.execute.watch import machine_memory_mb
from harness.hookspecs import Dataset, hookimpl
from harness.locations import may_download

from .images import Images, Pixels, image_dataset

RGB = 3
BYTES_EACH = 5.5
"""Of each number while it is read: one of its pixel, half a one of a copy on the way, four of the float32."""
WAYS = "put the files there, name another folder by --data DIR, or let them be downloaded by --download"
_MOST_NAMED = 3
Parts = tuple[Sequence[Any], Sequence[Any]]
"""torchvision's data sets that the training split and the test split are made of, one after the other."""


class Unreadable(DataError):
    """Files are not there, or not as they were published; says which. To fetch them anew may help."""


@dataclass(frozen=True)
class File:
    """A file that is published, with its MD5."""

    url: str
    md5: str

    @property
    def name(self) -> str:
        """Without its folder."""
        return self.url.rpartition("/")[2]

    @property
    def packed(self) -> bool:
        """Whether it is an archive of files, and needed only until they are there."""
        return self.name.endswith((".tar.gz", ".tgz"))


@dataclass(frozen=True)
class Collection:
    """What is published of a data set, and where torchvision has it."""

    base: str
    """Folder in the data root that its files are downloaded and unpacked into."""
    inner: str
    """Folder in that one which the names of `lists` and `images` begin from."""
    lists: tuple[str, ...]
    """Files that say which image belongs to which split and class."""
    images: str
    """Folder of images."""
    files: tuple[File, ...]
    examples: tuple[int, int]
    """In the training and the test split."""


_VGG = "https://www.robots.ox.ac.uk/~vgg/data"
COLLECTIONS = {
    "oxford_iiit_pet": Collection(
        base="oxford-iiit-pet",
        inner="",
        lists=("annotations/trainval.txt", "annotations/test.txt"),
        images="images",
        files=(
            File(f"{_VGG}/pets/data/images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c"),
            File(f"{_VGG}/pets/data/annotations.tar.gz", "95a8c909bbe2e81eed6a22bccdf3f68f"),
        ),
        examples=(3680, 3669),
    ),
    "flowers102": Collection(
        base="flowers-102",
        inner="",
        lists=("imagelabels.mat", "setid.mat"),
        images="jpg",
        files=(
            File(f"{_VGG}/flowers/102/102flowers.tgz", "52808999861908f626f3c1f4e79d11fa"),
            File(f"{_VGG}/flowers/102/imagelabels.mat", "e0620be6f572b9609742df49c70aed4d"),
            File(f"{_VGG}/flowers/102/setid.mat", "a5357ecc9cb78c4bef273ce3793fc85c"),
        ),
        examples=(2040, 6149),
    ),
    "dtd": Collection(
        base="dtd",
        inner="dtd",
        lists=("labels/train1.txt", "labels/val1.txt", "labels/test1.txt"),
        images="images",
        files=(File(f"{_VGG}/dtd/download/dtd-r1.0.1.tar.gz", "fff73e5086ae6bdbea199a49dfb8a4c1"),),
        examples=(3760, 1880),
    ),
}


@image_dataset
def oxford_iiit_pet(root: Path, *, size: int = 224) -> Images:
    """Photographs of 37 breeds of cats and dogs: 3,680 (trainval) + 3,669 colour images (N, 3, size, size).

    Args:
        size: pixels a side. The shorter side is brought to it, bilinearly and smoothed, and the centre is cut out.

    Raises:
        ValueError: no such size.
    """
    from torchvision import datasets

    def split(name: str) -> list[Any]:
        return [datasets.OxfordIIITPet(root, split=name)]

    return _load("oxford_iiit_pet", root, size, lambda: (split("trainval"), split("test")))


@image_dataset
def flowers102(root: Path, *, size: int = 224) -> Images:
    """Photographs of 102 kinds of flowers: 2,040 (train, then val) + 6,149 colour images (N, 3, size, size).

    Args:
        size: pixels a side. The shorter side is brought to it, bilinearly and smoothed, and the centre is cut out.

    Raises:
        ValueError: no such size.
    """
    from torchvision import datasets

    def split(*names: str) -> list[Any]:
        return [datasets.Flowers102(root, split=name) for name in names]

    return _load("flowers102", root, size, lambda: (split("train", "val"), split("test")))


@image_dataset
def dtd(root: Path, *, size: int = 224) -> Images:
    """Photographs of textures in 47 kinds: 3,760 (train1, then val1) + 1,880 (test1) colour images (N, 3, size, size).

    Args:
        size: pixels a side. The shorter side is brought to it, bilinearly and smoothed, and the centre is cut out.

    Raises:
        ValueError: no such size.
    """
    from torchvision import datasets

    def split(*names: str) -> list[Any]:
        return [datasets.DTD(root, split=name, partition=1) for name in names]

    return _load("dtd", root, size, lambda: (split("train", "val"), split("test")))


def _load(name: str, root: Path, size: int, parts: Callable[[], Parts]) -> Images:
    """The data set; what cannot be read is fetched where that is allowed, and read once more.

    Raises:
        ValueError: no such size.
        DataError: it cannot be had, or does not fit into this machine's memory.
    """
    if type(size) is not int or size < 1:
        raise ValueError(f"size must be a whole number of at least 1, got {size!r}")
    collection = COLLECTIONS[name]
    _require_memory(name, collection, size)
    try:
        return _read(name, collection, root, size, parts)
    except Unreadable as error:
        if not may_download():
            raise DataError(f"{error}; {WAYS}") from error
    _obtain(name, collection, root / collection.base)
    try:
        return _read(name, collection, root, size, parts)
    except Unreadable as error:
        raise DataError(f"{error}, though it was just made from the published files") from error


def _require_memory(name: str, collection: Collection, size: int) -> None:
    count, there = sum(collection.examples), machine_memory_mb()
    needed = count * RGB * size**2 * BYTES_EACH
    if there is not None and needed > there * 2**20:
        raise DataError(
            f"{name}: {count:,} images of {RGB} x {size} x {size} need {needed / 1e9:.1f} GB of memory, this machine "
            f"has {there * 2**20 / 1e9:.1f} GB; choose a smaller size"
        )


# Read ----------------------------------------------------------------------------------------------------------------


def _read(name: str, collection: Collection, root: Path, size: int, parts: Callable[[], Parts]) -> Images:
    folder = root / collection.base / collection.inner
    if lacking := _lacking(name, collection, folder):
        raise Unreadable(f"{name}: {lacking} in {folder}")
    try:
        both = parts()
    except Exception as error:  # of many kinds: whatever reading damaged lists comes upon
        listed = ", ".join(collection.lists)
        raise Unreadable(f"{name}: {listed} in {folder} cannot be read ({_reason(error)})") from error
    _check_listed(name, collection, folder, both)
    train, test = (_pixels(name, split, size) for split in both)
    return Images(train, test, tuple(both[0][0].classes))


def _lacking(name: str, collection: Collection, folder: Path) -> str:
    """Which lists are not there, or are not the published ones by their MD5, in words; '' where all is well."""
    from torchvision.datasets.utils import check_integrity

    places = [folder / file for file in collection.lists]
    missing = [str(path.relative_to(folder)) for path in places if not _is_there(name, path)]
    missing += [] if (folder / collection.images).is_dir() else [collection.images]
    md5s = {file.name: file.md5 for file in collection.files}
    held = [path for path in places if path.name in md5s and path.name not in missing]
    altered = [path.name for path in held if not check_integrity(path, md5s[path.name])]
    words = [f"no {', '.join(missing)}"] if missing else []
    words += [f"{', '.join(altered)} other than published (by MD5)"] if altered else []
    return " and ".join(words)


def _is_there(name: str, path: Path) -> bool:
    """Whether there is such a file.

    Raises:
        DataError: there is a folder or a pipe in its place, and who reads a pipe may wait for ever.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise DataError(f"{name}: cannot read {path}: {error.strerror or error}") from error
    if not stat.S_ISREG(mode):
        raise DataError(f"{name}: {path} is not a regular file; remove it")
    return True


def _check_listed(name: str, collection: Collection, folder: Path, both: Parts) -> None:
    """Hold what the lists say against what is published and what is there: a cut list would be another data set.

    Raises:
        Unreadable: other numbers, other classes, or images that are not there.
    """
    found = tuple(sum(map(len, split)) for split in both)
    if found != collection.examples:
        words = [f"{train:,} training and {test:,} test images" for train, test in (found, collection.examples)]
        raise Unreadable(f"{name}: {', '.join(collection.lists)} in {folder} list {words[0]}, published are {words[1]}")
    if len({tuple(part.classes) for split in both for part in split}) > 1:
        raise Unreadable(f"{name}: {', '.join(collection.lists)} in {folder} have other classes in one than in another")
    paths = [path for split in both for part in split for path in _files(part)]
    missing = [str(path.relative_to(folder)) for path in paths if not _is_there(name, path)]
    if missing:
        more = f" and {len(missing) - _MOST_NAMED:,} more" if len(missing) > _MOST_NAMED else ""
        listed = f"{', '.join(missing[:_MOST_NAMED])}{more}"
        raise Unreadable(f"{name}: no {listed} of {len(paths):,} images in {folder}")


def _files(part: Any) -> Sequence[Path]:
    """The files of torchvision's data set, in the order of its labels. By itself it leaves some of them open."""
    return part._images if hasattr(part, "_images") else part._image_files  # type: ignore[no-any-return]


def _pixels(name: str, parts: Sequence[Any], size: int) -> Pixels:
    """All images and labels, decoded by as many threads as there are cores: no number of them changes a pixel."""

    def read(path: Path) -> torch.Tensor:
        try:
            return _fitted(path, size)
        except Exception as error:  # of many kinds: whatever a decoder comes upon
            raise Unreadable(f"{name}: {path} cannot be read ({_reason(error)})") from error

    paths = [path for part in parts for path in _files(part)]
    pixels = torch.empty(len(paths), RGB, size, size, dtype=torch.uint8)
    with ThreadPoolExecutor(_cores()) as pool:
        for row, image in zip(pixels, pool.map(read, paths), strict=True):
            row.copy_(image)
    return pixels, torch.tensor([label for part in parts for label in part._labels])


def _fitted(path: Path, size: int) -> torch.Tensor:
    """The centre of an image as uint8 (3, size, size), after its shorter side was brought to `size`.

    By Pillow, in whole numbers, so that the data's fingerprint does not depend on the processor.
    """
    from PIL import Image
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional

    with Image.open(path) as opened:
        image = opened.convert("RGB")
    resized = functional.resize(image, [size], interpolation=InterpolationMode.BILINEAR, antialias=True)
    return functional.pil_to_tensor(functional.center_crop(resized, [size, size]))  # type: ignore[no-any-return]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


# Fetched -------------------------------------------------------------------------------------------------------------


def _obtain(name: str, collection: Collection, base: Path) -> None:
    """Download what is not there as published, and unpack it over what is there.

    Raises:
        DataError: what stands in the way.
    """
    from torchvision.datasets.utils import check_integrity

    for file in collection.files:
        path = base / file.name
        try:
            if not check_integrity(path, file.md5):
                fetch(file.url, path, digest=file.md5, algorithm="md5")
            if file.packed:
                unpack(path, base)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error


@hookimpl
def harness_datasets() -> list[Dataset]:
    """`oxford_iiit_pet`, `flowers102`, `dtd`."""
    return [
        Dataset("oxford_iiit_pet", load=oxford_iiit_pet, source="Parkhi, Vedaldi, Zisserman, Jawahar 2012 (CVPR)"),
        Dataset("flowers102", load=flowers102, source="Nilsback & Zisserman 2008 (ICVGIP)"),
        Dataset("dtd", load=dtd, source="Cimpoi, Maji, Kokkinos, Mohamed, Vedaldi 2014 (arXiv:1311.3618)"),
    ]
