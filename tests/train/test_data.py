"""Data sets: held against the contract, fingerprinted by every byte, and divided without overlap."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
import torch

from harness.errors import PluginError
from harness.hookspecs import Splits
from harness.registry.catalog import Origin
from harness.train import data
from harness.train import division as division_module
from harness.train.data import check, fingerprint

LABELS = torch.arange(20) % 4


def splits(inputs=None, labels=None, **changed):
    """20 training examples whose inputs are their numbers, 8 test examples, 4 classes."""
    train = (torch.arange(20.0)[:, None] if inputs is None else inputs, LABELS if labels is None else labels)
    return Splits(**{"train": train, "test": (100 + torch.arange(8.0)[:, None], LABELS[:8]), "classes": 4, **changed})


def divide(made, **given):
    return division_module.divide(made, device=torch.device("cpu"), **given)


def pair(examples):
    """A split as one pair of tensors, however it comes."""
    return tuple(torch.cat(pieces) for pieces in zip(*examples.chunks(), strict=True))


def numbers(examples):
    return pair(examples)[0].flatten().int().tolist()


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
    for inputs, labels in (pair(division.train), pair(division.validation)):
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


# Too large for memory -------------------------------------------------------------------------------------------------


class Squares(torch.utils.data.Dataset):
    """Item i is (i, i % 4), with two draws from each global generator behind the number."""

    def __init__(self, n, *, draws=False):
        self.n, self.draws = n, draws

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        drawn = [float(torch.rand(())), random.random(), float(np.random.rand())] if self.draws else []
        return torch.tensor([float(index), *drawn]), index % 4


def map_style(n=20, *, draws=False, **changed):
    both = {"train": Squares(n, draws=draws), "test": Squares(8, draws=draws)}
    return Splits(**{**both, "classes": 4, "fingerprints": ("a", "b"), **changed})


def test_a_map_style_data_set_is_divided_as_tensors_are():
    given = {"seed": 3, "train": 9, "validation": 5, "with_test": True}
    tensors, streamed = divide(splits(), **given), divide(map_style(), **given)
    for split in ("train", "validation"):
        assert numbers(getattr(streamed, split)) == numbers(getattr(tensors, split))
        assert len(getattr(streamed, split)) == len(getattr(tensors, split))
    assert numbers(streamed.test) == list(range(8))
    assert torch.equal(streamed.example[0], tensors.example[0])


def test_batches_of_a_map_style_data_set_hold_the_examples_that_were_asked_for():
    given = {"seed": 3, "train": 9, "validation": 5, "with_test": False}
    asked = [torch.tensor([2, 0]), torch.tensor([8])]
    both = [list(divide(made, **given).train.batches(asked, seed=1)) for made in (splits(), map_style())]
    for one, other in zip(*both, strict=True):
        assert all(torch.equal(first, second) for first, second in zip(one, other, strict=True))
    assert [index.tolist() for _, _, index in both[0]] == [[2, 0], [8]]


@pytest.mark.parametrize("loaders", [1, 2])
def test_what_an_example_draws_depends_on_seed_and_index_and_on_no_number_of_loaders(loaders):
    def drawn(loaders, order, seed=1):
        made = map_style(draws=True)
        train = division_module.divide(
            made, seed=0, train=12, validation=4, with_test=False, device=torch.device("cpu"), loaders=loaders
        ).train
        return {float(row[0]): row[1:].tolist() for x, _, _ in train.batches(order, seed=seed) for row in x}

    order = list(torch.arange(12).split(5))
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    alone = drawn(0, order)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())
    assert drawn(loaders, order[::-1]) == alone
    assert drawn(0, order, seed=2) != alone


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (map_style(fingerprints=None), "train split: a map-style data set needs fingerprints"),
        (map_style(fingerprints=("a", "")), "train split: a map-style data set needs fingerprints"),
        (map_style(n=0), "train split: 0 examples"),
        (map_style(train=object()), "must be a pair of tensors or a map-style data set with a length, got object"),
        (map_style(train="text"), r"train split: items must be pairs \(input tensor, target\), got str"),
        (map_style(test=Squares(4, draws=True)), r"test split: inputs \(4,\) differ in shape"),
    ],
)
def test_a_map_style_data_set_against_the_contract_is_refused(made, message):
    with pytest.raises(PluginError, match=message):
        check(made, name="squares")


def test_a_map_style_data_set_is_identified_by_what_it_says_of_itself():
    one, other = data.fingerprints(map_style()), data.fingerprints(map_style(fingerprints=("a", "c")))
    assert one["train"] == other["train"] != one["test"] != other["test"]
    assert data.fingerprints(splits())["train"] == fingerprint(splits().train)


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


# Folds and label budgets ---------------------------------------------------------------------------------------------


def in_fold(index, *, of=4, made=None, seed=0, **given):
    asked = {"train": None, "validation": 3, "with_test": True, **given}
    return divide(made or splits(), seed=seed, fold=division_module.Fold(of, index, 7), **asked)


@pytest.mark.parametrize(("examples", "classes", "of"), [(20, 4, 5), (23, 3, 4), (100, 7, 10), (9, 1, 2)])
def test_folds_are_as_even_as_can_be_as_a_whole_and_in_each_class(examples, classes, of):
    labels = torch.randint(classes, (examples,), generator=torch.Generator().manual_seed(1))
    folds = division_module.assign_folds(examples, labels, of=of, seed=3)
    sizes = torch.bincount(folds, minlength=of)
    assert (sizes.sum(), sizes.max() - sizes.min() <= 1) == (examples, True)
    for label in range(classes):
        each = torch.bincount(folds[labels == label], minlength=of)
        assert each.max() - each.min() <= 1
    assert not torch.equal(folds, division_module.assign_folds(examples, labels, of=of, seed=4))
    assert torch.equal(folds, division_module.assign_folds(examples, labels, of=of, seed=3))


def test_every_example_is_tested_in_one_fold_and_never_trained_on_there():
    tested = []
    for index in range(4):
        division = in_fold(index, seed=index)
        inside = numbers(division.test)
        assert sorted(numbers(division.train) + numbers(division.validation) + inside) == list(range(20))
        assert sorted(pair(division.test)[1].tolist()).count(0) in (1, 2)
        tested += inside
    assert sorted(tested) == list(range(20))


def test_the_data_sets_own_test_split_is_not_looked_at_in_folds():
    assert all(number < 100 for number in numbers(in_fold(0).test))
    assert in_fold(0, with_test=False).test is None


def test_folds_of_a_regression_are_drawn_from_the_whole():
    made = splits(labels=torch.arange(20.0), test=(torch.zeros(2, 1), torch.zeros(2)), classes=None)
    tested = [numbers(in_fold(index, made=made).test) for index in range(4)]
    assert sorted(number for fold in tested for number in fold) == list(range(20))
    assert {len(fold) for fold in tested} == {5}


def test_a_label_budget_has_so_many_of_each_class_and_is_part_of_a_larger_one():
    def labelled(n):
        return divide(splits(), seed=2, train=None, validation=4, with_test=False, labels_per_class=n)

    small, large, whole = labelled(1), labelled(3), labelled("all")
    for division, each in ((small, 1), (large, 3), (whole, 4)):
        assert torch.bincount(pair(division.train)[1]).tolist() == [each] * 4
        assert torch.bincount(pair(division.validation)[1]).tolist() == [1] * 4
        assert numbers(division.validation) == numbers(small.validation)
    assert set(numbers(small.train)) < set(numbers(large.train)) < set(numbers(whole.train))
    assert not set(numbers(whole.train)) & set(numbers(whole.validation))


def test_more_labels_than_there_are_in_a_class_are_refused():
    with pytest.raises(ValueError, match="class 0 has 5 examples, 1 are for validation and 5 asked for training"):
        divide(splits(), seed=0, train=None, validation=4, with_test=False, labels_per_class=5)


def test_validation_that_does_not_come_out_even_has_one_more_of_the_first_classes():
    division = divide(splits(), seed=0, train=None, validation=6, with_test=False, labels_per_class=2)
    assert torch.bincount(pair(division.validation)[1]).tolist() == [2, 2, 1, 1]
