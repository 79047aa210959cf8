"""The small CNN with batch normalisation, for questions about norm layers.

Tensor axes: N examples, C channels, H height, W width, K outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from harness.hookspecs import Model, hookimpl

from .models import cnn


def cnn_bn(
    input_shape: Sequence[int],
    outputs: int,
    *,
    channels: Sequence[int] = (32, 64),
    hidden: int = 128,
    dropout: float = 0.0,
    activation: str = "relu",
) -> nn.Sequential:
    """`cnn` with a batch norm after each convolution: images (N, C, H, W) to outputs (N, K).

    Ioffe & Szegedy 2015 (arXiv:1502.03167, section 3.2): between the convolution and its activation.

    `channels`, `hidden`, `dropout` and `activation` are those of `cnn`.

    Raises:
        ValueError: as `cnn`.
    """
    plain = cnn(input_shape, outputs, channels=channels, hidden=hidden, dropout=dropout, activation=activation)
    made = nn.Sequential()
    for name, layer in plain.named_children():
        made.add_module(name, layer)
        if isinstance(layer, nn.Conv2d):
            made.add_module(name.replace("conv", "norm"), nn.BatchNorm2d(layer.out_channels))
    return made


@hookimpl
def harness_models() -> list[Model]:
    """`cnn_bn`."""
    return [
        Model("cnn_bn", build=cnn_bn, head="head", source="Ioffe, Szegedy 2015 (arXiv:1502.03167): batch normalisation")
    ]
