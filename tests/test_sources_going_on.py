"""A suite with [source] that is cut off, edited, or whose data change: the next command does what is right."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import probe
from harness.execute import work
from harness.store import Store
from tests.conftest import Project
from tests.test_sources import MOVED, outcomes, records, sources

FILED = '''
"""The clouds again, drawn by a number in a file."""

from pathlib import Path

import torch

import harness


def filed(root, *, other=False):
    """Two clouds."""
    generator = torch.Generator().manual_seed(int(Path("number.txt").read_text()) + other)

    def split(n):
        labels = torch.arange(n) % 2
        return torch.randn(n, 4, generator=generator) + labels[:, None] * 1.0, labels

    return harness.Splits(train=split(240), test=split(100), classes=2)


@harness.hookimpl
def harness_datasets():
    return [harness.Dataset("filed", load=filed)]
'''
SMALL: dict[str, Any] = {
    **MOVED,
    "arms": {"strategy": ["full"]},
    "tuning": None,
    "compare.untuned": None,
    "compare.controls": False,
    "compare.replicates": 1,
}
"""One source run, and one run that starts from it."""
BEHIND = {**SMALL, "source": {"dataset": "filed", "epochs": 1}}


@pytest.fixture
def filed(project: Project) -> Project:
    (project.folder / "number.txt").write_text("1")
    return project.plugin("filed", FILED)


def redraw(project: Project) -> None:
    """Change the data, for processes that have not loaded them yet: this one forgets them."""
    (project.folder / "number.txt").write_text("2")
    work._loaded.clear()
    probe._seen.clear()


def suite_folder(project: Project) -> Path:
    return project.folder / "results" / "suite"


# Cut off -------------------------------------------------------------------------------------------------------------


CUT = {**MOVED, "compare.replicates": 2, "arms": {"strategy": ["full"]}, "compare.controls": False}
"""Two source runs, two tuning runs, two final runs."""


def cut_after(records: int) -> Callable[[Store, Any], None]:
    """`Store.write` that is interrupted at the next record; of a source run the weights are on the disk by then."""
    write, written = Store.write, []

    def cut(self: Store, record: Any) -> None:
        if len(written) == records:
            raise KeyboardInterrupt
        written.append(record["id"])
        write(self, record)

    return cut


def test_a_command_that_is_cut_off_anywhere_goes_on_to_what_an_uninterrupted_one_records(project, monkeypatch):
    project.write(suite=CUT).run("run", "suite.toml", "--results", "whole/suite")
    whole = outcomes(project.folder / "whole" / "suite")
    for kept in (0, 1, 3):  # in the first source run, between the two, between two tuning runs
        results = f"cut-{kept}/suite"
        with monkeypatch.context() as patch:
            patch.setattr(Store, "write", cut_after(kept))
            assert project.run("run", "suite.toml", "--results", results).code == 130
        assert len(records(project.folder / results)) == kept
        again = project.run("run", "suite.toml", "--results", results)
        assert (again.code, "notice" in again.err) == (0, False), again.err
        assert f"{6 - kept} runs done" in again.err
        assert outcomes(project.folder / results) == whole
        assert len(list((project.folder / results / "weights").iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize("done", [0, 3])
def test_a_command_that_is_killed_with_its_runs_goes_on_to_the_same_records(project, done):
    """With 0 records the kill falls into a source run: its process has 200 epochs to go."""
    project.write(suite={**CUT, "source": {**CUT["source"], "epochs": 200}, "problem.steps": 300})
    plain = project.run_apart("run", "suite.toml", "--results", "whole/suite")
    assert plain.code == 0, plain.err
    process = project.start("run", "suite.toml", "--executor", "process", "--workers", "1")
    deadline = time.monotonic() + 120
    while (
        len(list(suite_folder(project).glob("runs/*/*.json"))) < done or not (suite_folder(project) / "logs").exists()
    ):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)
    assert len(records(suite_folder(project))) >= done
    again = project.run_apart("run", "suite.toml", "--executor", "process", "--workers", "2")
    assert again.code == 0, again.err
    assert outcomes(suite_folder(project)) == outcomes(project.folder / "whole" / "suite")


MOODY = """
from pathlib import Path
from torch import optim
import harness

def moody(params, *, lr=0.05):
    if Path("broken.txt").exists():
        raise RuntimeError("not today")
    return optim.SGD(params, lr=lr)

@harness.hookimpl
def harness_optimizers():
    return [harness.Optimizer("moody", build=moody)]
"""


def test_rerun_failed_does_a_failed_source_run_again_and_all_that_could_not_start(project):
    project.plugin("moody", MOODY).write(suite={**SMALL, "source": {**SMALL["source"], "optimizer": "moody"}})
    project.run("plan", "suite.toml")  # one that cannot even be built is refused
    (project.folder / "broken.txt").touch()
    assert project.run("run", "suite.toml").code == 1
    (project.folder / "broken.txt").unlink()
    assert "nothing to run" in project.run("run", "suite.toml").err
    again = project.run("run", "suite.toml", "--rerun", "failed")
    assert again.code == 0, again.err
    assert "2 failed runs moved to results/suite/quarantine; they are done again" in again.err
    assert "2 runs done" in again.err
    assert {result["status"] for result in outcomes(suite_folder(project)).values()} == {"ok"}


# Edited --------------------------------------------------------------------------------------------------------------


def test_an_option_of_the_source_data_that_changes_is_said_and_old_records_stay(project):
    project.write(suite=SMALL).run("run", "suite.toml")
    before = records(suite_folder(project))
    changed = {**SMALL, "source": {**SMALL["source"], "dataset": {"use": "clouds", "seed": 8}}}
    said = project.write(suite=changed).run("run", "suite.toml")
    assert said.code == 0, said.err
    assert "notice: the suite changed: source.dataset.seed was 7, it is 8; 1 finished run fell out; old" in said.err
    assert "2 runs done" in said.err
    after = records(suite_folder(project))
    assert before.items() <= after.items()
    assert len(after) == 4
    assert "notice" not in project.run("run", "suite.toml").err


def test_a_part_of_the_source_alone_that_changes_is_named_and_what_starts_from_it_is_done_again(filed):
    filed.write(suite=BEHIND).run("run", "suite.toml")
    filed.plugin("filed", FILED.replace("Two clouds.", "Two clouds of points."))
    said = filed.run("run", "suite.toml")
    assert said.code == 0, said.err
    assert (
        "notice: plugins/filed.py changed: 1 finished run of it are set aside and done again; old records" in said.err
    )
    assert "2 runs done" in said.err


# Data behind [source] ------------------------------------------------------------------------------------------------


def test_data_behind_the_source_that_change_stop_the_next_run_that_needs_them_and_then_the_command(filed):
    filed.write(suite=BEHIND).run("run", "suite.toml")
    redraw(filed)
    more = filed.write(suite={**BEHIND, "arms": {"strategy": ["full", "linear_probe"]}})
    found = more.run("run", "suite.toml")  # what is known of the data is kept until a run sees that it is not so
    assert (found.code, found.out) == (4, ""), found.err
    assert "the train split of 'filed' changed: it was " in found.err
    assert "the same command looks at the data again" in found.err
    said = more.run("run", "suite.toml")
    assert (said.code, said.out) == (4, ""), said.err
    assert "the data set 'filed' of [source] changed since 1 finished run in results/suite were recorded" in said.err
    assert "go on with --rerun changed" in said.err
    before = sources(suite_folder(more))
    again = more.run("run", "suite.toml", "--rerun", "changed")
    assert again.code == 0, again.err
    assert "3 of 3 ok" in again.err
    (new,) = sources(suite_folder(more)).keys() - before.keys()
    finals = [r for r in records(suite_folder(more)).values() if r["spec"]["phase"] == "final"]
    assert {record["spec"]["source"]["run"] for record in finals} == {new}
    reasons = [path.read_text() for path in (suite_folder(more) / "quarantine").glob("*.reason")]
    assert len(reasons) == 1
    assert "data changed" in reasons[0]


def test_data_of_source_and_target_that_change_alike_are_said_of_the_target(filed):
    both = {**BEHIND, "problem.dataset": {"use": "filed", "other": True}}
    filed.write(suite=both).run("run", "suite.toml")
    redraw(filed)
    said = filed.run("run", "suite.toml", "--rerun", "changed")
    assert said.code == 0, said.err
    assert "1 runs moved to results/suite/quarantine; they are done again" in said.err
    assert "2 runs done" in said.err


# Environments --------------------------------------------------------------------------------------------------------


def test_a_source_run_of_another_torch_is_not_mixed_in_unasked(project, monkeypatch):
    project.write(suite=SMALL).run("run", "suite.toml")
    folder = suite_folder(project)
    (final,) = [
        path for path in folder.glob("runs/*/*.json") if json.loads(path.read_text())["spec"]["phase"] == "final"
    ]
    final.unlink()
    monkeypatch.setattr("harness.environments.metadata.version", lambda name: "1.0")
    said = project.run("run", "suite.toml")
    assert said.code == 4, said.err
    assert "the records were made with torch" in said.err
