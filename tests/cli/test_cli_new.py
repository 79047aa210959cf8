"""`harness new`: a draft of each kind keeps the contract, and a suite can name it at once."""

from __future__ import annotations

import csv

import pytest

from harness.cli.creating import DRAFTS, USES
from harness.hookspecs import KINDS

SUITE = """
question = "Does the draft work?"
[problem]
dataset = "digits"
model = "mlp"
validation_examples = 200
steps = 20
{problem}
[arms]
{arms}
[compare]
metric = "accuracy"
baseline = "{first}"
replicates = 2
"""
IN_SUITES = {
    "model": {"problem": "", "arms": 'model = ["mlp", "mine"]'},
    "optimizer": {"problem": "", "arms": 'optimizer = ["sgd", "mine"]'},
    "strategy": {
        "problem": '[source]\ndataset = "digits"\nsteps = 20',
        "arms": 'strategy = ["scratch", "linear_probe", "full", "mine"]',
    },
    "loss": {"problem": "", "arms": 'loss = ["cross_entropy", "mine"]'},
    "schedule": {"problem": "", "arms": 'schedule = ["constant", "mine"]'},
}


def test_there_is_a_draft_of_every_kind_but_executors():
    assert {*USES, "executor"} == set(KINDS)
    assert {path.stem for path in DRAFTS.iterdir()} == set(USES)


@pytest.mark.parametrize("kind", USES)
def test_a_draft_keeps_the_contract_and_is_found_by_its_name(project, kind):
    result = project.run("new", kind, "mine-2")
    assert result.code == 0
    assert result.out.startswith("wrote plugins/mine_2.py\n")
    assert f"in a suite: {USES[kind].replace('NAME', 'mine-2')}" in result.out
    verified = project.run("verify", "plugins/mine_2.py")
    assert verified.code == 0, verified.out
    assert f"{kind} mine-2 keeps " in verified.out
    shown = project.run("show", "mine-2")
    assert shown.out.startswith(f"{kind} mine-2 ")


@pytest.mark.parametrize("kind", IN_SUITES)
def test_a_suite_runs_with_a_draft(project, kind):
    assert project.run("new", kind, "mine").code == 0
    first = IN_SUITES[kind]["arms"].split('"')[1]
    (project.folder / "draft.toml").write_text(SUITE.format(**IN_SUITES[kind], first=first))
    result = project.run("run", "draft.toml", "--executor", "serial")
    assert result.code == 0, result.err
    with (project.folder / "results/draft/tables/runs.csv").open(newline="") as file:
        own = [row["status"] for row in csv.DictReader(file) if row["arm"] == "mine" and row["phase"] == "final"]
    assert own == ["ok", "ok"]


def test_another_folder_may_be_named(project):
    result = project.run("new", "loss", "mine", "--plugins", "own")
    assert result.out.startswith("wrote own/mine.py\n")
    assert "harness show mine --plugins own" in result.out
    assert project.run("show", "mine", "--plugins", "own").code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("optimiser", "mine"), "'optimiser' is not one of"),
        (("optimizer", "a b"), "a part's name must match"),
        (("optimizer", "adam"), "optimizer 'adam' is there already, of harness"),
        (("dataset", "taken"), "plugins/taken.py is there already"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(project, arguments, says):
    project.plugin("taken", "kept = 1\n")
    before = sorted(project.folder.rglob("*.py"))
    result = project.run("new", *arguments)
    assert result.code == 2
    assert says in result.err
    assert sorted(project.folder.rglob("*.py")) == before
    assert (project.folder / "plugins/taken.py").read_text() == "kept = 1\n"


def test_a_folder_that_is_a_package_of_something_else_is_refused(project):
    (project.folder / "plugins/__init__.py").touch()
    result = project.run("new", "loss", "mine")
    assert result.code == 2
    assert "plugins is a package, in which no plugin is looked for; name a folder by --plugins" in result.err
