"""Augmentation of training batches: what every image draws, and the parts that turn it into another image.

What an image draws depends on the run's seed, the step, the augmentation and the example alone, never on its place in
the batch or on what was drawn before; so no number of workers, no resume and no other augmentation changes it.

Tensor axes: B examples of a batch, C channels, H height, W width, K draws of an augmentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from harness import spec
from harness.hookspecs import Augmentation
from harness.train.returned import BadOutput

_GAMMA = 0x9E3779B97F4A7C15 - 2**64
_MIX = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))
"""Constants of SplitMix64, as signed integers: torch has no unsigned arithmetic, and signed sums and products wrap."""
_SHARE_BITS = 24
"""A float32 holds so many bits of a share exactly."""


def draws(key: int, index_B: torch.Tensor, count: int) -> torch.Tensor:
    """Uniform numbers (B, K) in [0, 1), multiples of 2^-24, from a key of 63 bits and the index of each example.

    Draw k of example i is number K i + k, from 0, of the sequence that SplitMix64 gives from the seed `key` (Steele,
    Lea & Flood 2014, OOPSLA; Vigna's splitmix64.c); its upper 24 bits are the share.
    """
    counter_BK = index_B[:, None] * count + torch.arange(count, device=index_B.device)
    mixed_BK = (counter_BK + 1) * _GAMMA + key
    for shift, factor in _MIX:
        mixed_BK = (mixed_BK ^ _shifted(mixed_BK, shift)) * factor
    mixed_BK = mixed_BK ^ _shifted(mixed_BK, 31)
    return _shifted(mixed_BK, 64 - _SHARE_BITS).to(torch.float32) * 2.0**-_SHARE_BITS


def _shifted(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Shifted to the right without the sign, which torch would draw along."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


class Augmenter:
    """The augmentations of a run, in their order; without any, images stay the very tensors that they are."""

    def __init__(self, parts: Iterable[tuple[Augmentation, Mapping[str, Any]]], *, seed: int) -> None:
        self.parts, self.seed = list(parts), seed
        names = [part.name for part, _ in self.parts]
        self._streams = [(name, names[:place].count(name)) for place, name in enumerate(names)]
        """Which draws are whose: an augmentation keeps its own when another one joins it."""

    def __call__(self, images_BCHW: torch.Tensor, index_B: torch.Tensor, step: int) -> torch.Tensor:
        """The images of a step, augmented; `index_B` says which examples they are.

        Raises:
            BadOutput: these are no images, or an augmentation gives something else than it got.
        """
        if not self.parts:
            return images_BCHW
        if images_BCHW.dim() != 4:
            raise BadOutput(f"augmentation needs images (B, C, H, W), got inputs {tuple(images_BCHW.shape)}")
        with torch.no_grad():
            for (part, options), stream in zip(self.parts, self._streams, strict=True):
                key = spec.seed(self.seed, *stream, step)
                found = part.apply(images_BCHW, draws(key, index_B, part.draws), **options)
                images_BCHW = _as_images(part.name, found, images_BCHW)
            return images_BCHW.contiguous(memory_format=torch.channels_last)


def _as_images(name: str, found: Any, given: torch.Tensor) -> torch.Tensor:
    """What an augmentation returned, if it is of the shape and type of what it was given."""
    if isinstance(found, torch.Tensor) and (found.shape, found.dtype) == (given.shape, given.dtype):
        return found
    what = type(found).__name__
    what += f" {tuple(found.shape)} of {found.dtype}" if isinstance(found, torch.Tensor) else ""
    raise BadOutput(f"augmentation '{name}' returned {what} for images {tuple(given.shape)} of {given.dtype}")
