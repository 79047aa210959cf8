"""`validation_within`: what it may stand beside, what runs know of it, and where blocks of labels are too small."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness import sizes
from harness.errors import SuiteError
from harness.plan import Label, Price
from harness.sizes import mistakes
from tests.small import FACTS, a_plan

WITHIN = {
    "problem.train_examples": None,
    "problem.validation_examples": None,
    "problem.labels_per_class": 10,
    "problem.validation_within": 0.2,
    "problem.epochs": None,
    "problem.steps": 20,
    "problem.batch_size": 16,
    "tuning.repeats": 2,
}
PROBLEM = "clouds-line"
FOLLOWS = "needs a validation set, and next to validation_within final runs have none"


def refused(folder, changes):
    with pytest.raises(SuiteError) as caught:
        a_plan(folder, {**WITHIN, **changes})
    return str(caught.value)


def spec(plan, phase, *, replicate=0, repeat=0):
    setting = "tuned"
    return plan.request(Label(PROBLEM, "sgd", replicate, phase, setting, 0, repeat)).spec


@pytest.mark.parametrize(
    ("changes", "says", "way"),
    [
        (
            {"problem.validation_examples": 40},
            "validation_within and validation_examples both say how many examples to validate on",
            "leave one of them out",
        ),
        (
            {"problems": {"validation_examples": [40, 50]}},
            "validation_within and validation_examples both say how many examples to validate on",
            "leave one of them out",
        ),
        (
            {"problem.labels_per_class": None},
            "validation_within is a share of labels_per_class, which the suite does not have",
            "write labels_per_class = 10",
        ),
        ({"problem.epochs": 2, "problem.steps": None}, "needs a budget in steps", "in place of epochs"),
        ({"problem.steps": None}, "needs a budget in steps", "write steps = 100"),
        ({"problem.labels_per_class": 1}, "labels_per_class = 1 leaves no label to train on", "validation_within out"),
        ({"problems": {"labels_per_class": [5, 1]}, "problem.labels_per_class": None}, "labels_per_class = 1", ""),
        ({"compare.epoch": "best_validation"}, f'epoch = "best_validation" {FOLLOWS}', "runs end with their last step"),
        ({"problem.early_stopping": {"patience": 2}}, f"early_stopping {FOLLOWS}", "or validation_examples"),
        ({"problem.schedule": "plateau"}, f"schedule 'plateau' {FOLLOWS}", "take one that follows no metric"),
        ({"arms": {"schedule": ["constant", "plateau"]}, "compare.baseline": "constant"}, "schedule 'plateau'", ""),
        (
            {"claim": [{"statement": "!", "arm": "adam", "split": "validation", "at_least": 0.9}]},
            f"claim 1 {FOLLOWS}",
            'write split = "test"',
        ),
        (
            {"problem.validation_within": 0},
            "problem] validation_within: 0 (integer) is out of range",
            "between 0 and 1",
        ),
        ({"problem.validation_within": 1.0}, "1.0 (float) is out of range", "allowed: number between 0 and 1"),
        ({"problem.validation_within": "all"}, 'expected a number, found "all" (string)', "number between 0 and 1"),
        ({"arms": {"validation_within": [0.1]}}, "arms cannot differ in 'validation_within'", "vary it in [problems]"),
    ],
)
def test_what_contradicts_it_is_refused_with_the_way_out(tmp_path, changes, says, way):
    said = refused(tmp_path, changes)
    assert says in said
    assert way in said


def test_a_claim_on_the_test_split_and_a_pruner_may_stand_beside_it(tmp_path):
    claim = {"statement": "!", "arm": "adam", "at_least": 0.9}
    plan = a_plan(tmp_path, {**WITHIN, "claim": [claim], "tuning.pruner": "median"})
    assert plan.suite.compare.epoch == "last"
    assert a_plan(tmp_path, {**WITHIN, "compare.epoch": "last"}).suite.compare.epoch == "last"


def test_one_label_may_train_where_nothing_is_tuned(tmp_path):
    made = a_plan(tmp_path, {**WITHIN, "tuning": None, "problem.labels_per_class": 1, "problem.batch_size": 2})
    assert list(mistakes(made)) == []


def test_tuning_runs_know_the_share_and_their_turn_and_final_runs_neither(tmp_path):
    plan = a_plan(tmp_path, WITHIN)
    for repeat in (0, 1):
        payload = spec(plan, "tune", repeat=repeat).payload
        assert payload["within"] == {"share": 0.2, "turn": repeat}
        assert payload["subset"] == {"of": 3, "block": repeat + 1}
    final = spec(plan, "final").payload
    assert "within" not in final
    assert final["subset"] == {"of": 3, "block": 0}
    for payload in (final, spec(plan, "tune").payload):
        assert payload["problem"]["validation_examples"] == 0
        assert "validation_within" not in payload["problem"]


def test_final_runs_do_not_depend_on_the_share_and_tuning_runs_do(tmp_path):
    one, other = (a_plan(tmp_path, {**WITHIN, "problem.validation_within": share}) for share in (0.2, 0.4))
    assert spec(one, "final").id == spec(other, "final").id
    assert spec(one, "tune").id != spec(other, "tune").id


def test_runs_of_a_suite_without_it_know_nothing_of_it(tmp_path):
    beside = {**WITHIN, "problem.validation_within": None, "problem.validation_examples": 40}
    payload = spec(a_plan(tmp_path, beside), "tune").payload
    assert "within" not in payload
    assert "validation_within" not in payload["problem"]


@pytest.mark.parametrize(
    ("phase", "changes", "how"),
    [
        ("tune", {}, "within"),
        ("final", {}, "none"),
        ("tune", {"problem.validation_within": None}, "beside"),
        ("final", {"problem.validation_within": None}, "beside"),
    ],
)
def test_how_a_run_validates_has_a_word(tmp_path, phase, changes, how):
    assert a_plan(tmp_path, {**WITHIN, **changes}).validation(Label(PROBLEM, "sgd", 0, phase, "tuned")) == how


def test_a_price_counts_what_each_kind_of_run_evaluates(tmp_path):
    plan = a_plan(tmp_path, WITHIN)
    prices = dict.fromkeys(plan.settings, Price(0.0, 1.0, 1))
    (row, _) = plan.rows(prices)
    tune, final = 3 * 2 * 2, 3 * 2
    # Ten evaluations of 2 labels of each of 2 classes; 100 test examples once; 0.3 s for each process.
    assert row.seconds == pytest.approx(tune * 10 * 4 + final * 100 + 0.3 * (tune + final))


# Sizes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, None),
        ({"problem.batch_size": 17}, ("batch_size is 17", "1 to 16, the size of what tuning runs train on")),
        ({"problem.batch_size": 20, "tuning": None}, None),
        ({"problem.labels_per_class": 120}, None),  # the pool is not reduced by a validation set
        ({"problem.labels_per_class": 121}, ("labels_per_class is 121", '1 to 120, or "all"')),
        ({"problem.labels_per_class": "all", "problem.batch_size": 192}, None),
        ({"problem.labels_per_class": "all", "problem.batch_size": 193}, ("batch_size is 193", "1 to 192")),
    ],
)
def test_sizes_are_held_against_what_runs_train_on(tmp_path, changes, says):
    found = list(mistakes(a_plan(tmp_path, {**WITHIN, **changes})))
    if says is None:
        assert found == []
    else:
        assert (found[0].message.startswith(says[0]), found[0].allowed.startswith(says[1])) == (True, True)


def test_a_class_with_one_example_cannot_train_and_validate(tmp_path):
    facts = replace(FACTS, train=121, class_counts=(120, 1))
    changes = {**WITHIN, "problem.labels_per_class": "all"}
    (found,) = set(mistakes(a_plan(tmp_path, changes, facts=facts)))
    assert found.message.startswith("validation_within needs 2 labels a class")
    assert "class 'right' of 'clouds' has 1 training examples" in found.message


# Blocks --------------------------------------------------------------------------------------------------------------

LABELS = {**WITHIN, "problem.validation_within": None, "problem.validation_examples": 30}
FOLDS = {"problem.folds": 4, "compare.replicates": None}


@pytest.mark.parametrize(
    ("changes", "block"),
    [
        ({"problem.labels_per_class": 35}, None),  # (120 - 15) // 3
        ({"problem.labels_per_class": 36}, 35),
        ({"problem.labels_per_class": "all"}, 35),
        ({"problem.labels_per_class": 40, "problem.validation_examples": None, "problem.validation_within": 0.5}, None),
        ({"problem.labels_per_class": 41, "problem.validation_examples": None, "problem.validation_within": 0.5}, 40),
        ({"problem.labels_per_class": "all", "tuning": None}, None),
        ({"problem.labels_per_class": None, "problem.train_examples": 120}, None),
        ({"problem.labels_per_class": 25, **FOLDS}, None),  # (120 - 120 / 4 - 15) // 3
        ({"problem.labels_per_class": 26, **FOLDS}, 25),
    ],
)
def test_budgets_that_exceed_a_block_are_known(tmp_path, changes, block):
    found = sizes.shared(a_plan(tmp_path, {**LABELS, **changes}))
    assert [one.block for one in found] == ([] if block is None else [block])


def test_what_is_shared_is_said_in_a_sentence(tmp_path):
    (found,) = sizes.shared(a_plan(tmp_path, {**LABELS, "problem.labels_per_class": "all"}))
    assert str(found) == (
        "clouds-line: all labels a class are more than one of 3 blocks has (35), so tuning and final runs share them, "
        "and repeats differ by their seeds alone"
    )
    (found,) = sizes.shared(a_plan(tmp_path, {**WITHIN, "problem.labels_per_class": 100, "problem.batch_size": 10}))
    assert str(found).endswith("and repeats differ by their seeds and by which of them validate")


@pytest.mark.parametrize(
    ("settings", "tunes", "said"),
    [
        (
            [{"validation_within": 0.2, "labels_per_class": 10}] * 2,
            True,
            "20 % of the labels (2 of 10 a class) validate",
        ),
        (
            [{"validation_within": 0.25, "labels_per_class": n} for n in (8, 3000, "all")],
            True,
            "25 % of the labels (2 of 8, 750 of 3,000 a class) validate",
        ),
        ([{"validation_within": 0.5, "labels_per_class": "all"}], True, "50 % of the labels validate in tuning runs"),
        ([{"validation_within": 0.5, "labels_per_class": 8}], False, "nothing validates, since nothing is tuned"),
    ],
)
def test_how_labels_validate_is_said_with_numbers(settings, tunes, said):
    assert sizes.validation_in_words(settings, tunes=tunes).startswith(said)


def test_nothing_is_said_of_validation_beside_the_labels():
    assert sizes.validation_in_words([{"validation_examples": 30}], tunes=True) == ""
