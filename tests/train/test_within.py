"""A share of the labels validates while a run tunes; what trains in a final run is all of them."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from harness import sizes
from harness.hookspecs import Splits
from harness.strategies.measures import curve_summary
from harness.train.division import Division, Subset, Within, divide
from tests.train.test_train import constant, make_splits, parts, payload, run

CLASSES, EACH = 3, 40


def divided(n, *, within=None, subset=None, seed=1) -> Division:
    """Of 40 examples of each of 3 classes, whose inputs are their numbers; class = number modulo 3."""
    labels = torch.arange(CLASSES * EACH) % CLASSES
    whole = torch.arange(float(len(labels)))[:, None], labels
    splits = Splits(train=whole, test=(torch.zeros(3, 1), torch.arange(3)), classes=CLASSES)
    given = {"train": None, "validation": 0, "with_test": False, "device": torch.device("cpu"), "labels_per_class": n}
    return divide(splits, seed=seed, **given, within=within, subset=subset)


def numbers(examples) -> set[int]:
    return {int(value) for chunk, _ in examples.chunks() for value in chunk[:, 0]}


def by_class(found: set[int]) -> list[int]:
    return [sum(number % CLASSES == label for number in found) for label in range(CLASSES)]


@pytest.mark.parametrize("n", [2, 10, 40, "all"])
@pytest.mark.parametrize("block", [0, 2])
def test_what_validates_and_what_trains_are_the_labels_that_a_final_run_trains_on(n, block):
    subset = Subset(of=3, block=block)
    tuning, final = divided(n, within=Within(0.2, 0), subset=subset), divided(n, subset=subset)
    assert numbers(tuning.train) | numbers(tuning.validation) == numbers(final.train)
    assert not numbers(tuning.train) & numbers(tuning.validation)
    assert len(final.validation) == 0


@pytest.mark.parametrize("n", [2, 3, 5, 10, 37])
@pytest.mark.parametrize("share", ["0.01", "0.2", "0.25", "0.5", "0.99"])
def test_each_class_gives_its_share_rounded_half_up_and_keeps_one_of_either(n, share):
    due = int(Fraction(share) * n + Fraction(1, 2))
    due = 1 if due < 1 else n - 1 if due > n - 1 else due
    assert sizes.within(n, float(share)) == due
    found = divided(n, within=Within(float(share), 0))
    assert by_class(numbers(found.validation)) == [due] * CLASSES
    assert by_class(numbers(found.train)) == [n - due] * CLASSES


def test_turns_validate_on_each_label_once_and_then_begin_again():
    turns = [numbers(divided(10, within=Within(0.2, turn)).validation) for turn in range(6)]
    assert sum(map(len, turns[:5])) == 30
    assert set.union(*turns[:5]) == numbers(divided(10).train)
    assert turns[5] == turns[0]


def test_one_label_cannot_train_and_validate():
    with pytest.raises(ValueError, match="validation_within needs 2 labels a class"):
        divided(1, within=Within(0.2, 0))


# Training ------------------------------------------------------------------------------------------------------------


def spec(*, final: bool, **problem):
    given = {"train_examples": None, "labels_per_class": 20, "validation_examples": 0, "epochs": None, "steps": 12}
    made = payload(phase="final" if final else "tune", rule="last", **given, **problem)
    return made if final else {**made, "within": {"share": 0.2, "turn": 0}}


def test_a_tuning_run_validates_on_the_share_and_trains_on_the_rest():
    rows = run(spec(final=False))["evaluations"]
    assert {row[6] for row in rows if row[3] == "validation"} == {8}
    assert len({row[1] for row in rows if row[3] == "validation"}) == 10
    assert run(spec(final=False))["epochs"] == 12 * 16 / 32


def test_a_final_run_trains_on_all_labels_and_ends_with_its_last_step_without_validation():
    result = run(spec(final=True))
    assert result["status"] == "ok"
    assert {row[3] for row in result["evaluations"]} == {"train", "test"}
    assert result["epochs"] == result["selected_epoch"] == 12 * 16 / 40
    assert {row[1] for row in result["evaluations"] if row[3] == "test"} == {12}


def test_a_schedules_epoch_is_one_of_all_labels_in_tuning_runs_too():
    seen = []

    def noting(optimizer, steps, steps_per_epoch):
        seen.append((steps, steps_per_epoch))
        return constant(optimizer, steps, steps_per_epoch)

    for final in (False, True):
        run(spec(final=final), parts(schedule=noting), make_splits())
    assert seen == [(12, 3), (12, 3)]  # 40 labels in batches of 16


def test_without_a_curve_there_is_no_area_and_no_step_to_come_to():
    assert curve_summary([], direction="maximize") == {"steps_to_95": None, "curve_area": None}
