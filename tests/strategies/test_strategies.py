"""Block maps of many networks, and what every strategy gets: phases, groups, modes, hooks and refusals."""

from fractions import Fraction

import pytest
import torch
from harness_plugins.models import cnn, mlp
from hypothesis import given
from hypothesis import strategies as some
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import parametrize
from torchvision import models

from harness import strategies
from harness.errors import PluginError
from harness.hookspecs import NotApplicable, Phase, Strategy
from harness.strategies import blocks

torch.set_num_threads(1)

EVERYTHING = Strategy("everything", phases=lambda t: [Phase(lambda p: 1.0)])


def conv_net():
    """Two conv-BN-dropout stages, a BN without parameters, and a head."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5),
        nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4, affine=False), nn.ReLU(), nn.Dropout(0.5),
        nn.Flatten(), nn.Linear(4 * 36, 8), nn.BatchNorm1d(8), nn.Linear(8, 3),
    )  # fmt: skip


DATA = torch.randn(16, 1, 6, 6, generator=torch.Generator().manual_seed(5)), torch.arange(16) % 3


def prepare(strategy, model=None, *, steps=12, **changes):
    model = conv_net() if model is None else model
    settings = {"input_example": DATA[0][:1], "steps": steps, "generator": torch.Generator().manual_seed(1)}
    return strategies.prepare(strategy, model, **{**settings, **changes})


def one_phase(select, **fields):
    return Strategy("custom", phases=lambda t: [Phase(select)], **fields)


def train(transfer, optimizer=torch.optim.SGD, **hyperparameters):
    """Carry the strategy out; yields after each phase with the phase and its optimizer."""
    inputs, targets = DATA
    for phase in transfer.begin():
        built = optimizer(phase.groups(hyperparameters), **hyperparameters)
        phase.adopt(built)
        for _ in range(phase.steps):
            phase.train_mode()
            built.zero_grad(set_to_none=True)
            F.cross_entropy(transfer.model(inputs), targets).backward()
            if transfer.penalty is not None:
                transfer.penalty().backward()
            built.step()
        yield phase, built


def copied(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(model, before):
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


# Block map


FAMILIES = {
    "resnet18": (21, "fc"),
    "mobilenet_v3_small": (54, "classifier.3"),
    "vgg11_bn": (11, "classifier.6"),
    "squeezenet1_1": (26, "classifier.1"),
    "densenet121": (121, "classifier"),
    "shufflenet_v2_x1_0": (57, "fc"),
}


def family(name):
    if name == "vit_b_16":
        return models.VisionTransformer(32, 16, 12, 4, 32, 64, num_classes=7), 32
    return getattr(models, name)(weights=None, num_classes=7), 64


@pytest.fixture(scope="module", params=[*FAMILIES, "vit_b_16"])
def mapped(request):
    model, pixels = family(request.param)
    example = torch.randn(1, 3, pixels, pixels, generator=torch.Generator().manual_seed(0))
    return request.param, model, example, blocks.map_blocks(model, example, head=None, stages="all")


def test_networks_have_as_many_blocks_as_measured_and_their_own_head(mapped):
    name, _, _, found = mapped
    assert (found.n_blocks, found.head) == {**FAMILIES, "vit_b_16": (40, "heads.head")}[name]
    assert found.unused == ()


@pytest.mark.parametrize("stages", ["all", 5, 2])
def test_every_parameter_lies_in_exactly_one_block_and_none_is_empty(mapped, stages):
    _, model, example, _ = mapped
    transfer = prepare(EVERYTHING, model, input_example=example, stages=stages)
    found = transfer.parameters()
    assert sorted(id(p.tensor) for p in found) == sorted(map(id, model.parameters()))
    assert {p.name for p in found} == {name for name, _ in model.named_parameters()}
    assert {p.block for p in found} == set(range(transfer.n_blocks))
    assert all(p.block + p.depth == transfer.n_blocks - 1 for p in found)


def test_the_head_is_alone_in_the_last_block(mapped):
    _, model, example, _ = mapped
    transfer = prepare(EVERYTHING, model, input_example=example)
    last = {p.name for p in transfer.parameters() if p.depth == 0}
    assert last == {f"{transfer.head}.{name}" for name, _ in model.get_submodule(transfer.head).named_parameters()}
    assert last == {p.name for p in transfer.parameters() if p.head}


def test_mapping_leaves_the_model_the_hooks_and_the_generators_as_they_were(mapped):
    _, model, example, _ = mapped
    model.train()
    next(model.children()).eval()
    modes, state, chance = [m.training for m in model.modules()], copied(model), torch.get_rng_state()
    blocks.map_blocks(model, example, head=None, stages=5)
    assert [m.training for m in model.modules()] == modes
    assert not changed(model, state)
    assert torch.equal(torch.get_rng_state(), chance)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(tensor.grad is None and tensor.requires_grad for tensor in model.parameters())


@pytest.mark.parametrize(
    ("build", "due"), [(cnn, ["conv1", "conv2", "dense", "head"]), (mlp, ["dense1", "dense2", "head"])]
)
def test_each_layer_of_the_built_in_networks_is_a_block(build, due):
    transfer = prepare(EVERYTHING, build((1, 28, 28), 10), input_example=torch.zeros(1, 1, 28, 28))
    assert [(p.name, p.block) for p in transfer.parameters()] == [
        (f"{layer}.{attr}", block) for block, layer in enumerate(due) for attr in ("weight", "bias")
    ]


def test_a_norm_joins_the_block_before_it_and_is_known_as_norm():
    found = {p.name: (p.block, p.norm, p.bias) for p in prepare(EVERYTHING).parameters()}
    assert found == {
        "0.weight": (0, False, False),
        "0.bias": (0, False, True),
        "1.weight": (0, True, False),
        "1.bias": (0, True, True),
        "4.weight": (1, False, False),
        "4.bias": (1, False, True),
        "9.weight": (2, False, False),
        "9.bias": (2, False, True),
        "10.weight": (2, True, False),
        "10.bias": (2, True, True),
        "11.weight": (3, False, False),
        "11.bias": (3, False, True),
    }


def test_a_norm_at_the_input_opens_the_first_block():
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 3))
    assert [p.block for p in prepare(EVERYTHING, model).parameters()] == [0, 0, 1, 1, 2, 2]


def test_order_is_that_of_execution_not_of_definition():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.second, self.first = nn.Linear(4, 3), nn.Linear(5, 4), nn.Linear(36, 5)

        def forward(self, x):
            return self.head(self.second(self.first(x.flatten(1))))

    transfer = prepare(EVERYTHING, Backwards())
    assert {p.name: p.block for p in transfer.parameters() if not p.bias} == {
        "head.weight": 2,
        "second.weight": 1,
        "first.weight": 0,
    }


def test_parameters_of_uncalled_modules_join_the_nearest_called_ancestor():
    attention = nn.TransformerEncoderLayer(6, 2, 12, batch_first=True)
    model = nn.Sequential(nn.Flatten(1, 2), nn.Linear(6, 6), attention, nn.Flatten(), nn.Linear(36, 3))
    found = {p.name: p.block for p in prepare(EVERYTHING, model, stages="all").parameters()}
    assert found["2.self_attn.out_proj.weight"] == found["2.self_attn.in_proj_weight"] == found["2.norm1.bias"] == 1
    assert (found["2.linear1.weight"], found["2.linear2.weight"], found["4.weight"]) == (2, 3, 4)


def test_bias_is_known_by_any_of_torchs_names():
    model = nn.MultiheadAttention(4, 2)
    names = ["in_proj_bias", "bias_ih_l0", "bias"]
    found = [strategies.Parameter(name, model.in_proj_bias, model, name, 0, 1, False).bias for name in names]
    assert found == [True] * 3
    assert not strategies.Parameter("w", model.in_proj_weight, model, "in_proj_weight", 0, 1, False).bias


def test_tied_parameters_count_once_and_go_to_the_head():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.middle, self.head = nn.Linear(36, 36), nn.Linear(36, 36), nn.Linear(36, 36)
            self.head.weight = self.embed.weight

        def forward(self, x):
            return self.head(self.middle(self.embed(x.flatten(1))))

    found = {p.name: (p.block, p.head) for p in prepare(EVERYTHING, Tied()).parameters()}
    assert found == {
        "embed.bias": (0, False),
        "middle.weight": (1, False),
        "middle.bias": (1, False),
        "head.weight": (2, True),
        "head.bias": (2, True),
    }


def test_parameters_that_the_pass_does_not_read_are_reported():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.aux, self.head = nn.Linear(36, 4), nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.body(x.flatten(1)))

    transfer = prepare(EVERYTHING, Auxiliary())
    assert transfer.unused == ("aux.weight", "aux.bias")
    assert sorted(p.name for p in transfer.parameters() if p.block == 0) == [
        "aux.bias", "aux.weight", "body.bias", "body.weight",
    ]  # fmt: skip


def test_parameters_that_the_model_holds_fixed_stay_fixed_and_unseen():
    model = conv_net()
    model[0].weight.requires_grad_(False)
    transfer = prepare(EVERYTHING, model)
    assert "0.weight" not in {p.name for p in transfer.parameters()}
    list(train(transfer, lr=0.1))
    assert not model[0].weight.requires_grad


@pytest.mark.parametrize(("layers", "stages", "sizes"), [(9, 5, [3, 2, 2, 2]), (10, 5, [3, 3, 2, 2]), (8, 3, [4, 4])])
def test_stages_are_contiguous_and_the_larger_come_first(layers, stages, sizes):
    model = nn.Sequential(nn.Flatten(), *[nn.Linear(36, 36) for _ in range(layers)], nn.Linear(36, 3))
    found = [p.block for p in prepare(EVERYTHING, model, stages=stages).parameters() if not p.bias]
    assert found == [stage for stage, size in enumerate(sizes) for _ in range(size)] + [len(sizes)]


@pytest.mark.parametrize("stages", [1, 0, True, "five", 2.0])
def test_stages_that_are_no_number_are_refused(stages):
    with pytest.raises(ValueError, match="stages must be a whole number of at least 2, or 'all'"):
        prepare(EVERYTHING, stages=stages)


def test_a_head_that_cannot_be_told_is_refused_with_the_way_out():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 6), nn.Unflatten(1, (3, 2)), nn.AvgPool1d(2), nn.Flatten())
    with pytest.raises(PluginError, match=r"its last layer with parameters, '1', gives 6 outputs, the network 3; name"):
        prepare(EVERYTHING, model)
    assert prepare(EVERYTHING, model, head="1").head == "1"


def test_a_named_head_may_be_several_layers():
    transfer = prepare(
        EVERYTHING,
        nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3))),
        head="2",
    )
    assert [p.head for p in transfer.parameters()] == [False, False, True, True, True, True]
    assert transfer.n_blocks == 2


def test_an_unknown_head_is_refused():
    with pytest.raises(PluginError, match="Sequential has no module 'fc', which its part names as head"):
        prepare(EVERYTHING, head="fc")


def test_a_model_without_parameters_is_refused():
    with pytest.raises(PluginError, match="no parameters, so there is nothing to train"):
        prepare(EVERYTHING, nn.Flatten())


def test_a_bare_layer_is_all_head():
    transfer = prepare(EVERYTHING, nn.Linear(6, 3))
    assert (transfer.n_blocks, transfer.head) == (1, "")
    assert [(p.name, p.head, p.depth) for p in transfer.parameters()] == [("weight", True, 0), ("bias", True, 0)]


# Phases and groups


@given(
    some.lists(some.fractions(0, 9, max_denominator=8), min_size=1, max_size=6).filter(any),
    some.integers(1, 1000),
)
def test_borders_are_the_rounded_shares_and_sum_to_all_steps(shares, steps):
    found = strategies.borders([float(share) for share in shares], steps)
    due = [int(steps * Fraction(sum(shares[: k + 1])) / sum(shares) + Fraction(1, 2)) for k in range(len(shares))]
    assert found[-1] == steps
    assert found == sorted(found)
    assert all(abs(one - other) <= 1 for one, other in zip(found, due, strict=True))


def test_phases_take_their_shares_and_one_without_steps_is_skipped():
    strategy = Strategy("s", phases=lambda t: [Phase(lambda p: 1.0, share, f"{share}") for share in (1.0, 0.0, 2.0)])
    transfer = prepare(strategy, steps=10)
    assert [(p.phase.name, p.start, p.end, p.steps) for p in transfer.begin()] == [("1.0", 0, 3, 3), ("2.0", 3, 10, 7)]


def test_groups_are_by_multiplier_and_decay_and_scale_the_rate():
    transfer = prepare(one_phase(lambda p: 1.0 if p.head else 0.1))
    (phase,) = transfer.begin()
    names = {id(p.tensor): p.name for p in transfer.parameters()}
    found = [({names[id(t)] for t in g.pop("params")}, g) for g in phase.groups({"lr": 0.5, "weight_decay": 0.1})]
    assert found == [
        ({"0.weight", "4.weight", "9.weight"}, {"lr": 0.05}),
        (
            {"0.bias", "1.weight", "1.bias", "4.bias", "9.bias", "10.weight", "10.bias"},
            {"lr": 0.05, "weight_decay": 0.0},
        ),
        ({"11.weight"}, {"lr": 0.5}),
        ({"11.bias"}, {"lr": 0.5, "weight_decay": 0.0}),
    ]


def test_a_strategy_without_weight_decay_has_none_in_any_group():
    (phase,) = prepare(one_phase(lambda p: 1.0, weight_decay=False)).begin()
    (group,) = phase.groups({"lr": 0.5, "weight_decay": 0.1})
    assert (group["weight_decay"], len(group["params"])) == (0.0, 12)


def test_an_optimizer_without_lr_is_left_alone_unless_a_multiplier_needs_it():
    (phase,) = prepare(EVERYTHING).begin()
    assert all("lr" not in group for group in phase.groups({}))
    (phase,) = prepare(one_phase(lambda p: 0.5)).begin()
    with pytest.raises(PluginError, match=r"strategy 'custom', phase 1: 0.weight scales lr, but the optimizer has no"):
        phase.groups({})


@pytest.mark.parametrize(
    ("optimizer", "hyperparameters"),
    [(torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}), (torch.optim.AdamW, {"lr": 0.01})],
)
def test_full_training_equals_a_plain_loop_with_two_decay_groups_bit_for_bit(optimizer, hyperparameters):
    transfer = prepare(EVERYTHING, steps=60)
    torch.manual_seed(2)
    list(train(transfer, optimizer, **hyperparameters))
    plain = conv_net()
    torch.manual_seed(2)
    tensors = list(plain.parameters())
    flat = [t for t in tensors if t.dim() < 2]
    groups = [{"params": [t for t in tensors if t.dim() >= 2]}, {"params": flat, "weight_decay": 0.0}]
    by_hand = optimizer(groups, **hyperparameters)
    for _ in range(60):
        plain.train()
        by_hand.zero_grad()
        F.cross_entropy(plain(DATA[0]), DATA[1]).backward()
        by_hand.step()
    assert not changed(plain, transfer.model.state_dict())


HEAD_ONLY = Phase(lambda p: 1.0 if p.head else None, name="head")
BOTH = Strategy("both", phases=lambda t: [Phase(lambda p: 1.0, name="all"), HEAD_ONLY])
OPTIMIZERS = [
    (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    (torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1}),
    (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
]


@pytest.mark.parametrize(("optimizer", "hyperparameters"), OPTIMIZERS)
def test_what_is_frozen_from_the_start_keeps_its_bits_and_its_norm_buffers(optimizer, hyperparameters):
    transfer = prepare(one_phase(HEAD_ONLY.select))
    before = copied(transfer.model)
    list(train(transfer, optimizer, **hyperparameters))
    assert changed(transfer.model, before) == {"11.weight", "11.bias"}


@pytest.mark.parametrize(("optimizer", "hyperparameters"), OPTIMIZERS)
def test_what_is_frozen_after_it_trained_keeps_its_bits(optimizer, hyperparameters):
    transfer = prepare(BOTH)
    run = train(transfer, optimizer, **hyperparameters)
    next(run)
    before = copied(transfer.model)
    next(run)
    assert changed(transfer.model, before) == {"11.weight", "11.bias"}


def test_in_each_phase_the_optimizer_holds_what_requires_a_gradient():
    transfer = prepare(BOTH)
    for _, optimizer in train(transfer, lr=0.1):
        held = {id(tensor) for group in optimizer.param_groups for tensor in group["params"]}
        assert held == {id(tensor) for tensor in transfer.model.parameters() if tensor.requires_grad}


def test_gradients_are_dropped_when_a_phase_begins():
    transfer = prepare(BOTH)
    seen = []
    for phase in transfer.begin():
        seen.append(all(tensor.grad is None for tensor in transfer.model.parameters()))
        phase.train_mode()
        F.cross_entropy(transfer.model(DATA[0]), DATA[1]).backward()
    assert seen == [True, True]


@pytest.mark.parametrize(("carry", "due"), [(True, 12.0), (False, 6.0)])
def test_survivors_keep_their_optimizer_state_if_the_phase_carries(carry, due):
    second = Phase(lambda p: 1.0, carry=carry)
    transfer = prepare(Strategy("s", phases=lambda t: [HEAD_ONLY, second]))
    *_, (_, optimizer) = train(transfer, torch.optim.Adam, lr=0.01)
    steps = {p.name: float(optimizer.state[p.tensor]["step"]) for p in transfer.parameters()}
    assert steps["11.weight"] == due
    assert steps["0.weight"] == 6.0


def test_an_optimizer_that_drops_or_doubles_parameters_is_refused():
    (phase,) = prepare(EVERYTHING).begin()
    with pytest.raises(
        PluginError, match="must hold the parameters that it was built with, each once; 12 were given, it holds 1"
    ):
        phase.adopt(torch.optim.SGD([phase.parameters()[0].tensor], lr=0.1))


def test_fresh_norms_of_equal_values_are_told_apart():
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)
    )
    transfer = prepare(
        Strategy("s", phases=lambda t: [Phase(lambda p: 1.0 if p.depth < 2 else None), Phase(lambda p: 1.0)]), model
    )
    sizes = [sum(len(g["params"]) for g in optimizer.param_groups) for _, optimizer in train(transfer, lr=0.1)]
    assert sizes == [6, 10]


def test_a_kept_phase_leaves_a_copy_of_the_state_at_its_end():
    phases = [Phase(lambda p: 1.0, name="probe", keep=True), Phase(lambda p: 1.0)]
    transfer = prepare(Strategy("s", phases=lambda t: phases))
    run = train(transfer, lr=0.1)
    next(run)
    due = copied(transfer.model)
    list(run)
    assert set(transfer.kept) == {"probe"}
    assert all(torch.equal(transfer.kept["probe"][name], tensor) for name, tensor in due.items())
    assert changed(transfer.model, due)


def test_the_start_is_a_copy_that_training_does_not_move():
    transfer = prepare(EVERYTHING)
    before = copied(transfer.model)
    list(train(transfer, lr=0.1))
    assert all(torch.equal(transfer.start[name], tensor) for name, tensor in before.items())
    with pytest.raises(TypeError):
        transfer.start["0.weight"] = torch.zeros(1)


# Modes


def modes(select, model=None):
    """Indices of the modules that are in training mode while the strategy trains."""
    transfer = prepare(one_phase(select), model)
    (phase,) = transfer.begin()
    transfer.model.eval()
    phase.train_mode()
    return {index for index, module in enumerate(transfer.model) if module.training}


ALL = set(range(12))


def test_everything_is_in_training_mode_when_everything_trains():
    assert modes(lambda p: 1.0) == ALL


def test_a_norm_trains_if_one_of_its_own_parameters_does():
    assert modes(lambda p: 1.0 if p.head or p.name == "1.bias" else None) == ALL - {5, 10}
    assert modes(lambda p: 1.0 if p.head or p.name == "0.weight" else None) == ALL - {1, 5, 10}


def test_a_norm_without_parameters_trains_if_its_block_does():
    assert modes(lambda p: 1.0 if p.name == "4.bias" else None) == ALL - {0, 1, 2, 3, 10}
    assert modes(lambda p: 1.0 if p.block == 0 else None) == ALL - {5, 10}


def test_dropout_before_the_first_block_that_trains_is_off():
    assert modes(lambda p: 1.0 if p.block >= 1 else None) & {3, 7} == {7}
    assert modes(lambda p: 1.0 if p.head else None) & {3, 7} == set()


def test_dropout_of_the_inputs_is_on_when_the_first_block_trains():
    model = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(36, 4), nn.Linear(4, 3))
    assert modes(lambda p: 1.0, model) == {0, 1, 2, 3}
    model = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(36, 4), nn.Linear(4, 3))
    assert modes(lambda p: 1.0 if p.head else None, model) == {3}


def test_dropout_that_is_shared_is_on_if_its_last_use_lies_where_something_trains():
    drop = nn.Dropout(0.5)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 36), drop, nn.Linear(36, 36), drop, nn.Linear(36, 3))
    assert 2 in modes(lambda p: 1.0 if p.block >= 1 else None, model)


def test_dropout_inside_a_frozen_attention_layer_is_off():
    layer = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.5, batch_first=True)
    model = nn.Sequential(nn.Flatten(1, 2), nn.Linear(6, 6), layer, nn.Flatten(), nn.Linear(36, 3))
    (phase,) = prepare(one_phase(lambda p: 1.0 if p.head else None), model).begin()
    phase.train_mode()
    assert [name for name, module in model.named_modules() if module.training] == ["", "4"]
    assert torch.equal(model(DATA[0]), model(DATA[0]))


@pytest.mark.parametrize("affine", [True, False])
def test_buffers_of_a_held_norm_stay_though_training_mode_is_set_again_and_again(affine):
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8, affine=affine), nn.Linear(8, 3))
    transfer = prepare(one_phase(lambda p: 1.0 if p.head else None), model)
    before = copied(model)
    list(train(transfer, lr=0.1))
    assert changed(model, before) == {"3.weight", "3.bias"}


def test_batch_statistics_of_a_norm_that_trains_move():
    transfer = prepare(one_phase(lambda p: 1.0 if p.norm or p.head else None))
    before = copied(transfer.model)
    list(train(transfer, lr=0.1))
    assert {"1.running_mean", "10.running_var"} <= changed(transfer.model, before)
    assert "5.running_mean" not in changed(transfer.model, before)


# Hooks of a strategy


class LowRank(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(2, weight.shape[1])), nn.Parameter(torch.zeros(weight.shape[0], 2))

    def forward(self, weight):
        return weight + self.b @ self.a


def add_low_rank(t):
    parametrize.register_parametrization(t.model[9], "weight", LowRank(t.model[9].weight))


def merge(t):
    parametrize.remove_parametrizations(t.model[9], "weight")


LORA = Strategy(
    "lora",
    prepare=add_low_rank,
    phases=lambda t: [Phase(lambda p: 1.0 if p.added or p.head else None)],
    finish=merge,
)


def test_parameters_made_by_prepare_are_added_in_the_block_of_their_layer():
    transfer = prepare(LORA)
    found = {p.name: (p.block, p.head) for p in transfer.parameters() if p.added}
    assert found == {f"9.parametrizations.weight.0.{name}": (2, False) for name in "ab"}


def test_names_stay_as_they_were_before_prepare():
    assert {p.name for p in prepare(LORA).parameters() if not p.added} == dict(conv_net().named_parameters()).keys()


def test_a_finished_strategy_has_merged_what_it_learnt():
    transfer = prepare(LORA)
    before = copied(transfer.model)
    list(train(transfer, lr=0.1))
    outputs = transfer.model.eval()(DATA[0])
    transfer.end()
    torch.testing.assert_close(transfer.model(DATA[0]), outputs)
    assert transfer.model.state_dict().keys() == conv_net().state_dict().keys()
    assert before.keys() != transfer.model.state_dict().keys()
    moved = {name for name, t in transfer.model.state_dict().items() if not torch.equal(t, transfer.start[name])}
    assert moved == {"9.weight", "11.weight", "11.bias"}


def test_options_are_the_defaults_changed_by_the_suite():
    seen = []
    strategy = Strategy(
        "s", phases=lambda t: seen.append(t.options) or [Phase(lambda p: 1.0)], defaults={"r": 4, "scale": 1}
    )
    prepare(strategy, options={"r": 8})
    assert vars(seen[0]) == {"r": 8, "scale": 1}
    assert strategy.defaults == {"r": 4, "scale": 1}


def test_a_penalty_is_a_scalar_that_can_be_back_propagated():
    def penalty(t):
        return sum(
            (p.tensor.detach().cpu() * 0 + p.tensor - t.start[p.name]).square().sum()
            for p in t.parameters()
            if not p.head
        )

    transfer = prepare(one_phase(lambda p: 1.0, penalty=penalty))
    with torch.no_grad():
        transfer.model[0].bias.add_(0.5)
    assert float(transfer.penalty().detach()) == pytest.approx(4 * 0.25)
    assert prepare(EVERYTHING).penalty is None


# Refusals


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "the multiplier of 0.weight is 0; give None to freeze it"),
        (0.0, "the multiplier of 0.weight is 0; give None to freeze it"),
        (-1.0, "the multiplier of 0.weight must be above 0 and finite, got -1.0"),
        (float("inf"), "the multiplier of 0.weight must be above 0 and finite, got inf"),
        (float("nan"), "the multiplier of 0.weight must be above 0 and finite, got nan"),
        (True, "select must give 0.weight a number or None, got True"),
        ("1", "select must give 0.weight a number or None, got '1'"),
        (None, "select gives None for all 12 parameters, so nothing would train"),
    ],
)
def test_bad_multiplier_is_refused_with_strategy_phase_and_parameter(value, message):
    phases = [Phase(lambda p: 1.0), Phase(lambda p: value, name="second")]
    with pytest.raises(PluginError) as caught:
        prepare(Strategy("bad", phases=lambda t: phases))
    assert str(caught.value).startswith("strategy 'bad', phase 2 'second': ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([], "phases must return a list of at least one harness.Phase, got []"),
        (None, "phases must return a list of at least one harness.Phase, got None"),
        ([1.0], "phases must return a list of at least one harness.Phase, got [1.0]"),
        ([Phase(lambda p: 1.0, share=0)] * 2, "the shares of its phases must sum to more than 0, got 0 for all 2"),
        ([Phase(lambda p: 1.0)] * 13, "13 phases need at least as many training steps, got 12"),
        ([Phase(lambda p: 1.0, keep=True)], "phases with keep=True need names of their own, got ['']"),
        (
            [Phase(lambda p: 1.0, name="a", keep=True)] * 2,
            "phases with keep=True need names of their own, got ['a', 'a']",
        ),
    ],
)
def test_bad_phases_are_refused_with_the_rule_and_what_was_given(phases, message):
    with pytest.raises(PluginError) as caught:
        prepare(Strategy("bad", phases=lambda t: phases))
    assert str(caught.value) == f"strategy 'bad': {message}"


def test_a_negative_share_is_refused_where_it_is_written():
    with pytest.raises(ValueError, match="share must be a finite number of at least 0, got -1"):
        Phase(lambda p: 1.0, share=-1)


def test_an_unknown_option_names_the_near_one():
    strategy = Strategy("freeze", phases=EVERYTHING.phases, defaults={"last_k": 2})
    with pytest.raises(PluginError, match="strategy 'freeze' has no option 'lastk'; did you mean 'last_k'"):
        prepare(strategy, options={"lastk": 1})
    with pytest.raises(PluginError, match=r"strategy 'everything' has no option 'lastk' \(known: none\)"):
        prepare(EVERYTHING, options={"lastk": 1})


def freeze_by_hand(t):
    t.model[0].weight.requires_grad_(False)


def test_a_plugin_that_sets_requires_grad_is_refused_wherever_it_does_so():
    with pytest.raises(PluginError, match=r"strategy 's': a plugin set requires_grad of 0.weight; freeze it by None"):
        prepare(Strategy("s", phases=EVERYTHING.phases, prepare=freeze_by_hand))
    with pytest.raises(PluginError, match=r"strategy 's': a plugin set requires_grad of 0.weight"):
        prepare(Strategy("s", phases=lambda t: freeze_by_hand(t) or [Phase(lambda p: 1.0)]))
    late = Strategy("s", phases=EVERYTHING.phases, penalty=lambda t: freeze_by_hand(t) or t.model[0].bias.sum())
    with pytest.raises(PluginError, match=r"strategy 's', phase 1: a plugin set requires_grad of 0.weight"):
        list(train(prepare(late), lr=0.1))


def replace_head(t):
    t.model[11] = nn.Linear(8, 3)


def test_a_plugin_that_replaces_the_head_is_refused():
    with pytest.raises(PluginError, match="strategy 's': prepare must not replace the head, '11'"):
        prepare(Strategy("s", phases=EVERYTHING.phases, prepare=replace_head))


def test_the_head_cannot_be_replaced_at_the_end_either():
    transfer = prepare(Strategy("s", phases=EVERYTHING.phases, finish=replace_head))
    with pytest.raises(PluginError, match="strategy 's': finish must not replace the head, '11'; change it in place"):
        transfer.end()


def test_the_head_cannot_be_replaced_while_a_phase_trains():
    late = Strategy("s", phases=EVERYTHING.phases, penalty=lambda t: replace_head(t) or t.model[0].bias.sum())
    with pytest.raises(PluginError, match="strategy 's': a plugin must not replace the head, '11'"):
        list(train(prepare(late), lr=0.1))


def test_the_head_keeps_its_shape_at_the_end():
    def widen(t):
        t.model[11].weight = nn.Parameter(torch.zeros(9, 8))

    transfer = prepare(Strategy("s", phases=EVERYTHING.phases, finish=widen))
    was = r"11.weight was \(3, 8\), is \(9, 8\)"
    with pytest.raises(PluginError, match=f"strategy 's': finish must not change the shape of the head: {was}"):
        transfer.end()


def test_another_model_in_the_place_of_the_first_is_refused():
    def swap(t):
        t.model = conv_net()

    with pytest.raises(PluginError, match="strategy 's': finish must not replace the model"):
        prepare(Strategy("s", phases=EVERYTHING.phases, finish=swap)).end()


def test_shares_that_cannot_be_added_up_are_refused():
    phases = [Phase(lambda p: 1.0, share=1e308)] * 2
    with pytest.raises(PluginError, match=r"strategy 's': the shares of its phases .*, got 1e\+308, 1e\+308"):
        prepare(Strategy("s", phases=lambda t: phases))


def test_a_multiplier_beyond_all_numbers_names_its_parameter_and_line():
    powers = Strategy("s", phases=lambda t: [Phase(lambda p: 1e300 ** (2 + p.depth))])
    message = r"strategy 's', phase 1: the multiplier of 0.weight is larger than any number \(test_strategies.py, line"
    with pytest.raises(PluginError, match=message):
        prepare(powers)


# Errors of a plugin's own code


def nothing(t):
    return {}["x"]


@pytest.mark.parametrize("hook", ["prepare", "phases"])
def test_what_a_plugin_raises_before_training_names_strategy_callable_and_line(hook):
    line = nothing.__code__.co_firstlineno + 1
    with pytest.raises(PluginError) as caught:
        prepare(Strategy("s", **{"phases": EVERYTHING.phases, hook: nothing}))
    assert str(caught.value) == f"strategy 's': {hook} (test_strategies.py, line {line}) raised KeyError: 'x'"


def test_what_select_raises_names_the_parameter_too():
    with pytest.raises(PluginError, match=r"'s', phase 1: select of 0.weight \(test_.*\) raised KeyError: 'x'"):
        prepare(Strategy("s", phases=lambda t: [Phase(nothing)]))


def test_an_option_that_a_strategy_refuses_is_its_own_error():
    def refuse(t):
        raise ValueError("s: r must be a whole number")

    with pytest.raises(ValueError, match=r"^s: r must be a whole number$"):
        prepare(Strategy("s", phases=EVERYTHING.phases, prepare=refuse))


@pytest.mark.parametrize("hook", ["penalty", "finish"])
def test_what_a_plugin_raises_in_training_names_strategy_callable_and_line(hook):
    line = nothing.__code__.co_firstlineno + 1
    transfer = prepare(Strategy("s", phases=EVERYTHING.phases, **{hook: nothing}))
    with pytest.raises(PluginError) as caught:
        (transfer.penalty or transfer.end)()
    assert str(caught.value) == f"strategy 's': {hook} (test_strategies.py, line {line}) raised KeyError: 'x'"


@pytest.mark.parametrize("hook", ["penalty", "finish"])
def test_a_strategy_that_has_begun_to_train_is_applicable(hook):
    def late(t):
        raise NotApplicable("late")

    transfer = prepare(Strategy("s", phases=EVERYTHING.phases, **{hook: late}))
    message = f"strategy 's': {hook} .* raised NotApplicable, which only prepare and phases may, .*: late"
    with pytest.raises(PluginError, match=message):
        (transfer.penalty or transfer.end)()


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (1.0, "float"),
        (None, "NoneType"),
        (torch.ones(1), r"Tensor of shape \(1,\) and dtype torch.float32"),
        (torch.tensor(1), r"Tensor of shape \(\) and dtype torch.int64"),
        (torch.tensor(float("nan")), "nan before the first step"),
    ],
)
def test_a_penalty_that_is_no_finite_scalar_is_refused(value, found):
    transfer = prepare(one_phase(lambda p: 1.0, penalty=lambda t: value))
    rule = "strategy 'custom': penalty must return a finite floating-point scalar tensor"
    with pytest.raises(PluginError, match=f"{rule}, got {found}"):
        transfer.penalty()


def test_a_penalty_that_diverges_later_is_no_defect_of_the_plugin():
    values = iter([torch.tensor(1.0), torch.tensor(float("inf"))])
    transfer = prepare(one_phase(lambda p: 1.0, penalty=lambda t: next(values)))
    assert [float(transfer.penalty()), float(transfer.penalty())] == [1.0, float("inf")]


def test_not_applicable_comes_through_with_its_reason():
    def phases(t):
        raise NotApplicable("the model has no norm layer with parameters")

    with pytest.raises(NotApplicable, match="the model has no norm layer with parameters"):
        prepare(Strategy("norm_only", phases=phases))


# Cost


def test_preparing_runs_the_model_once():
    calls = []
    model = cnn((1, 28, 28), 10)
    model.register_forward_pre_hook(lambda module, inputs: calls.append(inputs[0].shape))
    prepare(EVERYTHING, model, input_example=torch.zeros(1, 1, 28, 28))
    assert calls == [(1, 1, 28, 28)]


def test_what_a_strategy_draws_comes_from_its_own_generator_only():
    drawn = []
    phases = lambda t: drawn.append(torch.rand(1, generator=t.generator)) or [Phase(lambda p: 1.0)]  # noqa: E731
    networks = conv_net(), conv_net()
    chance = torch.get_rng_state()
    for network in networks:
        prepare(Strategy("s", phases=phases), network)
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(torch.get_rng_state(), chance)
