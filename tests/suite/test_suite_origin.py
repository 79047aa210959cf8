"""[source] of a suite: what networks are trained on before they come to the problems."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.suite.origin import SuiteSource

sys.path.insert(0, str(Path(__file__).parent))

from suite_catalog import SHORT, at, mistake, mistakes, read

SOURCE = 'question = "?"\n[source]\ndataset = "fashion-mnist"\n'


def moved(*lines: str, source: str = SOURCE, compare: str = "") -> str:
    """The shortest suite with [source], more lines in it, and more in [compare]."""
    body = SHORT.removeprefix('question = "?"\n') + "controls = false\n"
    return source + "".join(f"{line}\n" for line in lines) + body + compare


def test_a_source_is_a_problem_of_its_own_with_what_the_problem_says_where_it_says_nothing(tmp_path: Path) -> None:
    text = moved("epochs = 3", 'optimizer = { use = "momentum", lr = 0.5 }').replace(
        'model = "cnn"', 'model = { use = "cnn", width = 8 }\nbatch_size = 16\noptimizer = "adam"\nsteps = 9'
    )
    source = read(tmp_path, text).settings[0].source
    assert source is not None
    assert source.values == {
        "dataset": {"use": "fashion-mnist", "normalize": "symmetric"},
        "model": {"use": "cnn", "width": 8, "dropout": 0.0, "kernel": [3, 3]},
        "loss": {"use": "cross_entropy", "label_smoothing": 0.0},
        "optimizer": {"use": "momentum", "lr": 0.5, "momentum": 0.9, "weight_decay": 0.0, "nesterov": False},
        "schedule": {"use": "constant"},
        "strategy": {"use": "full"},
        "train_examples": None,
        "epochs": 3,
        "steps": None,
        "batch_size": 16,
        "validation_examples": 0,
        "precision": "fp32",
    }


def test_the_model_of_an_arm_is_that_of_its_source(tmp_path: Path) -> None:
    arms = 'baseline = "a"\n[[arm]]\nname = "a"\n[[arm]]\nname = "b"\nmodel = { width = 4 }\n'
    settings = read(tmp_path, moved("model = { dropout = 0.5 }", compare=arms)).settings
    models = [setting.source.values["model"] for setting in settings if setting.source is not None]
    assert models == [{"use": "cnn", "width": width, "dropout": 0.5, "kernel": [3, 3]} for width in (32, 4)]


def test_next_to_a_source_runs_end_with_their_last_step_and_trials_are_scored_on_three_subsets(tmp_path: Path) -> None:
    suite, plain = read(tmp_path, moved()), read(tmp_path, SHORT)
    assert (suite.compare.epoch, suite.tuning.repeats) == ("last", 3)
    assert (plain.compare.epoch, plain.tuning.repeats) == ("best_validation", 1)
    assert read(tmp_path, moved(compare="[tuning]\nrepeats = 2\n")).tuning.repeats == 2


def test_how_a_network_is_moved_is_in_a_setting_only_where_something_is_moved_or_said(tmp_path: Path) -> None:
    values = read(tmp_path, moved()).settings[0].values
    assert {key: values[key] for key in ("head_init", "norm", "stages")} == {
        "head_init": "normal:0.01",
        "norm": "follow",
        "stages": 5,
    }
    assert not {"head_init", "norm", "stages"} & read(tmp_path, SHORT).settings[0].values.keys()
    said = read(tmp_path, SHORT.replace("[compare]", 'stages = "all"\n[compare]')).settings[0].values
    assert said["stages"] == "all"
    assert "norm" not in said


def test_there_are_as_many_checkpoints_as_replicates_unless_the_suite_says_otherwise(tmp_path: Path) -> None:
    assert read(tmp_path, moved()).source == SuiteSource(5, "fashion-mnist")
    three = read(tmp_path, moved("replicates = 3", compare="replicates = 6\n")).source
    assert three == SuiteSource(3, "fashion-mnist")
    assert read(tmp_path, SHORT).source is None


@pytest.mark.parametrize(
    ("lines", "compare", "code", "says"),
    [
        (["epochs = 1", "steps = 2"], "", "conflict", "[source] has both epochs and steps"),
        (["replicates = 6"], "", "out-of-range", "6 checkpoints, and only 5 replicates that start from them"),
        (["replicates = 2"], "", "conflict", "5 replicates cannot start from 2 checkpoints equally often"),
        ([], 'epoch = "best_validation"\n', "conflict", "runs end with their last step"),
        (['weights = "A"'], "", "conflict", "[source] has weights and dataset"),
        (["dataste = 1"], "", "unknown-key", "unknown key 'dataste' in [source]"),
        (['optimizer = "adma"'], "", "unknown-name", "no optimizer named 'adma'"),
        (["epochs = 0"], "", "out-of-range", "[source] epochs: 0 (integer) is out of range"),
        ([], "[problem.early_stopping]\npatience = 1\n", "conflict", "early_stopping next to [source]"),
    ],
)
def test_mistakes_in_a_source(tmp_path: Path, lines: list[str], compare: str, code: str, says: str) -> None:
    found = mistake(tmp_path, moved(*lines, compare=compare))
    assert found.code == code
    assert says in found.message


@pytest.mark.parametrize("table", ["problem", "arm"])
def test_early_stopping_next_to_a_source_is_refused_where_it_stands(tmp_path: Path, table: str) -> None:
    line = "early_stopping = { patience = 1 }"
    arms = f'baseline = "a"\n[[arm]]\nname = "a"\n[[arm]]\nname = "b"\n{line}\n'
    text = moved(compare=arms) if table == "arm" else moved().replace("[compare]", f"{line}\n[compare]")
    found = mistake(tmp_path, text)
    assert at(found)[0] == text.splitlines().index(line) + 1
    assert [place.label for place in found.places[1:]] == ["and here"]


@pytest.mark.parametrize("where", ["source", "problem"])
def test_a_schedule_that_follows_a_metric_is_refused_for_a_source_that_has_no_validation(tmp_path: Path, where) -> None:
    line = 'schedule = "plateau"'
    text = moved(line) if where == "source" else moved().replace("[compare]", f"{line}\n[compare]")
    found = mistake(tmp_path, text)
    assert found.message == "[source] schedule: 'plateau' follows a metric on validation, and source runs have none"
    assert at(found)[0] == text.splitlines().index(line) + 1
    if where == "problem":
        assert read(tmp_path, text.replace("dataset", 'schedule = "constant"\ndataset', 1)).source is not None


def test_a_source_without_data_is_refused(tmp_path: Path) -> None:
    found = mistake(tmp_path, moved(source='question = "?"\n[source]\nepochs = 1\n'))
    assert (found.code, found.message) == (
        "missing-key",
        "[source] lacks the key 'dataset': what the networks are trained on first",
    )


HEADS = ["normal:0", "normal:x", "gaussian", "normal:-1", "normal:inf", "normal:nan", "normal:", "normal: 0.1"]
HEADS += ["normal:1_0", "normal:+1", "normal:.1", "normal:0x1", "normal:1e300", "normal:101", "normal:1e-9", "normal:٣"]


@pytest.mark.parametrize("written", [*(f'"{head}"' for head in HEADS), "3"])
def test_a_head_is_drawn_in_one_of_the_declared_ways(tmp_path: Path, written: str) -> None:
    found = mistake(tmp_path, moved().replace("[compare]", f"head_init = {written}\n[compare]"))
    assert (found.code, found.allowed) == (
        "bad-value",
        "zeros, default, keep, or normal:0.01 with another standard deviation, 1e-08 .. 100",
    )


@pytest.mark.parametrize("way", ["normal:0.1", "normal:1e-3", "normal:2", "normal:100", "zeros", "default", "keep"])
def test_every_declared_way_to_draw_a_head_is_taken(tmp_path: Path, way: str) -> None:
    suite = read(tmp_path, moved().replace("[compare]", f'head_init = "{way}"\n[compare]'))
    assert suite.settings[0].values["head_init"] == way


def test_a_source_of_another_model_is_refused(tmp_path: Path) -> None:
    found = mistake(tmp_path, moved('model = "mlp"'))
    assert found.message == "[source] model: 'mlp' is trained, and its weights would go into 'cnn'"


def test_what_else_is_wrong_in_a_source_of_another_model_is_said_too(tmp_path: Path) -> None:
    found = mistakes(tmp_path, moved('model = "mlp"', 'optimizer = "mometum"', source=SOURCE.replace("-mnist", "")))
    assert [mistake.message for mistake in found] == [
        "[source] dataset: no dataset named 'fashion'",
        "[source] model: 'mlp' is trained, and its weights would go into 'cnn'",
        "[source] optimizer: no optimizer named 'mometum'",
    ]


def test_a_new_head_of_an_arm_without_a_source_is_refused(tmp_path: Path) -> None:
    arms = 'baseline = "a"\n[[arm]]\nname = "a"\n[[arm]]\nname = "b"\nhead_init = "zeros"\n'
    assert mistake(tmp_path, SHORT + arms).message == "head_init without [source]: no head is replaced"


def test_a_new_head_without_a_source_is_refused(tmp_path: Path) -> None:
    found = mistake(tmp_path, SHORT.replace("[compare]", 'head_init = "zeros"\n[compare]'))
    assert found.message == "head_init without [source]: no head is replaced"


@pytest.mark.parametrize(
    ("written", "allowed"), [("stages = 1", 'integer >= 2, or "all"'), ('norm = "of"', "follow, eval, train")]
)
def test_mistakes_in_how_a_network_is_moved(tmp_path: Path, written: str, allowed: str) -> None:
    assert mistake(tmp_path, moved().replace("[compare]", f"{written}\n[compare]")).allowed == allowed
