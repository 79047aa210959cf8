"""`harness studies`: tuning studies are copied into a storage that Optuna reads."""

from __future__ import annotations

import optuna
import pytest

import harness

URL = "sqlite:///results/suite/optuna.db"


def facts(study):
    return [(trial.number, trial.state, trial.value, trial.params, trial.distributions) for trial in study.trials]


def test_every_study_is_in_the_storage_with_its_trials_as_they_were_tried(finished):
    result = finished.run("studies", "suite.toml")
    assert result.code == 0
    assert f"6 studies in {URL}; to look at them: optuna-dashboard {URL}" in result.out
    results = harness.load("results/suite")
    names = optuna.get_all_study_names(URL)
    expected = {(arm, replicate) for arm in ("sgd", "adam") for replicate in range(3)}
    assert {tuple(name.split("/")[2:]) for name in names} == {(arm, str(replicate)) for arm, replicate in expected}
    for name in names:
        suite, problem, arm, replicate = name.split("/")
        written, own = optuna.load_study(study_name=name, storage=URL), results.study(arm, int(replicate))
        assert (suite, problem) == ("suite", "clouds-line")
        assert facts(written) == facts(own)
        assert written.direction == own.direction
        assert written.user_attrs["harness"] == own.study_name
    trials = results.table("trials").set_index(["study_id", "trial"])["run_ids"]
    assert written.trials[1].user_attrs["run_ids"] == trials[own.study_name, 1]


def test_a_second_call_replaces_its_own_studies_and_leaves_others(finished):
    optuna.create_study(storage=URL, study_name="mine")
    first = finished.run("studies", "suite.toml").out
    assert finished.run("studies", "suite.toml").out == first
    assert len(optuna.get_all_study_names(URL)) == 7
    assert len(optuna.load_study(study_name="suite/clouds-line/sgd/0", storage=URL).trials) == 2


def test_a_study_that_harness_did_not_write_is_never_replaced(finished):
    optuna.create_study(storage="sqlite:///own.db", study_name="suite/clouds-line/sgd/0")
    result = finished.run("studies", "suite.toml", "--storage", "sqlite:///own.db")
    assert result.code == 4
    assert "has a study 'suite/clouds-line/sgd/0' that harness did not write; name another storage" in result.err
    kept = optuna.load_study(study_name="suite/clouds-line/sgd/0", storage="sqlite:///own.db")
    assert kept.user_attrs == {}


def test_a_program_reads_names_trials_and_best_values(finished):
    found = finished.run("studies", "suite.toml", "--json").json()
    assert found["storage"] == URL
    for one in found["studies"]:
        study = optuna.load_study(study_name=one["name"], storage=URL)
        assert (one["trials"], one["best"]) == (len(study.trials), study.best_value)


def test_tables_and_report_are_as_they_were(finished):
    def contents():
        folder = finished.folder / "results/suite"
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "optuna.db"}

    before = contents()
    finished.run("studies", "suite.toml")
    assert contents() == before
    assert "nothing to run" in finished.run("run", "suite.toml").err


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nowhere", "storage nowhere cannot be used: ArgumentError"),
        ("sqlite:////no/such/folder/optuna.db", "cannot be used: OperationalError"),
        ("nosuch://host/db", "cannot be used: NoSuchModuleError"),
    ],
)
def test_a_storage_that_cannot_be_used_is_named_with_the_reason(finished, url, says):
    result = finished.run("studies", "suite.toml", "--storage", url)
    assert result.code == 4
    assert says in result.err


def test_where_nothing_was_tuned_that_is_said(project):
    project.write(suite={"tuning.trials": 0, "tuning.space": None})
    assert project.run("run", "suite.toml", "--executor", "serial").code == 0
    result = project.run("studies", "suite.toml")
    assert result.code == 4
    assert "nothing was tuned in results/suite, so there is no study" in result.err


def test_before_anything_ran_the_first_step_is_named(project):
    project.write()
    result = project.run("studies", "suite.toml")
    assert result.code == 4
    assert "first: harness run suite.toml" in result.err
