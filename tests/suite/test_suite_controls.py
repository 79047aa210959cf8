"""`[compare] controls` and `nested`: what a fine-tuning suite has among its arms, and which arm contains which."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.suite.checks import lacking_controls

sys.path.insert(0, str(Path(__file__).parent))

from suite_catalog import good, mistake, mistakes, read


def moved(strategies: str, compare: str = "") -> str:
    """A fine-tuning suite with these strategies as arms."""
    head = 'question = "?"\n[source]\ndataset = "fashion-mnist"\n[problem]\ndataset = "mnist"\nmodel = "cnn"\n'
    return f'{head}[arms]\nstrategy = [{strategies}]\n[compare]\nmetric = "accuracy"\nbaseline = "full"\n{compare}\n'


ALL = '"scratch", "linear_probe", "full"'


def test_a_fine_tuning_suite_without_its_controls_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    found = mistake(tmp_path, moved('"full", "soft"'))
    assert found.code == "no-controls"
    assert found.message.startswith("no arm has the strategies scratch and linear_probe")
    assert found.allowed == "all of scratch, linear_probe, full"
    assert "controls = false" in found.help
    assert found.places[0].line == 8


def test_one_missing_control_is_named_alone(tmp_path: Path) -> None:
    assert mistake(tmp_path, moved('"scratch", "full"')).message.startswith("no arm has the strategy linear_probe,")


def test_with_all_controls_or_the_word_that_there_are_none_the_suite_runs(tmp_path: Path) -> None:
    assert read(tmp_path, moved(f'{ALL}, "soft"')).compare.controls
    suite = read(tmp_path, moved('"full", "soft"', "controls = false"))
    assert not suite.compare.controls
    assert lacking_controls(setting.values for setting in suite.settings) == ("scratch", "linear_probe")


def test_a_suite_without_source_needs_no_controls_and_may_not_speak_of_them(tmp_path: Path) -> None:
    assert read(tmp_path, good()).compare.controls
    found = mistake(tmp_path, good("margin = 0.002", "controls = false"))
    assert found.message.startswith("controls = false says nothing without [source]")
    assert found.places[0].line == 23


def test_pairs_of_arms_are_read_in_their_order(tmp_path: Path) -> None:
    suite = read(tmp_path, good("margin = 0.002", 'nested = [["sgd", "momentum"], ["sgd", "adam"]]'))
    assert suite.compare.nested == (("sgd", "momentum"), ("sgd", "adam"))
    assert read(tmp_path, good()).compare.nested == ()


@pytest.mark.parametrize(
    ("nested", "code", "says", "help"),
    [
        ('[["sgd", "momentun"]]', "unknown-name", "no arm named 'momentun'", "did you mean 'momentum'?"),
        ('[["sgd", "sgd"]]', "conflict", "'sgd' is paired with itself", ""),
        ('[["sgd", "adam"], ["sgd", "adam"]]', "doubled-value", "doubled pair 'sgd', 'adam' (positions 1, 2)", ""),
        ('[["sgd"]]', "bad-value", '["sgd"] (list) is not allowed', ""),
        ('[["sgd", "momentum", "adam"]]', "bad-value", "is not allowed", ""),
        ("[[]]", "empty", "is empty", ""),
        ("[]", "empty", "is empty", ""),
        ('["sgd", "adam"]', "wrong-type", "expected a list", 'write 0 = ["sgd"]'),
    ],
)
def test_a_pair_that_is_none_is_refused_where_it_stands(
    tmp_path: Path, nested: str, code: str, says: str, help: str
) -> None:
    found = mistakes(tmp_path, good("margin = 0.002", f"nested = {nested}"))[0]
    assert (found.code, found.places[0].line) == (code, 23)
    assert says in found.message
    if code != "wrong-type":
        assert found.help == help
    if code == "bad-value":
        assert found.allowed == "list of 2: text"


def test_what_a_strategy_has_beside_its_choice_of_parameters_is_known_of_each_setting(tmp_path: Path) -> None:
    suite = read(tmp_path, moved(f'{ALL}, "soft"'))
    beside = {setting.arm: setting.beside for setting in suite.settings}
    assert beside == {"scratch": ("start random",), "linear_probe": (), "full": (), "soft": ("penalty", "no decay")}
