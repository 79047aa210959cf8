"""`harness run`: does what is missing, the same whatever happened before, and nothing twice."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from tests.conftest import TINY

MOMENTUM_LIKE = """
import torch
import harness

@harness.hookimpl
def harness_optimizers():
    return [harness.Optimizer("{name}", build={build}, space={{"lr": harness.Float(1e-3, 1.0, log=True)}})]
"""
RMSPROP = MOMENTUM_LIKE.format(name="hinton", build="torch.optim.RMSprop")


def runs_csv(project, suite="suite"):
    return project.read(f"results/{suite}/tables/runs.csv")


def test_a_suite_runs_to_a_report_whose_first_line_is_the_answer(project):
    result = project.write().run("run", "suite.toml")
    assert result.code == 0, result.err
    answer, where = result.out.splitlines()
    assert answer.startswith("On clouds-line, tuned alike with 2 trials each, ")
    assert where == "report: results/suite/report/report.html"
    assert answer in project.read("results/suite/report/report.md")
    for table in ("runs", "evaluations", "studies", "trials", "trial_parameters", "summary", "comparisons", "metrics"):
        assert len(project.read(f"results/suite/tables/{table}.csv").splitlines()) > 1, table


def test_the_same_command_again_runs_nothing_and_says_the_same(finished):
    project, kept = finished, json.loads(finished.read("results/suite/report/answer.json"))
    before = {path: path.read_bytes() for path in (project.folder / "results").rglob("*") if path.is_file()}
    again = project.run("run", "suite.toml")
    assert again.out.splitlines()[0] == kept["headline"]
    assert "nothing to run: 24 of 24 ok" in again.err
    assert {path: path.read_bytes() for path in (project.folder / "results").rglob("*") if path.is_file()} == before


def test_another_arm_computes_that_arm_only(finished):
    project = finished
    result = project.write(suite={"arms.optimizer": ["sgd", "adam", "momentum"]}).run("run", "suite.toml")
    assert "24 of 36 runs done, 12 to do" in result.err
    assert "12 runs done" in result.err


def test_more_replicates_compute_the_new_ones_only(finished):
    project = finished
    before = runs_csv(project).splitlines()
    result = project.write(suite={"compare.replicates": 4}).run("run", "suite.toml")
    assert "24 of 32 runs done, 8 to do" in result.err
    assert set(before) <= set(runs_csv(project).splitlines())


# Of the other samplers `tests/tune` holds that more trials begin with the same ones.
def test_more_trials_go_on_with_the_studies_that_there_are(project):
    changes = {"tuning.trials": 2, "compare.replicates": 1}
    project.write(suite=changes).run("run", "suite.toml")
    result = project.write(suite={**changes, "tuning.trials": 3}).run("run", "suite.toml")
    assert "6 of 10 runs done, 4 to do" in result.err  # which setting a final run has, its study decides
    assert result.code == 0
    extended = runs_csv(project)
    project.run("run", "suite.toml", "--results", "results/fresh")
    assert project.read("results/fresh/tables/runs.csv") == extended


def test_one_and_two_workers_give_equal_bytes(project):
    tuning = {"trials": 4, "batch": 2, "pruner": "halving"}
    project.write(suite={"tuning": tuning, "problem.epochs": 4, "compare.replicates": 1})
    one = project.run("run", "suite.toml", "--executor", "process", "--workers", "1", "--results", "one")
    two = project.run("run", "suite.toml", "--executor", "process", "--workers", "2", "--results", "two")
    serial = project.run("run", "suite.toml", "--executor", "serial", "--results", "serial")
    assert one.code == two.code == serial.code == 0, one.err + two.err + serial.err
    for table in ("runs", "evaluations", "studies", "trials", "trial_parameters", "summary", "comparisons"):
        found = {project.read(f"{folder}/tables/{table}.csv") for folder in ("one", "two", "serial")}
        assert len(found) == 1, table
    assert ",pruned," in project.read("one/tables/runs.csv")
    assert project.read("one/report/report.md").count("\n") == project.read("two/report/report.md").count("\n")
    logs = {folder: (project.folder / folder / "logs").exists() for folder in ("one", "two", "serial")}
    assert logs == {"one": True, "two": True, "serial": False}


def test_a_file_in_the_working_folder_hides_no_package(project):
    (project.folder / "click.py").write_text("raise SystemExit('hidden')")
    result = project.run_apart("--version")
    assert (result.code, result.out.startswith("harness, version")) == (0, True), result.err


def _wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_an_interrupted_suite_goes_on_and_ends_as_an_uninterrupted_one(project, number, code):
    project.write(suite={"execution": {"executor": "process", "workers": 2}, "problem.epochs": 20})
    assert project.run("plan", "suite.toml").code == 0  # its answers are kept: the next command starts no child
    process = project.start("run", "suite.toml", start_new_session=True)
    _wait_for(lambda: len(list((project.folder / "results/suite/runs").glob("*/*.json"))) >= 4)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert out == ""
    assert "interrupted; finished runs are kept, the same command goes on" in err
    assert "Traceback" not in err
    done = len(list((project.folder / "results/suite/runs").glob("*/*.json")))
    assert 4 <= done < 24
    result = project.run("run", "suite.toml", "--executor", "serial")
    assert f"{done} of 24 runs done" in result.err
    project.run("run", "suite.toml", "--executor", "serial", "--results", "uninterrupted")
    assert project.read("uninterrupted/tables/runs.csv") == runs_csv(project)


@pytest.mark.slow  # tests/train/test_resume.py and tests/faults kill one too
def test_a_killed_coordinator_leaves_no_process_and_loses_no_record(project):
    import psutil

    project.write(suite={"execution": {"executor": "process", "workers": 2}, "problem.epochs": 20})
    process = project.start("run", "suite.toml", start_new_session=True)
    _wait_for(lambda: len(list((project.folder / "results/suite/runs").glob("*/*.json"))) >= 2)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert len(gone) >= 2
    result = project.run("run", "suite.toml", "--executor", "serial")
    assert result.code == 0
    assert "24 of 24 ok" in result.err


def test_a_damaged_record_is_quarantined_and_its_run_done_again(finished):
    project = finished
    before = runs_csv(project)
    record = next((project.folder / "results/suite/runs").glob("*/*.json"))
    record.write_text(record.read_text()[:-20])
    result = project.run("run", "suite.toml")
    assert "1 damaged records moved to results/suite/quarantine" in result.err
    assert "1 runs done" in result.err
    assert runs_csv(project) == before


def test_no_tuning_record_holds_a_test_metric(finished):
    project = finished
    records = [json.loads(path.read_text()) for path in (project.folder / "results/suite/runs").glob("*/*.json")]
    splits = {
        phase: {
            row[3] for record in records if record["spec"]["phase"] == phase for row in record["result"]["evaluations"]
        }
        for phase in ("tune", "final")
    }
    assert splits == {"tune": {"train", "validation"}, "final": {"train", "validation", "test"}}
    assert all(set(record["spec"]["data"]) == {"train"} for record in records if record["spec"]["phase"] == "tune")


def test_noise_in_place_of_the_test_set_changes_no_study_and_no_chosen_setting(finished):
    project = finished
    noise = TINY.replace("test=split(100)", "test=(torch.randn(100, 4, generator=generator), torch.arange(100) % 2)")
    assert noise != TINY
    kept = {name: project.read(f"results/suite/tables/{name}.csv") for name in ("trial_parameters", "studies")}
    scores = project.read("results/suite/tables/summary.csv")
    project.plugin("tiny", noise).run("run", "suite.toml", "--results", "noise")
    assert {name: project.read(f"noise/tables/{name}.csv") for name in kept} == kept
    assert project.read("noise/tables/summary.csv") != scores


def test_a_final_run_reads_the_test_set_once_at_the_epoch_that_validation_chose(project):
    project.write(suite={"problem.epochs": 4}).run("run", "suite.toml")
    for path in (project.folder / "results/suite/runs").glob("*/*.json"):
        record = json.loads(path.read_text())
        if record["spec"]["phase"] != "final":
            continue
        rows = record["result"]["evaluations"]
        validation = {row[0]: row[5] for row in rows if row[3] == "validation" and row[4] == "accuracy"}
        first_best = max(validation, key=lambda epoch: (validation[epoch], -epoch))
        test = [row for row in rows if row[3] == "test" and row[4] == "accuracy"]
        assert [row[0] for row in test] == [first_best] == [record["result"]["selected_epoch"]]


def test_the_last_epoch_counts_where_the_suite_says_so(project):
    project.write(suite={"problem.epochs": 3, "compare.epoch": "last"}).run("run", "suite.toml")
    header, *lines = runs_csv(project).splitlines()
    at = header.split(",").index("selected_epoch")
    finals = [line.split(",") for line in lines if ",final," in line]
    assert {line[at] for line in finals} == {"3.0"}


def test_arms_are_paired_by_equal_seeds_and_initial_weights(finished):
    project = finished
    import pandas as pd

    runs = pd.read_csv(project.folder / "results/suite/tables/runs.csv")
    final = runs[(runs["phase"] == "final") & (runs["setting"] == "tuned")]
    seeds = [name for name in final.columns if name.startswith("seed_")] + ["init_hash"]
    assert final.groupby("replicate")[seeds].nunique().to_numpy().tolist() == [[1] * len(seeds)] * 3
    assert final["seed_split"].nunique() == 3


def test_one_optimizer_under_two_names_is_one_set_of_untuned_runs_and_identical(project):
    twins = [{"name": "a", "optimizer": "adam"}, {"name": "b", "optimizer": "adam"}]
    project.write(suite={"arms": None, "tuning": None, "arm": twins, "compare.baseline": "a"})
    result = project.run("run", "suite.toml")
    assert result.code == 0
    assert len(list((project.folder / "results/suite/runs").glob("*/*.json"))) == 3
    assert ",identical," in project.read("results/suite/tables/comparisons.csv")


def test_a_ten_line_optimizer_in_the_plugins_folder_is_found_tuned_and_compared(project):
    assert len(RMSPROP.strip().splitlines()) <= 10
    project.plugin("mine", RMSPROP).write(suite={"arms.optimizer": ["sgd", "hinton"]})
    result = project.run("run", "suite.toml")
    assert result.code == 0, result.err
    assert "hinton" in result.out
    assert ",hinton," in project.read("results/suite/tables/comparisons.csv")


def test_a_broken_plugin_stops_only_the_suite_that_needs_it(project):
    project.plugin("broken", "import nowhere_to_be_found\nimport harness\nname = 'wonder'; harness.hookimpl")
    assert project.write().run("run", "suite.toml").code == 0
    result = project.write(suite={"arms.optimizer": ["sgd", "wonder"]}).run("run", "suite.toml")
    assert result.code == 2
    assert "No module named 'nowhere_to_be_found'" in result.err


FAILING = """
import torch
import harness

class Failing(torch.optim.SGD):
    def step(self, closure=None):
        {action}

@harness.hookimpl
def harness_optimizers():
    return [harness.Optimizer("{name}", build=Failing, space={{"lr": harness.Float(0.01, 0.1)}})]
"""
# By executor, then by optimizer: what its step does, the status of its runs, and what their reason says.
WAYS_TO_FAIL = {
    "serial": {
        "raises": ("raise RuntimeError('no such luck')", "error", "RuntimeError: no such luck"),
        "exits": ("raise SystemExit(3)", "error", "SystemExit: 3"),
        "eats": ("raise MemoryError", "oom", "MemoryError"),
        "blows_up": ("self.param_groups[0]['params'][0].data.fill_(torch.nan)", "diverged", "loss was nan at step 2"),
        "spreads": ("torch.set_num_threads(2)", "bad_output", "a part changed threads 1 -> 2"),
    },
    "process": {
        "ends": ("import os; os._exit(0)", "crashed", "ended without a result (exit code 0)"),
        "aborts": ("import os; os.abort()", "crashed", "signal SIGABRT"),
        # Not where its price is asked, which would wait for it.
        "hangs": (
            "import sys, time; sys.argv[0].endswith('describe.py') or time.sleep(600)",
            "timeout",
            "over the limit of 2 s",
        ),
    },
}


@pytest.mark.parametrize("executor", WAYS_TO_FAIL)
def test_every_way_to_fail_is_a_counted_row_with_its_reason_and_spoils_nothing_else(project, executor):
    ways = WAYS_TO_FAIL[executor]
    for name, (action, _, _) in ways.items():
        project.plugin(name, FAILING.format(name=name, action=action))
    project.write(
        suite={"arms.optimizer": ["sgd", *ways], "tuning": None, "compare.replicates": 2,
               "execution": {"executor": executor, "time_limit": 2.0 if "hangs" in ways else 600.0}}
    )  # fmt: skip
    result = project.run("run", "suite.toml")
    assert result.code == 1, result.err
    assert f"2 of {2 + 2 * len(ways)} ok, {2 * len(ways)} failed, 0 missing" in result.err
    rows = runs_csv(project).splitlines()
    for name, (_, status, reason) in ways.items():
        failed = [line for line in rows if f",{name}," in line]
        assert len(failed) == 2, name
        assert all(f",{status}," in line and reason in line for line in failed), failed
    good = [line for line in rows if ",sgd," in line]
    assert len(good) == 2
    assert all(",ok," in line for line in good)


def test_when_every_trial_fails_the_final_run_is_failed_for_want_of_a_setting(project):
    project.plugin("failing", FAILING.format(name="failing", action="raise RuntimeError('never')")).write(
        suite={"arms.optimizer": ["sgd", "failing"], "compare.replicates": 2, "compare.untuned": False}
    )
    result = project.run("run", "suite.toml")
    assert result.code == 1
    assert "no setting: every trial of its study failed" in runs_csv(project)
    assert "6 of 12 ok, 6 failed, 0 missing" in result.err


def test_results_of_another_suite_are_not_touched(project):
    project.write().write(name="other.toml").run("run", "suite.toml")
    result = project.run("run", "other.toml", "--results", "results/suite")
    assert result.code == 4
    assert "holds the results of suite 'suite', not of 'other'" in result.err


def test_data_that_changed_under_the_records_stop_the_run(project, tmp_path):
    source = TINY.replace(
        "generator = torch.Generator()",
        "import pathlib; seed = int(pathlib.Path('seed.txt').read_text())\n    generator = torch.Generator()",
    )
    assert source != TINY
    (tmp_path / "seed.txt").write_text("1")
    project.plugin("tiny", source).write().run("plan", "suite.toml")
    (tmp_path / "seed.txt").write_text("2")
    from harness.execute import work

    work._loaded.clear()
    result = project.run("run", "suite.toml")
    assert result.code == 4
    assert "the train split of 'clouds' changed" in result.err


@pytest.mark.parametrize("pruner", ["median", "halving", "hyperband"])
def test_pruned_runs_are_stopped_where_their_spec_says_and_counted(project, pruner):
    changes = {"arms.optimizer": ["sgd"], "tuning.trials": 9, "tuning.sampler": "random", "tuning.pruner": pruner}
    changes |= {"problem.epochs": 5, "compare.replicates": 3, "compare.untuned": False, "compare.metric": "loss"}
    result = project.write(suite=changes).run("run", "suite.toml")
    assert result.code == 0, result.err
    records = [json.loads(path.read_text()) for path in (project.folder / "results/suite/runs").glob("*/*.json")]
    pruned = [record for record in records if record["result"]["status"] == "pruned"]
    assert 0 < len(pruned) < len(records)
    assert f"{len(records) - len(pruned)} of 30 ok, {len(pruned)} pruned, 0 failed, 0 missing" in result.err
    for record in records:
        prune, rows = record["spec"].get("prune"), record["result"]["evaluations"]
        values = [row[5] for row in rows if row[3] == "validation" and row[4] == "loss"]
        judged = [
            min(values[: at + 1]) if prune and prune["judge"] == "best" else values[at] for at in range(len(values))
        ]
        limits = [float("inf") if x is None else x for x in prune["thresholds"]] if prune else [float("inf")] * 5
        worse = [value > limit for value, limit in zip(judged, limits, strict=False)]
        stopped = record["result"]["status"] == "pruned"
        assert worse == ([False] * (len(values) - 1) + [True] if stopped else [False] * 5)
        assert (f"at evaluation {len(values)} was worse than" in str(record["result"]["reason"])) is stopped
