"""What a suite asks of its data and of those of [source] beyond what they have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness import fitting, sizes
from tests.small import FACTS, a_plan

THERE = replace(FACTS, train=100, class_counts=(50, 50))
VALUES = replace(THERE, classes=None, class_names=(), class_counts=None, outputs=1)
MOVED = {
    "source": {"dataset": {"use": "clouds"}, "epochs": 1},
    "arms": {"strategy": ["full"]},
    "compare": {"metric": "accuracy", "controls": False},
}


def refused(folder, changes, *, facts=FACTS, there=THERE):
    """Code, message, the line that it is shown at and what is allowed, of each mistake once."""
    plan = replace(a_plan(folder, {**MOVED, **changes}, facts=facts), source_facts=there)
    lines = (folder / "suite.toml").read_text().splitlines()
    found = dict.fromkeys([*sizes.mistakes(plan), *fitting.mistakes(plan)])
    return [(one.code, one.message, lines[one.places[0].line - 1], one.allowed) for one in found]


def source(**keys):
    return {"source": {**MOVED["source"], **keys}}


@pytest.mark.parametrize(
    ("changes", "message", "line", "allowed"),
    [
        (
            source(train_examples=101),
            "[source] train_examples is 101, more than there are",
            "train_examples = 101",
            "1 to 100: 'clouds' has 100 training examples",
        ),
        (
            source(batch_size=101),
            "[source] batch_size is 101, more than there are",
            "batch_size = 101",
            "1 to 100, the size of the training set of [source]",
        ),
        (
            source(train_examples=40, batch_size=41),
            "[source] batch_size is 41, more than there are",
            "batch_size = 41",
            "1 to 40, the size of the training set of [source]",
        ),
        (
            {"problem.batch_size": 110},
            "[source] batch_size is 110, more than there are",
            "batch_size = 110",
            "1 to 100, the size of the training set of [source]",
        ),
    ],
    ids=["examples", "batch", "batch of a part", "batch of the problem"],
)
def test_more_than_the_source_has_is_refused_at_its_line(tmp_path, changes, message, line, allowed):
    assert refused(tmp_path, changes) == [("out-of-range", message, line, allowed)]


@pytest.mark.parametrize("changes", [{}, source(train_examples=100), source(train_examples=40, batch_size=40)])
def test_what_the_source_just_has_is_none(tmp_path, changes):
    assert refused(tmp_path, changes) == []


def test_a_loss_of_labels_is_refused_for_a_source_of_values(tmp_path):
    message = "[source]: loss 'cross_entropy' needs classes, and 'clouds' is a regression"
    given = refused(tmp_path, source(loss="cross_entropy"), there=VALUES)
    assert given == [("wrong-task", message, 'loss = "cross_entropy"', "mse")]
    assert refused(tmp_path, source(loss="mse"), there=VALUES) == []


LABELS = {"problem.train_examples": None, "problem.batch_size": 2, "problem.labels_per_class": 2}


def test_fewer_validation_examples_than_classes_are_refused_next_to_a_label_budget(tmp_path):
    message = "validation_examples is 1, fewer than one of each class next to labels_per_class"
    due = ("out-of-range", message, "validation_examples = 1", "2 or more, the number of classes")
    assert refused(tmp_path, {**LABELS, "problem.validation_examples": 1}) == [due]
    assert refused(tmp_path, {**LABELS, "problem.validation_examples": 2}) == []
    few = {"problem.validation_examples": 1, "problem.batch_size": 2}
    assert refused(tmp_path, few) == []  # drawn whatever their class
