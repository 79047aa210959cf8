"""Networks: the article's small CNN and a plain multilayer perceptron.

Tensor axes: N examples, C channels, H height, W width, K outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import nn

from harness.hookspecs import Model, hookimpl

# Max-pooling before a monotone activation equals max-pooling after it.
MONOTONE: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {**MONOTONE, "gelu": nn.GELU, "silu": nn.SiLU}


def cnn(
    input_shape: Sequence[int],
    outputs: int,
    *,
    channels: Sequence[int] = (32, 64),
    hidden: int = 128,
    dropout: float = 0.0,
    activation: str = "relu",
) -> nn.Sequential:
    """Convolutions with max-pooling, one dense layer, then the head: images (N, C, H, W) to outputs (N, K).

    With its defaults, on 1 x 28 x 28 images and 10 classes, this is the article's network of 421,642 parameters in
    PyTorch's default initialisation. The article names an activation only after the dense layer; as is usual, there
    is one after each convolution too. Pooling comes before a monotone activation (all but `gelu` and `silu`): the same
    numbers as after it, four times fewer to activate.

    Args:
        channels: channels of each 3 x 3 convolution, whose padding keeps the size; each is followed by a max-pooling
            that halves height and width, rounded down.
        hidden: width of the dense layer before the head.
        dropout: share of the dense layer's outputs that is zeroed in training.
        activation: `relu`, `sigmoid`, `tanh`, `leaky_relu` (slope 0.01), `elu`, `gelu` or `silu`, as torch has them.

    Raises:
        ValueError: input_shape is no (C, H, W), an image is too small for the poolings, or an option is out of range.
    """
    if len(input_shape) != 3:
        raise ValueError(f"cnn: inputs must be images (C, H, W), got shape {tuple(input_shape)}")
    make_activation = _activation("cnn", activation)
    _check_dropout("cnn", dropout)
    _check_widths("cnn", "channels", channels)
    _check_widths("cnn", "hidden", [hidden])
    layers: dict[str, nn.Module] = {}
    before, height, width = input_shape
    for number, after in enumerate(channels, start=1):
        layers[f"conv{number}"] = nn.Conv2d(before, after, kernel_size=3, padding="same")
        shrinking = [(f"pool{number}", nn.MaxPool2d(2)), (f"act{number}", make_activation())]
        layers |= dict(shrinking if activation in MONOTONE else reversed(shrinking))
        before, height, width = after, height // 2, width // 2
    if height * width == 0:
        raise ValueError(
            f"cnn: {len(channels)} poolings need images of at least {2 ** len(channels)} pixels a side, "
            f"got shape {tuple(input_shape)}; name fewer channels"
        )
    layers["flatten"] = nn.Flatten()
    layers["dense"] = nn.Linear(before * height * width, hidden)
    layers["act"] = make_activation()
    layers["dropout"] = nn.Dropout(dropout)
    layers["head"] = nn.Linear(hidden, outputs)
    return _named(layers)


def mlp(
    input_shape: Sequence[int],
    outputs: int,
    *,
    hidden: Sequence[int] = (256, 128),
    dropout: float = 0.0,
    activation: str = "relu",
) -> nn.Sequential:
    """Dense layers over flattened inputs of any shape: (N, ...) to outputs (N, K); linear when `hidden` is empty.

    Args:
        hidden: width of each hidden layer, from the input on.
        dropout: share of each hidden layer's outputs that is zeroed in training.
        activation: `relu`, `sigmoid`, `tanh`, `leaky_relu` (slope 0.01), `elu`, `gelu` or `silu`, as torch has them.

    Raises:
        ValueError: an option is out of range.
    """
    make_activation = _activation("mlp", activation)
    _check_dropout("mlp", dropout)
    _check_widths("mlp", "hidden", hidden)
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    before = math.prod(input_shape)
    for number, after in enumerate(hidden, start=1):
        layers[f"dense{number}"] = nn.Linear(before, after)
        layers[f"act{number}"] = make_activation()
        layers[f"dropout{number}"] = nn.Dropout(dropout)
        before = after
    layers["head"] = nn.Linear(before, outputs)
    return _named(layers)


def _named(layers: dict[str, nn.Module]) -> nn.Sequential:
    network = nn.Sequential()
    for name, layer in layers.items():
        network.add_module(name, layer)
    return network


def _activation(model: str, name: str) -> Callable[[], nn.Module]:
    if name not in ACTIVATIONS:
        raise ValueError(f"{model}: activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]


def _check_dropout(model: str, dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ValueError(f"{model}: dropout must be at least 0 and below 1, got {dropout}")


def _check_widths(model: str, option: str, widths: Sequence[int]) -> None:
    if any(not isinstance(width, int) or isinstance(width, bool) or width < 1 for width in widths):
        raise ValueError(f"{model}: {option} must be whole numbers of at least 1, got {widths!r}")


@hookimpl
def harness_models() -> list[Model]:
    """`cnn`, `mlp`."""
    return [Model("cnn", build=cnn, head="head"), Model("mlp", build=mlp, head="head")]
