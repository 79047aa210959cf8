"""Strategies that change weights: low rank, the pull to the start, interpolation; against what is written out."""

from __future__ import annotations

import pytest
import torch
from harness_plugins.models import cnn
from torch import nn

from harness import strategies
from harness.errors import PluginError
from harness.hookspecs import NotApplicable
from tests.transfers import PARTS, carry_out, conv_bn_net, plain_net, prepared, state, trained


def on(model, inputs, name="lora", **options):
    generator = torch.Generator().manual_seed(1)
    return strategies.prepare(PARTS[name], model, input_example=inputs, steps=4, options=options, generator=generator)


def drawn(ranks):
    with torch.no_grad():
        ranks.b.normal_(generator=torch.Generator().manual_seed(2))
    return ranks


# LoRA


@pytest.mark.parametrize(
    "fields",
    [
        {"groups": 2, "dilation": 2, "padding": 2, "padding_mode": "reflect"},
        {"stride": (2, 1), "padding": "valid", "padding_mode": "zeros"},
        {"padding": 1, "padding_mode": "circular", "bias": False},
    ],
)
def test_lora_on_a_convolution_of_any_kind_is_the_convolution_by_w_plus_ba(fields):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, **fields).double()
    model = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2).double())
    inputs = torch.randn(3, 4, 9, 9, dtype=torch.float64)
    start = layer.weight.detach().clone()
    on(model, inputs, r=2, alpha=6)
    ranks = drawn(layer.parametrizations.weight[0])
    written_out = nn.Conv2d(4, 6, 3, **fields).double()
    with torch.no_grad():
        written_out.weight.copy_(start + 3 * torch.einsum("or,ri->oi", ranks.b, ranks.a).reshape(start.shape))
        if layer.bias is not None:
            written_out.bias.copy_(layer.bias)
    torch.testing.assert_close(layer(inputs), written_out(inputs), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("rslora", "scale"), [(False, 8 / 4), (True, 8 / 2)])
def test_alpha_is_divided_by_the_rank_or_by_its_root(rslora, scale):
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 2))
    on(model, torch.zeros(1, 6), r=4, alpha=8, rslora=rslora)
    assert model[0].parametrizations.weight[0].scale == scale


def test_a_is_drawn_as_torch_draws_a_linear_layer_and_b_is_zero():
    model = nn.Sequential(nn.Linear(400, 300), nn.Linear(300, 2))
    on(model, torch.zeros(1, 400), r=16)
    ranks = model[0].parametrizations.weight[0]
    assert float(ranks.a.detach().abs().max()) == pytest.approx(400**-0.5, rel=0.01)  # uniform within 1 / sqrt(inputs)
    assert float(ranks.a.detach().std()) == pytest.approx(400**-0.5 / 3**0.5, rel=0.03)
    assert not ranks.b.any()


def test_a_rank_beyond_the_lesser_side_is_capped_and_the_cap_is_remembered():
    transfer = prepared("lora", r=9)
    # (out, in / groups x kernel): (4, 1 x 9), (4, 4 x 9), (8, 16).
    assert transfer.memo["ranks"] == {"0.weight": 4, "4.weight": 4, "9.weight": 8}


def test_targets_are_weights_before_the_head_whose_names_have_the_expression_in_them():
    transfer = prepared("lora", plain_net, targets=r"^[25]\.")
    assert set(transfer.memo["ranks"]) == {"2.weight", "5.weight"}
    added = {p.name.split(".")[0] for p in transfer.parameters() if p.added}
    assert added == {"2", "5"}


def test_targets_that_no_name_has_are_not_applicable_and_no_expression_is_refused():
    with pytest.raises(
        NotApplicable, match="no linear or convolution weight before its head whose name has 'attn' in it"
    ):
        prepared("lora", targets="attn")
    with pytest.raises(ValueError, match=r"lora: targets must be a regular expression, got '\('"):
        prepared("lora", targets="(")


@pytest.mark.parametrize(("option", "value"), [("r", 0), ("r", 2.0), ("r", True), ("alpha", 0), ("alpha", "r")])
def test_options_of_lora_that_mean_nothing_are_refused(option, value):
    with pytest.raises(ValueError, match=f"lora: {option} must be a "):
        prepared("lora", **{option: value})


def test_dropout_of_inputs_is_refused():
    with pytest.raises(PluginError, match="strategy 'lora' has no option 'dropout'"):
        prepared("lora", dropout=0.1)


def test_attention_gets_ranks_on_its_projections():
    layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(24, 2))
    inputs = torch.randn(2, 3, 8)
    before = model.eval()(inputs)
    transfer = on(model, inputs[:1])
    assert set(transfer.memo["ranks"]) == {
        "0.self_attn.in_proj_weight", "0.self_attn.out_proj.weight", "0.linear1.weight", "0.linear2.weight",
    }  # fmt: skip
    torch.testing.assert_close(model.eval()(inputs), before)
    drawn(layer.self_attn.parametrizations.in_proj_weight[0])
    assert not torch.allclose(model(inputs), before)


def test_a_weight_that_two_layers_share_gets_no_ranks():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[1].weight = model[0].weight
    assert set(on(model, torch.zeros(1, 4)).memo["ranks"]) == {"2.weight"}


def test_ranks_lie_in_memory_as_the_weights_do():
    model = conv_bn_net().to(memory_format=torch.channels_last)
    strides = model[4].weight.stride()
    on(model, torch.zeros(1, 1, 6, 6))
    assert model[4].weight.stride() == strides


def test_lora_draws_from_its_own_generator_only():
    model = plain_net()
    before = torch.get_rng_state()
    on(model, torch.zeros(1, 1, 6, 6))
    assert torch.equal(torch.get_rng_state(), before)


# L2-SP


@pytest.mark.parametrize("init", ["normal:0.01", "keep"])
def test_the_pull_has_the_gradient_alpha_times_the_way_from_the_start_and_beta_times_a_new_head(init):
    transfer = prepared("l2_sp", init=init, outputs=5, alpha=0.3, beta=0.7)
    with torch.no_grad():
        for number, parameter in enumerate(transfer.parameters()):
            parameter.tensor.add_(0.01 * (number + 1))
    transfer.penalty().backward()
    for number, parameter in enumerate(transfer.parameters()):
        way = torch.full_like(parameter.tensor, 0.3 * 0.01 * (number + 1))
        due = 0.7 * parameter.tensor.detach() if parameter.head and init != "keep" else way
        torch.testing.assert_close(parameter.tensor.grad, due, rtol=1e-4, atol=1e-7)


def test_the_head_is_told_by_its_parameters_and_not_by_a_part_of_a_name():
    model = nn.Sequential()
    for name in ("header", "overhead", "head"):
        model.add_module(name, nn.Linear(4, 4))
    transfer = on(model, torch.zeros(1, 4), "l2_sp", alpha=2, beta=0)
    with torch.no_grad():
        model.header.bias.add_(1)
        model.head.bias.add_(1)
    assert float(transfer.penalty().detach()) == pytest.approx(4)


def test_there_is_no_other_decay_beside_the_pull():
    groups = prepared("l2_sp").phases[0].groups({"lr": 0.1, "weight_decay": 0.5})
    assert [group["weight_decay"] for group in groups] == [0.0]


def test_what_a_checkpoint_holds_is_not_the_start_again():
    assert prepared("l2_sp").notes()["memo"] == {}


# WiSE-FT


def test_weights_and_running_statistics_are_mixed_counts_and_a_new_head_are_not():
    end = state(trained("full", steps=8).model)
    transfer = trained("wise_ft", steps=8, alpha=0.25)
    for name, found in transfer.model.state_dict().items():
        start = transfer.start[name]
        mixed = 0.75 * start.double() + 0.25 * end[name].double()
        due = mixed if found.is_floating_point() and not name.startswith("11.") else end[name].double()
        torch.testing.assert_close(found.double(), due, rtol=1e-6, atol=1e-7, msg=name)
    assert "1.num_batches_tracked" in end


def test_a_kept_head_is_mixed_with_the_one_it_came_with():
    end = state(trained("full", steps=8, init="keep", outputs=5).model)
    transfer = trained("wise_ft", steps=8, init="keep", outputs=5, alpha=0.5)
    due = (transfer.start["11.weight"] + end["11.weight"]) / 2
    torch.testing.assert_close(transfer.model[11].weight.detach(), due)


def test_with_a_probe_the_head_is_mixed_with_what_the_probe_left():
    transfer = prepared("wise_ft", steps=8, alpha=0.5, probe_share=0.5)
    heads = [state(transfer.model[11])["weight"] for _ in carry_out(transfer)]
    transfer.end()
    torch.testing.assert_close(transfer.model[11].weight.detach(), (heads[0] + heads[1]) / 2)


def test_tied_weights_are_mixed_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[1].weight = model[0].weight
    transfer = on(model, torch.zeros(1, 4), "wise_ft", alpha=0.5)
    with torch.no_grad():
        model[0].weight.add_(1)
    transfer.end()
    torch.testing.assert_close(model[0].weight.detach(), transfer.start["0.weight"] + 0.5)


@pytest.mark.parametrize(("option", "value"), [("alpha", 1.5), ("alpha", -0.1), ("probe_share", 2), ("alpha", "half")])
def test_a_mixture_beyond_its_ends_is_refused(option, value):
    with pytest.raises(ValueError, match=f"wise_ft: {option} must be a number from 0 to 1, got"):
        prepared("wise_ft", **{option: value})


def test_bitfit_trains_a_small_share_of_the_articles_network_and_lora_more_than_a_probe():
    def share(name):
        transfer = on(cnn((1, 28, 28), 10), torch.zeros(1, 1, 28, 28), name)
        return sum(p.tensor.numel() for p in transfer.phases[0].parameters())

    assert share("bitfit") == 32 + 64 + 128 + 10 + 1280
    # A (4, in) and B (out, 4) of the three layers before the head.
    assert share("lora") == 4 * (9 + 32 + 288 + 64 + 3136 + 128) + 1290
