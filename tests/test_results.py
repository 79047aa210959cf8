"""Results in Python: frames with the documented columns, and studies that Optuna understands."""

from __future__ import annotations

import json

import optuna
import pytest

import harness
from harness.errors import ResultsError
from harness.tables import columns


@pytest.fixture
def results(finished):
    return harness.load("results/suite")


def test_frames_have_the_documented_types(results):
    assert len(results.runs) == 24
    assert results.runs["replicate"].dtype == "Int64"
    assert results.runs["trial"].isna().sum() == 12
    assert results.table("evaluations")["selected"].dtype == "boolean"
    assert set(results.verdicts["arm"]) == {"adam"}
    assert results.summary.loc[results.summary["metric"] == "accuracy", "mean"].between(0, 1).all()


def test_the_answer_is_the_reports_first_line(results, finished):
    assert results.answer in finished.read("results/suite/report/report.md")
    assert results.answer.split(":")[0] in results._repr_html_()


def test_a_study_holds_the_trials_as_they_were_tried(results):
    study = results.study("adam", 1)
    trials = results.table("trials")
    mine = trials[trials["study_id"] == study.study_name]
    assert isinstance(study, optuna.Study)
    assert [trial.value for trial in study.trials] == mine["value"].tolist()
    final = results.runs[
        (results.runs["arm"] == "adam") & (results.runs["replicate"] == 1) & (results.runs["setting"] == "tuned")
    ]
    chosen = final[final["phase"] == "final"]["hyperparameters"].item()
    assert study.best_params == json.loads(chosen)


@pytest.mark.parametrize(
    ("pruner", "stopping"), [("halving", "none"), ("wilcoxon", "none"), ("wilcoxon", {"metric": "loss"})], ids=str
)
def test_a_study_read_back_from_tables_is_the_one_that_was_told(tmp_path, pruner, stopping):
    from harness import tables
    from harness.coordinator import Coordinator
    from harness.store import Store
    from harness.tables.datapackage import write_tables
    from harness.tune.asking import Told, rebuild
    from tests.small import Answering, a_plan

    repeats = 6 if pruner == "wilcoxon" else 2
    changes = {"tuning.pruner": pruner, "tuning.trials": 6, "tuning.repeats": repeats, "compare.replicates": 1}
    changes |= {
        "problem.early_stopping": stopping,
        "compare.epoch": "last" if stopping != "none" else "best_validation",
    }
    plan = a_plan(tmp_path, changes)
    walk = Coordinator(plan, Store(tmp_path / "r"), executor=Answering()).run()
    made = tables.build(plan, walk)
    write_tables({**{name: tables.frame(name, []) for name in columns.TABLES}, **made}, tmp_path / "r", name="suite")
    counted = ("trials", "complete", "pruned", "failed")
    for study, row in zip(walk.studies, made["studies"].to_dict("records"), strict=True):
        states = [trial.state for trial in study.trials]
        assert [row[name] for name in counted] == [6, *(states.count(name) for name in counted[1:])]
        told = [Told(t.hyperparameters, None if t.pruned else t.told, t.reported, t.pruned) for t in study.trials]
        expected = rebuild(study.id, "maximize", study.space, told)
        found = harness.load(tmp_path / "r").study(study.arm, 0)
        for name in ("state", "value", "params", "intermediate_values"):
            assert [getattr(t, name) for t in found.trials] == [getattr(t, name) for t in expected.trials]
    assert "pruned" in set(made["trials"]["state"])


def test_what_is_not_there_is_named(results, tmp_path):
    with pytest.raises(ResultsError, match=r"0 studies of arm 'adamw', replicate 0 \(arms: adam, sgd"):
        results.study("adamw", 0)
    with pytest.raises(ResultsError, match="no table 'run'"):
        results.table("run")
    with pytest.raises(ResultsError, match="no tables in"):
        harness.load(tmp_path / "nothing")


def test_that_nothing_was_tuned_is_said_of_a_study(tmp_path):
    from harness import tables
    from harness.coordinator import Coordinator
    from harness.store import Store
    from harness.tables.datapackage import write_tables
    from tests.small import Answering, a_plan

    plan = a_plan(tmp_path, {"tuning": None})
    made = tables.build(plan, Coordinator(plan, Store(tmp_path / "r"), executor=Answering()).run())
    every = {name: tables.frame(name, []) for name in columns.TABLES}
    write_tables({**every, **made}, tmp_path / "r", name="suite")
    with pytest.raises(ResultsError, match=r"nothing was tuned in .*, so there is no study$"):
        harness.load(tmp_path / "r").study("sgd", 0)
