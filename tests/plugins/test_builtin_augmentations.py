"""The built-in augmentations against rot90, ramps in closed form, numpy's padding and torchvision's rotation."""

import math

import numpy as np
import pytest
import torch
from harness_plugins.augmentations import crop, rotate, scale
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import rotate as torchvisions_rotate

torch.set_num_threads(1)


@pytest.fixture
def images():
    return torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def drawn(*values, images=1):
    return torch.tensor([list(values)]).expand(images, -1)


def ramp(height, width, across, down):
    """An image (1, 1, H, W) that rises evenly about its centre, which bilinear sampling keeps exactly."""
    y, x = torch.meshgrid(torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij")
    return (across * x + down * y)[None, None]


def test_the_smallest_draw_turns_clockwise_by_the_largest_angle(images):
    found = rotate(images, drawn(0.0, images=5), degrees=90)
    assert torch.allclose(found, torch.rot90(images, -1, (2, 3)), atol=1e-5)


def test_a_half_is_no_turn_and_three_quarters_are_half_the_angle_counter_clockwise(images):
    assert torch.allclose(rotate(images, drawn(0.5, images=5), degrees=180), images, atol=1e-5)
    found = rotate(images, drawn(0.75, images=5), degrees=180)
    assert torch.allclose(found, torch.rot90(images, 1, (2, 3)), atol=1e-5)


def test_a_half_turn_of_an_image_that_is_not_square_is_a_flip_of_both_axes():
    images = torch.randn(1, 2, 5, 9, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(rotate(images, drawn(0.0), degrees=180), images.flip(2, 3), atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(21, 21), (15, 27), (24, 10)])
@pytest.mark.parametrize("draw", [0.0, 0.3, 0.9])
def test_a_turned_ramp_rises_along_the_turned_axes(height, width, draw):
    angle = math.radians(20) * (2 * draw - 1)
    found = rotate(ramp(height, width, 1.0, 0.25), drawn(draw), degrees=20)
    # Value at (x, y) is that of the ramp at (cos x - sin y, sin x + cos y).
    across, down = math.cos(angle) + 0.25 * math.sin(angle), 0.25 * math.cos(angle) - math.sin(angle)
    due, inner = ramp(height, width, across, down), (..., slice(4, -4), slice(4, -4))
    if width > height:  # what comes from beyond the narrow side is an edge
        due, found = due[..., :, 8:-8], found[..., :, 8:-8]
    if height > width:
        due, found = due[..., 8:-8, :], found[..., 8:-8, :]
    assert torch.allclose(found[inner], due[inner], atol=1e-4)


def test_a_turn_equals_torchvisions_away_from_the_edges():
    images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    draws = torch.tensor([[0.1], [0.4], [0.6], [0.99]])
    found = rotate(images, draws, degrees=30)
    for image, turned, draw in zip(images, found, draws[:, 0].tolist(), strict=True):
        own = torchvisions_rotate(image, 30 * (2 * draw - 1), InterpolationMode.BILINEAR)
        assert torch.allclose(turned[:, 7:-7, 7:-7], own[:, 7:-7, 7:-7], atol=2e-3)


@pytest.mark.parametrize("draw", [0.0, 0.2, 0.8])
def test_a_scaled_ramp_rises_more_gently_where_it_is_enlarged(draw):
    factor = 1 + 0.25 * (2 * draw - 1)
    found = scale(ramp(16, 24, 1.0, -0.5), drawn(draw), amount=0.25)
    due = ramp(16, 24, 1.0, -0.5) / factor
    assert torch.allclose(found[..., 3:-3, 4:-4], due[..., 3:-3, 4:-4], atol=1e-5)


@pytest.mark.parametrize("build", [rotate, scale, crop])
def test_an_even_image_stays_even_up_to_its_edges(build):
    images = torch.full((6, 1, 7, 9), -1.0)
    draws = torch.rand(6, 2, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(build(images, draws), images)


def test_no_change_asked_for_is_no_change(images):
    draws = torch.rand(5, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(crop(images, draws, padding=0), images)
    assert torch.allclose(rotate(images, draws, degrees=0), images, atol=1e-6)
    assert torch.allclose(scale(images, draws, amount=0), images, atol=1e-6)


@pytest.mark.parametrize(("down", "right"), [(0.0, 0.0), (0.5, 0.99), (1 - 2**-24, 0.3)])
def test_a_crop_is_a_window_of_the_image_with_repeated_edges(down, right):
    images = torch.randn(2, 3, 6, 9, generator=torch.Generator().manual_seed(0))
    top, left = math.floor(down * 7), math.floor(right * 7)
    widened = np.pad(images.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode="edge")
    found = crop(images, drawn(down, right, images=2), padding=3)
    assert np.array_equal(found.numpy(), widened[:, :, top : top + 6, left : left + 9])


@pytest.mark.parametrize("padding", [1, 4, 4_000_001])
def test_the_largest_draw_is_the_last_window_and_never_one_beyond(padding):
    """Just below 1 times 9 is 9 as a float32."""
    images = torch.arange(12.0).reshape(1, 1, 3, 4)
    found = crop(images, drawn(1 - 2**-24, 0.5), padding=padding)
    shift = min(padding, 2)
    assert torch.equal(found[0, 0, : 3 - shift], images[0, 0, shift:])


def test_all_windows_of_a_crop_are_equally_likely():
    draws = torch.rand(40_000, 2, generator=torch.Generator().manual_seed(0))
    images = torch.arange(25.0).reshape(1, 1, 5, 5).expand(40_000, -1, -1, -1)
    centres = crop(images, draws, padding=2)[:, 0, 2, 2].long()
    counts = torch.bincount(centres, minlength=25)
    assert float(((counts - 1600).double().square() / 1600).sum()) < 43.0  # chi-square, 24 degrees, p = 0.01


@pytest.mark.parametrize("build", [rotate, scale, crop])
def test_images_keep_their_type_and_are_left_as_they_are(build, images):
    kept, draws = images.clone(), torch.rand(5, 2, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.float64):
        assert build(images.to(dtype), draws).dtype == dtype
    assert torch.equal(images, kept)


@pytest.mark.parametrize(
    ("build", "options", "says"),
    [
        (rotate, {"degrees": 181}, "rotate: degrees must be from 0 to 180, got 181"),
        (rotate, {"degrees": math.nan}, "rotate: degrees must be from 0 to 180, got nan"),
        (scale, {"amount": 1.0}, "scale: amount must be at least 0 and below 1, got 1.0"),
        (scale, {"amount": -0.1}, "scale: amount must be at least 0"),
        (crop, {"padding": -1}, "crop: padding must be a whole number of at least 0, got -1"),
    ],
)
def test_an_option_out_of_range_is_refused(build, options, says, images):
    with pytest.raises(ValueError, match=says):
        build(images, torch.zeros(5, 2), **options)
