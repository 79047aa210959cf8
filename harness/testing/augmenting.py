"""Checks of an augmentation, on small images that are not square.

Tensor axes: B images, C channels, H height, W width, K draws.
"""

from __future__ import annotations

import torch

from harness.hookspecs import Augmentation
from harness.testing.case import Case, Options


def check_augmentation(part: Augmentation, *, options: Options = None) -> tuple[str, ...]:
    """Shape, type and range of augmented images, and that each depends on its own pixels and draws alone.

    Raises:
        NonConforming: the first rule that the part breaks.
    """
    case = Case(part, options)
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(6, part.draws, generator=generator)
    with case.examined(draws=False):
        for channels in (3, 1):
            images = torch.randn(6, channels, 8, 10, generator=generator)
            found = _augmented(case, images.contiguous(memory_format=torch.channels_last), draws)
            again = _augmented(case, images, draws)
            case.close(found, again, "equal draws give equal images, whatever the layout in memory")
            order = torch.tensor([4, 1, 5])
            some = _augmented(case, images[order], draws[order])
            case.close(some, found[order], "an image depends on its own pixels and draws only")
        for end in (0.0, 1 - 2.0**-24):
            _augmented(case, images, torch.full_like(draws, end))
    return case.kept


def _augmented(case: Case, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    kept = images.clone(), draws.clone()
    found = case.run("takes images (B, C, H, W) and draws (B, K)", case.callable, images, draws, **case.options)
    shown = f"{tuple(found.shape)} {found.dtype}" if isinstance(found, torch.Tensor) else type(found).__name__
    alike = isinstance(found, torch.Tensor) and (found.shape, found.dtype) == (images.shape, images.dtype)
    case.require(alike, "gives images of the same shape and type", shown)
    case.finite(found, "images are finite")
    case.same(images, kept[0], "leaves the images that it is given as they are")
    case.same(draws, kept[1], "leaves the draws as they are")
    return found  # type: ignore[no-any-return]
