"""What a suite says to no effect is refused: options that no arm takes, and arms that are one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from suite_catalog import SHORT, at, good, mistake, mistakes, read, spelled

# Options that no arm takes --------------------------------------------------------------------------------------------


def strategies(problem: str, arms: str, baseline: str, more: str = "") -> str:
    tables = f"strategy = {problem}\n{more}[arms]\nstrategy = {arms}\n[compare]"
    return SHORT.replace("[compare]", tables) + f'baseline = "{baseline}"\n'


@pytest.mark.parametrize(
    ("problem", "option", "allowed", "help"),
    [
        ("{alpa = 0.1}", "alpa", "alpha, depth, lr, mode", "did you mean 'alpha'?"),
        ("{alpha = 0.1}", "alpha", "alpha, depth, lr, mode", 'write {use = "soft", alpha = 0.1} where it is named'),
        (
            '{use = "weighed", r = 2}',
            "r",
            "alpha, depth, lr, mode",
            "did you mean 'lr'?",
        ),
    ],
)
def test_an_option_of_the_problem_that_no_arm_takes_is_refused(
    tmp_path: Path, problem: str, option: str, allowed: str, help: str
) -> None:
    found = mistake(tmp_path, strategies(problem, '["soft", {use = "probe", depth = 2}]', "soft"))
    says = f"[problem] strategy: no arm takes '{option}', since each names a strategy with options of its own"
    assert (found.code, found.message, found.allowed, found.help) == ("unknown-key", says, allowed, help)
    assert (found.places[0].line, found.places[0].width) == (5, len(option))


def test_an_option_of_the_problem_that_one_arm_takes_is_none(tmp_path: Path) -> None:
    text = spelled('name = "a"', 'name = "b"\nstrategy = "probe"')
    text = text.replace("[compare]", 'strategy = {use = "soft", alpha = 0.1}\n[compare]')
    values = [setting.values["strategy"] for setting in read(tmp_path, text).settings]
    assert values == [{"use": "soft", "alpha": 0.1}, {"use": "probe", "lr": 0.5, "depth": 1, "mode": "mean"}]


def test_an_option_that_each_arm_gives_another_value_is_one_that_they_take(tmp_path: Path) -> None:
    text = spelled('name = "a"\nstrategy = {alpha = 1.0}', 'name = "b"\nstrategy = {alpha = 2.0}')
    assert read(tmp_path, text.replace("[compare]", 'strategy = {use = "soft", alpha = 0.1}\n[compare]')).settings


OPTIMIZERS = good("epochs = 2", 'epochs = 2\noptimizer = {use = "momentum", nesterov = true}')


def test_an_option_that_the_source_takes_is_one(tmp_path: Path) -> None:
    source = '[source]\ndataset = "fashion-mnist"\n'
    text = OPTIMIZERS.replace("[problem]", f"{source}[problem]").replace("[compare]", "[compare]\ncontrols = false")
    (found, *_) = [setting.source for setting in read(tmp_path, text).settings]
    assert found is not None
    assert found.values["optimizer"]["nesterov"] is True  # type: ignore[index,call-overload]
    other = text.replace(source, source + 'optimizer = "adam"\n')
    assert "no arm takes 'nesterov'" in mistake(tmp_path, other).message
    assert "no arm takes 'nesterov'" in mistake(tmp_path, OPTIMIZERS).message


# Equal arms -----------------------------------------------------------------------------------------------------------


def test_arms_that_differ_by_a_default_written_out_are_refused(tmp_path: Path) -> None:
    same = '{use = "soft", alpha = 0.5}'
    found = mistake(tmp_path, strategies('"full"', f'["soft", "probe", {same}]', "probe"))
    says = "[arms] strategy: arms 'soft' and 'soft-alpha-0.5' are equal once every default is filled in"
    assert (found.code, found.message) == ("doubled-value", says)
    assert (at(found), at(found, 1)) == ((7, 30, len(same)), (7, 13, 6))


def test_equal_arms_of_several_axes_are_told_once(tmp_path: Path) -> None:
    text = strategies('"full"', '["soft", {use = "soft", alpha = 0.5}]', "soft+sgd")
    found = mistake(tmp_path, text.replace("[compare]", 'optimizer = ["sgd", "adam"]\n[compare]'))
    says = "[arms] strategy: arms 'soft+sgd' and 'soft-alpha-0.5+sgd' are equal once every default is filled in"
    assert (found.code, found.message) == ("doubled-value", says)


def test_what_one_arm_searches_and_the_other_fixes_makes_them_two(tmp_path: Path) -> None:
    text = strategies('"full"', '["weighed", {use = "weighed", r = 4}]', "weighed")
    assert "are equal" in mistake(tmp_path, text).message
    assert len(read(tmp_path, text + "[tuning]\ntrials = 1\n").settings) == 2


def test_arms_with_names_of_their_own_may_be_equal(tmp_path: Path) -> None:
    assert read(tmp_path, spelled('name = "a"', 'name = "b"')).arms == ("a", "b")


def test_both_kinds_are_told_at_once(tmp_path: Path) -> None:
    text = strategies("{alpa = 0.1}", '["soft", {use = "soft", alpha = 0.5}]', "soft")
    assert [one.code for one in mistakes(tmp_path, text)] == ["unknown-key", "doubled-value"]
