"""Keys of [problem] beside its single parts: lists of augmentations, penalties, early stopping, watched metrics."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.hookspecs import Choice, Float
from harness.suite import json_schema

sys.path.insert(0, str(Path(__file__).parent))

from suite_catalog import BUILTIN, CATALOG, EXTRA, SHORT, at, good, mistake, read

ROTATE, CROP = {"use": "rotate", "degrees": 15.0}, {"use": "crop", "padding": 4}
STOP = {"patience": 3, "metric": "loss", "min_delta": 0.0}


def problem(*lines: str) -> str:
    """The shortest suite with more lines in [problem]."""
    return SHORT.replace("[compare]", "\n".join([*lines, "[compare]"]))


def values(tmp_path: Path, *lines: str) -> dict[str, Any]:
    return read(tmp_path, problem(*lines)).settings[0].values


# Augmentation ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ('"rotate"', [ROTATE]),
        ('{use = "rotate", degrees = 30}', [{**ROTATE, "degrees": 30.0}]),
        ('["rotate"]', [ROTATE]),
        ('["crop", "rotate"]', [CROP, ROTATE]),
        ('[{use = "crop", padding = 2}, "rotate", "crop"]', [{**CROP, "padding": 2}, ROTATE, CROP]),
        ('{use = "shear", angle = 5}', [{"use": "shear", "angle": 5}]),
    ],
)
def test_one_part_or_a_list_of_parts_is_a_list_of_tables(tmp_path: Path, written: str, resolved: list[Any]) -> None:
    assert values(tmp_path, f"augmentation = {written}")["augmentation"] == resolved


def test_a_table_of_its_own_is_a_part_too(tmp_path: Path) -> None:
    text = SHORT.replace("[compare]", '[problem.augmentation]\nuse = "crop"\npadding = 1\n[compare]')
    assert read(tmp_path, text).settings[0].values["augmentation"] == [{**CROP, "padding": 1}]


def test_where_each_part_of_a_list_comes_from_goes_by_its_name(tmp_path: Path) -> None:
    text = problem('augmentation = ["rotate", {use = "shear", angle = 1}, "rotate"]')
    origins = read(tmp_path, text).settings[0].origins
    assert (origins["augmentation:rotate"], origins["augmentation:shear"]) == (BUILTIN, EXTRA)
    assert len(origins) == 8


@pytest.mark.parametrize(
    "written",
    ['augmentation = "none"', 'regularisation = "none"', "regularisation = {}", "regularisation = {l1 = 0, l2 = 0.0}",
     'early_stopping = "none"'],
)  # fmt: skip
def test_what_is_off_leaves_the_setting_as_it_is_without_the_key(tmp_path: Path, written: str) -> None:
    assert read(tmp_path, problem(written)).settings == read(tmp_path, SHORT).settings


def axes(tmp_path: Path, line: str, baseline: str, table: str = "arms") -> Any:
    return read(tmp_path, SHORT + f'baseline = "{baseline}"\n[{table}]\n{line}\n')


def test_an_axis_has_lists_among_its_values_and_names_arms_after_them(tmp_path: Path) -> None:
    line = 'augmentation = ["none", "rotate", ["rotate", {use = "crop", padding = 2}]]'
    suite = axes(tmp_path, line, "none")
    assert suite.arms == ("none", "rotate", "rotate-crop-padding-2")
    found = [one.values.get("augmentation") for one in suite.settings]
    assert found == [None, [ROTATE], [ROTATE, {**CROP, "padding": 2}]]


def test_problems_are_named_after_key_and_value(tmp_path: Path) -> None:
    line = 'augmentation = ["none", ["rotate", "crop"]]\nearly_stopping = [{patience = 2}]'
    names = axes(tmp_path, line, "sgd", "problems").problems
    assert names == (
        "mnist-cnn+augmentation-none+early_stopping-patience-2",
        "mnist-cnn+augmentation-rotate-crop+early_stopping-patience-2",
    )


def test_an_arms_value_takes_the_place_of_the_problems(tmp_path: Path) -> None:
    arms = (
        '[[arm]]\nname = "a"\n[[arm]]\nname = "b"\naugmentation = "crop"\n[[arm]]\nname = "c"\naugmentation = "none"\n'
    )
    suite = read(tmp_path, problem('augmentation = ["rotate", "crop"]') + 'baseline = "a"\n' + arms)
    assert [one.values.get("augmentation") for one in suite.settings] == [[ROTATE, CROP], [CROP], None]


@pytest.mark.parametrize(
    ("written", "code", "says", "place"),
    [
        ('"rotat"', "unknown-name", "[problem] augmentation: no augmentation named 'rotat'", (5, 16, 7)),
        ('["crop", "rotat"]', "unknown-name", "augmentation, value 2: no augmentation named 'rotat'", (5, 25, 7)),
        ('["crop", "none"]', "unknown-name", "augmentation, value 2: no augmentation named 'none'", (5, 25, 6)),
        ("[]", "empty", "[problem] augmentation: [] (list) is empty", (5, 16, 2)),
        ("7", "wrong-type", "[problem] augmentation: expected a part, found 7 (integer)", (5, 16, 1)),
        ("{degrees = 9}", "wrong-type", "expected a part, found {degrees = 9} (table)", (5, 16, 13)),
        ('["crop", 7]', "wrong-type", "augmentation, value 2: expected a part, found 7 (integer)", (5, 25, 1)),
        ('["crop", {use = 3}]', "wrong-type", "augmentation.use, value 2: expected a part", (5, 32, 1)),
        ('[["crop"]]', "wrong-type", 'value 1: expected a part, found ["crop"] (list)', (5, 17, 8)),
        ('{use = "crop", pading = 1}', "unknown-key", "augmentation 'crop' has no option 'pading'", (5, 31, 6)),
        (
            '["rotate", {use = "crop", padding = 1.5}]', "wrong-type",
            "[problem] augmentation.padding, value 2: augmentation 'crop' takes an integer", (5, 52, 3),
        ),
        ('["rotate", "shear"]', "missing-key", "augmentation 'shear' needs the option 'angle'", (5, 27, 7)),
    ],
)  # fmt: skip
def test_a_mistake_in_a_list_is_shown_at_its_value(
    tmp_path: Path, written: str, code: str, says: str, place: tuple[int, int, int]
) -> None:
    found = mistake(tmp_path, problem(f"augmentation = {written}"))
    assert (found.code, at(found)) == (code, place)
    assert says in found.message


def test_what_may_stand_in_place_of_no_augmentation_is_shown(tmp_path: Path) -> None:
    found = mistake(tmp_path, problem("augmentation = {degrees = 9}"))
    assert found.allowed == 'augmentation name, {use = "name", option = value}, a list of these, or "none"'
    assert mistake(tmp_path, problem('augmentation = ["crop", 7]')).allowed.startswith("augmentation name, or {use")
    assert mistake(tmp_path, problem('augmentation = "rotat"')).help == "did you mean 'rotate'?"


def test_a_mistake_in_a_list_of_an_axis_is_shown_though_no_arm_of_it_is_left(tmp_path: Path) -> None:
    text = SHORT + 'baseline = "none"\n[arms]\naugmentation = ["none", ["crop", "rotat"]]\n'
    found = mistake(tmp_path, text)
    assert found.message == "[arms] augmentation, value 2: no augmentation named 'rotat'"
    assert at(found) == (9, 34, 7)


# Regularisation -------------------------------------------------------------------------------------------------------


def test_penalties_have_both_numbers(tmp_path: Path) -> None:
    found = values(tmp_path, "regularisation = {l2 = 1}")["regularisation"]
    assert found == {"l1": 0.0, "l2": 1.0}
    assert type(found["l2"]) is float


def test_an_arm_lays_its_table_over_the_problems(tmp_path: Path) -> None:
    arms = "".join(
        f'[[arm]]\nname = "{name}"\n{line}\n'
        for name, line in {"a": "", "b": "regularisation = {l2 = 0.5}", "c": 'regularisation = "none"'}.items()
    )
    suite = read(tmp_path, problem("regularisation = {l1 = 0.25}") + 'baseline = "a"\n' + arms)
    found = [one.values.get("regularisation") for one in suite.settings]
    assert found == [{"l1": 0.25, "l2": 0.0}, {"l1": 0.25, "l2": 0.5}, None]


@pytest.mark.parametrize(
    ("written", "code", "says", "allowed"),
    [
        ("{l1 = -1}", "out-of-range", "[problem] regularisation.l1: -1 (integer) is out of range", "number >= 0"),
        ("{l3 = 1}", "unknown-key", "unknown key 'l3' in [problem] regularisation", "l1, l2"),
        ('{l2 = "1"}', "wrong-type", 'regularisation.l2: expected a number, found "1" (string)', "number >= 0"),
        ("0.1", "wrong-type", "regularisation: expected a table, found 0.1", '{l1 = ..., l2 = ...}, or "none"'),
        ("{l2 = inf}", "not-finite", "a finite number is due, found inf", "number >= 0"),
    ],
)
def test_mistakes_in_penalties(tmp_path: Path, written: str, code: str, says: str, allowed: str) -> None:
    found = mistake(tmp_path, problem(f"regularisation = {written}"))
    assert (found.code, found.allowed) == (code, allowed)
    assert says in found.message


def searched(tmp_path: Path, wanted: str, *lines: str) -> Any:
    text = problem(*lines) + f"[tuning]\ntrials = 3\n[tuning.space]\n{wanted}\n"
    return read(tmp_path, text).settings[0]


@pytest.mark.parametrize(
    ("wanted", "domain"),
    [
        ("regularisation.l2 = {low = 1e-6, high = 1e-2, log = true}", Float(1e-6, 1e-2, log=True)),
        ("l2 = {low = 0, high = 1}", Float(0.0, 1.0)),
        ("regularisation = {l2 = [0, 1e-4]}", Choice(0.0, 1e-4)),
    ],
)
def test_penalties_may_be_searched(tmp_path: Path, wanted: str, domain: Any) -> None:
    setting = searched(tmp_path, wanted)
    assert setting.space == {"optimizer.lr": Float(1e-5, 0.1, log=True), "regularisation.l2": domain}
    assert setting.values["regularisation"] == {"l1": 0.0, "l2": 0.0}


def test_a_penalty_in_the_problem_is_where_tuning_starts_and_one_in_an_arm_is_fixed(tmp_path: Path) -> None:
    wanted = "l2 = [0.5, 1.0]"
    assert searched(tmp_path, wanted, "regularisation = {l2 = 0.25}").values["regularisation"]["l2"] == 0.25
    for fixed in ("{l2 = 0.25}", '"none"'):
        arms = f'[[arm]]\nname = "a"\n[[arm]]\nname = "b"\nregularisation = {fixed}\n'
        text = SHORT + f'baseline = "a"\n{arms}[tuning]\ntrials = 3\n[tuning.space]\n{wanted}\n'
        assert ["regularisation.l2" in one.space for one in read(tmp_path, text).settings] == [True, False]


@pytest.mark.parametrize(
    ("wanted", "code", "says"),
    [
        ("l1 = {low = -1, high = 1}", "out-of-range", "[tuning.space] l1.low: -1 (integer) is out of range"),
        ("regularisation.l1 = [0.1, -0.5]", "out-of-range", "-0.5 (float) is out of range"),
        ("regularisation.l2 = {low = 0, high = 1, log = true}", "out-of-range", "low must be above 0 on a log scale"),
        ("regularisation.l3 = [1.0]", "unknown-key", "no arm has an option 'regularisation.l3'"),
        ('regularisation.l1 = ["a"]', "wrong-type", "key 'regularisation' takes a number"),
        ("regularisation = [1.0]", "not-tunable", "'regularisation' cannot be tuned, only its numbers"),
        ("augmentation.degrees = [1.0]", "not-tunable", "a part cannot be tuned, and neither can its options"),
        ("early_stopping.patience = [1, 2]", "not-tunable", "'early_stopping' cannot be tuned"),
    ],
)
def test_mistakes_in_the_space_of_tables(tmp_path: Path, wanted: str, code: str, says: str) -> None:
    found = mistake(tmp_path, good("batch_size = [32, 64, 128]", wanted))
    assert found.code == code
    assert says in found.message
    assert found.places[0].line == 17


# Early stopping -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "changed"),
    [
        ("{}", {}),
        ("{patience = 5}", {"patience": 5}),
        ('{metric = "accuracy", min_delta = 1}', {"metric": "accuracy", "min_delta": 1.0}),
    ],
)
def test_early_stopping_has_every_default_filled_in(tmp_path: Path, written: str, changed: dict[str, Any]) -> None:
    text = problem(f"early_stopping = {written}")
    (setting,) = read(tmp_path, text).settings
    assert setting.values["early_stopping"] == {**STOP, **changed}
    assert setting.watched == (changed.get("metric", "loss"),)


def test_early_stopping_may_differ_between_arms(tmp_path: Path) -> None:
    suite = axes(tmp_path, 'early_stopping = ["none", {patience = 2}]', "none")
    assert suite.arms == ("none", "patience-2")
    assert [one.values.get("early_stopping") for one in suite.settings] == [None, {**STOP, "patience": 2}]


@pytest.mark.parametrize(
    ("written", "code", "says"),
    [
        ("{patience = 0}", "out-of-range", "[problem] early_stopping.patience: 0 (integer) is out of range"),
        ("{min_delta = -0.1}", "out-of-range", "early_stopping.min_delta: -0.1 (float) is out of range"),
        ('{metric = "acuracy"}', "unknown-name", "[problem] early_stopping.metric: no metric named 'acuracy'"),
        ("{pateince = 2}", "unknown-key", "unknown key 'pateince' in [problem] early_stopping"),
        ("true", "wrong-type", "early_stopping: expected a table, found true (boolean)"),
        ("[]", "wrong-type", "early_stopping: expected a table, found [] (list)"),
    ],
)
def test_mistakes_in_early_stopping(tmp_path: Path, written: str, code: str, says: str) -> None:
    found = mistake(tmp_path, problem(f"early_stopping = {written}"))
    assert found.code == code
    assert says in found.message
    assert found.places[0].line == 5
    assert "write [problem]" not in found.help


def test_a_number_of_early_stopping_in_the_wrong_table_is_told_where_it_belongs(tmp_path: Path) -> None:
    found = mistake(tmp_path, problem("patience = 3"))
    assert found.help == "'patience' belongs in [problem.early_stopping]"


# Schedules that follow a metric ---------------------------------------------------------------------------------------


def test_a_schedule_says_which_metric_it_watches(tmp_path: Path) -> None:
    (setting,) = read(tmp_path, problem('schedule = "plateau"')).settings
    assert setting.watched == ("loss",)
    text = problem('schedule = {use = "plateau", metric = "accuracy"}', "early_stopping = {}")
    assert read(tmp_path, text).settings[0].watched == ("accuracy", "loss")


def test_a_schedule_cannot_watch_what_is_no_metric(tmp_path: Path) -> None:
    found = mistake(tmp_path, problem('schedule = {use = "plateau", metric = "acuracy"}'))
    assert (found.code, found.help) == ("unknown-name", "did you mean 'accuracy'?")
    assert found.message == "[problem] schedule.metric: no metric named 'acuracy'"
    assert at(found) == (5, 39, 9)


def test_the_metric_that_a_schedule_watches_cannot_be_tuned(tmp_path: Path) -> None:
    text = good("epochs = 2", 'schedule = "plateau"').replace("batch_size = [32, 64, 128]", 'metric = ["loss"]')
    found = mistake(tmp_path, text)
    assert (found.code, found.help) == ("not-tunable", "make it an axis: [arms] schedule = [...]")


# JSON Schema ----------------------------------------------------------------------------------------------------------


def test_the_json_schema_has_the_names_of_augmentations_and_the_keys_of_tables() -> None:
    found = json_schema(CATALOG)["$defs"]["Problem"]["properties"]
    text = json.dumps(found["augmentation"])
    assert '{"const": "none"}' in text
    assert '"enum": ["crop", "rotate", "shear"]' in text
    none, table = found["early_stopping"]["anyOf"]
    assert none == {"const": "none"}
    assert set(table["properties"]) == {"patience", "metric", "min_delta"}
    assert table["additionalProperties"] is False
