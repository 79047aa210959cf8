"""The options of every data set of images, on pixels small enough to turn by hand."""

import struct

import numpy as np
import pytest
import torch
from harness_plugins import mnist
from harness_plugins.images import Images, Options, idx, image_dataset, statistics
from torchvision import transforms

from harness.errors import DataError
from harness.hookspecs import Dataset, Splits
from harness.registry.catalog import Origin
from harness.registry.describe import describe

torch.set_num_threads(1)

NAMES = ("ant", "bee", "cat", "dog")
LABELS = torch.tensor([2, 0, 1, 2, 3, 2, 0, 1, 3, 2, 0])


def pixels(count, *, channels=1, height=2, width=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, height, width), generator=generator, dtype=torch.uint8)


TRAIN = pixels(len(LABELS), channels=3)
TEST = pixels(4, channels=3, seed=1)
IMAGES = Images((TRAIN, LABELS), (TEST, torch.tensor([3, 2, 1, 0])), NAMES)


def made(**options):
    return Options(**options).splits(IMAGES)


def bytes_of(inputs):
    """Pixels of inputs in [0, 1]."""
    return (inputs * 255).round().to(torch.uint8)


def test_without_options_everything_is_kept_in_order_in_minus_one_to_one():
    splits = made()
    assert isinstance(splits, Splits)
    assert torch.equal(splits.train[0], TRAIN.float() / 255 * 2 - 1)
    assert torch.equal(splits.train[1], LABELS)
    assert torch.equal(splits.test[0], TEST.float() / 255 * 2 - 1)
    assert (splits.classes, splits.class_names) == (4, NAMES)


@pytest.mark.parametrize(
    ("normalize", "mean", "deviation"),
    [
        ("symmetric", [0.5] * 3, [0.5] * 3),
        ("unit", [0.0] * 3, [1.0] * 3),
        ("imagenet", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ],
)
def test_scales_have_the_bits_of_torchvisions_transforms(normalize, mean, deviation):
    steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, deviation)])
    due = torch.stack([steps(image.permute(1, 2, 0).numpy()) for image in TRAIN])
    assert torch.equal(made(normalize=normalize).train[0], due)


def test_standard_takes_mean_and_deviation_of_each_channel_over_the_training_images():
    values = TRAIN.numpy().astype(np.float64) / 255
    mean, deviation = values.mean((0, 2, 3)).round(4), values.std((0, 2, 3)).round(4)
    splits = made(normalize="standard")
    for found, source in ((splits.train[0], TRAIN), (splits.test[0], TEST)):
        due = (source.numpy() / 255 - mean[:, None, None]) / deviation[:, None, None]
        np.testing.assert_allclose(found, due, rtol=1e-5, atol=1e-6)


def test_standard_gives_mnist_the_constants_that_are_quoted_everywhere():
    images = mnist.read_idx("train-images-idx3-ubyte").unsqueeze(1)
    labels = torch.zeros(len(images), dtype=torch.int64)
    assert statistics(Images((images, labels), (images[:1], labels[:1]), ("any",))) == [(0.1307, 0.3081)]


@pytest.mark.parametrize("choice", [{"classes": [1, 3]}, {"half": 1}, {"invert": True}])
def test_the_standard_scale_is_that_of_the_whole_data_set_whatever_is_chosen_of_it(choice):
    plain = made(**choice, normalize="unit").train[0].double()
    scaled = made(**choice, normalize="standard").train[0].double()
    for channel, (mean, deviation) in enumerate(statistics(IMAGES)):
        np.testing.assert_allclose(scaled[:, channel] * deviation + mean, plain[:, channel], atol=1e-6)


def test_a_channel_without_deviation_cannot_be_standardised():
    flat = TRAIN.clone()
    flat[:, 1] = 7
    images = Images((flat, LABELS), IMAGES.test, NAMES)
    with pytest.raises(ValueError, match="'standard' divides by the deviation, and that of channel 1 is 0"):
        Options(normalize="standard").splits(images)


def test_grey_images_have_no_place_on_the_scale_of_imagenet():
    grey = Images((TRAIN[:, :1], LABELS), IMAGES.test, NAMES)
    with pytest.raises(ValueError, match="normalize 'imagenet' is for images of 3 channels, these have 1"):
        Options(normalize="imagenet").splits(grey)


def test_another_white_is_the_largest_value():
    shades = torch.tensor([0, 4, 8, 16], dtype=torch.uint8).reshape(4, 1, 1, 1)
    images = Images((shades, LABELS[:4]), (shades, LABELS[:4]), NAMES, white=16)
    assert Options().splits(images).train[0].flatten().tolist() == [-1, -0.5, 0, 1]
    assert Options(normalize="unit", invert=True).splits(images).train[0].flatten().tolist() == [1, 0.75, 0.5, 0]
    mean, deviation = np.mean([0, 0.25, 0.5, 1]), np.std([0, 0.25, 0.5, 1])
    assert statistics(images) == [(round(mean, 4), round(deviation, 4))]


def test_chosen_classes_are_numbered_in_their_order_and_keep_their_names():
    splits = made(classes=[3, 1], normalize="unit")
    rows = [2, 4, 7, 8]
    assert torch.equal(bytes_of(splits.train[0]), TRAIN[rows])
    assert splits.train[1].tolist() == [1, 0, 1, 0]
    assert torch.equal(bytes_of(splits.test[0]), TEST[[0, 2]])
    assert splits.test[1].tolist() == [0, 1]
    assert (splits.classes, splits.class_names) == (2, ("dog", "bee"))


def test_all_classes_in_another_order_are_numbered_anew():
    splits = made(classes=[3, 2, 1, 0])
    assert torch.equal(splits.train[1], 3 - LABELS)
    assert splits.class_names == NAMES[::-1]


@pytest.mark.parametrize(
    "classes", [[], [1], [1, 1], [0, 4], [-1, 2], [0, 1.0], [True, 0], ["ant", "bee"], "01", 3, {"low": 0}, [0, 1, 0]]
)
def test_classes_that_are_no_choice_are_refused_with_what_is_allowed(classes):
    with pytest.raises(
        ValueError, match=r"at least two of the 4 classes, by number from 0 to 3, each once, got"
    ) as said:
        made(classes=classes)
    assert str(said.value).endswith(repr(classes))


def test_a_half_has_every_second_example_of_each_class():
    positions = {0: [1, 6, 10], 1: [2, 7], 2: [0, 3, 5, 9], 3: [4, 8]}  # rows of each class in LABELS
    for half in (0, 1):
        rows = sorted(row for rows in positions.values() for row in rows[half::2])
        splits = made(half=half, normalize="unit")
        assert torch.equal(bytes_of(splits.train[0]), TRAIN[rows])
        assert torch.equal(splits.train[1], LABELS[rows])
        assert len(splits.test[0]) == len(TEST)


def test_the_halves_share_nothing_and_are_all_together_also_of_chosen_classes():
    halves = [made(half=half, classes=[2, 0]).train for half in (0, 1)]
    whole = made(classes=[2, 0]).train
    rows = {tuple(image.flatten().tolist()) for image in whole[0]}
    first, second = ({tuple(image.flatten().tolist()) for image in half[0]} for half in halves)
    assert first | second == rows
    assert first & second == set()


def test_invert_is_the_negative():
    assert torch.equal(bytes_of(made(invert=True, normalize="unit").train[0]), 255 - TRAIN)
    torch.testing.assert_close(made(invert=True).test[0], -made().test[0])


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_rotate_turns_every_image_counter_clockwise(turns):
    splits = made(rotate=90 * turns, normalize="unit")
    due = np.stack([[np.rot90(channel, turns) for channel in image] for image in TRAIN.numpy()])
    np.testing.assert_array_equal(bytes_of(splits.train[0]).numpy(), due)
    assert splits.test[0].shape[2:] == ((2, 3) if turns % 2 == 0 else (3, 2))
    assert splits.train[0].is_contiguous()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"normalize": "zscore"}, "normalize must be one of symmetric, unit, standard, imagenet, got 'zscore'"),
        ({"half": 2}, "half must be 0 or 1, got 2"),
        ({"half": True}, "half must be 0 or 1, got True"),
        ({"half": "even"}, "half must be 0 or 1, got 'even'"),
        ({"rotate": 45}, "rotate must be one of 0, 90, 180, 270 degrees, got 45"),
        ({"rotate": -90}, "rotate must be one of 0, 90, 180, 270 degrees, got -90"),
    ],
)
def test_a_bad_option_is_refused_before_anything_is_read(option, message):
    def read(root):
        raise AssertionError("was read")

    with pytest.raises(ValueError, match=message):
        image_dataset(read)(None, **option)


@pytest.mark.parametrize("bad", [-1, 4, 255])
def test_a_label_that_is_none_is_damage(bad):
    labels = LABELS.clone()
    labels[3] = bad
    with pytest.raises(DataError, match=rf"a training label is {bad}, allowed are 0 to 3; the files are damaged"):
        Images((TRAIN, labels), IMAGES.test, NAMES)


def test_images_without_labels_are_damage():
    with pytest.raises(DataError, match="4 test images have 11 labels; the files are damaged"):
        Images(IMAGES.train, (TEST, LABELS), NAMES)


def test_a_data_set_has_its_own_options_before_the_shared_ones_and_explains_all():
    @image_dataset
    def load(root, *, size: int = 3):
        """Little pictures.

        Args:
            size: how many.
        """
        return Images((TRAIN[:size], LABELS[:size]), IMAGES.test, NAMES)

    info = describe(Dataset("little", load=load), Origin("", "", "", "", ""))
    shared = {"normalize": "symmetric", "classes": None, "half": None, "invert": False, "rotate": 0}
    assert list(info.options.items()) == [("size", 3), *shared.items()]
    assert (info.summary, info.open, info.required) == ("Little pictures.", False, ())
    assert all(f"    {option}: " in load.__doc__ for option in info.options)
    assert len(load(None, size=5, rotate=90).train[0]) == 5
    with pytest.raises(TypeError, match="sice"):
        load(None, sice=5)


def test_idx_has_the_shape_of_its_header():
    raw = bytearray(bytes([0, 0, 8, 3]) + struct.pack(">III", 2, 1, 3) + bytes(range(6)))
    assert torch.equal(idx(raw), torch.arange(6, dtype=torch.uint8).reshape(2, 1, 3))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0\0\x08",
        b"\0\0\x08\0",
        b"\0\0\x09\1\0\0\0\1a",
        b"\0\0\x08\1\0\0\0\2a",
        b"\0\0\x08\1\0\0\0\1ab",
        b"\0\0\x08\3\0\0\0\1",
        b"PK\3\4 zip, not IDX",
    ],
)
def test_other_bytes_are_no_idx_file(raw):
    with pytest.raises(ValueError, match=f"no IDX file of unsigned bytes: {len(raw)} bytes"):
        idx(bytearray(raw))
