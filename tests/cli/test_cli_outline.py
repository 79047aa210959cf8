"""`list strategies` and `show STRATEGY --model NAME`: what a strategy trains is seen before anything runs."""

from __future__ import annotations

import re

import pytest

from harness.registry import load_catalog


def test_the_list_of_strategies_says_options_definition_tuned_option_and_source_of_each(project):
    lines = {line.split()[0]: line for line in project.run("list", "strategies").out.splitlines()[2:] if line}
    assert {"scratch", "full", "lp_ft", "lora", "wise_ft"} <= lines.keys()
    for part in load_catalog(()).of("strategy"):
        words = [part.summary, part.source, *part.space, *(f"{name} (" for name in part.options)]
        assert all(word in lines[part.name] for word in words), part.name

    assert "probe_share (0.5), ft_scale (0.1)" in lines["lp_ft"]


def rows(out):
    """Cells of the rows of blocks."""
    return [re.split(r"\s{2,}", line.strip()) for line in out.splitlines() if re.match(r"\s+\d+\s", line)]


def test_blocks_are_shown_with_each_phases_multipliers(project):
    result = project.run("show", "lp_ft", "--model", "cnn", "--input-shape", "1x28x28", "--option", "ft_scale=0.25")
    assert result.code == 0
    # By hand: 9 x 32 + 32, 9 x 32 x 64 + 64, 7 x 7 x 64 x 128 + 128, 128 x 10 + 10.
    assert rows(result.out) == [
        ["0", "conv1.weight", "conv1.bias", "320", "frozen", "0.25"],
        ["1", "conv2.weight", "conv2.bias", "18496", "frozen", "0.25"],
        ["2", "dense.weight", "dense.bias", "401536", "frozen", "0.25"],
        ["3", "head.weight", "head.bias", "1290", "1", "0.25"],
    ]
    assert "probe 0%-50%  all 50%-100%" in result.out
    assert "trains 421,642 of 421,642 parameters (100.00%)" in result.out


def test_a_block_of_which_a_part_trains_says_which_share(project):
    result = project.run(
        "show", "lora", "--model", "cnn", "--input-shape", "1x28x28", "--option", "r=1", "--json"
    ).json()
    (phase,) = (block["phases"][0] for block in result["blocks"][:1])
    assert phase == {"multipliers": [1.0], "parameters": 9 + 32}
    assert result["blocks"][0]["parameters"] == 320 + 9 + 32


def test_options_of_the_network_and_outputs_are_obeyed(project):
    shown = ("show", "linear_probe", "--model", "mlp", "--input-shape", "4", "--outputs", "3")
    result = project.run(*shown, "--option", "model.hidden=[8, 6]", "--stages", "2")
    assert [row[3] for row in rows(result.out)] == [str(4 * 8 + 8 + 8 * 6 + 6), str(6 * 3 + 3)]


def test_a_strategy_that_does_not_fit_says_why_and_is_no_mistake(project):
    result = project.run("show", "norm_only", "--model", "cnn", "--input-shape", "1x28x28")
    assert result.code == 0
    assert "norm_only is not applicable to cnn: the model has no norm layer with parameters" in result.out


NORMED = """
import harness
from torch import nn

def normed(input_shape, outputs):
    layers = nn.Linear(input_shape[0], 6), nn.BatchNorm1d(6), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, outputs)
    return nn.Sequential(*layers)

@harness.hookimpl
def harness_models():
    return [harness.Model("normed", build=normed, blocks=(r"0\\.|1\\.", r"2\\."))]
"""


def test_biases_that_cannot_learn_are_named(project):
    project.plugin("normed", NORMED)
    result = project.run("show", "bitfit", "--model", "normed", "--input-shape", "4")
    assert (
        "no gradient reaches 1 of the biases, since a norm layer right behind them subtracts any constant: 0.bias"
        in (result.out)
    )
    held = project.run("show", "bitfit", "--model", "normed", "--input-shape", "4", "--norm", "eval")
    assert "no gradient" not in held.out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--model", "cn"], 2, "no model named 'cn'"),
        (["--model", "cnn", "--input-shape", "3x"], 2, "must be whole numbers with x between, such as 3x64x64"),
        (["--model", "cnn", "--stages", "1"], 2, "must be a whole number of at least 2, or all, got '1'"),
        (["--model", "cnn", "--option", "R=3"], 2, "strategy 'lora' has no option 'R'"),
        (["--model", "cnn", "--option", "r"], 2, "must be NAME=VALUE, got 'r'"),
        (["--model", "cnn", "--option", "r=0"], 2, "lora: r must be a whole number from 1 to"),
        (["--model", "cnn", "--option", "model.hiden=3"], 2, "has no option 'hiden'; did you mean 'hidden'?"),
        (
            ["--model", "cnn", "--option", "cnn.hidden=3"],
            2,
            "begin with the word 'model': write --option model.hidden=3",
        ),
        (["--outputs", "3"], 2, "--outputs says something of a strategy on a network: add --model NAME"),
        (["--option", "r=8", "--norm", "eval"], 2, "--option and --norm say something of a strategy on a network"),
    ],
)
def test_what_means_nothing_is_refused_in_one_line(project, words, code, says):
    result = project.run("show", "lora", *words)
    assert result.code == code, result.err
    assert says in result.err
    assert "Traceback" not in result.err
