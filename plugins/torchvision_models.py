"""Every classification network of torchvision by its own name, made to take small images and grey ones.

Tensor axes: N examples, C channels, H height, W width, K outputs.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torchvision import models

from harness.hookspecs import Model, Weights, hookimpl

RGB = 3


@dataclass(frozen=True)
class Family:
    """What the networks whose names begin alike have in common."""

    prefix: str
    title: str
    head: str | None
    """Dotted name of the output layer inside the network."""
    source: str
    smallest: int = 1
    """Pixels a side below which a forward pass fails (found by trying all sides, batches of 2 in training mode)."""
    multiple: int = 1
    """What a side must be a multiple of."""
    side: str = ""
    """The argument that fixes the side of the square images which the network takes; '' where any size will do."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that every network of the family is built with."""
    left_out: str = ""
    """Regular expression of what is in files of weights and not in the networks, which are built without it."""
    renamed: tuple[str, str] | None = None
    """Regular expression of what names in files of weights have otherwise than the networks, and what stands for it."""
    scale: tuple[float, float] | None = None
    """Mean and deviation of the pixels that the networks take with published weights, where torchvision would have the
    network itself bring pixels of its usual scale to that one (`transform_input`)."""


# Without auxiliary outputs, which no other network has. `init_weights` is torchvision's default, but it warns of it.
_PLAIN = {"aux_logits": False, "init_weights": True}
_AUXILIARY: dict[str, Any] = {"fixed": _PLAIN, "left_out": r"aux[12]\.|AuxLogits\.", "scale": (0.5, 0.5)}
# Files of DenseNet are older than the rule that no module's name has a dot.
_UNDOTTED = (r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2")

FAMILIES = (
    Family("alexnet", "AlexNet", "classifier.6", "Krizhevsky 2014 (arXiv:1404.5997)", 63),
    Family("convnext", "ConvNeXt", "classifier.2", "Liu et al. 2022 (arXiv:2201.03545)", 32),
    Family("densenet", "DenseNet", "classifier", "Huang et al. 2017 (arXiv:1608.06993)", 29, renamed=_UNDOTTED),
    Family("efficientnet_b", "EfficientNet", "classifier.1", "Tan & Le 2019 (arXiv:1905.11946)"),
    Family("efficientnet_v2", "EfficientNetV2", "classifier.1", "Tan & Le 2021 (arXiv:2104.00298)"),
    Family("googlenet", "GoogLeNet", "fc", "Szegedy et al. 2015 (arXiv:1409.4842)", 15, **_AUXILIARY),
    Family("inception", "Inception v3", "fc", "Szegedy et al. 2016 (arXiv:1512.00567)", 75, **_AUXILIARY),
    Family("maxvit", "MaxViT", "classifier.5", "Tu et al. 2022 (arXiv:2204.01697)", 224, 224, "input_size"),
    Family("mnasnet", "MNASNet", "classifier.1", "Tan et al. 2019 (arXiv:1807.11626)"),
    Family("mobilenet_v2", "MobileNetV2", "classifier.1", "Sandler et al. 2018 (arXiv:1801.04381)"),
    Family("mobilenet_v3", "MobileNetV3", "classifier.3", "Howard et al. 2019 (arXiv:1905.02244)"),
    Family("regnet_x", "RegNetX", "fc", "Radosavovic et al. 2020 (arXiv:2003.13678)"),
    Family("regnet_y", "RegNetY", "fc", "Radosavovic et al. 2020 (arXiv:2003.13678)"),
    Family("resnet", "ResNet", "fc", "He et al. 2016 (arXiv:1512.03385)"),
    Family("resnext", "ResNeXt", "fc", "Xie et al. 2017 (arXiv:1611.05431)"),
    Family("shufflenet_v2", "ShuffleNetV2", "fc", "Ma et al. 2018 (arXiv:1807.11164)"),
    Family("squeezenet1_0", "SqueezeNet", "classifier.1", "Iandola et al. 2016 (arXiv:1602.07360)", 21),
    Family("squeezenet1_1", "SqueezeNet 1.1", "classifier.1", "Iandola et al. 2016 (arXiv:1602.07360)", 17),
    Family("swin", "Swin Transformer", "head", "Liu et al. 2021 (arXiv:2103.14030)", 4),
    Family("swin_v2", "Swin Transformer V2", "head", "Liu et al. 2022 (arXiv:2111.09883)", 4),
    Family("vgg", "VGG", "classifier.6", "Simonyan & Zisserman 2015 (arXiv:1409.1556)", 32),
    Family("vit", "Vision Transformer", "heads.head", "Dosovitskiy et al. 2021 (arXiv:2010.11929)", side="image_size"),
    Family("wide_resnet", "Wide ResNet", "fc", "Zagoruyko & Komodakis 2016 (arXiv:1605.07146)"),
)


def family(name: str) -> Family:
    """The family of a network; one that torchvision adds some day is taken as it comes."""
    fitting = [one for one in FAMILIES if name.startswith(one.prefix)]
    if not fitting:
        return Family(name, name, None, "torchvision")
    found = max(fitting, key=lambda one: len(one.prefix))
    if found.prefix == "vit":
        patch = int(name.rpartition("_")[2])
        return dataclasses.replace(found, smallest=patch, multiple=patch)
    return found


class Fitted(nn.Module):
    """A network of torchvision behind what makes images (N, C, H, W) fit it: a side that it takes, and three channels.

    A grey image is given to it as three equal channels. That is the same function as a first layer of one channel whose
    weights are sums of three; the network stays the published one, to the names of its parameters.
    """

    def __init__(self, network: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.network, self.size = network, size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Outputs (N, K)."""
        if images.shape[2:] != self.size:
            shrinks = images.shape[2] > self.size[0] or images.shape[3] > self.size[1]
            images = nn.functional.interpolate(images, self.size, mode="bilinear", antialias=shrinks)
        if images.shape[1] == 1:
            images = images.expand(-1, RGB, -1, -1)
        outputs: torch.Tensor = self.network(images)
        return outputs


def fitting_size(kin: Family, height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width that images are brought to: `size` squared, or without one the least that the network takes.

    Raises:
        ValueError: the network takes no images of that `size`.
    """
    if type(size) is not int or size < 0 or (size and (size < kin.smallest or size % kin.multiple)):
        steps = f", a multiple of {kin.multiple}" if kin.multiple > 1 else ""
        raise ValueError(f"size must be 0 or a whole number of at least {kin.smallest}{steps}, got {size!r}")
    if size:
        return size, size
    if kin.side:
        side = math.ceil(max(height, width, kin.smallest) / kin.multiple) * kin.multiple
        return side, side
    return max(height, kin.smallest), max(width, kin.smallest)


def _builder(name: str) -> Callable[..., Fitted]:
    kin = family(name)

    def build(input_shape: Sequence[int], outputs: int, *, size: int = 0) -> Fitted:
        if len(input_shape) != 3 or input_shape[0] not in (1, RGB):
            raise ValueError(f"{name}: inputs must be images of 1 or {RGB} channels, got shape {tuple(input_shape)}")
        fitted = fitting_size(kin, input_shape[1], input_shape[2], size)
        sides = {"image_size": fitted[0], "input_size": fitted}
        arguments = {**kin.fixed, **({kin.side: sides[kin.side]} if kin.side else {})}
        return Fitted(models.get_model(name, num_classes=outputs, **arguments), fitted)

    build.__name__ = name
    build.__doc__ = f"""{_summary(kin)}

    Args:
        size: pixels a side that images are brought to, bilinearly; 0 leaves them as they are where the network can
            take them, and enlarges them to the least that it takes where not.

    Raises:
        ValueError: inputs are no images of one or three channels, or the network takes none of that size.
    """
    return build


def _summary(kin: Family) -> str:
    least = f", images of {kin.smallest} pixels a side or more" if kin.smallest > 1 else ""
    if kin.multiple > 1:
        least = f", square images whose side is a multiple of {kin.multiple}"
    return f"{kin.title} of torchvision{least}."


def published(name: str) -> dict[str, Weights]:
    """The weights of a network that torchvision publishes, those first that it takes for `DEFAULT`.

    Weights without a head (`IMAGENET1K_FEATURES` of vgg16) are left out: a classifier cannot be made of them.
    """
    try:
        enum = models.get_model_weights(name)
    except ValueError:  # none are published
        return {}
    ordered = sorted(enum, key=lambda one: one is not enum.DEFAULT)
    return {one.name: _weights(family(name), one) for one in ordered if one.meta["categories"]}


def _weights(kin: Family, one: Any) -> Weights:
    expected, file = one.transforms(), one.url.rpartition("/")[2]
    hashed = re.search(r"-([0-9a-f]{8,64})\.pth$", file)
    mean, std = ((value,) * RGB for value in kin.scale) if kin.scale else (expected.mean, expected.std)
    return Weights(
        file,
        outputs=len(one.meta["categories"]),
        channels=RGB,
        input_size=expected.crop_size[0],
        mean=tuple(mean),
        std=tuple(std),
        url=one.url,
        sha256_prefix=hashed[1] if hashed else "",
        module="network",
        options={"size": one.meta["min_size"][0]} if kin.side else {},
        renamed=kin.renamed,
        left_out=kin.left_out,
    )


@hookimpl
def harness_models() -> list[Model]:
    """What `torchvision.models.list_models` knows of classification."""
    return [
        Model(
            name,
            build=_builder(name),
            head=None if (kin := family(name)).head is None else f"network.{kin.head}",
            weights=published(name),
            source=kin.source,
        )
        for name in models.list_models(module=models)
    ]
