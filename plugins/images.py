"""From 8-bit pixels to a data set of images: which examples, how they are turned, and on which scale they are.

The options are the same for every data set of images, so they are here once. This module offers no part of its own.

Tensor axes: N examples, C channels, H height, W width.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.errors import DataError
from harness.hookspecs import Splits

Pixels = tuple[torch.Tensor, torch.Tensor]
"""uint8 pixels (N, C, H, W) with int64 labels (N,)."""

NORMALIZE = ("symmetric", "unit", "standard", "imagenet")
# Mean and deviation of each channel of ImageNet's pixels in [0, 1]: the constants that torchvision publishes with.
IMAGENET = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
TURNS = (0, 90, 180, 270)


@dataclass(frozen=True)
class Images:
    """A data set as its files have it."""

    train: Pixels
    test: Pixels
    class_names: tuple[str, ...]
    white: int = 255
    """The largest value that a pixel can have; the least is 0."""

    def __post_init__(self) -> None:
        last = len(self.class_names) - 1
        for split, (pixels, labels) in (("training", self.train), ("test", self.test)):
            if len(pixels) != len(labels):
                raise DataError(f"{len(pixels)} {split} images have {len(labels)} labels; the files are damaged")
            outside = labels[(labels < 0) | (labels > last)]
            if len(outside):
                raise DataError(f"a {split} label is {int(outside[0])}, allowed are 0 to {last}; the files are damaged")


@dataclass(frozen=True)
class Options:
    """What a suite may ask of any data set of images.

    Args:
        normalize: `symmetric` maps pixels to [-1, 1], `unit` to [0, 1]; `standard` takes from each channel its mean
            over all training images and divides by its deviation, both rounded to four digits, as they are quoted;
            `imagenet` does so with the constants of ImageNet, for colour images and published weights.
        classes: numbers of the classes to keep; they become 0, 1, ... in the order given. Without it all.
        half: 0 keeps the training examples at even positions within their class, 1 those at odd ones. Without it all.
        invert: the negative: the largest value that a pixel can have less the pixel, before `normalize`.
        rotate: degrees counter-clockwise: 0, 90, 180 or 270.
    """

    normalize: str = "symmetric"
    classes: Sequence[int] | None = None
    half: int | None = None
    invert: bool = False
    rotate: int = 0

    def __post_init__(self) -> None:
        if self.normalize not in NORMALIZE:
            raise ValueError(f"normalize must be one of {', '.join(NORMALIZE)}, got {self.normalize!r}")
        if self.half is not None and (type(self.half) is not int or self.half not in (0, 1)):
            raise ValueError(f"half must be 0 or 1, got {self.half!r}")
        if self.rotate not in TURNS:
            raise ValueError(f"rotate must be one of {', '.join(map(str, TURNS))} degrees, got {self.rotate!r}")

    def splits(self, images: Images) -> Splits:
        """The data set as the options want it.

        Raises:
            ValueError: `classes` names no classes that there are, a channel has no deviation to divide by, or grey
                images are to be put on the scale of coloured ones.
        """
        names, count = images.class_names, len(images.class_names)
        chosen = self._chosen(count)
        shift, scale = self._scale(images)

        def made(pixels: torch.Tensor, labels: torch.Tensor) -> Pixels:
            turned = torch.rot90(images.white - pixels if self.invert else pixels, int(self.rotate) // 90, (2, 3))
            return turned.float().div_(images.white).sub_(shift).div_(scale).contiguous(), labels

        return Splits(
            train=made(*_of_classes(_half(images.train, self.half), chosen, count)),
            test=made(*_of_classes(images.test, chosen, count)),
            classes=len(chosen),
            class_names=tuple(names[number] for number in chosen),
        )

    def _chosen(self, count: int) -> list[int]:
        if self.classes is None:
            return list(range(count))
        given: Any = self.classes
        whole = isinstance(given, list | tuple) and all(type(number) is int and 0 <= number < count for number in given)
        if not whole or len(set(given)) != len(given) or len(given) < 2:
            raise ValueError(
                f"classes must be a list of at least two of the {count} classes, by number from 0 to {count - 1}, each "
                f"once, got {given!r}"
            )
        return list(given)

    def _scale(self, images: Images) -> tuple[torch.Tensor, torch.Tensor]:
        """What is taken from each channel of pixels in [0, 1], and what the rest is divided by: (C, 1, 1) each."""
        channels = images.train[0].shape[1]
        if self.normalize == "imagenet" and channels != len(IMAGENET):
            raise ValueError(f"normalize 'imagenet' is for images of {len(IMAGENET)} channels, these have {channels}")
        constants = {"symmetric": [(0.5, 0.5)] * channels, "unit": [(0.0, 1.0)] * channels, "imagenet": IMAGENET}
        pairs = constants.get(self.normalize)
        shift, scale = torch.tensor(pairs or statistics(images)).T.reshape(2, channels, 1, 1)
        return shift, scale


def statistics(images: Images) -> list[tuple[float, float]]:
    """Mean and deviation of each channel over all training images, of pixels in [0, 1], rounded to four digits.

    Raises:
        ValueError: all pixels of a channel are equal.
    """
    found = []
    values = torch.arange(256, dtype=torch.float64) / images.white
    for number, channel in enumerate(images.train[0].unbind(1)):
        share = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
        mean = float(values @ share)
        deviation = float((values - mean).square() @ share) ** 0.5
        if round(deviation, 4) == 0:
            raise ValueError(f"normalize 'standard' divides by the deviation, and that of channel {number} is 0")
        found.append((round(mean, 4), round(deviation, 4)))
    return found


def _of_classes(pair: Pixels, chosen: Sequence[int], count: int) -> Pixels:
    """The examples of the chosen of `count` classes, which are numbered from 0 on in that order."""
    if list(chosen) == list(range(count)):
        return pair
    pixels, labels = pair
    numbers = torch.full((count,), -1)
    numbers[torch.tensor(chosen)] = torch.arange(len(chosen))
    kept = numbers[labels] >= 0
    return pixels[kept], numbers[labels[kept]]


def _half(pair: Pixels, half: int | None) -> Pixels:
    """The examples at even (0) or odd (1) positions within their class."""
    if half is None:
        return pair
    pixels, labels = pair
    kept = torch.zeros(len(labels), dtype=torch.bool)
    for number in sorted(set(labels.tolist())):
        kept[(labels == number).nonzero().flatten()[half::2]] = True
    return pixels[kept], labels[kept]


def image_dataset(read: Callable[..., Images]) -> Callable[..., Splits]:
    """`load` of a data set from `read(root, **own)`: its own options, then those of every data set of images."""
    signature = inspect.signature(read)
    shared = [p.replace(kind=p.KEYWORD_ONLY) for p in inspect.signature(Options).parameters.values()]
    names = {parameter.name for parameter in shared}

    @functools.wraps(read)
    def load(root: Path | None = None, **given: Any) -> Splits:
        options = Options(**{name: value for name, value in given.items() if name in names})
        return options.splits(read(root, **{name: value for name, value in given.items() if name not in names}))

    explained = inspect.getdoc(Options) or ""
    load.__doc__ = f"{inspect.getdoc(read)}\n\n{explained[explained.find('Args:') :]}"
    load.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), *shared], return_annotation="Splits"
    )
    return load


def idx(raw: bytearray) -> torch.Tensor:
    """The bytes of an IDX file as a uint8 tensor in the shape that its header states.

    The header is 00 00 08 (unsigned bytes), the number of axes, then each axis as a big-endian 32-bit integer.

    Raises:
        ValueError: the bytes are no such file.
    """
    axes = raw[3] if len(raw) > 3 else 0
    shape = [int.from_bytes(raw[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(axes)]
    if raw[:3] != b"\0\0\x08" or len(raw) != 4 + 4 * axes + torch.Size(shape).numel() or axes == 0:
        raise ValueError(f"no IDX file of unsigned bytes: {len(raw)} bytes that begin with {bytes(raw[:4]).hex()!r}")
    return torch.frombuffer(raw, dtype=torch.uint8, offset=4 + 4 * axes).reshape(shape)
