"""Going on is never silently starting over: same, extended, edited, and changed suites through the command line."""

from __future__ import annotations

import csv
import json
import os

import pytest

from harness.errors import SuiteError
from tests.conftest import Project
from tests.faults import substitute


@pytest.fixture
def suite(tmp_path, monkeypatch, capfd):
    """A folder whose suite of 8 runs was done, by a pure function in place of training."""
    monkeypatch.chdir(tmp_path)
    for name in (substitute.TORCH, substitute.DATA, substitute.SOURCE, substitute.FAIL, substitute.CLOCK):
        monkeypatch.delenv(name, raising=False)
    substitute.install(monkeypatch.setattr)
    project = Project(tmp_path, capfd)
    substitute.write_suite(tmp_path)
    return project


@pytest.fixture
def done(suite):
    result = suite.run("run", "suite.toml")
    assert result.code == 0, result.err
    return suite


def records(project):
    return {path.name: path.read_bytes() for path in (project.folder / "results/suite/runs").glob("*/*.json")}


def edit(project, changes):
    substitute.write_suite(project.folder, changes)
    return project


def reasons(project):
    return [path.read_text() for path in (project.folder / "results/suite/quarantine").glob("*.reason")]


# Same and extended ---------------------------------------------------------------------------------------------------


def test_the_same_suite_again_says_nothing_is_to_do(done):
    result = done.run("run", "suite.toml")
    assert (result.code, "nothing to run: 8 of 8 ok" in result.err) == (0, True)
    assert "notice" not in result.err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"compare.replicates": 3}, "8 of 12 runs done, 4 to do"),
        ({"tuning.trials": 2}, "4 of 12 runs done, 8 to do"),  # which setting is final is known after the second trial
        ({"compare.untuned": True}, "8 of 12 runs done, 4 to do"),
        ({"question": "Another?"}, "nothing to run"),
    ],
    ids=str,
)
def test_an_extension_goes_on_without_a_notice(done, changes, said):
    result = edit(done, changes).run("run", "suite.toml")
    assert result.code == 0, result.err
    assert said in result.err
    assert "notice" not in result.err


def test_another_arm_goes_on_without_a_notice(suite):
    edit(suite, {"tuning": None}).run("run", "suite.toml")
    result = edit(suite, {"tuning": None, "arms.optimizer": ["sgd", "adam", "plain"]}).run("run", "suite.toml")
    assert "4 of 6 runs done, 2 to do" in result.err
    assert "notice" not in result.err


# Edited --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"problem.epochs": 3}, "the suite changed: epochs was 2, it is 3; 8 finished runs fell out"),
        ({"problem.schedule": "plateau"}, "the suite changed: schedule.use was 'constant', it is 'plateau'; 8 "),
        ({"seed": 7}, "the suite changed: seed was 0, it is 7; 8 finished runs fell out"),
        ({"compare.replicates": 1}, "the suite changed: compare.replicates was 2, it is 1; 4 finished runs fell out"),
        ({"arms.optimizer": ["sgd", "plain"], "tuning": None}, "finished runs fell out"),
    ],
    ids=str,
)
def test_an_edit_that_drops_finished_runs_is_said_once_and_old_records_stay(done, changes, said):
    before = records(done)
    result = edit(done, changes).run("run", "suite.toml")
    assert result.code == 0, result.err
    assert result.err.count("notice: ") == 1
    assert said in result.err
    assert {name: records(done)[name] for name in before} == before
    assert "notice" not in done.run("run", "suite.toml").err


def test_an_edit_taken_back_finds_its_runs_again(done):
    edit(done, {"problem.epochs": 3}).run("run", "suite.toml")
    result = edit(done, {}).run("run", "suite.toml")
    assert "nothing to run: 8 of 8 ok" in result.err
    assert "epochs was 3, it is 2" in result.err or "notice" not in result.err


def test_runs_that_wait_for_a_missing_one_of_their_study_did_not_fall_out(suite):
    edit(suite, {"tuning.trials": 4}).run("run", "suite.toml")
    with (suite.folder / "results/suite/tables/runs.csv").open(newline="") as file:
        first = next(row["run_id"] for row in csv.DictReader(file) if row["trial"] == "0")
    next((suite.folder / "results/suite/runs").glob(f"*/{first}.json")).unlink()
    result = edit(suite, {"tuning.trials": 4, "compare.replicates": 3}).run("run", "suite.toml")
    assert result.code == 0, result.err
    assert "notice" not in result.err
    assert "11 runs done" in result.err  # the missing one, and 2 x 5 of the new replicate


# Changed under the records -------------------------------------------------------------------------------------------


def test_changed_source_of_a_plugin_is_said_once_and_only_its_runs_are_done_again(done, monkeypatch):
    before = records(done)
    monkeypatch.setenv(substitute.SOURCE, "c")
    result = done.run("run", "suite.toml")
    assert result.code == 0, result.err
    assert "notice: adam.py changed: 4 finished runs of it are set aside and done again" in result.err
    assert "4 of 8 runs done, 4 to do" in result.err
    assert {name: records(done)[name] for name in before} == before
    again = done.run("run", "suite.toml")
    assert "notice" not in again.err
    monkeypatch.setenv(substitute.SOURCE, "d")
    assert "adam.py changed: 4 finished runs" in done.run("run", "suite.toml").err


def test_changed_data_stop_the_run_and_rerun_changed_goes_on(done, monkeypatch):
    before = records(done)
    monkeypatch.setenv(substitute.DATA, "3")
    result = done.run("run", "suite.toml")
    assert result.code == 4
    assert "the data set 'clouds' changed since 8 finished runs in results/suite were recorded" in result.err
    assert f"train split was {'1' * 12}, it is {'3' * 12}; put the old data back, or go on with --rerun" in result.err
    assert records(done) == before
    assert done.run("run", "suite.toml").code == 4
    result = done.run("run", "suite.toml", "--rerun", "changed")
    assert result.code == 0, result.err
    assert "8 runs done" in result.err
    assert len(reasons(done)) == 8
    assert all("data changed" in reason for reason in reasons(done))
    assert done.run("run", "suite.toml").code == 0


def test_changed_data_stop_a_cross_validation_for_the_runs_of_every_fold(suite, monkeypatch):
    edit(suite, {"problem.folds": 2, "compare.replicates": None})
    assert suite.run("run", "suite.toml").code == 0
    before = len(records(suite))
    monkeypatch.setenv(substitute.DATA, "3")
    result = suite.run("run", "suite.toml")
    assert result.code == 4
    assert f"the data set 'clouds' changed since {before} finished runs in results/suite were recorded" in result.err


def test_old_data_put_back_finds_their_runs_again(done, monkeypatch):
    monkeypatch.setenv(substitute.DATA, "3")
    assert done.run("run", "suite.toml").code == 4
    monkeypatch.delenv(substitute.DATA)
    assert "nothing to run" in done.run("run", "suite.toml").err


def test_another_training_version_stops_the_run(done, monkeypatch):
    from harness import going_on
    from harness.plan import runs

    monkeypatch.setattr(runs, "TRAINING", 99)
    monkeypatch.setattr(going_on, "TRAINING", 99)
    result = done.run("run", "suite.toml")
    assert result.code == 4
    assert "8 finished runs in results/suite were recorded with training version 1, this harness has 99" in result.err
    assert done.run("run", "suite.toml", "--rerun", "changed").code == 0


# Refused -------------------------------------------------------------------------------------------------------------


def everything(project):
    """All files of the results folder but the lock, and what the sampler answered, which is kept by what was asked."""
    paths = (path for path in (project.folder / "results").rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in paths if path.name != "lock" and path.parent.name != "studies"}


def refuse(monkeypatch, where):
    """Have the suite refused at the price of its arms, or by the executor."""
    from harness import execute
    from harness import plan as plans

    def refused(*_, **__):
        raise SuiteError("arm 'surgical' cannot be built")

    monkeypatch.setattr(*{"prices": (plans, "prices"), "executor": (execute, "make")}[where], refused)


@pytest.mark.parametrize("where", ["prices", "executor"])
@pytest.mark.parametrize("rerun", [(), ("--rerun", "failed"), ("--rerun", "changed")], ids=str)
def test_a_refused_suite_leaves_the_results_of_the_one_before(suite, monkeypatch, where, rerun):
    monkeypatch.setenv(substitute.FAIL, "adam")
    assert suite.run("run", "suite.toml").code == 1
    before = everything(suite)
    if rerun == ("--rerun", "changed"):
        monkeypatch.setenv(substitute.DATA, "other")
    edit(suite, {"compare.replicates": 3, "question": "Another?"})
    refuse(monkeypatch, where)
    result = suite.run("run", "suite.toml", *rerun)
    assert (result.code, result.out) == (2, "")
    assert result.err == "error: arm 'surgical' cannot be built\n"
    assert everything(suite) == before


def test_a_refused_suite_makes_no_folder(suite, monkeypatch):
    refuse(monkeypatch, "prices")
    assert suite.run("run", "suite.toml").code == 2
    assert not (suite.folder / "results").exists()


# Another environment -------------------------------------------------------------------------------------------------


def test_another_torch_is_refused_before_anything_runs_and_may_be_allowed(suite, monkeypatch):
    monkeypatch.setenv(substitute.TORCH, "1.2.3")
    assert suite.run("run", "suite.toml").code == 0
    monkeypatch.delenv(substitute.TORCH)
    here = substitute.ENVIRONMENT["torch"]
    before = records(suite)
    result = edit(suite, {"compare.replicates": 3}).run("run", "suite.toml")
    assert result.code == 4
    assert f"made with torch 1.2.3, here it is torch {here}: numbers may differ" in result.err
    assert "--allow-mixed-environment" in result.err
    assert records(suite) == before
    result = suite.run("run", "suite.toml", "--allow-mixed-environment")
    assert result.code == 0, result.err
    report = suite.read("results/suite/report/report.html")
    assert "H008: runs were made in 2 environments" in report
    assert f"torch 1.2.3, 1 threads; cpu, pure, torch {here}, 1 threads" in report
    assert suite.read("results/suite/tables/timings.csv").count("torch 1.2.3") == 8


def test_what_only_a_run_can_tell_is_refused_before_it_is_recorded(done, monkeypatch):
    monkeypatch.setitem(substitute.ENVIRONMENT, "capability", "AVX-1024")
    before = records(done)
    result = edit(done, {"compare.replicates": 3}).run("run", "suite.toml")
    assert result.code == 4
    assert "made with capability pure, here it is capability AVX-1024" in result.err
    assert records(done) == before


def test_a_finished_suite_is_reported_anywhere(done, monkeypatch):
    from importlib import metadata

    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.1" if name == "torch" else version(name))
    assert done.run("run", "suite.toml").code == 0


# Again on purpose ----------------------------------------------------------------------------------------------------


def test_rerun_failed_does_failed_runs_again_and_keeps_the_old_records(suite, monkeypatch):
    monkeypatch.setenv(substitute.FAIL, "adam")
    edit(suite, {"tuning": None, "compare.replicates": 3})
    assert suite.run("run", "suite.toml").code == 1
    assert "nothing to run" in suite.run("run", "suite.toml").err
    monkeypatch.delenv(substitute.FAIL)
    result = suite.run("run", "suite.toml", "--rerun", "failed")
    assert result.code == 0, result.err
    assert "3 failed runs moved to results/suite/quarantine" in result.err
    assert "6 of 6 ok" in result.err
    assert reasons(suite) == ["--rerun failed: error: RuntimeError: no such luck\n"] * 3


def test_rerun_failed_without_failures_does_nothing(done):
    before = records(done)
    assert "nothing to run" in done.run("run", "suite.toml", "--rerun", "failed").err
    assert records(done) == before


def test_recheck_finds_every_run_that_reads_the_clock(suite, monkeypatch):
    monkeypatch.setenv(substitute.CLOCK, "1")
    assert suite.run("run", "suite.toml").code == 0
    before = records(suite)
    result = suite.run("run", "suite.toml", "--recheck", "5")
    assert result.code == 1
    assert result.err.count("nondeterminism detected") == 5
    assert "0 of 5 repeated runs gave equal results" in result.err
    assert records(suite) == before
    kept = [json.loads(path.read_text()) for path in (suite.folder / "results/suite/recheck").glob("*.json")]
    assert len(kept) == 5
    recorded = {name.removesuffix(".json"): json.loads(text) for name, text in before.items()}
    assert all(one["spec"] == recorded[one["id"]]["spec"] for one in kept)
    assert all(one["result"] != recorded[one["id"]]["result"] for one in kept)
    assert "H018: nondeterminism detected: 5 repeated runs" in suite.read("results/suite/report/report.html")
    suite.run("report", "suite.toml")
    assert "H018" in suite.read("results/suite/report/report.html")


def test_recheck_of_what_is_a_pure_function_finds_nothing_and_draws_the_same_runs(done, monkeypatch):
    from harness import recheck, session
    from harness.cli.output import options

    before = records(done)
    result = done.run("run", "suite.toml", "--recheck", "10")
    assert result.code == 0, result.err
    assert "8 of 8 repeated runs gave equal results" in result.err
    assert records(done) == before
    opened = session.open_session(done.folder / "suite.toml", options((), (), None, None))
    walk = session.walk_records(opened)
    three, five = ([e.run_id for e in recheck.drawn(walk, n)] for n in (3, 5))
    assert (len(set(five)), five[:3]) == (5, three)


def test_runs_of_built_in_parts_repeat_to_the_last_bit(finished):
    result = finished.run("run", "suite.toml", "--recheck", "3")
    assert result.code == 0, result.err
    assert "3 of 3 repeated runs gave equal results" in result.err


@pytest.mark.slow
def test_ten_runs_of_built_in_parts_repeat_to_the_last_bit(finished):
    result = finished.run("run", "suite.toml", "--recheck", "10", "--executor", "process")
    assert result.code == 0, result.err
    assert "10 of 10 repeated runs gave equal results" in result.err


# What is kept --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", "[]", '{"suite": "suite"}', '{"suite": "suite", "settings": 1, "asked": 1}'])
def test_a_damaged_plan_is_made_anew(done, text):
    (done.folder / "results/suite/plan.json").write_text(text)
    assert done.run("run", "suite.toml").code == 0
    assert json.loads(done.read("results/suite/plan.json"))["training"] == 1


def test_the_plan_names_no_path_of_this_machine(done):
    assert str(done.folder) not in done.read("results/suite/plan.json")
    assert os.path.expanduser("~") not in done.read("results/suite/plan.json")
