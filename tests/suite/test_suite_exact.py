"""Strategies that take no steps: what is tuned for them, and what next to them would make no difference."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from suite_catalog import mistake, mistakes, read

SUITE = """\
question = "?"

[problem]
dataset = "mnist"
model = "mlp"
optimizer = "momentum"
{problem}

[arms]
strategy = ["full", "exact"]

[tuning]
trials = 2
space.lr = {{ low = 1e-3, high = 1.0, log = true }}
space.batch_size = [16, 32]

[compare]
metric = "accuracy"
baseline = "full"
"""


def test_nothing_that_says_how_steps_are_taken_is_tuned_for_it(tmp_path: Path) -> None:
    full, exact = read(tmp_path, SUITE.format(problem="")).settings
    assert set(full.space) == {"model.layers", "optimizer.lr", "optimizer.momentum", "batch_size"}
    assert set(exact.space) == {"model.layers", "strategy.l2"}
    assert (full.exact, exact.exact) == (False, True)


def test_a_space_that_only_such_arms_could_have_used_is_refused(tmp_path: Path) -> None:
    text = SUITE.format(problem="").replace('["full", "exact"]', '["exact"]').replace('"full"', '"exact"')
    found = mistake(tmp_path, text.replace("space.batch_size = [16, 32]\n", ""))
    assert found.message == "[tuning.space]: no arm has an option 'lr'"


@pytest.mark.parametrize(
    ("problem", "key"),
    [
        ('augmentation = "rotate"', "augmentation"),
        ("regularisation = { l2 = 1e-4 }", "regularisation"),
        ('early_stopping = { patience = 2, metric = "loss" }', "early_stopping"),
        ('norm = "train"', "norm"),
    ],
)
def test_what_changes_with_every_step_is_refused_next_to_it(tmp_path: Path, problem: str, key: str) -> None:
    found = mistake(tmp_path, SUITE.format(problem=problem))
    assert found.code == "conflict"
    assert found.message == (
        f"{key} next to the strategy 'exact', which takes no steps: it would make no difference to it"
    )
    assert found.places[0].line == 7
    assert found.help == f"leave out {key}, or that strategy"


def test_it_is_told_once_at_the_arm_that_has_it_whatever_the_problems(tmp_path: Path) -> None:
    arms = """[[arm]]
name = "full"

[[arm]]
name = "exact"
strategy = "exact"
augmentation = "rotate"
"""
    text = SUITE.format(problem="").replace('[arms]\nstrategy = ["full", "exact"]\n', arms)
    (found,) = mistakes(tmp_path, text.replace("[tuning]", "[problems]\nsteps = [5, 9]\n\n[tuning]"))
    assert found.message.startswith("augmentation next to the strategy 'exact'")
    assert found.places[0].line == 15
