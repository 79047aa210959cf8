"""The built-in strategies: what they select on the article's network."""

import pytest
import torch
from harness_plugins.models import cnn
from harness_plugins.strategies import harness_strategies

from harness import strategies
from harness.errors import PluginError

torch.set_num_threads(1)

PARTS = {part.name: part for part in harness_strategies()}
LAYERS = ["conv1", "conv2", "dense", "head"]


def multipliers(name, **options):
    transfer = strategies.prepare(
        PARTS[name],
        cnn((1, 28, 28), 10),
        input_example=torch.zeros(1, 1, 28, 28),
        steps=10,
        options=options,
        generator=torch.Generator(),
    )
    (phase,) = transfer.begin()
    assert phase.steps == 10
    return dict(phase.multipliers)


def on(layers, multiplier=1.0):
    return {f"{layer}.{attr}": multiplier for layer in layers for attr in ("weight", "bias")}


def test_full_trains_everything_at_one():
    assert multipliers("full") == on(LAYERS)


def test_head_scale_changes_the_head_only():
    assert multipliers("full", head_scale=10.0) == on(LAYERS[:3]) | on(["head"], 10.0)


@pytest.mark.parametrize("last_k", [1, 2, 3, 4])
def test_freeze_trains_the_last_k_layers_with_the_head_counted(last_k):
    assert multipliers("freeze", last_k=last_k) == on(LAYERS[-last_k:])


def test_freeze_by_default_trains_two():
    assert multipliers("freeze") == on(["dense", "head"])


@pytest.mark.parametrize("last_k", ["all", 9])
def test_freeze_of_all_is_full(last_k):
    assert multipliers("freeze", last_k=last_k) == multipliers("full")


@pytest.mark.parametrize("last_k", [0, -1, True, 1.5, "none"])
def test_freeze_refuses_what_is_no_number_of_layers(last_k):
    with pytest.raises(ValueError, match="last_k must be a whole number of at least 1, or 'all', got"):
        multipliers("freeze", last_k=last_k)


def test_head_scale_of_zero_is_refused_with_the_parameter():
    with pytest.raises(PluginError, match=r"strategy 'full', phase 1: the multiplier of head.weight is 0"):
        multipliers("full", head_scale=0.0)
