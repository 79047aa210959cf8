"""Data sets: held against the contract, fingerprinted by every byte, and divided without overlap."""

from __future__ import annotations

import hashlib

import pytest
import torch

from harness import data
from harness.catalog import Origin
from harness.data import check, divide, fingerprint
from harness.errors import PluginError
from harness.hookspecs import Splits

LABELS = torch.arange(20) % 4


def splits(inputs=None, labels=None, **changed):
    """20 training examples whose inputs are their numbers, 8 test examples, 4 classes."""
    train = (torch.arange(20.0)[:, None] if inputs is None else inputs, LABELS if labels is None else labels)
    return Splits(**{"train": train, "test": (100 + torch.arange(8.0)[:, None], LABELS[:8]), "classes": 4, **changed})


def numbers(pair):
    return pair[0].flatten().int().tolist()


# Division ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_training_and_validation_examples_never_overlap_and_are_all_there(seed):
    division = divide(splits(), seed=seed, train=None, validation=7, with_test=False)
    assert sorted(numbers(division.train) + numbers(division.validation)) == list(range(20))
    assert len(numbers(division.validation)) == 7


@pytest.mark.parametrize("seed", range(5))
def test_a_smaller_training_set_is_part_of_a_larger_one_and_leaves_validation_as_it_is(seed):
    small, large, whole = (divide(splits(), seed=seed, train=n, validation=5, with_test=False) for n in (4, 9, None))
    assert numbers(whole.train)[:9] == numbers(large.train)
    assert numbers(large.train)[:4] == numbers(small.train)
    assert numbers(small.validation) == numbers(large.validation) == numbers(whole.validation)


def test_labels_stay_with_their_inputs():
    division = divide(splits(), seed=3, train=10, validation=5, with_test=True)
    for inputs, labels in (division.train, division.validation):
        assert labels.tolist() == [int(number) % 4 for number in inputs]


def test_the_seed_decides_who_is_drawn_and_nothing_else_does():
    def drawn(seed):
        return numbers(divide(splits(), seed=seed, train=10, validation=5, with_test=False).train)

    first = drawn(1)
    torch.manual_seed(5)
    assert drawn(1) == first
    assert drawn(2) != first


def test_the_test_set_comes_whole_and_only_when_it_is_asked_for():
    with_test = divide(splits(), seed=0, train=4, validation=4, with_test=True)
    assert numbers(with_test.test) == list(range(100, 108))
    assert divide(splits(), seed=0, train=4, validation=4, with_test=False).test is None


@pytest.mark.parametrize(("train", "validation"), [(16, 5), (None, 20), (1, 20)])
def test_more_examples_than_there_are_cannot_be_divided(train, validation):
    with pytest.raises(ValueError, match=f"{validation} validation examples asked for, the training split has 20"):
        divide(splits(), seed=0, train=train, validation=validation, with_test=False)


# Contract ------------------------------------------------------------------------------------------------------------


def test_a_good_data_set_passes():
    check(splits(), name="numbers")
    check(splits(classes=None, labels=torch.randn(20, 3)), name="regression")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (("train", "test"), "load must return harness.Splits, got tuple"),
        (splits(train=(LABELS,)), "train split: must be a pair of tensors"),
        (splits(test=([1.0], LABELS)), "test split: must be a pair of tensors"),
        (splits(labels=LABELS[:19]), "train split: 20 inputs for 19 targets"),
        (splits(test=(torch.zeros(0, 1), LABELS[:0])), "test split: 0 inputs for 0 targets"),
        (splits(test=(torch.zeros(8, 2), LABELS[:8])), r"test split: inputs \(2,\) differ in shape"),
        (splits(inputs=torch.tensor([[0.0]] * 6 + [[float("nan")]] + [[0.0]] * 13)),
         "the input of row 6 is not finite"),
        (splits(inputs=torch.tensor([0.0] * 6 + [float("inf")] + [0.0] * 13), test=(torch.zeros(8), LABELS[:8])),
         "the input of row 6 is not finite"),
        (splits(classes=None, labels=torch.tensor([[0.0, 1.0]] * 19 + [[0.0, float("nan")]])),
         "the target of row 19 is not finite"),
        (splits(labels=LABELS.float()), r"labels must be int64 \(N,\), got torch.float32 \(20,\)"),
        (splits(labels=LABELS[:, None]), r"labels must be int64 \(N,\), got torch.int64 \(20, 1\)"),
        (splits(labels=torch.where(LABELS == 3, 4, LABELS)), "the label of row 3 is 4, allowed are 0 to 3"),
        (splits(labels=LABELS - 1), "the label of row 0 is -1, allowed are 0 to 3"),
        (splits(labels=LABELS % 3), "train split: class 3 of 4 has no example"),
        (splits(test=(torch.zeros(8, 1), LABELS[:8] % 2)), "test split: class 2 of 4 has no example"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_named_with_its_place(made, message):
    with pytest.raises(PluginError, match=f"dataset 'numbers'.*{message}"):
        check(made, name="numbers")


def test_a_loaded_data_set_gets_its_options_and_is_checked(tmp_path):
    file = tmp_path / "numbers.py"
    file.write_text(
        "import torch, harness\n"
        "def load(root, *, n=4, classes=2):\n"
        "    pair = (torch.arange(float(n))[:, None], torch.arange(n) % 2)\n"
        "    return harness.Splits(train=pair, test=pair, classes=classes)\n"
        "@harness.hookimpl\n"
        "def harness_datasets():\n"
        "    return [harness.Dataset('numbers', load=load)]\n"
    )
    origin = Origin("folder", "", "numbers", str(file), "cd" * 32, local=True)
    assert len(data.load({"use": "numbers", "n": 6}, origin, tmp_path).train[0]) == 6
    with pytest.raises(PluginError, match="class 2 of 3 has no example"):
        data.load({"use": "numbers", "classes": 3}, origin, tmp_path)


# Fingerprint ---------------------------------------------------------------------------------------------------------


def test_a_fingerprint_is_the_hash_of_types_shapes_and_bytes():
    inputs, labels = torch.tensor([[1.5, -2.0]]), torch.tensor([3])
    by_hand = hashlib.sha256()
    by_hand.update(b"torch.float32(1, 2)" + inputs.numpy().tobytes())
    by_hand.update(b"torch.int64(1,)" + labels.numpy().tobytes())
    assert fingerprint((inputs, labels)) == by_hand.hexdigest()


def test_every_value_type_and_shape_is_part_of_the_fingerprint():
    inputs = torch.zeros(4, 6)
    flipped = inputs.clone()
    flipped[3, 5] = -0.0
    variants = [inputs, flipped, inputs.reshape(6, 4), inputs.double(), inputs.int()]
    labels = torch.zeros(4, dtype=torch.int64)
    found = {fingerprint((variant, labels)) for variant in variants} | {fingerprint((inputs, labels + 1))}
    assert len(found) == 6


def test_the_layout_in_memory_is_no_part_of_the_fingerprint():
    images = torch.arange(48.0).reshape(2, 2, 3, 4)
    labels = torch.zeros(2, dtype=torch.int64)
    assert fingerprint((images.contiguous(memory_format=torch.channels_last), labels)) == fingerprint((images, labels))
