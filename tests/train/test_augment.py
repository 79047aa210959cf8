"""What images draw, counted by hand in whole numbers, and the augmentations of a run as a whole."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from harness.hookspecs import Augmentation
from harness.spec import seed
from harness.train.augment import Augmenter, draws
from harness.train.returned import BadOutput

torch.set_num_threads(1)


def splitmix64(state):
    """The sequence in Python's own whole numbers, as splitmix64.c has it."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) % 2**64
        yield mixed ^ (mixed >> 31)


def test_the_sequence_is_the_published_one():
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    sequence = splitmix64(1234567)
    assert [next(sequence) for _ in published] == published
    found = draws(1234567, torch.arange(3), 1)
    assert found[:, 0].tolist() == [number // 2**40 / 2**24 for number in published]


@pytest.mark.parametrize("key", [0, 1, 2**63 - 1, 0x123456789ABCDEF])
def test_draw_k_of_example_i_is_number_ki_plus_k_of_the_sequence(key):
    sequence = splitmix64(key)
    due = [next(sequence) >> 40 for _ in range(40 * 3)]
    found = draws(key, torch.arange(40), 3)
    assert found.dtype == torch.float32
    assert (found * 2**24).flatten().tolist() == due


def test_what_an_example_draws_does_not_depend_on_its_place_in_the_batch():
    whole, some = draws(5, torch.arange(1000), 2), torch.tensor([999, 3, 3, 500])
    assert torch.equal(draws(5, some, 2), whole[some])


def test_draws_are_uniform_and_those_of_two_keys_and_of_neighbours_unrelated():
    one, other = draws(seed(0, "a"), torch.arange(50_000), 2).double(), draws(seed(0, "b"), torch.arange(50_000), 2)
    assert stats.kstest(one.flatten().numpy(), "uniform").pvalue > 0.01
    assert float(one.min()) >= 0
    assert float(one.max()) < 1
    pairs = [(one[:, 0], one[:, 1]), (one[:-1, 0], one[1:, 0]), (one[:, 0], other[:, 0].double())]
    assert all(abs(float(torch.corrcoef(torch.stack(pair))[0, 1])) < 0.015 for pair in pairs)


def test_no_draws_are_none():
    assert draws(1, torch.arange(4), 0).shape == (4, 0)


# Augmentations of a run -----------------------------------------------------------------------------------------------


def shift(images, draws, *, by=1.0):
    return images + by * draws[:, 0, None, None, None]


SHIFT, OTHER = Augmentation("shift", apply=shift), Augmentation("other", apply=shift)
IMAGES = torch.zeros(4, 3, 5, 6).contiguous(memory_format=torch.channels_last)
INDEX = torch.tensor([7, 0, 3, 2])


def drawn(parts, images=IMAGES, index=INDEX, step=0, seed=0):
    return Augmenter(parts, seed=seed)(images, index, step)


def test_what_is_drawn_is_keyed_by_seed_augmentation_its_place_among_equals_and_step():
    found = drawn([(SHIFT, {"by": 2.0})], step=9, seed=4)
    due = 2.0 * draws(seed(4, "shift", 0, 9), INDEX, 1)
    assert torch.equal(found, due[:, :, None, None].expand(4, 3, 5, 6))


@pytest.mark.parametrize("changed", [{"seed": 1}, {"step": 1}, {"parts": [(OTHER, {})]}, {"index": INDEX + 1}])
def test_another_seed_step_augmentation_or_example_draws_anew(changed):
    same = {"parts": [(SHIFT, {})]}
    assert not torch.equal(drawn(**same), drawn(**{**same, **changed}))


def test_augmentations_are_applied_in_their_order_and_keep_their_draws_beside_others():
    def double(images, draws):
        return 2 * images

    doubled = Augmentation("double", apply=double, draws=0)
    alone = drawn([(SHIFT, {})])
    assert torch.equal(drawn([(doubled, {}), (SHIFT, {})]), alone)
    assert torch.equal(drawn([(SHIFT, {}), (doubled, {})]), 2 * alone)
    assert torch.equal(drawn([(SHIFT, {}), (OTHER, {})]), alone + drawn([(OTHER, {})]))


def test_the_same_augmentation_twice_draws_twice():
    twice, alone = drawn([(SHIFT, {}), (SHIFT, {})]), drawn([(SHIFT, {})])
    second = draws(seed(0, "shift", 1, 0), INDEX, 1)[:, :, None, None]
    assert torch.equal(twice, alone + second)


def test_without_augmentations_images_are_the_very_same():
    assert drawn([], images=IMAGES) is IMAGES


def test_images_stay_channels_last_whatever_an_augmentation_makes_of_them():
    mixed = Augmentation("mixed", apply=lambda images, draws: images.contiguous())
    assert drawn([(mixed, {})]).is_contiguous(memory_format=torch.channels_last)


def test_nothing_is_recorded_for_gradients():
    weight = torch.ones(1, requires_grad=True)
    learnt = Augmentation("learnt", apply=lambda images, draws: images * weight)
    assert not drawn([(learnt, {})]).requires_grad


@pytest.mark.parametrize(
    ("apply", "says"),
    [
        (
            lambda images, draws: images[:2],
            r"returned Tensor \(2, 3, 5, 6\) of torch.float32 for images \(4, 3, 5, 6\)",
        ),
        (lambda images, draws: images.double(), r"returned Tensor \(4, 3, 5, 6\) of torch.float64"),
        (lambda images, draws: None, "returned NoneType for images"),
    ],
    ids=["another shape", "another type", "nothing"],
)
def test_what_is_no_image_of_the_same_shape_is_bad_output(apply, says):
    with pytest.raises(BadOutput, match=f"augmentation 'odd' {says}"):
        drawn([(Augmentation("odd", apply=apply), {})])


def test_inputs_that_are_no_images_are_bad_output():
    with pytest.raises(BadOutput, match=r"augmentation needs images \(B, C, H, W\), got inputs \(4, 7\)"):
        drawn([(SHIFT, {})], images=torch.zeros(4, 7))
