"""From TOML to a suite: defaults, patches, names of arms and problems."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness.errors import SuiteError
from harness.suite import Compare, Execution, Tuning, json_schema

sys.path.insert(0, str(Path(__file__).parent))

from suite_catalog import BUILTIN, CATALOG, EXTRA, GOOD, SHORT, good, read, spelled

# What a suite is ------------------------------------------------------------------------------------------------------


def test_an_executor_has_every_option_filled_in(tmp_path: Path) -> None:
    text = GOOD + '[execution]\nexecutor = { use = "dask", scheduler = "tcp://a:1", patience = 5 }\n'
    execution = read(tmp_path, text).execution
    options = {"scheduler": "tcp://a:1", "resources": {}, "patience": 5.0, "allow_mixed_environment": False}
    assert (execution.executor, execution.options, execution.origin) == ("dask", options, BUILTIN)


def test_a_suite_has_every_default_filled_in(tmp_path: Path) -> None:
    suite = read(tmp_path, SHORT, name="first.toml")
    assert (suite.name, suite.text, suite.question) == ("first", SHORT, "?")
    assert (suite.seed, suite.schema) == (0, 1)
    assert (suite.problems, suite.arms) == (("mnist-cnn",), ("sgd",))
    assert suite.tuning == Tuning(trials=0, sampler="tpe", pruner="none", batch=1, repeats=1)
    assert suite.compare == Compare("accuracy", "sgd", 5, None, "method", "best_validation", True, ())
    assert suite.execution == Execution(None, "process", 1, "auto", 21600.0, None, 600.0, 0, {}, BUILTIN)
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


# Patches --------------------------------------------------------------------------------------------------------------


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


# Names ----------------------------------------------------------------------------------------------------------------


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


# Whole ----------------------------------------------------------------------------------------------------------------


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
