"""Questions about data and costs, as the child process answers them."""

from __future__ import annotations

import hashlib

import pytest
import torch

from harness import probe
from harness.errors import PluginError
from harness.execute.serial import _unchanged_process
from harness.registry.catalog import Origin
from harness.spec import digest
from tests.conftest import TINY

FAILING = """

class Failing(nn.Linear):
    def forward(self, inputs):
        if self.training:
            raise RuntimeError("no such luck")
        return super().forward(inputs)


@harness.hookimpl
def harness_models():
    return [
        harness.Model("line", build=line),
        harness.Model("failing", build=lambda input_shape, outputs: Failing(input_shape[0], outputs)),
    ]
"""


@pytest.fixture
def origin(tmp_path):
    """The plugin `tiny` with a second model, which fails in training, as a file."""
    file = tmp_path / "tiny.py"
    file.write_text(TINY + FAILING)
    return Origin("plugins", "", "tiny", str(file), digest(str(tmp_path)), local=True).__dict__


@pytest.fixture(autouse=True)
def _unchanged():
    with _unchanged_process():
        yield


def builtin(module):
    return Origin("harness", "0.1.0", f"harness_plugins.{module}", "", "ab" * 32).__dict__


def price(origin, tmp_path, ends=None, strategies="strategies", **changed):
    """The price of a small setting with some keys of the problem changed."""
    problem = {
        "dataset": {"use": "clouds"},
        "model": {"use": "line", "width": 5},
        "loss": {"use": "cross_entropy"},
        "optimizer": {"use": "sgd", "lr": 0.1},
        "schedule": {"use": "constant"},
        "strategy": {"use": "full"},
        **{"train_examples": 120, "validation_examples": 80, "epochs": 2, "steps": None, "batch_size": 30},
        **{"precision": "fp32", **changed},
    }
    origins = {
        **{"dataset": origin, "model": origin, "loss": builtin("losses"), "optimizer": builtin("optimizers")},
        **{"schedule": builtin("schedules"), "strategy": builtin(strategies), "metric:loss": builtin("metrics")},
    }
    payload = {"phase": "tune", "problem": problem, "seeds": {}, "metrics": {"loss": {}}, "threads": 1}
    steps = problem["steps"] or problem["epochs"] * -(-problem["train_examples"] // problem["batch_size"])
    asked = {"steps": steps, "examples": problem["train_examples"]}
    question = {"payload": payload, "origins": origins, "root": str(tmp_path), "device": "cpu", **asked}
    return probe.price(question if ends is None else {**question, "ends": ends})


def question(origin, tmp_path, **options):
    return {"dataset": {"use": "clouds", **options}, "origin": origin, "root": str(tmp_path)}


def test_facts_are_those_of_the_data(origin, tmp_path):
    facts = probe.data(question(origin, tmp_path, examples=60))
    assert (facts["train"], facts["test"], facts["input_shape"], facts["classes"]) == (60, 100, [4], 2)
    assert facts["class_names"] == []
    assert set(facts["fingerprints"]) == {"train", "test"}


def test_fingerprints_follow_the_data(origin, tmp_path):
    one = probe.data(question(origin, tmp_path))["fingerprints"]
    other = probe.data(question(origin, tmp_path, seed=1))["fingerprints"]
    assert probe.data(question(origin, tmp_path))["fingerprints"] == one
    assert not set(one.values()) & set(other.values())
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(240) % 2
    inputs = torch.randn(240, 4, generator=generator) * 1.0 + labels[:, None] * 1.0
    by_hand = hashlib.sha256(b"torch.float32(240, 4)" + inputs.numpy().tobytes())
    by_hand.update(b"torch.int64(240,)" + labels.numpy().tobytes())
    assert one["train"] == by_hand.hexdigest()


@pytest.mark.parametrize(
    ("schedule", "budget", "refused"),
    [
        # 120 examples in batches of 30: 4 steps an epoch.
        ({"use": "multistep", "milestones": [2, 3]}, {"epochs": 2}, True),
        ({"use": "multistep", "milestones": [1, 9]}, {"epochs": 2}, False),
        ({"use": "multistep", "milestones": []}, {"epochs": 2}, True),
        ({"use": "step", "every": 8, "unit": "steps"}, {"epochs": 2}, True),
        ({"use": "step", "every": 7, "unit": "steps"}, {"epochs": 2}, False),
        ({"use": "step"}, {"epochs": None, "steps": 4}, True),
        ({"use": "cosine"}, {"epochs": 2}, False),
        ({"use": "plateau"}, {"epochs": 2}, False),
        ({"use": "multistep", "milestones": [20]}, {"epochs": 2, "labels_per_class": 5}, False),
    ],
)
def test_a_schedule_that_would_never_change_the_rate_is_refused_with_the_budget(
    origin, tmp_path, schedule, budget, refused
):
    if not refused:
        assert price(origin, tmp_path, schedule=schedule, **budget)["parameters"]
        return
    with pytest.raises(
        ValueError, match=r"never changes the rate within the budget \([48] steps, 4 an epoch\)"
    ) as said:
        price(origin, tmp_path, schedule=schedule, **budget)
    assert f"schedule '{schedule['use']}' (" in str(said.value)


def test_a_data_set_is_loaded_once_for_all_questions(origin, tmp_path, monkeypatch):
    probe.data(question(origin, tmp_path))
    monkeypatch.setattr(probe.data_module, "load", None)
    probe.data(question(origin, tmp_path))


def test_a_data_set_against_the_contract_is_refused(origin, tmp_path):
    with pytest.raises(PluginError, match="dataset 'clouds', train split: 0 inputs"):
        probe.data(question(origin, tmp_path, examples=0))


@pytest.mark.parametrize("budget", [{}, {"epochs": None, "steps": 500}], ids=["epochs", "steps"])
def test_a_price_is_positive_and_counts_the_parameters(origin, tmp_path, budget):
    found = price(origin, tmp_path, **budget)
    assert set(found) == {"step_seconds", "example_seconds", "parameters"}
    assert found["step_seconds"] > 0
    assert found["example_seconds"] > 0
    assert found["parameters"] == 4 * 5 + 5 + 5 * 2 + 2


def test_a_batch_larger_than_the_data_can_be_priced(origin, tmp_path):
    assert price(origin, tmp_path, batch_size=10_000)["step_seconds"] > 0


def test_a_model_that_cannot_be_built_is_the_answer(origin, tmp_path):
    with pytest.raises(RuntimeError, match="negative dimension"):
        price(origin, tmp_path, model={"use": "line", "width": -1})


def test_a_part_that_fails_in_training_leaves_the_price_unknown(origin, tmp_path):
    found = price(origin, tmp_path, model={"use": "failing"})
    assert found == {"step_seconds": None, "example_seconds": None, "parameters": 4 * 2 + 2}


HALVES = {"epochs": None, "steps": 1, "strategy": {"use": "lp_ft", "probe_share": 0.5, "ft_scale": 0.1}}


def test_fewer_planned_steps_than_phases_are_refused(origin, tmp_path):
    with pytest.raises(PluginError, match="2 phases need at least as many training steps, got 1"):
        price(origin, tmp_path, strategies="strategies_select", **HALVES)
    assert price(origin, tmp_path, strategies="strategies_select", **{**HALVES, "steps": 2})["step_seconds"] > 0


def test_a_setting_is_built_at_the_ends_of_what_tuning_searches(origin, tmp_path):
    def end(width):
        return {"at": f"model.width = {width}", "steps": 8, "problem": {"model": {"use": "line", "width": width}}}

    assert price(origin, tmp_path, ends=[end(1), end(9)])["parameters"] == 4 * 5 + 5 + 5 * 2 + 2
    with pytest.raises(PluginError, match=r"negative dimension.* \(tuning may try model\.width = -2\)"):
        price(origin, tmp_path, ends=[end(1), end(-2)])


@pytest.mark.parametrize(
    ("given", "tried", "said"),
    [
        (None, "conv", "is not applicable there and is so elsewhere: .*'conv' in it"),
        ("conv", "0", "is not applicable as the arm has it, and is so elsewhere: .*'conv' in it"),
    ],
)
def test_a_strategy_that_applies_at_some_of_what_tuning_searches_is_refused(origin, tmp_path, given, tried, said):
    def lora(targets):
        return {"use": "lora", "r": 2, "alpha": None, "rslora": False, "targets": targets}

    def priced(*tried):
        ends = [{"at": f"targets = {at!r}", "steps": 8, "problem": {"strategy": lora(at)}} for at in tried]
        return price(origin, tmp_path, ends=ends, strategies="strategies_weights", strategy=lora(given))

    assert bool(priced(given).get("not_applicable")) == (given == "conv")
    with pytest.raises(PluginError, match=rf"strategy 'lora' {said} .*\(tuning may try targets = '{tried}'"):
        priced(given, tried)


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        (
            {"use": "l2_sp", "alpha": "big", "beta": 0.1},
            "alpha = 'big' where the default is 0.01: .*ValueError: could not",
        ),
        (
            {"use": "l2_sp", "alpha": 0.0, "beta": "no"},
            "beta = 'no' where the default is 0.01: .*ValueError: could not",
        ),
    ],
)
def test_a_word_that_a_strategy_does_not_know_is_refused_though_only_training_shows_it(
    origin, tmp_path, strategy, said
):
    with pytest.raises(PluginError, match=f"strategy 'l2_sp', {said}"):
        price(origin, tmp_path, strategies="strategies_weights", strategy=strategy)


def test_a_word_that_cannot_be_reckoned_with_is_named(origin, tmp_path):
    strategy = {"use": "gradual_unfreeze", "decay": "fast", "phases": None}
    with pytest.raises(
        PluginError, match=r"'gradual_unfreeze', decay = 'fast' where the default is 0\.38.*TypeError: unsupported"
    ):
        price(origin, tmp_path, strategies="strategies_select", strategy=strategy)
