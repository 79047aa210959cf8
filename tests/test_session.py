"""One command's view of a suite: its command and its folder."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from harness import __version__, session
from harness.errors import ResultsError
from harness.session import Options, Session
from harness.store import Store
from tests.small import a_plan


def opened(folder, changes=None, **options):
    return Session(a_plan(folder, changes), Store(folder / "results" / "suite"), Options(**options))


# The command ---------------------------------------------------------------------------------------------------------


def command_of(folder, path, **options):
    made = opened(folder, **options)
    object.__setattr__(made.plan.suite, "path", path)
    return made.command


def test_the_command_names_the_suite_as_it_was_given(tmp_path):
    assert command_of(tmp_path, Path("suites/small.toml")) == "harness run suites/small.toml"


def test_the_command_shows_no_path_of_this_machine(tmp_path):
    shown = command_of(tmp_path, tmp_path / "suite.toml", plugins=(tmp_path, Path("more")), data=tmp_path)
    assert shown == "harness run suite.toml --plugins more"


def test_a_shell_reads_the_command_as_it_was_typed(tmp_path):
    overrides = ('problem.model="line"', "compare.replicates=2", "arms.optimizer=['sgd', 'adam']")
    shown = command_of(tmp_path, Path("my suites/small.toml"), overrides=overrides, plugins=(Path("my plugins"),))
    flags = [word for override in overrides for word in ("--set", override)]
    assert shlex.split(shown) == ["harness", "run", "my suites/small.toml", *flags, "--plugins", "my plugins"]


# The data ------------------------------------------------------------------------------------------------------------


def test_a_data_folder_is_that_of_the_working_folder_wherever_a_run_looks_for_it(project, monkeypatch):
    project.write()
    monkeypatch.setenv("HARNESS_DATA", "of the environment")
    for data, due in ((Path("data"), "data"), (None, "of the environment")):
        made = session.open_session(Path("suite.toml"), Options(data=data))
        assert made.plan.root == project.folder / due


# The folder ----------------------------------------------------------------------------------------------------------


def test_inputs_are_kept_beside_the_records(tmp_path):
    made = opened(tmp_path)
    session.write_inputs(made)
    folder = made.store.folder
    assert (folder / "suite.toml").read_text() == (tmp_path / "suite.toml").read_text()
    plan = json.loads((folder / "plan.json").read_text())
    assert (plan["suite"], plan["question"]) == ("suite", made.suite.question)
    assert plan["runs"][0] == {"problem": "clouds-line", "arm": "sgd", "tune": 6, "final": 3, "untuned": 3}
    assert plan["settings"][1]["values"]["optimizer"] == {"use": "adam", "lr": 0.001, "beta1": 0.9}
    assert plan["settings"][1]["origins"]["optimizer"] == "small 1.0"
    assert json.loads((folder / "environment.json").read_text()) == session.environment()


def test_what_is_kept_names_no_path_of_this_machine(tmp_path):
    made = opened(tmp_path)
    session.write_inputs(made)
    for path in made.store.folder.iterdir():
        assert str(tmp_path) not in path.read_text(), path.name


def test_the_environment_holds_versions_and_names_no_host():
    import platform
    from importlib import metadata

    found = session.environment()
    assert found["harness"] == __version__
    assert found["torch"] == metadata.version("torch")
    assert found["python"] == platform.python_version()
    assert platform.node() not in json.dumps(found)


def test_a_folder_of_this_suite_or_of_none_is_taken(tmp_path):
    made = opened(tmp_path)
    session.check_folder(made)
    session.write_inputs(made)
    session.check_folder(made)


def test_a_folder_of_another_suite_is_refused_with_both_names(tmp_path):
    made = opened(tmp_path)
    session.write_inputs(made)
    plan = made.store.folder / "plan.json"
    plan.write_text(plan.read_text().replace('"suite": "suite"', '"suite": "other"'))
    with pytest.raises(ResultsError, match=r"holds the results of suite 'other', not of 'suite'; .* --results"):
        session.check_folder(made)


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "3", "null", '"text"'])
def test_a_damaged_plan_is_no_reason_to_stop(tmp_path, text):
    made = opened(tmp_path)
    made.store.folder.mkdir(parents=True)
    (made.store.folder / "plan.json").write_text(text)
    session.check_folder(made)


def test_results_folders_near_by_are_found(tmp_path, monkeypatch):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.json").write_text(json.dumps({"suite": name}))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "plan.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    assert session.nearby_results(tmp_path / "missing") == [tmp_path / "a", tmp_path / "b"]


# The records ---------------------------------------------------------------------------------------------------------


def test_reading_the_records_writes_nothing(tmp_path):
    made = opened(tmp_path)
    session.walk_records(made)
    assert not made.store.folder.exists()
