"""Replicates that are added after a verdict: remembered, warned of, and paid for where the suite declares looks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import looks
from tests.conftest import Project
from tests.faults import substitute

THREE = {"compare.replicates": 3}


@pytest.fixture
def suite(tmp_path, monkeypatch, capfd):
    """A folder whose runs are done by a pure function in place of training."""
    monkeypatch.chdir(tmp_path)
    for name in (substitute.TORCH, substitute.DATA, substitute.SOURCE, substitute.FAIL, substitute.CLOCK):
        monkeypatch.delenv(name, raising=False)
    substitute.install(monkeypatch.setattr)
    return Project(tmp_path, capfd)


def run(project: Project, changes: dict[str, Any] | None = None, command: str = "run") -> str:
    """What the report says, after the suite with these changes."""
    substitute.write_suite(project.folder, {**THREE, **(changes or {})})
    result = project.run(command, "suite.toml")
    assert result.code == 0, result.err
    return project.read("results/suite/report/report.html")


def kept(project: Project) -> list[Any]:
    return json.loads(project.read("results/suite/looks.json"))["looks"]


def test_a_verdict_is_remembered_once_with_the_replicates_that_were_planned(suite):
    assert "H012" not in run(suite)
    first = suite.read("results/suite/looks.json")
    ((look,),) = [kept(suite)]
    assert (look["replicates"], look["checkpoints"], len(look["compared"])) == (3, None, 1)
    run(suite, command="report")
    assert suite.read("results/suite/looks.json") == first


def test_replicates_that_are_added_after_a_verdict_are_warned_of(suite):
    run(suite)
    assert (
        "H012: replicates were added after a verdict: 1 comparison read with 3 and 5 replicates, and looks = 1"
        in run(suite, {"compare.replicates": 5})
    )
    assert [look["replicates"] for look in kept(suite)] == [3, 5]
    again = run(suite, {"compare.replicates": 4})  # fewer than were seen are as much of a choice
    assert "read with 3, 5 and 4 replicates" in again


def test_a_suite_that_says_how_often_it_looks_is_warned_of_what_goes_beyond(suite):
    run(suite, {"compare.looks": 2})
    assert "H012" not in run(suite, {"compare.looks": 2, "compare.replicates": 5})
    assert "3, 5 and 6 replicates, and looks = 2" in run(suite, {"compare.looks": 2, "compare.replicates": 6})


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"problem.epochs": 3}, {"compare.metric": "loss"}, {"tuning.trials": 2}],
    ids=["seed", "problem", "metric", "tuning"],
)
def test_another_question_was_not_looked_at_before(suite, changes):
    run(suite)
    assert "H012" not in run(suite, {**changes, "compare.replicates": 5})


@pytest.mark.parametrize(
    "changes", [{"compare.margin": 0.05}, {"question": "Which?"}, {"compare.untuned": True}], ids=str
)
def test_the_same_comparison_in_other_words_was_looked_at(suite, changes):
    run(suite)
    assert "H012" in run(suite, {**changes, "compare.replicates": 5})


def test_too_few_replicates_for_an_interval_are_no_look(suite):
    run(suite, {"compare.replicates": 2})
    assert not (suite.folder / "results/suite/looks.json").exists()
    assert "H012" not in run(suite, {"compare.replicates": 5})


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda path: path.write_text("{"), lambda path: path.write_text("[1]")]
)
def test_without_the_file_or_with_a_damaged_one_all_goes_on_and_nothing_is_said(suite, damage):
    run(suite)
    damage(suite.folder / "results/suite/looks.json")
    assert "H012" not in run(suite, {"compare.replicates": 5})
    assert [look["replicates"] for look in kept(suite)] == [5]


def test_a_folder_with_the_file_is_still_a_results_folder(suite):
    run(suite)
    (suite.folder / "results/suite/plan.json").unlink()
    assert "nothing to run" in suite.run("run", "suite.toml").err


def test_what_cannot_be_read_as_looks_is_none(tmp_path):
    assert looks.read(tmp_path) == []
    (tmp_path / looks.NAME).write_text(json.dumps({"looks": [{"replicates": "many"}]}))
    assert looks.read(tmp_path) == []
