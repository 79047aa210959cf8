"""Questions to a child process: an answer each, or the reason why there is none."""

from __future__ import annotations

import pytest

from harness import registry
from harness.registry import child, discovery


@pytest.fixture
def questions(project):
    """One question a plugin file, by module."""

    def ask(**texts):
        for name, text in texts.items():
            project.plugin(name, text)
        found = [source for source in discovery.find() if source.local and source.module in texts]
        return {source.module: registry._question(source) for source in found}

    return ask


PART = (
    "import harness\n@harness.hookimpl\ndef harness_optimizers():\n    return [harness.Optimizer({!r}, build=dict)]\n"
)


def test_answers_come_in_the_order_of_the_questions(questions):
    asked = questions(a=PART.format("one"), b=PART.format("two"), c=PART.format("three"))
    answers = child.ask([asked["c"], asked["a"], asked["b"]])
    assert [[part["name"] for part in parts] for parts in answers] == [["three"], ["one"], ["two"]]


def test_no_questions_need_no_child():
    assert child.ask([]) == []


def test_a_child_that_dies_costs_only_the_question_at_hand(questions):
    dead = "import harness, os, signal\nharness.hookimpl\nos.kill(os.getpid(), signal.SIGKILL)"
    asked = questions(a=PART.format("one"), b=dead, c=PART.format("three"))
    one, failed, three = child.ask([asked["a"], asked["b"], asked["c"]])
    assert one[0]["name"] == "one"
    assert three[0]["name"] == "three"
    assert isinstance(failed, child.Failed)
    assert "SIGKILL" in failed.reason


def test_an_error_of_harness_keeps_its_class_and_any_other_only_its_text(questions):
    asked = questions(
        a="import harness\nharness.hookimpl\nraise harness.DataError('files are away')",
        b="import harness\nharness.hookimpl\nraise ValueError('no such rate')",
    )
    first, second = child.ask([asked["a"], asked["b"]])
    assert (first.kind, "files are away" in first.reason) == ("DataError", True)
    assert (second.kind, "ValueError: no such rate" in second.reason) == ("", True)


def test_two_plugins_of_one_name_in_two_folders_do_not_mix(project, tmp_path):
    (tmp_path / "other").mkdir()
    project.plugin("same", PART.format("here"))
    (tmp_path / "other" / "same.py").write_text(PART.format("there"))
    names = registry.load_catalog([tmp_path / "other"]).names("optimizer")
    assert {"here", "there"} <= set(names)
