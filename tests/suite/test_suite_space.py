"""What tuning searches, and what [tuning.space] may not say."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from harness.hookspecs import Choice, Float, Int

sys.path.insert(0, str(Path(__file__).parent))

from suite_catalog import LR, SHORT, good, mistake, mistakes, read, spelled

# Search space ---------------------------------------------------------------------------------------------------------


def space(tmp_path: Path, wanted: str, arms: str = 'optimizer = ["momentum"]', problem: str = "") -> list[object]:
    text = SHORT.replace(
        "[compare]", f"{problem}\n[arms]\n{arms}\n[tuning]\ntrials = 2\n[tuning.space]\n{wanted}\n[compare]"
    )
    first = next(iter(tomllib.loads(arms).values()))[0]
    name = "-".join(str(x) for pair in first.items() for x in pair if x != "use") if isinstance(first, dict) else first
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
    fixed = read(tmp_path, spelled('name = "a"\noptimizer = {momentum = 0.5}')).settings[0]
    assert fixed.values["optimizer"]["momentum"] == 0.5  # type: ignore[index,call-overload]


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


@pytest.mark.parametrize(
    ("wanted", "says", "column"),
    [
        ("weight = {low = -0.1, high = 1.0}", "'weighed' takes weight of 0 or above, found -0.1 (float)", 17),
        ("weight = {low = -2, high = -1}", "'weighed' takes weight of 0 or above, found -2 (integer)", 17),
        ("r = {low = 0, high = 16}", "'weighed' takes r above 0, found 0 (integer)", 12),
        ("lr = {low = 0, high = 0.5}", "'sgd' takes lr above 0, found 0 (integer)", 13),
    ],
)
def test_an_end_of_a_range_is_refused_as_a_fixed_value_is(tmp_path: Path, wanted: str, says: str, column: int) -> None:
    text = good("epochs = 2", 'strategy = "weighed"').replace("batch_size = [32, 64, 128]", wanted)
    found = mistakes(tmp_path, text)[0]
    assert found.code == "out-of-range"
    assert says in found.message
    assert (found.places[0].line, found.places[0].column) == (17, column)


def test_an_end_of_a_range_that_a_fixed_value_may_have_is_taken(tmp_path: Path) -> None:
    text = good("epochs = 2", 'strategy = "weighed"').replace(
        "batch_size = [32, 64, 128]", "weight = {low = 0, high = 9}"
    )
    assert read(tmp_path, text).settings[0].space["strategy.weight"] == Float(0.0, 9.0)


def test_words_and_numbers_are_choices_of_one_option_of_a_strategy(tmp_path: Path) -> None:
    text = good("epochs = 2", 'strategy = "probe"').replace("batch_size = [32, 64, 128]", 'depth = [1, 2, "all"]')
    assert read(tmp_path, text).settings[0].space["strategy.depth"] == Choice(1, 2, "all")


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
