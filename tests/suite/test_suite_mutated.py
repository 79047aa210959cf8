"""Mutated suites: whatever is done to a file, the answer is a suite or a list of mistakes."""

from __future__ import annotations

import json
import math
import random
import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.diagnostics import MistakesError
from harness.hookspecs import Choice, Float, Int

sys.path.insert(0, str(Path(__file__).parent))

from suite_catalog import GOOD, read

RICH = """\
question = "q"
seed = 3
schema = 1
[problem]
dataset = {use = "mnist", normalize = "none"}
model = "cnn"
loss = {label_smoothing = 0.1}
schedule = {use = "step", every = 2, gamma = 0.5}
augmentation = ["rotate", {use = "crop", padding = 2}]
regularisation = {l1 = 1e-5, l2 = 0}
early_stopping = {patience = 2, metric = "accuracy"}
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
augmentation = "none"
early_stopping = {min_delta = 0.5}
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
regularisation.l2 = {low = 1e-6, high = 1e-2, log = true}
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
    assert suite.settings[1].space == {
        "model.width": Int(8, 64, log=True),
        "batch_size": Choice(8, 16),
        "regularisation.l2": Float(1e-6, 1e-2, log=True),
    }
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
    except MistakesError as error:
        found = error.mistakes
    else:
        assert len(suite.settings) == len(suite.problems) * len(suite.arms)
        return
    assert found
    assert json.dumps([one.to_plain() for one in found])
    lines = raw.decode(errors="replace").split("\n")
    assert all(0 <= one.places[0].line <= len(lines) for one in found)
