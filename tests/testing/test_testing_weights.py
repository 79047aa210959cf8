"""The check of a model passes weights that its files could fill, and names the rule that a planted defect breaks."""

import dataclasses
import socket

import pytest
import torch
from torch import nn

from harness.hookspecs import Model, Weights
from harness.testing import NonConforming, check

torch.set_num_threads(1)

SOUND = Weights(
    "net-1a2b3c4d.pth",
    outputs=6,
    channels=3,
    input_size=8,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    url="https://example.org/net-1a2b3c4d.pth",
    sha256_prefix="1a2b3c4d",
)
BUILT = []


class Net(nn.Module):
    """A convolution, a norm and a head, for images of at least 4 pixels a side."""

    def __init__(self, input_shape, outputs, *, width=4, most=64):
        super().__init__()
        BUILT.append((tuple(input_shape), outputs, width))
        if input_shape[-1] > most:
            raise ValueError(f"images have at most {most} pixels a side")
        self.body = nn.Sequential(nn.Conv2d(input_shape[0], width, 3), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, outputs)

    def forward(self, images):
        return self.head(self.body(images).mean((2, 3)))


def published(build=Net, head=None, **fields):
    return Model("net", build=build, head=head, weights={"V1": dataclasses.replace(SOUND, **fields)})


def refused(part, rule, found=""):
    with pytest.raises(NonConforming) as caught:
        check(part)
    assert f"weights 'V1': {rule}" in caught.value.rule
    assert found in caught.value.found


ALSO_SOUND = {
    "no size": {"input_size": None},
    "no scale": {"mean": (), "std": ()},
    "bytes as they are": {"mean": (0, 0, 0), "std": (1 / 255,) * 3},
    "the whole hash": {"sha256_prefix": "1a2b3c4d" + "0" * 56},
    "more of the hash in the name": {"file": "net-1a2b3c4d5e6f.pth", "sha256_prefix": "1a2b3c4d5e6f"},
    "safetensors": {"file": "net-1a2b3c4d.safetensors"},
    "by hand": {"url": ""},
    "an option": {"options": {"width": 5}},
    "names that it does not have left out": {"left_out": r"aux\."},
    "older names": {"renamed": (r"(body)_(\d)", r"\1.\2")},
    "names with a prefix": {"renamed": (r"^model\.", "")},
    "names without a prefix": {"module": "", "renamed": (r"^", "network.")},
}


@pytest.mark.parametrize("fields", [{}, *ALSO_SOUND.values()], ids=["as they are", *ALSO_SOUND])
def test_sound_weights_conform(fields):
    check(published(**fields))


def test_nothing_is_asked_of_the_network_or_the_disk(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("asked for an address"))
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("opened a file"))
    monkeypatch.setenv("HARNESS_DOWNLOAD", "1")
    check(published())


def test_the_model_is_built_as_the_weights_want_it_and_once_for_those_that_are_alike():
    BUILT.clear()
    other = dataclasses.replace(SOUND, file="net-5e6f7a8b.pth", sha256_prefix="5e6f7a8b", mean=(), std=(), url="")
    wide = dataclasses.replace(SOUND, outputs=9, channels=1, input_size=None, mean=(), std=(), options={"width": 5})
    more, large = dataclasses.replace(SOUND, outputs=8), dataclasses.replace(SOUND, input_size=16)
    check(Model("net", build=Net, weights={"V1": SOUND, "V2": other, "WIDE": wide, "MORE": more, "LARGE": large}))
    of_weights = [built for built in BUILT if built[1] != 10]
    assert of_weights == [((3, 8, 8), 6, 4), ((1, 28, 28), 9, 5), ((3, 8, 8), 8, 4), ((3, 16, 16), 6, 4)]


class Inner(nn.Module):
    """A backbone in a module of its own, and the head beside it."""

    def __init__(self, input_shape, outputs):
        super().__init__()
        self.network, self.head = Net(input_shape, 7), nn.Linear(7, outputs)

    def forward(self, images):
        return self.head(self.network(images))


class Alike(nn.Module):
    """As `Inner`, with a head whose name begins as that of the backbone."""

    def __init__(self, input_shape, outputs):
        super().__init__()
        self.net, self.network = Net(input_shape, 7), nn.Linear(7, outputs)

    def forward(self, images):
        return self.network(self.net(images))


class Wrapped(nn.Module):
    def __init__(self, input_shape, outputs):
        super().__init__()
        self.network = Net(input_shape, outputs)

    def forward(self, images):
        return self.network(images)


def test_weights_of_the_module_that_has_the_head_conform():
    check(published(Wrapped, module="network"))
    check(published(Wrapped, module="network", head="network.head"))


class Stubborn(Net):
    """Always has seven outputs when it is asked for six."""

    def __init__(self, input_shape, outputs):
        super().__init__(input_shape, 7 if outputs == 6 else outputs)


class Noted(Net):
    """Has in its state what is no tensor."""

    def get_extra_state(self):
        return {"version": 1}

    def set_extra_state(self, state):
        pass


class Deaf(Net):
    """Does not take its own tensors back when it has six outputs."""

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors):
        if self.head.out_features == 6:
            missing.append(f"{prefix}scale")


def small_only(input_shape, outputs):
    """Takes images of 28 pixels a side, whatever it was built for."""
    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0] * 28 * 28, outputs))


FILE = "the file's name ends in the first 8 digits or more of its SHA-256"
WORDS = "renamed and left_out are regular expressions"
BUILDS, FILLS = "the model is built for their images (3, 96, 96)", "a file of the model's own names fills it"
DEFECTS = {
    "no hash": ({"file": "net.pth"}, FILE, "net.pth"),
    "a short hash": ({"file": "net-1a2b3c4.pth"}, FILE, "net-1a2b3c4.pth"),
    "a hash that is none": ({"file": "net-pretrained.pth"}, FILE, "net-pretrained.pth"),
    "capitals": ({"file": "net-1A2B3C4D.pth"}, FILE, "net-1A2B3C4D.pth"),
    "a hash in the middle": ({"file": "net-1a2b3c4d-v2.pth"}, FILE, "net-1a2b3c4d-v2.pth"),
    "a hash before another end": ({"file": "net-1a2b3c4d.pth.pth"}, FILE, "net-1a2b3c4d.pth.pth"),
    "another prefix": ({"sha256_prefix": "1a2b3c4e"}, "sha256_prefix begins with the digits", "'1a2b3c4e' for net-"),
    "a shorter prefix": ({"sha256_prefix": "1a2b"}, "sha256_prefix begins with the digits", "'1a2b' for net-"),
    "no prefix": ({"sha256_prefix": ""}, "sha256_prefix begins with the digits", "'' for net-1a2b3c4d.pth"),
    "mean of bytes": ({"mean": (123.7, 116.3, 103.5)}, "mean is that of pixels in [0, 1]", "(123.7, 116.3, 103.5)"),
    "mean below 0": ({"mean": (0.5, -0.5, 0.5)}, "mean is that of pixels in [0, 1]", "-0.5"),
    "mean in words": ({"mean": ("0.5",) * 3}, "mean is that of pixels in [0, 1]", "'0.5'"),
    "deviation of bytes": ({"std": (58.4, 57.1, 57.4)}, "std is above 0, and of pixels in [0, 1]", "58.4"),
    "deviation 0": ({"std": (0.2, 0.0, 0.2)}, "std is above 0", "0.0"),
    "deviation below 0": ({"std": (0.2, 0.2, -0.2)}, "std is above 0", "-0.2"),
    "deviation in words": ({"std": ("0.5",) * 3}, "std is above 0", "'0.5'"),
    "deviation that divides to infinity": ({"std": (0.2, 0.2, 1e-310)}, "std is above 0", "1e-310"),
    "a size that it refuses": (
        {"input_size": 96},
        "the model is built for their images (3, 96, 96)",
        "at most 64 pixe",
    ),
    "a size that is too small": ({"input_size": 2}, "the model takes images (3, 2, 2)", "RuntimeError"),
    "a size that it cannot take": ({"build": small_only}, "the model takes images (3, 8, 8)", "RuntimeError"),
    "an unknown option": ({"options": {"depth": 3}}, "the model is built for their images", "'depth'"),
    "other outputs": ({"build": Stubborn}, "the model has their outputs", "7"),
    "no such module": ({"module": "net.work"}, "module is one of the model's", "no attribute `net`"),
    "a head outside": (
        {"build": Inner, "module": "network"},
        "the head lies in their module",
        "'head' beside 'network'",
    ),
    "a head whose name begins alike": ({"build": Alike, "module": "net"}, "the head lies in their module", "'network'"),
    "what is no tensor": ({"build": Noted}, "the state_dict holds tensors alone", "dict at _extra_state"),
    "a broken expression": ({"renamed": ("(", "")}, WORDS, "unterminated"),
    "no such group": ({"renamed": (r"aux\.", r"\1")}, WORDS, "group"),
    "a broken exclusion": ({"left_out": "*"}, WORDS, "nothing to repeat"),
    "its own names left out": (
        {"left_out": "head"},
        "a file of the model's own names fills it",
        "no head.weight, head",
    ),
    "what does not come back": ({"build": Deaf}, FILLS, "no scale"),
}


@pytest.mark.parametrize(("fields", "rule", "found"), DEFECTS.values(), ids=DEFECTS)
def test_weights_with_a_defect_are_refused(fields, rule, found):
    refused(published(**fields), rule, found)


def test_the_second_weights_are_held_against_the_rules_too():
    part = Model("net", build=Net, weights={"V0": SOUND, "V1": dataclasses.replace(SOUND, outputs=5, module="nowhere")})
    refused(part, "module is one of the model's", "nowhere")
    part = Model("net", build=Net, weights={"V0": SOUND, "V1": dataclasses.replace(SOUND, file="net.pth")})
    refused(part, FILE, "net.pth")


def test_the_checks_of_the_model_itself_come_first():
    def broken(input_shape, outputs):
        return 1 / 0

    with pytest.raises(NonConforming) as caught:
        check(Model("net", build=broken, weights={"V1": dataclasses.replace(SOUND, file="net.pth")}))
    assert caught.value.rule == "is built for this input shape"
