"""`harness verify`: a plugin's parts are held against the contract, and a broken rule is named with its line."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.cli.test_cli_outline import NORMED

MINE = """
import harness

def slow(t):
    return [harness.Phase(lambda p: 1.0 if p.head else t.options.scale)]

def wrong(t):
    return [harness.Phase(lambda p: p.hed)]

@harness.hookimpl
def harness_strategies():
    scale = {"scale": harness.Float(0.01, 1.0, log=True)}
    return [harness.Strategy("slow", phases=slow, defaults={"scale": 0.1}, space=scale), WRONG]
"""
SOUND = MINE.replace(", WRONG", "")
BAD = MINE.replace("WRONG", 'harness.Strategy("wrong", phases=wrong)')


def test_the_strategy_of_the_plugins_readme_keeps_the_contract(project):
    readme = (Path(__file__).parents[2] / "plugins/README.md").read_text()
    (source,) = re.findall(r"```python\n(\"\"\"Slow backbone.*?)```", readme, re.DOTALL)
    project.plugin("slow_backbone", source)
    result = project.run("verify", "plugins/slow_backbone.py")
    assert result.code == 0
    assert re.fullmatch(r"strategy slow_backbone keeps \d\d rules\n", result.out)


def test_the_rules_that_are_kept_are_named_when_asked_for(project):
    project.plugin("mine", SOUND)
    result = project.run("verify", "slow", "--verbose")
    first, *rules = result.out.splitlines()
    assert first == f"strategy slow keeps {len(rules)} rules"
    assert {"  finishes", "  two runs are equal"} <= set(rules)
    assert "  what is frozen stays as it is" not in rules  # it freezes nothing


def test_a_broken_rule_is_named_with_what_was_found_and_the_line(project):
    project.plugin("mine", BAD)
    result = project.run("verify", "plugins/mine.py")
    assert result.code == 2
    kept, broken, total = result.out.splitlines()
    assert kept.startswith("strategy slow keeps ")
    assert broken == (
        "strategy wrong breaks a rule: is prepared; found PluginError: strategy 'wrong', phase 1: select of 0.weight "
        "(mine.py, line 8) raised AttributeError: 'Parameter' object has no attribute 'hed'"
    )
    assert total == "1 of 2 keep the contract"


def test_without_a_target_every_plugin_file_of_the_folder_is_checked(project):
    project.plugin("mine", SOUND)
    project.plugin("cut", "import harness\n@harness.hookimpl\ndef harness_models(:\n")
    result = project.run("verify")
    assert result.code == 2
    assert "plugin cut cannot be used: SyntaxError" in result.out
    assert "strategy slow keeps" in result.out
    assert "sgd" not in result.out


def test_a_file_elsewhere_is_checked_alone(project):
    elsewhere = project.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.py").write_text(SOUND)
    (elsewhere / "other.py").write_text(BAD.replace('"slow"', '"other"'))
    result = project.run("verify", "elsewhere/mine.py")
    assert (result.code, result.out.count("\n")) == (0, 1)
    assert result.out.startswith("strategy slow keeps")


def test_shape_outputs_and_options_reach_the_check(project):
    project.plugin("normed", NORMED)
    result = project.run("verify", "normed")  # its first layer takes vectors
    assert result.code == 2
    assert "; a model that is not for images of 1x28x28 needs --input-shape" in result.out
    assert project.run("verify", "normed", "--input-shape", "4", "--outputs", "3").code == 0
    result = project.run("verify", "mlp", "--input-shape", "4", "--option", "hidden=[0]")
    assert result.code == 2
    assert "model mlp breaks a rule: is built for this input shape" in result.out


def test_a_data_set_whose_files_are_not_there_is_no_mistake_of_its_plugin(project):
    project.plugin("mine", SOUND)
    result = project.run("verify", "cifar10", "slow", "--data", "nowhere")
    assert result.code == 4
    assert "dataset cifar10 was not checked: cifar10: no data_batch_1" in result.out
    assert "strategy slow keeps" in result.out


def test_a_program_reads_the_same_as_plain_data(project):
    project.plugin("mine", BAD)
    slow, wrong = project.run("verify", "plugins/mine.py", "--json").json()
    assert (slow["kind"], slow["name"], slow["status"]) == ("strategy", "slow", "conforms")
    assert "two runs are equal" in slow["rules"]
    assert (wrong["status"], wrong["rule"]) == ("broken", "is prepared")
    assert slow["file"] == str((project.folder / "plugins/mine.py").resolve())


def test_a_part_that_ends_its_process_breaks_the_contract_and_the_others_are_checked(project):
    leaves = BAD.replace("p.hed", "__import__('os')._exit(3)").replace("[harness.Strategy", "[LAST, harness.Strategy")
    first = 'harness.Strategy("leaves", phases=wrong)'
    project.plugin("mine", leaves.replace("LAST", first).replace(', harness.Strategy("wrong", phases=wrong)', ""))
    result = project.run("verify", "plugins/mine.py")
    assert result.code == 2
    assert "strategy leaves cannot be used: ended its process (exit code 3) before it had answered" in result.out
    assert "strategy slow keeps" in result.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("lost.py",), "no file lost.py"),
        (("adamm",), "did you mean 'adam'?"),
        (("plain.py",), "plain.py offers no part: no function in it is marked @harness.hookimpl"),
        (("adam", "sgd", "--option", "lr=1"), "--option is of one part: name it; here are 2"),
        (("adam", "--option", "rl=1"), "optimizer 'adam' has no option 'rl'"),
        (("adam", "--option", "lr"), "must be NAME=VALUE, got 'lr'"),
        (("cnn", "--input-shape", "1x"), "must be whole numbers with x between, such as 3x64x64, got '1x'"),
    ],
)
def test_a_mistaken_call_says_what_is_due(project, arguments, says):
    (project.folder / "plain.py").write_text("x = 1\n")
    result = project.run("verify", *arguments)
    assert (result.code, result.out) == (2, "")
    assert says in result.err


def test_without_plugin_files_a_name_is_due(project):
    shutil.rmtree(project.folder / "plugins")
    result = project.run("verify")
    assert result.code == 2
    assert "no plugin files in ./plugins: name a file, or a part ('harness list' shows all)" in result.err
