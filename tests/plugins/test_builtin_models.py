"""The built-in networks against hand-written ones."""

import pytest
import torch
from harness_plugins.models import ACTIVATIONS, cnn, harness_models, mlp
from torch import nn
from torch.nn import functional as F  # noqa: N812

torch.set_num_threads(1)

SHAPE = (1, 28, 28)


def count(model):
    return sum(tensor.numel() for tensor in model.parameters())


def images(examples=3, shape=SHAPE, dtype=torch.float32):
    return torch.randn(examples, *shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def test_cnn_has_the_parameters_of_the_article():
    by_hand = (9 * 1 * 32 + 32) + (9 * 32 * 64 + 64) + (7 * 7 * 64 * 128 + 128) + (128 * 10 + 10)
    assert count(cnn(SHAPE, 10)) == by_hand == 421_642


def gelu(x):
    """Torch's own is the exact one: x times the normal distribution's share below x."""
    return x * (1 + torch.erf(x / 2**0.5)) / 2


FORMULAS = {
    "relu": lambda x: x.clamp(min=0),
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "tanh": lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "elu": lambda x: torch.where(x > 0, x, x.exp() - 1),
    "gelu": gelu,
    "silu": lambda x: x / (1 + (-x).exp()),
}


def test_every_activation_has_its_formula_here():
    assert set(FORMULAS) == set(ACTIVATIONS)


@pytest.mark.parametrize("activation", FORMULAS)
def test_cnn_equals_a_functional_network_that_activates_before_it_pools(activation):
    model = cnn(SHAPE, 10, activation=activation).double()
    w = dict(model.named_parameters())
    activate = FORMULAS[activation]
    x = images(dtype=torch.float64)
    for conv in ("conv1", "conv2"):
        x = F.max_pool2d(activate(F.conv2d(x, w[f"{conv}.weight"], w[f"{conv}.bias"], padding=1)), 2)
    x = activate(x.reshape(3, 7 * 7 * 64) @ w["dense.weight"].T + w["dense.bias"])
    due = x @ w["head.weight"].T + w["head.bias"]
    torch.testing.assert_close(model(images(dtype=torch.float64)), due, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", FORMULAS)
def test_a_cnn_pools_first_just_where_the_activation_never_falls(activation):
    names = list(dict(cnn(SHAPE, 10, activation=activation).named_children()))
    x = torch.linspace(-8, 8, 10_001, dtype=torch.float64)
    never_falls = bool((FORMULAS[activation](x).diff() >= 0).all())
    assert (names.index("pool1") < names.index("act1")) == never_falls
    assert never_falls == (activation not in ("gelu", "silu"))


def test_pooling_before_relu_has_the_same_gradients_as_after_it():
    model = cnn(SHAPE, 10)
    layers = dict(model.named_children())
    order = ["conv1", "act1", "pool1", "conv2", "act2", "pool2", "flatten", "dense", "act", "head"]
    usual = nn.Sequential(*(layers[name] for name in order))
    gradients = []
    for network in (model, usual):
        network.zero_grad()
        F.cross_entropy(network(images()), torch.tensor([1, 2, 3])).backward()
        gradients.append([tensor.grad.clone() for tensor in model.parameters()])
    assert all(torch.equal(first, second) for first, second in zip(*gradients, strict=True))


def test_cnn_starts_with_the_weights_of_the_article_script_under_the_same_seed():
    torch.manual_seed(3)
    script = [nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1), nn.Linear(3136, 128), nn.Linear(128, 10)]
    torch.manual_seed(3)
    model = cnn(SHAPE, 10)
    due = [tensor for layer in script for tensor in layer.parameters()]
    assert all(torch.equal(first, second) for first, second in zip(model.parameters(), due, strict=True))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 5, 9), (2, 4, 4), (3, 33, 17)])
def test_cnn_takes_images_of_any_size(shape):
    model = cnn(shape, 7)
    assert model(images(shape=shape)).shape == (3, 7)
    assert model.dense.in_features == 64 * (shape[1] // 4) * (shape[2] // 4)


def test_cnn_takes_any_number_of_convolutions():
    model = cnn(SHAPE, 10, channels=[8, 8, 4], hidden=16)
    assert count(model) == (9 * 8 + 8) + (9 * 8 * 8 + 8) + (9 * 8 * 4 + 4) + (3 * 3 * 4 * 16 + 16) + (16 * 10 + 10)
    assert model(images()).shape == (3, 10)


def test_cnn_gives_the_same_outputs_in_both_memory_formats():
    model = cnn(SHAPE, 10)
    plain = model(images())
    last = model.to(memory_format=torch.channels_last)(images().contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(plain, last, rtol=1e-4, atol=1e-5)


def test_too_small_image_names_the_smallest_size():
    with pytest.raises(ValueError, match="2 poolings need images of at least 4 pixels a side, got shape"):
        cnn((1, 3, 28), 10)


def test_cnn_refuses_inputs_that_are_no_images():
    with pytest.raises(ValueError, match=r"must be images \(C, H, W\), got shape \(13,\)"):
        cnn((13,), 3)


@pytest.mark.parametrize("build", [cnn, mlp])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "swish"}, "activation must be one of relu, sigmoid, tanh, .*, silu, got 'swish'"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"dropout": -0.1}, "dropout must be at least 0 and below 1, got -0.1"),
    ],
)
def test_bad_option_is_refused_with_the_rule_and_the_value(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(SHAPE, 10, **options)


@pytest.mark.parametrize("options", [{"channels": [32, 0]}, {"channels": [True]}, {"hidden": 0}, {"hidden": 1.5}])
def test_cnn_refuses_widths_below_one(options):
    with pytest.raises(ValueError, match="must be whole numbers of at least 1"):
        cnn(SHAPE, 10, **options)


@pytest.mark.parametrize("activation", FORMULAS)
def test_mlp_equals_a_functional_network(activation):
    model = mlp(SHAPE, 10, activation=activation).double()
    w = dict(model.named_parameters())
    x = images(dtype=torch.float64).reshape(3, 784)
    for layer in ("dense1", "dense2"):
        x = FORMULAS[activation](x @ w[f"{layer}.weight"].T + w[f"{layer}.bias"])
    due = x @ w["head.weight"].T + w["head.bias"]
    torch.testing.assert_close(model(images(dtype=torch.float64)), due, rtol=1e-12, atol=1e-12)


def test_mlp_has_the_parameters_of_its_widths():
    assert count(mlp(SHAPE, 10)) == (784 * 256 + 256) + (256 * 128 + 128) + (128 * 10 + 10)
    assert count(mlp((13,), 1, hidden=[])) == 13 + 1


@pytest.mark.parametrize("build", [cnn, mlp])
def test_dropout_zeroes_that_share_in_training_and_nothing_in_evaluation(build):
    model = build(SHAPE, 10, dropout=0.25)
    drops = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    assert {drop.p for drop in drops} == {0.25}
    torch.manual_seed(0)
    assert not torch.equal(model.train()(images()), model(images()))
    assert torch.equal(model.eval()(images()), model(images()))


def test_without_dropout_a_training_step_draws_no_random_number():
    model = cnn(SHAPE, 10).train()
    before = torch.get_rng_state()
    model(images()).sum().backward()
    assert torch.equal(before, torch.get_rng_state())


def test_both_parts_name_their_head():
    for part in harness_models():
        head = part.build(SHAPE, 10).get_submodule(part.head)
        assert isinstance(head, nn.Linear)
        assert head.out_features == 10
