"""What libraries and users' code get wrong in fine-tuning, each defect as a test of what happens here."""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler
from torchvision import models

from harness import strategies
from harness.hookspecs import Phase, Strategy
from tests.transfers import INPUTS, PARTS, carry_out, conv_bn_net, moved, prepared, state


def on(model, inputs, name, **options):
    generator = torch.Generator().manual_seed(1)
    return strategies.prepare(PARTS[name], model, input_example=inputs, steps=6, options=options, generator=generator)


# Norm layers


@pytest.mark.parametrize("policy", ["follow", "eval", "train"])
def test_norms_follow_what_trains_or_stand_still_or_train_all(policy):
    transfer = prepared("linear_probe", norm=policy, steps=3)
    before = state(transfer.model)
    list(carry_out(transfer))
    buffers = {name for name in moved(transfer.model, before) if "running" in name}
    every = {f"{layer}.running_{what}" for layer in (1, 5, 10) for what in ("mean", "var")}
    assert buffers == (every if policy == "train" else set())


@pytest.mark.parametrize(("policy", "still"), [("follow", False), ("eval", True), ("train", False)])
def test_norms_may_be_held_while_everything_trains(policy, still):
    transfer = prepared("full", norm=policy, steps=3)
    before = state(transfer.model)
    list(carry_out(transfer))
    assert ({name for name in moved(transfer.model, before) if "running" in name} == set()) is still
    assert {"1.weight", "10.bias"} <= moved(transfer.model, before)


@pytest.mark.parametrize("policy", ["eval", "train"])
def test_scratch_follows_whatever_is_asked_of_norms(policy):
    assert prepared("scratch", norm=policy).norm == "follow"


def test_a_phase_says_which_norms_move():
    transfer = prepared("surgical", block=0)
    (phase,) = transfer.phases
    assert [phase.trains_norm(path) for path in ("1", "5", "10")] == [True, False, False]


def test_a_frozen_part_gives_in_training_what_it_gives_in_evaluation():
    transfer = prepared("linear_probe")
    (phase,) = transfer.begin()
    phase.train_mode()
    features = transfer.model[:11](INPUTS)
    assert torch.equal(features, transfer.model.eval()[:11](INPUTS))
    assert all(module.track_running_stats for module in transfer.model if hasattr(module, "track_running_stats"))


def test_lora_leaves_the_statistics_of_frozen_norms_alone():
    transfer = prepared("lora")
    before = state(transfer.model)
    list(carry_out(transfer))
    assert {"1.running_mean", "10.running_mean"}.isdisjoint(moved(transfer.model, before))


# Phases


def one_cycle(optimizer, steps):
    return lr_scheduler.OneCycleLR(optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=steps)


def by_lambda(optimizer, steps):
    return lr_scheduler.LambdaLR(optimizer, [lambda step: 1 / (1 + step)] * len(optimizer.param_groups))


def in_sequence(optimizer, steps):
    parts = [lr_scheduler.ConstantLR(optimizer, 0.1, 2), lr_scheduler.CosineAnnealingLR(optimizer, steps)]
    return lr_scheduler.SequentialLR(optimizer, parts, [2])


@pytest.mark.parametrize("schedule", [one_cycle, by_lambda, in_sequence])
@pytest.mark.parametrize("name", ["gradual_unfreeze", "lp_ft"])
def test_any_schedule_goes_with_parameters_that_begin_later(name, schedule):
    transfer = prepared(name, steps=24)
    held = [sum(len(g["params"]) for g in built.param_groups) for _, built in carry_out(transfer, schedule=schedule)]
    assert held == sorted(set(held))
    assert held[-1] == len(list(transfer.model.parameters()))


def test_what_is_newly_opened_begins_at_step_zero_and_survivors_go_on():
    transfer = prepared("gradual_unfreeze", steps=20)
    for number, (phase, built) in enumerate(carry_out(transfer, "adamw"), start=1):
        for parameter in phase.parameters():
            opened = parameter.depth + 1
            assert float(built.state[parameter.tensor]["step"]) == phase.steps * (number - opened + 1)


def test_a_run_that_was_cut_goes_on_with_the_phase_it_was_in():
    whole = prepared("gradual_unfreeze", steps=20)
    due = [(phase.start, set(phase.multipliers)) for phase in whole.begin()][2:]
    resumed = prepared("gradual_unfreeze", steps=20)
    found = []
    for phase in resumed.begin(after=whole.phases[2].start + 1):
        found.append((phase.start, set(phase.multipliers)))
        trains = {p.name for p in resumed.parameters() if p.tensor.requires_grad}
        assert trains == set(phase.multipliers)
    assert found == due


# Which parameter


def test_an_attribute_of_a_module_freezes_nothing():
    def freeze(t):
        t.model[0].requires_grad = False  # the mistake: a module has no such switch

    strategy = Strategy("mistaken", prepare=freeze, phases=lambda t: [Phase(lambda p: 1.0)])
    assert "0.weight" in prepared(strategy).phases[0].multipliers


def test_a_strategy_sees_no_data_no_rate_and_no_seed():
    seen = []
    prepared(Strategy("s", phases=lambda t: seen.append(set(dir(t))) or [Phase(lambda p: 1.0)]))
    assert seen[0].isdisjoint({"data", "train", "test", "validation", "lr", "seed", "seeds", "optimizer"})


def test_layer_decay_has_an_effect_on_a_plain_module():
    transfer = on(conv_bn_net(), INPUTS[:1], "discriminative", decay=0.5)
    assert sorted(set(transfer.phases[0].multipliers.values())) == [0.125, 0.25, 0.5, 1.0]


def test_class_token_and_positions_are_not_at_the_top_rate():
    model = models.VisionTransformer(32, 16, 2, 2, 16, 16, num_classes=3)
    rates = on(model, torch.zeros(1, 3, 32, 32), "discriminative", decay=0.5).phases[0].multipliers
    assert rates["class_token"] == rates["conv_proj.weight"] == min(rates.values())
    assert rates["encoder.pos_embedding"] < 1


def test_what_the_model_holds_fixed_does_not_shift_the_rates_of_the_others():
    model, held = conv_bn_net(), conv_bn_net()
    for layer in held[:2]:
        layer.requires_grad_(False)
    every, some = (on(net, INPUTS[:1], "discriminative").phases[0].multipliers for net in (model, held))
    assert some == {name: rate for name, rate in every.items() if name[0] != "0" and name.split(".")[0] != "1"}


def test_the_head_is_among_what_is_saved_after_lora():
    transfer = prepared("lora")
    list(carry_out(transfer))
    transfer.end()
    assert {"11.weight", "11.bias"} <= moved(transfer.model, transfer.start)
    assert transfer.model.state_dict().keys() == conv_bn_net().state_dict().keys()
