"""Networks that come from source runs: trained once, kept by id, shared, and made again where their file is gone."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness.errors import ResultsError
from harness.hookspecs import Splits
from harness.store import Store
from harness.train.division import Subset, divide

MOVED: dict[str, Any] = {
    "source": {"dataset": {"use": "clouds", "seed": 7}, "epochs": 1},
    "problem.epochs": None,
    "problem.steps": 6,
    "problem.train_examples": None,
    "problem.labels_per_class": 20,
    "problem.batch_size": 10,
    "problem.optimizer": "momentum",
    "arms": {"strategy": ["full", "linear_probe", "scratch"]},
    "tuning": {"trials": 1, "repeats": 1},
    "compare.baseline": "full",
    "compare.untuned": False,
}
RUNS = 3 + 3 * 3 * 2


@pytest.fixture
def moved(project):
    return project.write(suite=MOVED)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the results lie of the first test that ran the suite."""
    return tmp_path_factory.mktemp("moved") / "results"


@pytest.fixture
def ran(moved, kept):
    """The folder of `moved` after `harness run suite.toml`."""
    if kept.exists():
        shutil.copytree(kept, moved.folder / "results")
    else:
        said = moved.run("run", "suite.toml")
        assert said.code == 0, said.err
        assert f"{RUNS} of {RUNS} ok" in said.err
        shutil.copytree(moved.folder / "results", kept)
    return moved


def records(folder: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in sorted((folder / "runs").glob("*/*.json"))]
    return {record["id"]: record for record in found}


def sources(folder: Path) -> dict[str, dict[str, Any]]:
    return {id: record for id, record in records(folder).items() if record["spec"]["phase"] == "source"}


def outcomes(folder: Path) -> dict[str, Any]:
    return {id: record["result"] for id, record in records(folder).items()}


def test_source_runs_are_done_once_and_named_by_all_that_starts_from_them(ran):
    folder = ran.folder / "results" / "suite"
    known = sources(folder)
    assert len(known) == 3
    finals = [r for r in records(folder).values() if r["spec"]["phase"] == "final"]
    for record in finals:
        started = record["spec"]["source"]
        if record["spec"]["problem"]["strategy"]["use"] == "scratch":
            assert started == {"start": "random"}
        else:
            assert started["run"] in known
            kept = record["result"]["transfer"]
            assert kept["source_run"] == started["run"]
            assert kept["source_sha256"] == known[started["run"]]["result"]["weights_sha256"]
    # Replicates are paired: all arms of one start from the same checkpoint.
    starts = {(r["spec"]["seeds"]["split"], r["spec"]["source"].get("run")) for r in finals}
    assert len([start for start in starts if start[1]]) == 3
    assert ran.run("run", "suite.toml").err.startswith("nothing to run")


def test_the_weights_of_a_file_are_those_that_its_run_ended_with(ran):
    folder = ran.folder / "results" / "suite"
    for id, record in sources(folder).items():
        state = load_file(folder / "weights" / f"{id}.safetensors")
        assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {
            "0.weight": (8, 4),
            "0.bias": (8,),
            "2.weight": (2, 8),
            "2.bias": (2,),
        }
        assert record["result"]["steps"] == 24  # 240 examples in batches of 10, the problem's


def test_a_probe_at_its_optimum_takes_no_steps_forgets_nothing_and_says_that_it_is_not_matched(project):
    arms = {"arms": {"strategy": ["full", "linear_probe", "linear_probe_exact", "scratch"]}}
    moved = project.write(suite={**MOVED, **arms, "problem.steps": 12})
    note = "linear_probe_exact is not matched in steps: the head is fitted to its optimum."
    assert note in moved.run("plan", "suite.toml").out
    said = moved.run("run", "suite.toml")
    assert said.code == 0, said.err
    assert note in said.out
    folder = moved.folder / "results" / "suite"
    assert f"- Steps: {note.removesuffix('.')}" in (folder / "report" / "report.md").read_text()
    for record in records(folder).values():
        if record["spec"]["problem"]["strategy"]["use"] != "linear_probe_exact":
            continue
        result = record["result"]
        passes, rest = divmod(result["examples"], 40)  # 20 of each of two classes
        assert (result["steps"], rest) == (12, 0)
        assert passes > 2
        losses = {row[5] for row in result["evaluations"] if row[3:5] == ["train", "loss"]}
        assert len(losses) == 1  # each evaluation is of the same optimum
        if record["spec"]["phase"] == "final":
            kept = result["transfer"]
            assert kept["frozen_intact"]
            assert kept["forgetting_kept"] == kept["forgetting_refit"] == kept["drift"] == 0.0
            assert (kept["steps_to_95"], kept["saved_bytes"], kept["optimizer_state_bytes"]) == (None, 0, 0)


def test_where_a_part_of_the_labels_validates_final_runs_train_on_all_of_them_and_the_report_says_so(project):
    within = {"problem.validation_examples": None, "problem.validation_within": 0.2}
    said = project.write(suite={**MOVED, **within}).run("run", "suite.toml")
    assert said.code == 0, said.err
    assert f"{RUNS} of {RUNS} ok" in said.err
    folder = project.folder / "results" / "suite"
    for record in records(folder).values():
        phase, result = record["spec"]["phase"], record["result"]
        rows = {row[6] for row in result["evaluations"] if row[3] == "validation"}
        trained = result["examples"] / result["epochs"]
        assert (rows, trained) == {"source": (set(), 240), "tune": ({8}, 32), "final": (set(), 40)}[phase]
        if phase == "final":
            kept = result["transfer"]
            assert (kept["steps_to_95"], kept["curve_area"]) == (None, None)
            assert kept["worst_class_accuracy"] is not None
    report = (folder / "report" / "report.md").read_text()
    assert "- Validated on: 20 % of the labels (4 of 20 a class) validate in tuning runs" in report
    assert "There is no curve on validation" in report
    assert "Optimism" not in report
    assert project.run("run", "suite.toml").err.startswith("nothing to run")


def test_processes_give_the_records_that_one_process_gives(ran):
    one = outcomes(ran.folder / "results" / "suite")
    said = ran.run("run", "suite.toml", "--results", "results/two", "--executor", "process", "--workers", "2")
    assert said.code == 0, said.err
    assert outcomes(ran.folder / "results" / "two") == one


ELSEWHERE = """
from dataclasses import replace
from pathlib import Path
import harness

def build(settings):
    from harness.execute.serial import SerialExecutor

    class Elsewhere(SerialExecutor):
        def submit(self, job):
            path = job.weights and str(Path("elsewhere", Path(job.weights).name).absolute())
            super().submit(replace(job, weights=path))

    return Elsewhere()

@harness.hookimpl
def harness_executors():
    return [harness.Executor("elsewhere", build=build)]
"""


def test_an_executor_that_leaves_weights_elsewhere_is_stopped_at_the_first_and_nothing_is_lost(moved):
    moved.plugin("elsewhere", ELSEWHERE)
    said = moved.run("run", "suite.toml", "--executor", "elsewhere")
    assert (said.code, said.out) == (4, ""), said.err
    folder = moved.folder / "results" / "suite"
    (source,) = records(folder)
    assert f"source run {source[:12]} ended, and its weights are not in results/suite/weights/{source}." in said.err
    again = moved.run("run", "suite.toml")
    assert again.code == 0, again.err
    assert f"{RUNS} of {RUNS} ok" in again.err


def test_weights_that_cannot_be_written_are_no_result_of_their_run(moved, monkeypatch):
    folder = moved.folder / "results" / "suite"
    place = folder / "weights"
    require_writable = Store.require_writable

    def spoil(store):
        require_writable(store)
        place.write_text("in the way")

    monkeypatch.setattr(Store, "require_writable", spoil)
    said = moved.run("run", "suite.toml")
    assert (said.code, said.out) == (4, ""), said.err
    last = said.err.splitlines()[-1]
    assert re.match(
        r"error: cannot write /\S+/weights/\S+: a file is where a folder must be; .* same command goes on", last
    )
    assert records(folder) == {}
    monkeypatch.undo()
    monkeypatch.chdir(moved.folder)
    place.unlink()
    again = moved.run("run", "suite.toml")
    assert again.code == 0, again.err
    assert f"{RUNS} runs done" in again.err


def test_a_full_disk_under_weights_is_no_result_of_their_run(moved, monkeypatch):
    from harness.strategies import weights

    def full(path, data):
        raise ResultsError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(weights, "write_atomically", full)
    said = moved.run("run", "suite.toml")
    assert (said.code, said.out) == (4, ""), said.err
    assert "No space left on device" in said.err
    assert records(moved.folder / "results" / "suite") == {}


def test_a_new_arm_computes_no_source_again(ran):
    folder = ran.folder / "results" / "suite"
    before = {id: record["sha256"] for id, record in records(folder).items()}
    more = {**MOVED, "arms": {"strategy": ["full", "linear_probe", "scratch", "lp_ft"]}}
    said = ran.write(suite=more).run("run", "suite.toml")
    assert "6 runs done" in said.err, said.err
    after = records(folder)
    assert {id: after[id]["sha256"] for id in before} == before


def test_a_suite_beside_takes_the_weights_over(ran):
    other = {**MOVED, "arms": {"strategy": ["full", "linear_probe", "scratch"]}, "problem.steps": 4}
    said = ran.write(name="other.toml", suite=other).run("run", "other.toml")
    assert said.code == 0, said.err
    first, second = (sources(ran.folder / "results" / name) for name in ("suite", "other"))
    assert first == second
    assert f"{RUNS - 3} runs done" in said.err


@pytest.mark.parametrize("damage", ["remove", "alter"])
def test_weights_that_are_gone_are_made_again_when_something_needs_them(ran, damage):
    folder = ran.folder / "results" / "suite"
    id = sorted(sources(folder))[0]
    path = folder / "weights" / f"{id}.safetensors"
    whole = path.read_bytes()
    path.unlink() if damage == "remove" else path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert ran.run("run", "suite.toml").err.startswith("nothing to run")
    more = {**MOVED, "arms": {"strategy": ["full", "linear_probe", "scratch", "lp_ft"]}}
    said = ran.write(suite=more).run("run", "suite.toml")
    assert said.code == 0, said.err
    assert "7 runs done" in said.err
    assert path.read_bytes() == whole
    found = {"remove": "missing", "alter": "altered"}[damage]
    assert [p.read_text() for p in (folder / "quarantine").glob(f"{id}*.reason")] == [f"its weights are {found}\n"]
    (told,) = (line for line in said.err.splitlines() if line.startswith("weights of source run"))
    assert told == (
        f"weights of source run {id[:12]} are {found}: what is left of it moved to results/suite/quarantine; "
        "it is done again"
    )


def test_what_starts_from_a_failed_source_is_crashed_with_the_reason(moved):
    broken = {**MOVED, "source": {**MOVED["source"], "optimizer": {"use": "momentum", "lr": 1e30}}}
    said = moved.write(suite=broken).run("run", "suite.toml")
    assert said.code == 1, said.err
    results = [
        (r["spec"]["phase"], r["result"]["status"]) for r in records(moved.folder / "results" / "suite").values()
    ]
    assert results.count(("source", "diverged")) == 3
    assert results.count(("tune", "crashed")) == 6  # of scratch none
    reasons = {
        r["result"]["reason"].partition(": the")[0]
        for r in records(moved.folder / "results" / "suite").values()
        if r["result"]["status"] == "crashed"
    }
    assert reasons == {"source_failed: diverged"}


def rows(folder: Path, table: str) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "tables" / f"{table}.csv").read_text().splitlines()))


def test_what_never_had_weights_is_listed_and_has_neither_value_nor_difference(moved):
    broken = {**MOVED, "source": {**MOVED["source"], "optimizer": {"use": "momentum", "lr": 1e30}}}
    moved.write(suite=broken).run("run", "suite.toml")
    folder = moved.folder / "results" / "suite"
    finals = {(r["arm"], r["status"], r["reason"][:13]) for r in rows(folder, "runs") if r["phase"] == "final"}
    lost = {("full", "crashed", "source_failed"), ("linear_probe", "crashed", "source_failed")}
    assert finals == {("scratch", "ok", ""), *lost}
    compared = rows(folder, "comparisons")
    assert {(row["verdict"], row["n"], row["delta"], row["failed_arm"]) for row in compared} == {
        ("not_compared", "0", "", "0")
    }
    assert {(r["arm"], r["n"], r["mean"] != "") for r in rows(folder, "summary") if r["metric"] == "accuracy"} == {
        ("scratch", "3", True),
        ("full", "0", False),
        ("linear_probe", "0", False),
    }
    report = (folder / "report" / "report.md").read_text()
    assert "linear_probe on clouds-line (tuned): 3 without weights to start from" in report
    assert "could not start, since the run that trains the checkpoint failed" in report


def test_a_strategy_without_a_meaning_is_a_row_and_no_failure(moved):
    arms = {"strategy": ["full", "linear_probe", "scratch", "norm_only"]}
    more = {**MOVED, "arms": arms, "tuning.trials": 3, "compare.replicates": 1}
    said = moved.write(suite=more).run("run", "suite.toml")
    assert said.code == 0, said.err
    assert "4 not applicable, 0 failed, 0 missing" in said.err
    table = (moved.folder / "results" / "suite" / "tables" / "runs.csv").read_text().splitlines()
    assert sum(",not_applicable," in line for line in table) == 4
    assert moved.run("run", "suite.toml").err.startswith("nothing to run")


def test_a_baseline_without_a_meaning_is_told_as_such_and_nothing_is_waited_for(moved):
    more = {
        **MOVED,
        "arms": {"strategy": ["norm_only", "full", "scratch"]},
        "compare.baseline": "norm_only",
        "compare.controls": False,
        "tuning": None,
    }
    said = moved.write(suite=more).run("run", "suite.toml")
    assert said.code == 0, said.err
    assert said.out.startswith("No pair can be compared: norm_only does not apply to clouds-line (")
    report = (moved.folder / "results" / "suite" / "report" / "report.md").read_text()
    assert "H001" not in report
    shown = moved.run("status", "suite.toml").out.splitlines()
    assert shown[0].split() == ["problem", "arm", "planned", "ok", "not", "applicable", "failed", "missing"]
    assert [row.split()[2:] for row in shown[2:5]] == [["3", "0", "3", "0", "0"], *[["3", "3", "0", "0", "0"]] * 2]
    rows = moved.run("plan", "suite.toml").out.splitlines()
    assert "norm_only is not applicable: " in "".join(rows)
    plain = {row["arm"]: row for row in moved.run("plan", "suite.toml", "--json").json()["runs"]}
    assert (plain["norm_only"]["parameters"], plain["full"]["parameters"]) == (None, 58)
    assert plain["norm_only"]["not_applicable"] in "".join(rows)


def test_a_source_of_another_shape_is_refused_before_anything_runs(moved):
    text = (
        (moved.folder / "plugins" / "tiny.py")
        .read_text()
        .replace("def clouds(root, *, noise", "def clouds(root, *, wide=4, noise")
        .replace("torch.randn(n, 4,", "torch.randn(n, wide,")
    )
    moved.plugin("tiny", text)
    other = {**MOVED, "source": {"dataset": {"use": "clouds", "wide": 5}, "epochs": 1}}
    said = moved.write(suite=other).run("run", "suite.toml")
    assert said.code == 2, said.err
    assert (
        "model 'line' does not fit the weights of its source: '0.weight' is (8, 5) in the source, (8, 4) here"
        in said.err
    )
    assert not sources(moved.folder / "results" / "suite")


def test_the_options_of_a_source_model_are_held_against_the_problems_before_anything_runs(moved):
    other = {**MOVED, "source": {**MOVED["source"], "model": {"width": 5}}}
    said = moved.write(suite=other).run("run", "suite.toml")
    assert said.code == 2, said.err
    assert "'0.bias' is (5,) in the source, (8,) here" in said.err


def test_going_on_after_a_kill_says_nothing_and_a_changed_source_is_said(moved):
    two = {**MOVED, "tuning": {"trials": 2, "repeats": 2}, "compare.replicates": 1}
    moved.write(suite=two).run("run", "suite.toml")
    folder = moved.folder / "results" / "suite"
    final = next(
        id for id, r in records(folder).items() if r["spec"]["phase"] == "tune" and r["spec"]["subset"]["block"] == 1
    )
    (folder / "runs" / final[:2] / f"{final}.json").unlink()
    (folder / "plan.json").unlink()
    again = moved.run("run", "suite.toml")
    assert again.code == 0, again.err
    assert "notice" not in again.err
    changed = {**two, "source": {**MOVED["source"], "epochs": 2}}
    said = moved.write(suite=changed).run("run", "suite.toml", "--set", "tuning.trials=1")
    assert "the suite changed: source.epochs was 1, it is 2" in said.err


def splits() -> Splits:
    labels = torch.arange(120) % 3
    return Splits(train=(torch.arange(120.0)[:, None], labels), test=(torch.zeros(3, 1), torch.arange(3)), classes=3)


def images(subset: Subset | None, labels: int | str = 4, seed: int = 1) -> set[int]:
    made = divide(
        splits(),
        seed=seed,
        train=None,
        validation=12,
        with_test=False,
        device=torch.device("cpu"),
        labels_per_class=labels,
        subset=subset,
    )
    held = {int(value) for chunk, _ in made.validation.chunks() for value in chunk[:, 0]}
    used = {int(value) for chunk, _ in made.train.chunks() for value in chunk[:, 0]}
    assert not held & used
    return used


def test_blocks_of_labels_share_no_example_and_budgets_are_nested_in_each():
    blocks = [Subset(of=3, block=block) for block in range(3)]
    for small, large in ((4, 12), (1, 4)):
        for block in blocks:
            assert images(block, small) < images(block, large)
    assert all(len(images(block)) == 12 for block in blocks)
    assert len(set.union(*(images(block, 12) for block in blocks))) == 3 * 36


def test_a_budget_larger_than_a_block_is_cut_from_all_that_there_is_the_first_block_foremost():
    first, last = Subset(of=3, block=0), Subset(of=3, block=2)
    assert images(first, 13) == images(last, 13) > images(first, 12)
    assert images(last, "all") == images(None, "all")
