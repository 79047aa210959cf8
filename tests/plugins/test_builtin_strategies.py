"""Strategies that only select: what, how fast and when, on the article's network."""

import pytest
import torch
from harness_plugins.models import cnn
from torch import nn

from harness import strategies
from harness.errors import PluginError
from harness.hookspecs import NotApplicable
from tests.transfers import PARTS

torch.set_num_threads(1)

LAYERS = ["conv1", "conv2", "dense", "head"]


def prepared(name, model=None, *, example=None, steps=10, new_head=None, **options):
    return strategies.prepare(
        PARTS[name],
        cnn((1, 28, 28), 10) if model is None else model,
        input_example=torch.zeros(1, 1, 28, 28) if example is None else example,
        steps=steps,
        options=options,
        generator=torch.Generator(),
        new_head=new_head,
    )


def multipliers(name, **options):
    (phase,) = prepared(name, **options).phases
    assert phase.steps == 10
    return dict(phase.multipliers)


def spans(name, **options):
    return [(phase.start, phase.end, dict(phase.multipliers)) for phase in prepared(name, **options).phases]


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


def test_scratch_trains_everything_from_random_weights_with_norms_that_follow():
    assert multipliers("scratch") == on(LAYERS)
    assert PARTS["scratch"].start == "random"


def test_a_linear_probe_trains_the_head():
    assert multipliers("linear_probe") == on(["head"])


def test_lp_ft_trains_the_head_and_then_everything_at_its_scale():
    assert spans("lp_ft", probe_share=0.3, ft_scale=0.2) == [(0, 3, on(["head"])), (3, 10, on(LAYERS, 0.2))]


@pytest.mark.parametrize("probe_share", [-0.1, 1.1, "half", True, None])
def test_a_probe_has_a_share_of_the_steps(probe_share):
    with pytest.raises(ValueError, match="lp_ft: probe_share must be a number from 0 to 1, got"):
        prepared("lp_ft", probe_share=probe_share)


def test_gradual_unfreezing_opens_a_block_a_phase_in_equal_parts():
    rates = {layer: 0.5**depth for depth, layer in enumerate(reversed(LAYERS))}
    due = [{k: v for layer in LAYERS[-count:] for k, v in on([layer], rates[layer]).items()} for count in (1, 2, 3, 4)]
    found = spans("gradual_unfreeze", decay=0.5, steps=20)
    assert found == [(5 * k, 5 * k + 5, selected) for k, selected in enumerate(due)]


def test_gradual_unfreezing_in_fewer_phases_opens_several_blocks_and_in_the_last_all():
    found = [{name.split(".")[0] for name in selected} for _, _, selected in spans("gradual_unfreeze", phases=3)]
    assert found == [{"dense", "head"}, {"conv2", "dense", "head"}, set(LAYERS)]


@pytest.mark.parametrize("phases", [0, 5, 1.5, True, "all"])
def test_gradual_unfreezing_has_no_more_phases_than_blocks(phases):
    with pytest.raises(ValueError, match="gradual_unfreeze: phases must be a whole number from 1 to 4, got"):
        prepared("gradual_unfreeze", phases=phases)


def test_gradual_unfreezing_in_fewer_steps_than_phases_is_refused():
    with pytest.raises(PluginError, match="4 phases need at least as many training steps, got 3"):
        prepared("gradual_unfreeze", steps=3)


def test_discriminative_rates_fall_by_a_factor_a_block():
    found = multipliers("discriminative")
    assert found["conv1.weight"] == pytest.approx((1 / 2.6) ** 3)
    assert found["head.bias"] == 1


@pytest.mark.parametrize("given", [{"total": 0.01}, {"total": 0.01, "decay": "none"}])
def test_a_total_of_a_hundredth_on_three_stages_is_a_hundredth_a_tenth_and_one(given):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    transfer = prepared("discriminative", model, example=torch.zeros(1, 4), **given)
    rates = [group["lr"] for group in transfer.phases[0].groups({"lr": 1e-2})]
    assert sorted(set(rates)) == pytest.approx([1e-4, 1e-3, 1e-2], rel=1e-12)


def test_a_total_beside_a_decay_is_refused_and_so_is_neither():
    with pytest.raises(ValueError, match=r"total takes the place of decay \(0.5\); write decay = \"none\" beside it"):
        prepared("discriminative", total=0.1, decay=0.5)
    with pytest.raises(ValueError, match='decay = "none" needs total'):
        prepared("discriminative", decay="none")


def test_bitfit_trains_biases_and_the_head():
    assert multipliers("bitfit") == {f"{layer}.bias": 1.0 for layer in LAYERS} | on(["head"])


def test_bitfit_on_a_residual_network_is_the_shifts_of_its_norms_and_the_head():
    from torchvision.models import resnet18

    transfer = prepared("bitfit", resnet18(), example=torch.zeros(1, 3, 32, 32))
    share = sum(p.tensor.numel() for p in transfer.phases[0].parameters() if not p.head)
    assert share == 4800  # 64 x 5 + 128 x 5 + 256 x 5 + 512 x 5 channels that batch norms shift
    assert all(p.norm or p.head for p in transfer.phases[0].parameters())


def test_norm_only_trains_scales_and_shifts_of_batch_norm_1d_too_and_the_head():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    transfer = prepared("norm_only", model, example=torch.zeros(1, 4))
    due = {f"{layer}.{attr}" for layer in (1, 3, 4) for attr in ("weight", "bias")}
    assert set(transfer.phases[0].multipliers) == due


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("norm_only", "no norm layer with parameters"),
        ("bitfit", "no bias before its head"),
        ("lora", "no linear or conv"),
    ],
)
def test_what_would_train_the_head_alone_is_not_applicable(name, reason):
    model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(NotApplicable, match=reason):
        prepared(name, model, example=torch.zeros(1, 1, dtype=torch.long))


def test_surgery_trains_one_block_and_a_new_head():
    assert multipliers("surgical") == on(["conv1", "head"])
    assert multipliers("surgical", block=2) == on(["dense", "head"])
    kept = strategies.NewHead(10, "keep", torch.Generator())
    assert multipliers("surgical", new_head=kept) == on(["conv1"])


@pytest.mark.parametrize("block", [-1, 4, True, 0.5, "first"])
def test_surgery_refuses_a_block_that_is_not_there(block):
    with pytest.raises(ValueError, match="surgical: block must be a whole number from 0 to 3, got"):
        prepared("surgical", block=block)


# Selections


def test_selections_agree_where_the_same_is_trained_and_differ_where_not():
    def of(name, **options):
        return prepared(name, **options).selection

    assert of("freeze", last_k="all") == of("full") == of("lp_ft", probe_share=0, ft_scale=1)
    assert of("freeze", last_k=1) == of("linear_probe") == of("lp_ft", probe_share=1)
    assert of("full") == of("full", steps=7)
    different = [
        of("full"), of("scratch"), of("linear_probe"), of("lp_ft"), of("lp_ft", probe_share=0.2), of("l2_sp"),
        of("l2_sp", alpha=1), of("wise_ft"), of("wise_ft", alpha=0.1), of("full", head_scale=2), of("surgical"),
    ]  # fmt: skip
    assert len(set(different)) == len(different)
