"""Other images from training images: turned, scaled, cropped; a whole batch at a time.

Where an image has no pixel, that of the nearest edge stands: no fixed value is neutral for every normalisation.

Tensor axes: B images, C channels, H height, W width, K draws.
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import affine_grid, grid_sample

from harness.hookspecs import Augmentation, hookimpl


def rotate(images_BCHW: torch.Tensor, draws_BK: torch.Tensor, *, degrees: float = 15.0) -> torch.Tensor:
    """Each image turned about its centre, counter-clockwise by a uniform angle in [-degrees, degrees]; bilinear.

    Args:
        degrees: the largest angle, 0 to 180.

    Raises:
        ValueError: degrees is outside 0 to 180.
    """
    if not 0 <= degrees <= 180:
        raise ValueError(f"rotate: degrees must be from 0 to 180, got {degrees}")
    angle_B = math.radians(degrees) * (2 * draws_BK[:, 0] - 1)
    return _resampled(images_BCHW, torch.cos(angle_B), torch.sin(angle_B))


def scale(images_BCHW: torch.Tensor, draws_BK: torch.Tensor, *, amount: float = 0.2) -> torch.Tensor:
    """Each image enlarged about its centre by a uniform factor in [1 - amount, 1 + amount]; bilinear.

    Args:
        amount: the largest change of size, at least 0 and below 1.

    Raises:
        ValueError: amount is out of range.
    """
    if not 0 <= amount < 1:
        raise ValueError(f"scale: amount must be at least 0 and below 1, got {amount}")
    factor_B = 1 + amount * (2 * draws_BK[:, 0] - 1)
    return _resampled(images_BCHW, 1 / factor_B, torch.zeros_like(factor_B))


def _resampled(images_BCHW: torch.Tensor, along_B: torch.Tensor, across_B: torch.Tensor) -> torch.Tensor:
    """The images at where a turn and a scale about the centre take each pixel from.

    Pixel (x, y), y downwards, comes from (along x - across y, across x + along y). Torch's grid goes from -1 to 1 on
    both axes, so what leads from one axis to the other takes their ratio along.
    """
    height, width = images_BCHW.shape[2:]
    zero_B = torch.zeros_like(along_B)
    to_x_B3 = torch.stack([along_B, -across_B * (height / width), zero_B], dim=1)
    to_y_B3 = torch.stack([across_B * (width / height), along_B, zero_B], dim=1)
    grid_BHW2 = affine_grid(torch.stack([to_x_B3, to_y_B3], dim=1), list(images_BCHW.shape), align_corners=False)
    return grid_sample(images_BCHW, grid_BHW2.to(images_BCHW.dtype), padding_mode="border", align_corners=False)


def crop(images_BCHW: torch.Tensor, draws_BK: torch.Tensor, *, padding: int = 4) -> torch.Tensor:
    """A window of the image's own size at a uniform place in the image widened by `padding` pixels on each side.

    Args:
        padding: pixels by which the edge is repeated on each side, and so the largest shift; at least 0.

    Raises:
        ValueError: padding is below 0.
    """
    if padding < 0:
        raise ValueError(f"crop: padding must be a whole number of at least 0, got {padding}")
    places = 2 * padding + 1
    # A draw just below 1 may round to the number of places.
    shift_B2 = (draws_BK * places).long().clamp_(max=places - 1) - padding
    row_BH, column_BW = (
        (shift_B2[:, axis, None] + torch.arange(size, device=shift_B2.device)).clamp_(0, size - 1)
        for axis, size in enumerate(images_BCHW.shape[2:])
    )
    image_B11 = torch.arange(len(images_BCHW), device=images_BCHW.device)[:, None, None]
    images_BHWC = images_BCHW.permute(0, 2, 3, 1)
    return images_BHWC[image_B11, row_BH[:, :, None], column_BW[:, None, :]].permute(0, 3, 1, 2)


@hookimpl
def harness_augmentations() -> list[Augmentation]:
    """`rotate`, `scale`, `crop`."""
    survey = "Shorten & Khoshgoftaar 2019, Journal of Big Data 6(60)"
    return [
        Augmentation("rotate", apply=rotate, source=survey),
        Augmentation("scale", apply=scale, source=survey),
        Augmentation("crop", apply=crop, draws=2, source="He et al. 2016 (arXiv:1512.03385), section 4.2"),
    ]
