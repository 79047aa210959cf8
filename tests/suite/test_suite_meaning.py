"""Mistakes that only the whole of a suite shows, and mistakes of `--set`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.diagnostics import MistakesError
from harness.hookspecs import Choice
from harness.suite import load

sys.path.insert(0, str(Path(__file__).parent))

from suite_catalog import CATALOG, GOOD, SHORT, at, good, mistake, mistakes, read, spelled

# Other mistakes of meaning --------------------------------------------------------------------------------------------


def test_epochs_and_steps_together_show_both(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("epochs = 2", "epochs = 2\nsteps = 100"))
    assert (found.code, at(found), at(found, 1)) == ("conflict", (8, 1, 5), (7, 1, 6))


def test_a_missing_baseline_is_given_as_help(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('baseline = "sgd"\n', ""))
    assert (found.code, found.help, at(found)) == ("missing-key", 'write baseline = "sgd"', (19, 1, 9))
    found = mistake(tmp_path, good("baseline =", "basline ="))
    assert (found.code, found.help) == ("unknown-key", "did you mean 'baseline'?")


@pytest.mark.parametrize(
    ("primary", "says"),
    [
        ('["adam", "sgd"]', "'sgd' is the baseline"),
        ('["admm"]', "no arm named 'admm'"),
        ('["adam", "adam"]', "doubled value 'adam' (positions 1, 2)"),
    ],
)
def test_primary_arms_are_other_arms(tmp_path: Path, primary: str, says: str) -> None:
    found = mistake(tmp_path, good("margin = 0.002", f"primary = {primary}"))
    assert says in found.message
    assert found.places[0].line == 23


def test_an_unknown_metric_shows_the_near_one(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('"accuracy"', '"accurracy"'))
    assert (found.message, found.help) == ("[compare] metric: no metric named 'accurracy'", "did you mean 'accuracy'?")


def also(names: str) -> str:
    return good("margin = 0.002", f"margin = 0.002\nalso = {names}")


def test_further_metrics_are_read_with_their_options(tmp_path: Path) -> None:
    suite = read(tmp_path, also('["f1", { use = "calibration", bins = 20 }, "loss"]'))
    assert suite.compare.also == ("f1", "calibration", "loss")
    assert [metric.options for metric in suite.also] == [{}, {"bins": 20}, {}]
    assert suite.also[0] is CATALOG.find("metric", "f1")
    assert suite.metric.name == "accuracy"


def test_the_compared_metric_takes_options_too(tmp_path: Path) -> None:
    suite = read(tmp_path, good('metric = "accuracy"', 'metric = { use = "calibration", bins = 5 }'))
    assert (suite.compare.metric, suite.metric.options) == ("calibration", {"bins": 5})


def test_without_further_metrics_there_are_none(tmp_path: Path) -> None:
    suite = read(tmp_path, GOOD)
    assert (suite.also, suite.compare.also, suite.report.arm) == ((), (), None)


@pytest.mark.parametrize(
    ("names", "message", "help"),
    [
        ('["calibraton"]', "[compare] also, value 1: no metric named 'calibraton'", "did you mean 'calibration'?"),
        ('["loss", "sgd"]', "[compare] also, value 2: no metric named 'sgd'", ""),
        ('["f1", "loss", "f1"]', "[compare] also, value 3: doubled metric 'f1': position 1 has it", ""),
        ('["accuracy"]', "[compare] also, value 1: doubled metric 'accuracy': it is compared already", ""),
        ('["calibration", { use = "calibration", bins = 3 }]', "doubled metric 'calibration': position 1 has it", ""),
        ('[{ use = "calibration", bin = 3 }]', "metric 'calibration' has no option 'bin'", "did you mean 'bins'?"),
        ('[{ use = "calibration", bins = "3" }]', "metric 'calibration' takes an integer", "numbers have no quotes"),
        ("[{ bins = 3 }]", "a table of options lacks 'use', the name of the metric", ""),
        ("[3]", "[compare] also, value 1: expected a part, found 3 (integer)", ""),
        ('"f1"', '[compare] also: expected a list, found "f1" (string)', 'write also = ["f1"]'),
    ],
)
def test_mistakes_in_further_metrics_show_the_place_and_the_way_out(
    tmp_path: Path, names: str, message: str, help: str
) -> None:
    found = mistake(tmp_path, also(names))
    assert message in found.message
    assert found.help == help
    assert found.places[0].line == 24


def test_the_arm_of_the_report_must_be_one(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD + '[report]\narm = "adam"\n').report.arm == "adam"
    found = mistake(tmp_path, GOOD + '[report]\narm = "adm"\n')
    assert (found.message, found.help) == ("[report] arm: no arm named 'adm'", "did you mean 'adam'?")
    assert mistake(tmp_path, GOOD + "[report]\narmm = 1\n").help == "did you mean 'arm'?"


def test_missing_and_unknown_in_one_table_are_one_mistake(tmp_path: Path) -> None:
    assert mistake(tmp_path, good("metric =", "metrc =")).help == "did you mean 'metric'?"
    assert mistake(tmp_path, good("dataset =", "datset =")).help == "did you mean 'dataset'?"
    assert mistake(tmp_path, good("[problem]", "[problm]")).help == "did you mean 'problem'?"
    text = good("batch_size = [32, 64, 128]", "lr = {low = 1, hgih = 2}")
    assert mistake(tmp_path, text).help == "did you mean 'high'?"


def test_what_is_missing_is_shown_at_the_head_of_its_table(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('dataset = "mnist"\n', ""))
    assert (found.code, at(found)) == ("missing-key", (3, 1, 9))
    assert at(mistake(tmp_path, good('metric = "accuracy"\n', ""))) == (19, 1, 9)
    assert at(mistake(tmp_path, spelled('name = "a"', ""))) == (10, 1, 7)


def test_an_empty_file_lacks_four_things(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "")
    assert [one.code for one in found] == ["missing-key"] * 4


@pytest.mark.parametrize("key", ["epochs", "steps", "train_examples", "validation_examples"])
def test_no_arm_has_a_budget_of_its_own(tmp_path: Path, key: str) -> None:
    found = mistake(tmp_path, spelled('name = "a"', f'name = "b"\n{key} = 3'))
    assert found.code == "unequal-budget"
    assert "budgets are equal by construction" in found.message
    found = mistake(tmp_path, good("batch_size = [32, 64, 128]", f"{key} = [1, 2]"))
    assert "budgets are equal by construction" in found.message


@pytest.mark.parametrize("value", ['"mnist"', '{ use = "mnist", invert = true }'])
def test_no_arm_has_data_of_its_own(tmp_path: Path, value: str) -> None:
    found = mistake(tmp_path, spelled('name = "a"', f'name = "b"\ndataset = {value}'))
    assert (found.code, found.help) == ("unequal-data", "write dataset in [problem], or vary it in [problems]")
    assert found.message == "arms cannot differ in 'dataset': what is compared is measured on the same examples"


def test_arms_may_not_replace_what_problems_vary(tmp_path: Path) -> None:
    text = SHORT + 'baseline = "cnn"\n[problems]\nmodel = ["cnn", "mlp"]\n[arms]\nmodel = ["cnn", "table"]\n'
    found = mistake(tmp_path, text)
    assert (found.code, found.places[0].line, found.places[1].line) == ("conflict", 11, 9)


@pytest.mark.parametrize("table", ["arms", "problems"])
def test_a_table_of_lists_needs_lists(tmp_path: Path, table: str) -> None:
    assert mistake(tmp_path, SHORT + f"[{table}]\n").code == "empty"
    assert mistake(tmp_path, SHORT + f"[{table}]\nmodel = []\n").code == "empty"


def test_brackets_of_the_wrong_number_are_put_right(tmp_path: Path) -> None:
    assert mistake(tmp_path, SHORT + '[arm]\nname = "a"\n').help == "for a list of arms write [[arm]]"
    found = mistake(
        tmp_path, good("[tuning]", "[[tuning]]").replace("[tuning.space]\nbatch_size = [32, 64, 128]\n", "")
    )
    assert found.help == "write [tuning]"


# --set ----------------------------------------------------------------------------------------------------------------


def test_a_setting_of_the_command_line_wins(tmp_path: Path) -> None:
    suite = read(
        tmp_path,
        GOOD,
        "tuning.trials=2",
        'compare.baseline = "adam"',
        "execution.workers=1",
        "problem.batch_size=8",
        "tuning.space.batch_size=[8, 16]",
        "problem.model.width=64",
        "seed=7",
    )
    assert (suite.tuning.trials, suite.compare.baseline, suite.execution.workers, suite.seed) == (2, "adam", 1, 7)
    assert suite.settings[0].values["batch_size"] == 8
    assert suite.settings[0].space["batch_size"] == Choice(8, 16)
    assert suite.settings[0].values["model"]["width"] == 64  # type: ignore[index,call-overload]
    assert suite.text == GOOD


def test_of_two_settings_of_one_key_the_later_wins(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD, "seed=7", "seed=8").seed == 8


@pytest.mark.parametrize(
    ("override", "code", "says"),
    [
        ("tuning.trails=3", "unknown-key", "unknown key 'trails' in [tuning]"),
        ("tuning.trials=-1", "out-of-range", "-1 (integer) is out of range"),
        ("tuning.trials", "bad-override", "'=' is due"),
        ("[tuning]\ntrials=3", "bad-override", "one key.path=value is due"),
        ("seed=1\nschema=1", "bad-override", "one key.path=value is due"),
        ("arms.optimizer.sgd=3", "bad-override", "leads into a value that is no table"),
        ("compare.baseline=adam", "unquoted", 'strings need quotes: "adam"'),
        ("seed=[1", "unclosed", "array without closing ]"),
        ('compare.baseline="adamm"', "unknown-name", "no arm named 'adamm'"),
        ("problem.optimizer.lr=nan", "not-finite", "a finite number is due, found nan"),
        ("seed=\udcff", "unquoted", "strings need quotes"),
    ],
)
def test_c4_a_mistake_on_the_command_line_is_shown_there(tmp_path: Path, override: str, code: str, says: str) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(GOOD)
    with pytest.raises(MistakesError) as caught:
        load(path, CATALOG, ["seed=0", override])
    (found,) = caught.value.mistakes
    assert found.code == code
    assert says in found.message
    text = str(caught.value)
    assert "--> --set #2\n" in text
    assert text.endswith("1 error in --set; nothing was run")
    assert str(path) not in text


def test_a_conflict_of_file_and_command_line_shows_both(tmp_path: Path) -> None:
    found = mistake(tmp_path, GOOD, "problem.steps=10")
    assert [place.source for place in found.places] == ["--set #1", str(tmp_path / "suite.toml")]


def test_a_pair_in_place_of_a_list_of_pairs_is_put_into_one(tmp_path: Path) -> None:
    found = mistakes(tmp_path, good("margin = 0.002", 'nested = ["sgd", "momentum"]'))
    assert {one.help for one in found} == {'write nested = [["sgd", "momentum"]]'}
    (mixed,) = mistakes(tmp_path, good("margin = 0.002", 'nested = [["sgd", "momentum"], "adam"]'))
    assert (mixed.help, mixed.allowed) == ("", "list of 2: text")


@pytest.mark.parametrize(
    ("value", "help"),
    [
        ("1", "did you mean 'epochs'?"),
        ('"last"', "'epoch' belongs in [compare]"),
        ("0", "'epoch' belongs in [compare]"),
    ],
)
def test_of_the_near_key_and_the_same_key_elsewhere_the_one_is_meant_that_takes_the_value(
    tmp_path: Path, value: str, help: str
) -> None:
    text = good("[problem]", f'[source]\ndataset = "mnist"\nepoch = {value}\n[problem]')
    found = next(one for one in mistakes(tmp_path, text) if one.code == "unknown-key")
    assert found.help == help
