"""Strategies that must agree do so to the last bit, with norm layers and without, by SGD with momentum and by AdamW."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from harness.hookspecs import NotApplicable
from tests import transfers
from tests.transfers import DATA, NETS, OPTIMIZERS, PARTS, STEPS, moved, outputs, prepared, state, trained

EACH = [(net, optimizer) for net in NETS for optimizer in OPTIMIZERS]
everywhere = pytest.mark.parametrize(("net", "optimizer"), EACH)


@cache
def reference(name, net, optimizer, weight_decay=None):
    """The state after the whole strategy, trained once for all tests."""
    return state(trained(name, NETS[net], optimizer, weight_decay=weight_decay).model)


def ends(name, net, optimizer, **given):
    return trained(name, NETS[net], optimizer, **given).model


@everywhere
def test_full_equals_a_loop_written_by_hand_with_two_decay_groups(net, optimizer):
    plain = prepared("full", NETS[net]).model  # the loaded network with its new head
    kind, hyperparameters = OPTIMIZERS[optimizer]
    matrices = [tensor for tensor in plain.parameters() if tensor.dim() >= 2]
    others = [tensor for tensor in plain.parameters() if tensor.dim() < 2]
    by_hand = kind([{"params": matrices}, {"params": others, "weight_decay": 0.0}], **hyperparameters)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(by_hand, STEPS)
    torch.manual_seed(2)
    for _ in range(STEPS):
        plain.train()
        by_hand.zero_grad()
        F.cross_entropy(plain(DATA[0]), DATA[1]).backward()
        by_hand.step()
        schedule.step()
    assert moved(plain, reference("full", net, optimizer)) == set()


SAME_AS_FULL = {
    "discriminative without decay": ("discriminative", {"decay": 1}),
    "wise_ft at its end": ("wise_ft", {"alpha": 1}),
    "freeze of nothing": ("freeze", {"last_k": "all"}),
    "gradual_unfreeze in one phase": ("gradual_unfreeze", {"decay": 1, "phases": 1}),
    "lp_ft without a probe": ("lp_ft", {"probe_share": 0, "ft_scale": 1}),
    "scratch of the same weights": ("scratch", {}),
}


@everywhere
@pytest.mark.parametrize("same", SAME_AS_FULL)
def test_what_is_full_by_another_name_equals_it(same, net, optimizer):
    name, options = SAME_AS_FULL[same]
    assert moved(ends(name, net, optimizer, **options), reference("full", net, optimizer)) == set()


@everywhere
def test_l2_sp_without_strength_equals_full_without_decay(net, optimizer):
    found = ends("l2_sp", net, optimizer, alpha=0, beta=0, weight_decay=0)
    assert moved(found, reference("full", net, optimizer, 0)) == set()


@everywhere
@pytest.mark.parametrize(("name", "options"), [("lp_ft", {"probe_share": 1}), ("freeze", {"last_k": 1})])
def test_what_is_a_linear_probe_by_another_name_equals_it(name, options, net, optimizer):
    assert moved(ends(name, net, optimizer, **options), reference("linear_probe", net, optimizer)) == set()


@everywhere
def test_a_linear_probe_leaves_the_backbone_with_its_buffers_where_it_was(net, optimizer):
    transfer = trained("linear_probe", NETS[net], optimizer)
    assert moved(transfer.model, transfer.start) == {f"{transfer.head}.weight", f"{transfer.head}.bias"}


@everywhere
def test_the_source_head_on_a_probed_backbone_gives_what_it_gave(net, optimizer):
    transfer = trained("linear_probe", NETS[net], optimizer)
    source = prepared("full", NETS[net], init=None).model
    head = source.get_submodule(transfer.head)
    head.load_state_dict(transfer.source_head)
    transfer.model.set_submodule(transfer.head, head)
    assert torch.equal(outputs(transfer.model), outputs(source))


@everywhere
def test_wise_ft_at_its_start_is_the_start_and_the_new_head_stays_as_trained(net, optimizer):
    transfer = trained("wise_ft", NETS[net], optimizer, alpha=0)
    head = {f"{transfer.head}.weight", f"{transfer.head}.bias"}
    floating = {name for name, tensor in transfer.start.items() if tensor.is_floating_point()}
    assert moved(transfer.model, transfer.start) & floating == head
    assert moved(transfer.model, reference("full", net, optimizer)) & head == set()


@everywhere
def test_lora_before_its_first_step_is_the_start(net, optimizer):
    assert torch.equal(outputs(prepared("lora", NETS[net]).model), outputs(prepared("full", NETS[net]).model))


@everywhere
def test_merged_lora_gives_what_it_gave_unmerged(net, optimizer):
    transfer = prepared("lora", NETS[net], r=2)
    list(transfers.carry_out(transfer, optimizer))
    unmerged = outputs(transfer.model)
    transfer.end()
    assert torch.equal(outputs(transfer.model), unmerged)
    assert not torch.equal(unmerged, outputs(prepared("full", NETS[net]).model))
    assert set(transfer.model.state_dict()) == set(transfer.start)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", PARTS)
def test_a_run_equals_itself_whatever_ran_between(name, net):
    try:
        first = state(trained(name, NETS[net], steps=12).model)
    except NotApplicable:
        assert (name, net) == ("norm_only", "plain")
        return
    trained("full", NETS[net], steps=3)
    torch.rand(1)
    again = trained(name, NETS[net], steps=12).model
    assert moved(again, first) == set()
    assert again.state_dict().keys() == first.keys()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", PARTS)
def test_in_each_phase_the_optimizer_holds_exactly_what_requires_a_gradient(name, optimizer):
    transfer = prepared(name, steps=6)
    for phase, built in transfers.carry_out(transfer, optimizer):
        held = {id(tensor) for group in built.param_groups for tensor in group["params"]}
        assert held == {id(tensor) for tensor in transfer.model.parameters() if tensor.requires_grad}
        assert held == {id(parameter.tensor) for parameter in phase.parameters()}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", PARTS)
def test_what_no_phase_selects_and_no_norm_in_training_mode_owns_keeps_its_bits(name, optimizer):
    transfer = prepared(name, steps=12)
    before = state(transfer.model)
    may_move = {p.name for phase in transfer.phases for p in phase.parameters()}
    for path, module in transfer.model.named_modules():
        if any(phase.trains_norm(path) for phase in transfer.phases):
            may_move |= {f"{path}.{buffer}" for buffer, _ in module.named_buffers(recurse=False)}
    list(transfers.carry_out(transfer, optimizer))
    found = moved(transfer.model, before)
    renamed = {name.replace("parametrizations.weight.original", "weight") for name in found}
    assert renamed <= may_move
    assert f"{transfer.head}.weight" in found


def test_surgery_moves_its_block_with_the_buffers_of_its_norm_and_the_new_head():
    transfer = trained("surgical", block=0)
    # No gradient reaches the bias 0.bias, since the norm behind it subtracts any constant.
    first = {"0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert moved(transfer.model, transfer.start) == first | {"11.weight", "11.bias"}


def test_surgery_leaves_a_kept_head_alone():
    transfer = trained("surgical", block=1, init="keep", outputs=5)
    buffers = {"5.running_mean", "5.running_var", "5.num_batches_tracked"}
    assert moved(transfer.model, transfer.start) == {"4.weight", "4.bias"} | buffers


def test_merged_lora_moves_its_targets_and_the_head_and_no_norm_that_has_parameters():
    transfer = trained("lora")
    targets = {"0.weight", "4.weight", "9.weight"}
    follows = {
        "5.running_mean",
        "5.running_var",
        "5.num_batches_tracked",
    }  # has none, and something in its block trains
    assert moved(transfer.model, transfer.start) == targets | follows | {"11.weight", "11.bias"}
