"""From TOML to a suite, and every mistake on the way."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.diagnostics import Mistake, MistakesError
from harness.errors import SuiteError
from harness.hookspecs import Choice, Float, Int
from harness.suite import Compare, Execution, Tuning, json_schema, load

sys.path.insert(0, str(Path(__file__).parent))

from suite_catalog import BUILTIN, CATALOG, EXTRA, GOOD, LR, good, mistake, mistakes, read  # noqa: E402

SHORT = 'question = "?"\n[problem]\ndataset = "mnist"\nmodel = "cnn"\n[compare]\nmetric = "accuracy"\n'
"""The shortest suite there is."""


def at(found: Mistake, number: int = 0) -> tuple[int, int, int]:
    place = found.places[number]
    return place.line, place.column, place.width


def spelled(*arms: str) -> str:
    """The shortest suite with these [[arm]] tables, the first the baseline."""
    name = tomllib.loads(arms[0]).get("name", "a") if arms else "a"
    return SHORT + f'baseline = "{name}"\n' + "".join(f"[[arm]]\n{arm}\n" for arm in arms)


# What a suite is --------------------------------------------------------------------------------------------------------


def test_a_suite_has_every_default_filled_in(tmp_path: Path) -> None:
    suite = read(tmp_path, SHORT, name="first.toml")
    assert (suite.name, suite.text, suite.question) == ("first", SHORT, "?")
    assert (suite.seed, suite.schema) == (0, 1)
    assert (suite.problems, suite.arms) == (("mnist-cnn",), ("sgd",))
    assert suite.tuning == Tuning(trials=0, sampler="tpe", pruner="none", batch=1, repeats=1)
    assert suite.compare == Compare("accuracy", "sgd", 5, None, "method", "best_validation", True, ())
    assert suite.execution == Execution(None, "process", 1, "auto", 21600.0)
    assert suite.metric is CATALOG.find("metric", "accuracy")
    (setting,) = suite.settings
    assert setting.values == {
        "dataset": {"use": "mnist", "normalize": "symmetric"},
        "model": {"use": "cnn", "width": 32, "dropout": 0.0, "kernel": [3, 3]},
        "loss": {"use": "cross_entropy", "label_smoothing": 0.0},
        "optimizer": {"use": "sgd", "lr": 0.1, "momentum": 0, "weight_decay": 0.0},
        "schedule": {"use": "constant"},
        "strategy": {"use": "full"},
        "train_examples": None,
        "validation_examples": 5000,
        "epochs": 1,
        "steps": None,
        "batch_size": 64,
        "precision": "fp32",
    }
    assert setting.space == {}
    assert set(setting.origins) == {"dataset", "model", "loss", "optimizer", "schedule", "strategy"}
    assert setting.origins["model"] is BUILTIN


def test_a_suite_is_plain_data_but_for_domains_and_origins(tmp_path: Path) -> None:
    suite = read(tmp_path, GOOD)
    assert [json.loads(json.dumps(one.values)) for one in suite.settings] == [one.values for one in suite.settings]


def test_settings_are_problems_times_arms_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = good("[arms]", "[problems]\ntrain_examples = [6000, 100]\n\n[arms]")
    suite = read(tmp_path, text)
    small, large = "mnist-cnn+train_examples-100", "mnist-cnn+train_examples-6000"
    assert suite.problems == (large, small)
    assert [(one.problem, one.arm) for one in suite.settings] == [
        *((large, arm) for arm in ("sgd", "momentum", "adam")),
        *((small, arm) for arm in ("sgd", "momentum", "adam")),
    ]
    assert [one.values["train_examples"] for one in suite.settings] == [6000] * 3 + [100] * 3


def test_the_primary_comparisons_are_all_arms_but_the_baseline(tmp_path: Path) -> None:
    assert read(tmp_path, good('baseline = "sgd"', 'baseline = "adam"')).compare.primary == ("sgd", "momentum")
    text = good("margin = 0.002", 'margin = 1\nprimary = ["adam"]')
    compare = read(tmp_path, text).compare
    assert compare.primary == ("adam",)
    assert (type(compare.margin), compare.margin) == (float, 1.0)


def test_an_integer_stands_for_a_float_and_becomes_one(tmp_path: Path) -> None:
    suite = read(tmp_path, spelled('name = "a"\noptimizer = {use = "sgd", lr = 1}'))
    optimizer = suite.settings[0].values["optimizer"]
    assert isinstance(optimizer, dict)
    assert (type(optimizer["lr"]), optimizer["lr"]) == (float, 1.0)


def test_part_names_are_found_with_hyphen_and_underscore_alike(tmp_path: Path) -> None:
    suite = read(tmp_path, SHORT.replace("mnist", "fashion_mnist"))
    assert suite.settings[0].values["dataset"]["use"] == "fashion-mnist"  # type: ignore[index,call-overload]


def test_the_distribution_stands_before_a_name_only_where_two_offer_it(tmp_path: Path) -> None:
    text = SHORT.replace("[compare]", 'optimizer = "harness-extra:twice"\n[compare]')
    setting = read(tmp_path, text).settings[0]
    assert setting.values["optimizer"] == {"use": "harness-extra:twice", "lr": 0.2}
    assert setting.origins["optimizer"] is EXTRA
    setting = read(tmp_path, SHORT.replace('"cnn"', '"harness-builtin:cnn"')).settings[0]
    assert setting.values["model"]["use"] == "cnn"  # type: ignore[index,call-overload]


# Patches ----------------------------------------------------------------------------------------------------------------


def optimizers(tmp_path: Path, problem: str, *arms: str) -> list[object]:
    text = SHORT.replace("[compare]", f"{problem}\n[compare]") + 'baseline = "a"\n'
    text += "".join(f'[[arm]]\nname = "{name}"\noptimizer = {arm}\n' for name, arm in zip("abcdef", arms, strict=False))
    return [one.values["optimizer"] for one in read(tmp_path, text).settings]


def test_a_table_without_use_adds_options_and_one_with_use_replaces_the_part(tmp_path: Path) -> None:
    problem = 'optimizer = {use = "momentum", lr = 0.5, nesterov = true}'
    found = optimizers(tmp_path, problem, "{lr = 0.25}", '{use = "momentum", lr = 0.25}', '"momentum"')
    base = {"use": "momentum", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "nesterov": False}
    assert found == [{**base, "lr": 0.25, "nesterov": True}, {**base, "lr": 0.25}, base]


def test_options_without_use_go_to_the_default_part(tmp_path: Path) -> None:
    assert optimizers(tmp_path, "", "{lr = 0.25}") == [{"use": "sgd", "lr": 0.25, "momentum": 0, "weight_decay": 0.0}]


def test_a_required_option_may_come_from_the_arm(tmp_path: Path) -> None:
    text = SHORT.replace("[compare]", 'schedule = "step"\n[compare]') + 'baseline = "three"\n'
    suite = read(tmp_path, text + '[[arm]]\nname = "three"\nschedule = {every = 3}\n')
    assert suite.settings[0].values["schedule"] == {"use": "step", "gamma": 0.1, "every": 3}


def test_an_open_part_takes_any_option(tmp_path: Path) -> None:
    suite = read(tmp_path, SHORT.replace('"cnn"', '{use = "table", rows = [1, 2], deep = {a = 1}}'))
    assert suite.settings[0].values["model"] == {"use": "table", "anything": None, "rows": [1, 2], "deep": {"a": 1}}


def test_steps_take_the_place_of_the_default_epochs(tmp_path: Path) -> None:
    values = read(tmp_path, SHORT.replace("[compare]", "steps = 200\n[compare]")).settings[0].values
    assert (values["epochs"], values["steps"]) == (None, 200)


def test_a_budget_of_problems_takes_the_place_of_the_one_in_problem(tmp_path: Path) -> None:
    text = SHORT.replace("[compare]", "epochs = 2\n[problems]\nsteps = [10, 20]\n[compare]")
    found = [(one.values["epochs"], one.values["steps"]) for one in read(tmp_path, text).settings]
    assert found == [(None, 10), (None, 20)]


# Names ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ('optimizer = ["sgd", "adam"]', ["sgd", "adam"]),
        ('optimizer = ["sgd", {use = "momentum", nesterov = true}]', ["sgd", "momentum-nesterov-true"]),
        ("optimizer = [{lr = 1e-2}, {lr = 0.10}]", ["lr-1e-2", "lr-0.10"]),
        ("batch_size = [32, 1_000]", ["32", "1_000"]),
        ('optimizer = ["sgd", "adam"]\nbatch_size = [8, 16]', ["sgd+8", "sgd+16", "adam+8", "adam+16"]),
        ('optimizer = ["harness-extra:twice"]', ["harness-extra-twice"]),
        ('model = [{use = "cnn", kernel = [5, 5]}]', ["cnn-kernel-5-5"]),
    ],
)
def test_arms_are_named_after_what_they_change(tmp_path: Path, arms: str, expected: list[str]) -> None:
    suite = read(tmp_path, SHORT + f'baseline = "{expected[0]}"\n[arms]\n{arms}\n')
    assert list(suite.arms) == expected


def test_both_ways_to_make_arms_may_stand_in_one_file_in_its_order(tmp_path: Path) -> None:
    text = SHORT + 'baseline = "b"\n[[arm]]\nname = "b"\n[arms]\noptimizer = ["sgd", "adam"]\n'
    assert read(tmp_path, text).arms == ("b", "sgd", "adam")


@pytest.mark.parametrize(
    ("problems", "arms", "expected"),
    [
        ("", 'model = ["cnn", "mlp"]', ["mnist"]),
        ("", 'optimizer = ["sgd", "adam"]', ["mnist-cnn"]),
        ('dataset = ["mnist", "fashion-mnist"]', 'optimizer = ["sgd"]', ["mnist-cnn", "fashion-mnist-cnn"]),
        ('dataset = ["mnist"]\nmodel = ["cnn", "mlp"]', 'optimizer = ["sgd"]', ["mnist-cnn", "mnist-mlp"]),
        ("batch_size = [8, 16]", 'model = ["cnn"]', ["mnist+batch_size-8", "mnist+batch_size-16"]),
        ('loss = ["cross_entropy"]\nepochs = [2]', 'model = ["cnn"]', ["mnist+cross_entropy+epochs-2"]),
        ('model = ["cnn", {use = "mlp", width = 4}]', 'optimizer = ["sgd"]', ["mnist-cnn", "mnist-mlp-width-4"]),
    ],
)
def test_problems_are_named_after_what_is_equal_in_them(
    tmp_path: Path, problems: str, arms: str, expected: list[str]
) -> None:
    baseline = tomllib.loads(arms)
    name = next(iter(baseline.values()))[0]
    text = SHORT + f'baseline = "{name}"\n' + (f"[problems]\n{problems}\n" if problems else "") + f"[arms]\n{arms}\n"
    assert list(read(tmp_path, text).problems) == expected


# Search space -----------------------------------------------------------------------------------------------------------


def space(tmp_path: Path, wanted: str, arms: str = 'optimizer = ["momentum"]', problem: str = "") -> list[object]:
    text = SHORT.replace(
        "[compare]", f"{problem}\n[arms]\n{arms}\n[tuning]\ntrials = 2\n[tuning.space]\n{wanted}\n[compare]"
    )
    first = next(iter(tomllib.loads(arms).values()))[0]
    name = first if isinstance(first, str) else "-".join(str(x) for pair in first.items() for x in pair if x != "use")
    return [one.space for one in read(tmp_path, text + f'baseline = "{name}"\n').settings]


DECLARED = {"optimizer.lr": LR, "optimizer.momentum": Float(0.5, 0.99)}


def test_the_space_is_what_the_parts_declare(tmp_path: Path) -> None:
    assert space(tmp_path, "", problem='strategy = "probe"') == [{**DECLARED, "strategy.mode": Choice("mean", "max")}]


def test_what_the_suite_fixes_is_not_searched(tmp_path: Path) -> None:
    assert space(tmp_path, "", 'optimizer = [{use = "momentum", lr = 0.5}]') == [
        {"optimizer.momentum": Float(0.5, 0.99)}
    ]
    fixed = 'optimizer = {use = "momentum", momentum = 0.5}'
    assert space(tmp_path, "", "batch_size = [32]", fixed) == [{"optimizer.lr": LR}]


def test_without_trials_nothing_is_searched(tmp_path: Path) -> None:
    suite = read(tmp_path, good("trials = 6", "trials = 0"))
    assert [one.space for one in suite.settings] == [{}, {}, {}]


@pytest.mark.parametrize(
    ("wanted", "name", "domain"),
    [
        ("lr = {low = 1e-3, high = 1, log = true}", "optimizer.lr", Float(1e-3, 1.0, log=True)),
        ("optimizer.lr = {low = 1, high = 2}", "optimizer.lr", Float(1.0, 2.0)),
        ('"optimizer.lr" = [1, 0.5]', "optimizer.lr", Choice(1.0, 0.5)),
        ("batch_size = [32, 64]", "batch_size", Choice(32, 64)),
        ("batch_size = {low = 8, high = 64, log = true}", "batch_size", Int(8, 64, log=True)),
        ("width = {low = 8, high = 64}", "model.width", Int(8, 64)),
        ("dropout = {low = 0, high = 1}", "model.dropout", Float(0.0, 1.0)),
        ("nesterov = [true, false]", "optimizer.nesterov", Choice(True, False)),
        ("momentum = {low = 0, high = 1}", "optimizer.momentum", Float(0.0, 1.0)),
        ("model.width = [8]", "model.width", Choice(8)),
    ],
)
def test_the_suite_adds_to_the_space_or_replaces_a_domain(
    tmp_path: Path, wanted: str, name: str, domain: object
) -> None:
    (found,) = space(tmp_path, wanted)
    assert found == {**DECLARED, name: domain}
    assert repr(found[name]) == repr(domain)  # type: ignore[index]


def test_zero_as_a_default_takes_whole_numbers_and_others(tmp_path: Path) -> None:
    for wanted, domain in (("{low = 0, high = 2}", Int(0, 2)), ("{low = 0.0, high = 2}", Float(0.0, 2.0))):
        (found,) = space(tmp_path, f"momentum = {wanted}", 'optimizer = ["sgd"]')
        assert repr(found["optimizer.momentum"]) == repr(domain)  # type: ignore[index]
    assert optimizers(tmp_path, "", "{momentum = 0.5}")[0]["momentum"] == 0.5  # type: ignore[index]


def test_an_entry_applies_only_to_arms_that_have_the_option(tmp_path: Path) -> None:
    found = space(tmp_path, "momentum = [0.5]", 'optimizer = ["momentum", "adam"]')
    assert found == [{**DECLARED, "optimizer.momentum": Choice(0.5)}, {"optimizer.lr": LR}]


def test_a_value_in_an_arm_wins_over_the_space_and_one_in_the_problem_does_not(tmp_path: Path) -> None:
    arms = 'optimizer = ["sgd", {use = "sgd", lr = 0.5}]'
    assert space(tmp_path, "lr = [1.0, 2.0]", arms) == [{"optimizer.lr": Choice(1.0, 2.0)}, {}]
    found = space(
        tmp_path, "batch_size = [8, 16]\nlr = [1.0]", "precision = ['fp32']", "batch_size = 4\noptimizer = {lr = 1}"
    )
    assert found == [{"optimizer.lr": Choice(1.0), "batch_size": Choice(8, 16)}]


# The twelve kinds ---------------------------------------------------------------------------------------------------------


def test_a_typo_in_a_key(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("sampler =", "smapler ="))
    assert (found.code, found.message) == ("unknown-key", "unknown key 'smapler' in [tuning]")
    assert at(found) == (14, 1, 7)
    assert found.allowed == "trials, sampler, pruner, batch, repeats, space"
    assert found.help == "did you mean 'sampler'?"


def test_an_unknown_part(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('"cnn"', '"cn"'))
    assert (found.code, found.message) == ("unknown-name", "[problem] model: no model named 'cn'")
    assert at(found) == (5, 9, 4)
    assert found.allowed == "cnn, mlp, table (harness-builtin 0.1)"
    assert found.help == "did you mean 'cnn'?"


def test_a_wrong_type(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("epochs = 2", 'epochs = "fast"'))
    assert (found.code, found.message) == ("wrong-type", '[problem] epochs: expected an integer, found "fast" (string)')
    assert at(found) == (7, 10, 6)
    assert found.allowed == "integer >= 1"


def test_an_unknown_hyperparameter(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('"momentum", "adam"', '{use = "momentum", nestrov = true}'))
    assert found.code == "unknown-key"
    assert found.message == "[arms] optimizer, value 2: optimizer 'momentum' has no option 'nestrov'"
    assert at(found) == (10, 40, 7)
    assert found.allowed == "lr, momentum, nesterov, weight_decay"
    assert found.help == "did you mean 'nesterov'?"


def test_low_above_high(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("batch_size = [32, 64, 128]", "lr = {low = 0.1, high = 0.01}"))
    assert found.code == "out-of-range"
    assert found.message == "[tuning.space] lr: low must be below high, found low = 0.1, high = 0.01"
    assert (at(found), at(found, 1)) == ((17, 13, 3), (17, 25, 4))


def test_a_log_range_from_zero(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("batch_size = [32, 64, 128]", "lr = {low = 0, high = 0.1, log = true}"))
    assert found.code == "out-of-range"
    assert found.message == "[tuning.space] lr: low must be above 0 on a log scale, found low = 0"
    assert at(found) == (17, 13, 1)
    assert found.allowed == "low > 0"


def test_a_duplicate_arm(tmp_path: Path) -> None:
    found = mistake(tmp_path, spelled('name = "a"', 'name = "b"\noptimizer = "adam"', 'name = "b"'))
    assert (found.code, found.message) == ("doubled-name", "two arms are named 'b'")
    assert (at(found), at(found, 1)) == ((14, 8, 3), (11, 8, 3))


def test_a_baseline_that_is_no_arm(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('baseline = "sgd"', 'baseline = "sdg"'))
    assert (found.code, found.message) == ("unknown-name", "[compare] baseline: no arm named 'sdg'")
    assert (at(found), at(found, 1)) == ((21, 12, 5), (10, 13, 27))
    assert found.places[1].label == "arms are made here"
    assert found.allowed == "sgd, momentum, adam"
    assert found.help == "did you mean 'sgd'?"


@pytest.mark.parametrize("number", ["nan", "+inf", "-nan"])
def test_nan(tmp_path: Path, number: str) -> None:
    found = mistake(tmp_path, good("margin = 0.002", f"margin = {number}"))
    assert (found.code, found.message) == (
        "not-finite",
        f"[compare] margin: a finite number is due, found {number} (float)",
    )
    assert at(found) == (23, 10, len(number))
    assert found.allowed == "number > 0"


def test_negative_epochs(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("epochs = 2", "epochs = -2"))
    assert (found.code, found.message) == ("out-of-range", "[problem] epochs: -2 (integer) is out of range")
    assert at(found) == (7, 10, 2)
    assert found.allowed == "integer >= 1"


def test_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "optimizers.toml").write_text(GOOD)
    with pytest.raises(MistakesError) as caught:
        load(tmp_path / "optimzers.toml", CATALOG)
    (found,) = caught.value.mistakes
    assert (found.code, found.places[0].line) == ("no-file", 0)
    assert found.allowed == "optimizers.toml"
    assert found.help == f"did you mean '{tmp_path / 'optimizers.toml'}'?"


def test_broken_toml(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('["sgd", "momentum", "adam"]', '["sgd", "momentum", "adam"'))
    assert (found.code, found.message) == ("unclosed", "array without closing ]")
    assert at(found) == (10, 13, 1)


def test_several_mistakes_come_at_once_and_by_line(tmp_path: Path) -> None:
    text = GOOD
    for old, new in (
        ('"cnn"', '"cn"'),
        ("epochs = 2", 'epochs = "fast"'),
        ('"adam"]', '{use = "adam", lr = 0}]'),
        ("sampler", "smapler"),
        ("[32, 64, 128]", "{low = 64, high = 32}"),
        ('"sgd"\nrep', '"sdg"\nrep'),
        ("0.002", "nan"),
    ):
        assert old in text
        text = text.replace(old, new)
    found = mistakes(tmp_path, text)
    assert [(one.places[0].line, one.code) for one in found] == [
        (5, "unknown-name"),
        (7, "wrong-type"),
        (10, "out-of-range"),
        (14, "unknown-key"),
        (17, "out-of-range"),
        (21, "unknown-name"),
        (23, "not-finite"),
    ]


# Rows of the catalogue: the file as text -----------------------------------------------------------------------------------


def test_t5_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbf" + GOOD.encode()).arms == read(tmp_path, GOOD).arms


def test_crlf_changes_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD.replace("\n", "\r\n")).settings == read(tmp_path, GOOD).settings


@pytest.mark.parametrize(
    ("row", "text", "says", "line"),
    [
        ("T8", GOOD.replace("\n", "\r"), "bare carriage return", 1),
        ("T9", good("epochs = 2", "epochs = 2\nepochs = 3"), "doubled key 'epochs'", 8),
        ("T10", GOOD + "[compare]\n", "for a list write [[compare]]", 24),
        ("T12", good('"cnn"', "cnn"), 'strings need quotes: "cnn"', 5),
        ("T14", good("MNIST?" + '"', "MNIST?"), "string without closing", 1),
        ("T15", GOOD + "x = " + "[" * 500, "nested deeper than 32", 24),
        ("T16", GOOD + ".".join("x" * 20_000), "key longer than 16 parts", 24),
        ("T17", good("trials = 6", "trials = " + "9" * 5000), "integer too large (64 bits)", 13),
        ("T19", good("0.002", "1e400"), "1e400 overflows to infinity", 23),
        ("T20", '{"question": "x"}', "looks like JSON; a suite is TOML", 1),
        ("T20", "question: x\n", "looks like YAML; a suite is TOML", 1),
        ("T21", good("[tuning]\n", "<<<<<<< a\n[tuning]\n>>>>>>> b\n"), "unresolved merge conflict, lines 12-14", 12),
    ],
)
def test_rows_t_are_one_mistake_each(tmp_path: Path, row: str, text: str, says: str, line: int) -> None:
    found = mistake(tmp_path, text)
    assert says in f"{found.message}; {found.help}", row
    assert found.places[0].line == line


# Rows of the catalogue: what the file says ---------------------------------------------------------------------------------


def test_s1_an_unknown_key_shows_the_keys_of_its_level(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("optimizer =", "optimzer ="), "compare.baseline='sgd'")
    assert (found.message, at(found)) == ("unknown key 'optimzer' in [arms]", (10, 1, 8))
    assert "optimizer, schedule" in found.allowed
    assert found.help == "did you mean 'optimizer'?"


@pytest.mark.parametrize(
    ("text", "help"),
    [
        (good("margin = 0.002", "trials = 6"), "'trials' belongs in [tuning]"),
        (good("[problem]", "model = 'cnn'\n[problem]"), "'model' belongs in [problem]"),
        (good("margin = 0.002", "seed = 3"), "'seed' belongs at the top of the file, before the first table"),
        (
            good("epochs = 2", "epochs = 2\nlr = 0.1"),
            'an option goes into its part: optimizer = {use = "sgd", lr = ...}',
        ),
        (good("margin = 0.002", "trails = 6"), "did you mean 'trials' in [tuning]?"),
    ],
)
def test_s2_a_key_in_the_wrong_table_is_told_where_it_belongs(tmp_path: Path, text: str, help: str) -> None:
    found = mistake(tmp_path, text)
    assert (found.code, found.help) == ("unknown-key", help)


@pytest.mark.parametrize(
    ("old", "new", "expected", "found_text"),
    [
        ("epochs = 2", "epochs = 2.0", "an integer", "2.0 (float)"),
        ("epochs = 2", "epochs = true", "an integer", "true (boolean)"),
        ("margin = 0.002", 'margin = "small"', "a number", '"small" (string)'),
        ("margin = 0.002", "untuned = 1", "true or false", "1 (integer)"),
        ('metric = "accuracy"', "metric = 3", "text", "3 (integer)"),
        ('["sgd", "momentum", "adam"]', '"sgd"', "a list", '"sgd" (string)'),
        ('"cnn"', "3", "a part", "3 (integer)"),
        ('"cnn"', "{use = 3}", "a part", "3 (integer)"),
        ("[tuning.space]\nbatch_size = [32, 64, 128]", "space = 3", "a table", "3 (integer)"),
    ],
)
def test_s4_a_wrong_type_shows_what_was_expected_and_found(
    tmp_path: Path, old: str, new: str, expected: str, found_text: str
) -> None:
    found = mistake(tmp_path, good(old, new))
    assert found.code == "wrong-type"
    assert found.message.endswith(f": expected {expected}, found {found_text}")


@pytest.mark.parametrize("value", ["-1", "0", "0.0"])
def test_s7_a_value_off_the_log_scale_names_the_part_and_its_range(tmp_path: Path, value: str) -> None:
    found = mistake(tmp_path, good('"adam"]', f'{{use = "adam", lr = {value}}}]'))
    assert found.code == "out-of-range"
    assert "optimizer 'adam' takes lr above 0, found " + value in found.message
    assert found.allowed == "above 0; 'adam' searches 1e-05 .. 0.1 (log scale)"
    assert at(found) == (10, 55, len(value))


def test_s8_a_doubled_value_shows_both_positions(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('"momentum", "adam"]', '"adam", "sgd"]'))
    assert found.message == "[arms] optimizer: doubled value 'sgd' (positions 1, 3)"
    assert (at(found), at(found, 1)) == ((10, 29, 5), (10, 14, 5))


def test_s8_one_and_one_point_zero_are_the_same_value(tmp_path: Path) -> None:
    text = SHORT + 'baseline = "lr-1"\n[arms]\noptimizer = [{lr = 1}, {lr = 1.0}]\n'
    assert mistake(tmp_path, text).code == "doubled-value"


@pytest.mark.parametrize("seed", ["-1", str(2**64), "1" * 26, str(2**32)])
def test_s9_a_seed_out_of_range(tmp_path: Path, seed: str) -> None:
    found = mistake(tmp_path, f"seed = {seed}\n" + GOOD)
    assert (found.code, found.allowed) == ("out-of-range", "integer, 0 .. 2^32 - 1")
    assert at(found) == (1, 8, len(seed))


def test_the_largest_seed_is_taken(tmp_path: Path) -> None:
    assert read(tmp_path, "seed = 4294967295\n" + GOOD).seed == 2**32 - 1


def test_s10_a_list_where_a_count_is_due(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("replicates = 5", "replicates = [0, 1, 2]"))
    assert "a count, not a list" in found.message
    assert found.help == "write replicates = 3"


def test_s12_an_unknown_optimizer_shows_names_with_their_distribution(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('"adam"]', '"adamx"]'))
    assert found.help == "did you mean 'adam'?"
    assert found.allowed == "adam, adamw, momentum, sgd, twice (harness-builtin 0.1); twice (harness-extra 0.2)"
    assert at(found) == (10, 33, 7)


def test_many_names_are_cut_to_the_nearest_five_and_a_command(tmp_path: Path) -> None:
    from suite_catalog import part

    from harness.catalog import Catalog

    many = Catalog((*CATALOG.parts, *(part("model", f"net{number}") for number in range(12))))
    path = tmp_path / "s.toml"
    path.write_text(good('"cnn"', '"nett"'))
    with pytest.raises(MistakesError) as caught:
        load(path, many)
    allowed = caught.value.mistakes[0].allowed
    assert allowed.count("net") == 5
    assert allowed.endswith("and 10 more; 'harness list models' shows all")


def test_a_part_of_a_broken_plugin_names_plugin_and_reason(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('"adam"]', '"lion"]'))
    assert found.help == (
        "'lion' comes with harness-lion 0.3, which could not be imported: ModuleNotFoundError: no module named 'lion'"
    )


def test_s13_an_option_that_the_merged_part_does_not_take(tmp_path: Path) -> None:
    text = spelled('name = "a"\noptimizer = {nesterov = true}')
    found = mistake(tmp_path, text)
    assert found.message == "arm \"a\" optimizer: optimizer 'sgd' has no option 'nesterov'"
    assert at(found) == (10, 14, 8)


@pytest.mark.parametrize(
    ("part", "says", "allowed"),
    [
        ('optimizer = {use = "momentum", nesterov = 1}', "takes true or false, found 1 (integer)", "true or false"),
        ('optimizer = {use = "adam", lr = "1e-3"}', 'takes a number, found "1e-3" (string)', "number, default 0.001"),
        ('optimizer = {use = "adam", betas = 0.9}', "takes a list, found 0.9 (float)", "list, default [0.9, 0.999]"),
        ("model = {width = 2.5}", "takes an integer, found 2.5 (float)", "integer, default 32"),
        ("model = {width = true}", "takes an integer, found true (boolean)", "integer, default 32"),
        ("dataset = {normalize = 1}", "takes text, found 1 (integer)", 'text, default "symmetric"'),
    ],
)
def test_an_option_must_be_of_the_type_of_its_default(tmp_path: Path, part: str, says: str, allowed: str) -> None:
    found = mistake(tmp_path, spelled(f'name = "a"\n{part}'))
    assert found.code == "wrong-type"
    assert says in found.message
    assert found.allowed.startswith(allowed)


def test_a_range_or_list_in_place_of_an_option_is_told_where_it_belongs(tmp_path: Path) -> None:
    found = mistake(tmp_path, spelled('name = "a"\noptimizer = {lr = {low = 1, high = 2}}'))
    assert found.help == "ranges belong in [tuning.space]: optimizer.lr = {low = 1, high = 2}"
    found = mistake(tmp_path, spelled('name = "a"\noptimizer = {lr = [1, 2]}'))
    assert "lists of values belong in" in found.help


def test_a_required_option_that_is_missing(tmp_path: Path) -> None:
    found = mistake(tmp_path, spelled('name = "a"\nschedule = "step"'))
    assert (found.code, found.message) == ("missing-key", "schedule 'step' needs the option 'every'")
    assert at(found) == (10, 12, 6)
    found = mistake(tmp_path, spelled('name = "a"\nschedule = {use = "step", evry = 3}'))
    assert (found.code, found.help) == ("unknown-key", "did you mean 'every'?")


@pytest.mark.parametrize(("low", "high"), [("2", "1"), ("1", "1"), ("1", "1.0")])
def test_s15_a_domain_without_width_shows_both_places(tmp_path: Path, low: str, high: str) -> None:
    text = good("batch_size = [32, 64, 128]", f"[tuning.space.lr]\nlow = {low}\nhigh = {high}")
    found = mistake(tmp_path, text)
    assert f"found low = {low}, high = {high}" in found.message
    assert (at(found), at(found, 1)) == ((18, 7, len(low)), (19, 8, len(high)))


@pytest.mark.parametrize(
    ("wanted", "says", "allowed", "place"),
    [
        ("batch_size = []", "the list of choices is empty", "'batch_size' is an integer", (17, 14, 2)),
        (
            "lr = []",
            "the list of choices is empty",
            "optimizer 'sgd' takes a number; declared 1e-05 .. 0.1 (log scale)",
            (17, 6, 2),
        ),
        ('batch_size = [1, "2"]', "'batch_size' is an integer, found \"2\" (string)", "an integer", (17, 18, 3)),
        ("batch_size = [1, 2.5]", "'batch_size' is an integer, found 2.5 (float)", "an integer", (17, 18, 3)),
        ("kernel = [[1, 2], 3]", "a plain value is due, found [1, 2] (list)", "", (17, 11, 6)),
        (
            "nesterov = [true, 0]",
            "optimizer 'momentum' takes true or false, found 0 (integer)",
            "true or false",
            (17, 19, 1),
        ),
        ("batch_size = [32, 64, 32]", "doubled value 32 (positions 1, 3)", "", (17, 23, 2)),
    ],
)
def test_s18_choices_empty_mixed_or_doubled(
    tmp_path: Path, wanted: str, says: str, allowed: str, place: tuple[int, int, int]
) -> None:
    found = mistakes(tmp_path, good("batch_size = [32, 64, 128]", wanted))[0]
    assert says in found.message
    assert found.allowed == allowed
    assert at(found) == place


def test_choices_of_mixed_type_where_the_part_does_not_say_what_it_takes(tmp_path: Path) -> None:
    text = good('"cnn"', '"table"').replace("batch_size = [32, 64, 128]", 'anything = ["a", 1, "b"]')
    found = mistake(tmp_path, text)
    assert found.message == "[tuning.space] anything, value 2: choices of mixed type: strings and 1 (integer)"
    assert (found.allowed, at(found)) == ("string", (17, 18, 1))


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        ('"tpe"', '"bayes"', "random, qmc, tpe, gp"),
        ('"tpe"', '"cmaes"', "random, qmc, tpe, gp"),
        ('sampler = "tpe"', 'pruner = "median"', "none"),
        ("margin = 0.002", 'claim = "methd"', "method, setting"),
        ("margin = 0.002", 'epoch = "best"', "best_validation, last"),
        ("epochs = 2", 'precision = "fp16"', "fp32, bf16"),
        ("[compare]", '[execution]\ndevice = "gpu"\n[compare]', "auto, cpu, cuda"),
        ("[compare]", '[execution]\nexecutor = "dask"\n[compare]', "process, serial"),
    ],
)
def test_s23_a_word_that_is_not_known_shows_all_that_are(tmp_path: Path, old: str, new: str, allowed: str) -> None:
    found = mistake(tmp_path, good(old, new))
    assert (found.code, found.allowed) == ("unknown-word", allowed)


def test_s25_tuning_reads_validation_only(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("trials = 6", 'trials = 6\nsplit = "test"'))
    assert (found.code, found.help) == ("unknown-key", "tuning reads validation only")


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        # 3 arms x (5 replicates x trials + 5 x 2 final runs)
        (good("trials = 6", "trials = 2147483648"), 3 * (5 * 2**31 + 10)),
        (good("trials = 6", "trials = 6667"), 3 * (5 * 6667 + 10)),
        (good("replicates = 5", "replicates = 2147483648"), 3 * 2**31 * (6 + 2)),
        (good("trials = 6", "trials = 6\nrepeats = 1200"), 3 * 5 * (6 * 1200 + 2)),
    ],
)
def test_s26_a_plan_of_too_many_runs_is_counted_and_not_built(tmp_path: Path, text: str, runs: int) -> None:
    found = mistake(tmp_path, text)
    assert found.code == "plan-too-large"
    assert f"the plan has {runs:,} runs: [arms] optimizer 3, replicates" in found.message
    assert found.allowed == "100,000 runs"


def test_s26_axes_multiply_without_being_multiplied_out(tmp_path: Path) -> None:
    lists = "".join(f"{key} = [{', '.join(values)}]\n" for key, values in {
        "batch_size": map(str, range(1, 2001)),
        "optimizer": (f'{{use = "sgd", lr = 0.{n:04}1}}' for n in range(1000)),
        "model": (f"{{width = {n}}}" for n in range(1, 1001)),
    }.items())  # fmt: skip
    found = mistake(tmp_path, SHORT + 'baseline = "x"\n[arms]\n' + lists)
    assert "the plan has 10,000,000,000 runs: [arms] batch_size 2000, [arms] optimizer 1000" in found.message


def test_a_plan_at_the_limit_is_taken(tmp_path: Path) -> None:
    # 1 arm x (5 x 19998 + 5 x 2) = 100,000
    text = SHORT + "[tuning]\ntrials = 19998\n"
    assert read(tmp_path, text).tuning.trials == 19998
    assert mistake(tmp_path, text.replace("19998", "19999")).code == "plan-too-large"
    # The study of replicate 0 alone, under the other claim: 99,990 + 10
    setting = text.replace("19998", "99990").replace("[tuning]", 'claim = "setting"\n[tuning]')
    assert read(tmp_path, setting).compare.claim == "setting"


@pytest.mark.parametrize("value", ["1979-05-27", "07:32:00", "1979-05-27T07:32:00Z"])
def test_s28_a_bare_date_is_to_be_quoted(tmp_path: Path, value: str) -> None:
    found = mistake(tmp_path, good('"cnn"', value))
    assert (found.code, found.help) == ("wrong-type", f'quote it: "{value}"')
    assert at(found) == (5, 9, len(value))


def test_s29_a_suite_includes_no_other_file(tmp_path: Path) -> None:
    found = mistake(tmp_path, 'include = "../other.toml"\n' + GOOD)
    assert (found.code, found.help) == ("unknown-key", "a suite is one file")


@pytest.mark.parametrize("value", ["${HOME}/x", "~/x", "~root", "a${b}"])
def test_s30_nothing_is_expanded(tmp_path: Path, value: str) -> None:
    found = mistake(tmp_path, good('"cnn"', f'{{use = "cnn", width = "{value}"}}'))
    assert (found.code, found.help) == ("not-expanded", "write it out or use --set")
    assert f'is not expanded, found "{value}" (string)' in found.message


def test_a_question_may_say_anything(tmp_path: Path) -> None:
    assert read(tmp_path, good("Which optimizer", "~5 % of ${x}: which optimizer")).question.startswith("~5 % of ${x}")


def test_s31_a_schema_that_is_not_known_shows_both_numbers(tmp_path: Path) -> None:
    found = mistake(tmp_path, "schema = 2\n" + GOOD)
    assert found.message == "schema 2 is not known here; this version reads schema 1"
    assert read(tmp_path, "schema = 1\n" + GOOD).schema == 1


# Rows of the catalogue: names --------------------------------------------------------------------------------------------

REFUSED = {
    "N1": ["../../x", "/etc/passwd"],
    "N3": ["a\\u0000", "a\\nb", "a\\tb"],
    "N6": ["\u00e9", "e\u0301"],
    "N8": ["-rf", "~root", "$HOME", "CON", "nul.txt", "a."],
    "N9": ["<script>", "=cmd()", "$\\\\frac$", "_x"],
}


@pytest.mark.parametrize(("row", "name"), [(row, name) for row, names in REFUSED.items() for name in names])
def test_rows_n_names_that_could_do_harm_are_refused_with_the_rule(tmp_path: Path, row: str, name: str) -> None:
    found = mistake(tmp_path, spelled('name = "a"', f'name = "{name}"'))
    assert found.code == "bad-name", row
    assert found.allowed.startswith("^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")
    assert found.places[0].line == 11


def test_n3_control_characters_are_shown_escaped(tmp_path: Path) -> None:
    with pytest.raises(SuiteError) as caught:
        read(tmp_path, spelled('name = "a"', 'name = "a\\u0000\\u001b"'))
    assert "arm 'a<U+0000><U+001B>': U+0000 is not allowed" in str(caught.value)


def test_n6_the_code_point_of_a_letter_outside_ascii_is_shown(tmp_path: Path) -> None:
    composed = mistake(tmp_path, spelled('name = "a"', 'name = "caf\u00e9"'))
    decomposed = mistake(tmp_path, spelled('name = "a"', 'name = "cafe\u0301"'))
    assert composed.message.endswith("only ASCII is allowed, found U+00E9")
    assert decomposed.message.endswith("only ASCII is allowed, found U+0301")


def test_n5_names_that_differ_by_case_only_collide(tmp_path: Path) -> None:
    found = mistake(tmp_path, spelled('name = "ResNet"', 'name = "resnet"'))
    assert found.message == "arms 'ResNet' and 'resnet' collide on disks that do not tell case"
    assert (at(found)[0], at(found, 1)[0]) == (11, 9)


def test_n9_names_that_look_like_values_are_accepted(tmp_path: Path) -> None:
    names = ("NA", "null", "nan", "001")
    assert read(tmp_path, spelled(*(f'name = "{name}"' for name in names))).arms == names


def test_a_name_has_at_most_64_characters(tmp_path: Path) -> None:
    assert read(tmp_path, spelled(f'name = "{"a" * 64}"')).arms == ("a" * 64,)
    assert mistake(tmp_path, spelled('name = "a"', f'name = "{"a" * 65}"')).message.endswith(
        "65 characters, 64 are allowed"
    )


def test_the_file_name_must_be_a_name_too(tmp_path: Path) -> None:
    found = mistake(tmp_path, GOOD, name="my suite.toml")
    assert (found.code, found.places[0].line) == ("bad-name", 0)
    assert "a blank is not allowed" in found.message


def test_n10_a_name_that_two_plugins_offer_shows_both(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('"adam"]', '"twice"]'))
    assert found.code == "ambiguous-name"
    assert "harness-builtin 0.1 (plugins/all.py) and harness-extra 0.2 (extra/all.py)" in found.message
    assert (found.allowed, found.help) == ("harness-builtin:twice, harness-extra:twice", "write distribution:name")


# Other mistakes of meaning -------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("wanted", "code", "says"),
    [
        ("lrr = [1.0]", "unknown-key", "no arm has an option 'lrr'"),
        ("strategy.lr = [1.0]", "unknown-key", "no arm has an option 'strategy.lr'"),
        ('model = ["cnn", "mlp"]', "not-tunable", "a part cannot be tuned"),
        ('precision = ["fp32"]', "not-tunable", "'precision' cannot be tuned"),
        ("batch_size = 32", "wrong-type", "a list or a range is due, found 32 (integer)"),
        ("batch_size = {low = 0, high = 8}", "out-of-range", "0 (integer) is out of range"),
        ("batch_size = {low = 1.0, high = 8}", "wrong-type", "expected an integer, found 1.0 (float)"),
        ("nesterov = {low = 0, high = 1}", "wrong-type", "a range has no meaning here"),
        ("lr = {low = 1, high = 2, step = 3}", "unknown-key", "unknown key 'step' in the range 'lr'"),
        ('lr = {low = "1", high = 2}', "wrong-type", 'a number is due, found "1" (string)'),
        ("lr = {low = 1}", "missing-key", "lacks the key 'high'"),
        ("lr = {low = 1, high = inf}", "not-finite", "a finite number is due, found inf"),
        ("lr = [0.1, 0]", "out-of-range", "takes lr above 0, found 0 (integer)"),
    ],
)
def test_entries_of_the_space_that_mean_nothing(tmp_path: Path, wanted: str, code: str, says: str) -> None:
    found = mistake(tmp_path, good("batch_size = [32, 64, 128]", wanted))
    assert found.code == code
    assert says in found.message
    assert found.places[0].line == 17


def test_a_bare_name_of_two_parts_asks_for_the_dotted_form(tmp_path: Path) -> None:
    text = good("epochs = 2", 'strategy = "probe"')
    found = mistake(tmp_path, text.replace("batch_size = [32, 64, 128]", "lr = [0.5]"))
    assert (found.code, found.allowed) == ("ambiguous-name", "optimizer.lr, strategy.lr")
    suite = read(tmp_path, text.replace("batch_size = [32, 64, 128]", "strategy.lr = [0.5]"))
    assert suite.settings[0].space["strategy.lr"] == Choice(0.5)


def test_an_entry_that_every_arm_fixes_is_refused(tmp_path: Path) -> None:
    text = spelled('name = "a"\noptimizer = {use = "sgd", lr = 0.5}') + "[tuning.space]\nlr = [1.0]\n"
    found = mistake(tmp_path, text)
    assert (found.code, found.places[0].line) == ("conflict", 12)
    assert "every arm that takes 'lr' fixes it" in found.message


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


# --set ------------------------------------------------------------------------------------------------------------------


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


# Whole ------------------------------------------------------------------------------------------------------------------


def test_the_text_of_the_error_is_the_whole_message(tmp_path: Path) -> None:
    with pytest.raises(SuiteError) as caught:
        read(tmp_path, good('baseline = "sgd"', 'baseline = "sdg"'))
    assert (
        str(caught.value)
        == f"""\
error[unknown-name]: [compare] baseline: no arm named 'sdg'
  --> {tmp_path}/suite.toml:21:12
   |
10 | optimizer = ["sgd", "momentum", "adam"]
   |             --------------------------- arms are made here
21 | baseline = "sdg"
   |            ^^^^^
   = allowed: sgd, momentum, adam
   = help: did you mean 'sgd'?

1 error in {tmp_path}/suite.toml; nothing was run"""
    )


def test_reading_a_suite_loads_nothing_heavy() -> None:
    code = "import sys, harness.suite; print(*{'torch', 'pandas', 'optuna', 'click', 'numpy'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == ""


def test_the_json_schema_offers_the_installed_names() -> None:
    schema = json_schema(CATALOG)
    assert set(schema["properties"]) >= {"question", "schema", "problem", "arms", "arm", "tuning", "compare"}
    text = json.dumps(schema["$defs"]["Problem"]["properties"]["model"])
    assert '"enum": ["cnn", "mlp", "table"]' in text
    assert "x-part" not in json.dumps(schema)


RICH = """\
question = "q"
seed = 3
schema = 1
[problem]
dataset = {use = "mnist", normalize = "none"}
model = "cnn"
loss = {label_smoothing = 0.1}
schedule = {use = "step", every = 2, gamma = 0.5}
validation_examples = 100
steps = 20
precision = "bf16"
[problems]
train_examples = [100, 1_000]
[[arm]]
name = "one"
optimizer = {use = "momentum", nesterov = true}
[[arm]]
name = "two"
[arm.optimizer]
use = "adam"
lr = 1e-3
[tuning]
trials = 3
sampler = "gp"
batch = 2
repeats = 1
[tuning.space]
width = {low = 8, high = 64, log = true}
optimizer.momentum = {low = 0.1, high = 0.9}
batch_size = [8, 16]
[compare]
metric = "loss"
baseline = "one"
replicates = 3
margin = 0.1
claim = "setting"
primary = ["two"]
[execution]
workers = 2
time_limit = 60
"""
LINES = [*GOOD.splitlines(), *RICH.splitlines()]
TOKENS = [
    "nan",
    "-1",
    "0",
    "1e400",
    "true",
    '"x"',
    "[]",
    "{}",
    "[1, 'a']",
    "{low = 2, high = 1}",
    "1979-05-27",
    "cnn",
    "9" * 30,
]


def test_a_suite_of_all_keys_is_read(tmp_path: Path) -> None:
    suite = read(tmp_path, RICH)
    assert suite.arms == ("one", "two")
    assert suite.settings[1].space == {"model.width": Int(8, 64, log=True), "batch_size": Choice(8, 16)}
    assert math.isclose(suite.execution.time_limit, 60.0)


def mutated(text: str, chance: random.Random) -> bytes:
    """The text with a line deleted, doubled, swapped or retyped, or with bytes spliced."""
    lines = text.splitlines()
    for _ in range(chance.randrange(1, 4)):
        at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        way = chance.randrange(6)
        if way == 0 and len(lines) > 1:
            del lines[at]
        elif way == 1:
            lines.insert(other, lines[at])
        elif way == 2:
            lines[at], lines[other] = lines[other], lines[at]
        elif way == 3:
            lines[at] = f"{lines[at].split('=')[0]}= {chance.choice(TOKENS)}"
        elif way == 4:
            lines.insert(at, chance.choice(LINES))
        else:
            cut = chance.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:cut] + chance.choice("[]{}\"'=.,#\n\0é ") + lines[at][cut + chance.randrange(3) :]
    raw = "\n".join(lines).encode()
    if chance.random() < 0.1:
        cut = chance.randrange(len(raw))
        raw = raw[:cut] + bytes([chance.randrange(256)]) + raw[cut:]
    return raw


@settings(
    derandomize=True, deadline=None, max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from([GOOD, RICH]), st.integers(0, 2**32))
def test_no_mutated_suite_raises_anything_but_a_suite_error(tmp_path: Path, text: str, seed: int) -> None:
    raw = mutated(text, random.Random(seed))
    try:
        suite = read(tmp_path, raw)
    except SuiteError as error:
        assert isinstance(error, MistakesError)
        json.dumps([one.to_plain() for one in error.mistakes])
        lines = raw.decode(errors="replace").split("\n")
        for one in error.mistakes:
            assert 0 <= one.places[0].line <= len(lines)
    else:
        assert len(suite.settings) == len(suite.problems) * len(suite.arms)
