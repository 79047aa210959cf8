"""torchvision's networks: sizes and heads of every family without numbers, and training with four of them."""

import contextlib
import dataclasses
import gc
import hashlib
import re

import pytest
import torch
from harness_plugins import torchvision_models
from harness_plugins.torchvision_models import FAMILIES, Family, Fitted, family, fitting_size
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision import models

import harness.published
from harness.errors import PluginError
from harness.hookspecs import Splits
from harness.registry.catalog import Origin
from harness.registry.describe import describe
from harness.strategies import blocks, weights
from harness.testing import check
from harness.train.parts import Parts
from tests.train.test_train import parts, payload, run

torch.set_num_threads(1)

PARTS = {part.name: part for part in torchvision_models.harness_models()}
# One of each family, those of few layers.
SMALL = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3",
    "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet18",
    "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_0", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11",
    "vit_b_16", "wide_resnet50_2",
)  # fmt: skip
LARGE = "maxvit_t"
# With a head of each name.
HEADS = (
    "resnet18", "vgg11", "densenet121", "mnasnet0_5", "squeezenet1_1", "mobilenet_v3_small", "convnext_tiny", "swin_t",
    "vit_b_16",
)  # fmt: skip


def cases(names, quick):
    """Parameters of a test, those that are not quick marked as slow."""
    return [pytest.param(name, marks=[] if name in quick else pytest.mark.slow) for name in names]


class _OnTheProcessor(TorchFunctionMode):
    """RegNet computes its widths by small tensors, whose values it needs."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        given = dict(kwargs or {})
        if func in (torch.arange, torch.tensor):
            given["device"] = "cpu"
        return func(*args, **given)


def shapes_only(name, shape, outputs=7, **options):
    """The part's network as shapes without numbers."""
    with torch.device("meta"), _OnTheProcessor() if name.startswith("regnet") else contextlib.nullcontext():
        return PARTS[name].build(shape, outputs, **options)


def images(shape, examples=2, device="cpu"):
    if device == "meta":
        return torch.empty(examples, *shape, device=device)
    return torch.randn(examples, *shape, generator=torch.Generator().manual_seed(0))


def test_every_classification_network_of_torchvision_has_a_part():
    assert set(PARTS) == set(models.list_models(module=models))
    assert {"resnet18", "vgg11_bn", "vit_b_16", "convnext_tiny"} <= set(PARTS)
    assert len(PARTS) >= 80


@pytest.mark.parametrize("name", PARTS)
def test_each_is_described_without_being_built(name):
    info = describe(PARTS[name], Origin("", "", "", "", ""))
    assert (info.options, info.space, info.required, info.open) == ({"size": 0}, {}, (), False)
    assert info.summary.endswith(".")
    assert "size:" in PARTS[name].build.__doc__
    if family(name).source != "torchvision":
        assert info.extra["head"] == f"network.{family(name).head}"
        assert "arXiv:" in info.source


def test_every_family_has_a_network():
    used = {family(name).title for name in PARTS}
    assert used >= {one.title for one in FAMILIES}
    assert {family(name).title for name in (*SMALL, LARGE)} == {one.title for one in FAMILIES}


def test_the_quick_tests_see_every_head_but_that_of_the_slowest_network():
    assert {family(name).head for name in HEADS} == {one.head for one in FAMILIES} - {family(LARGE).head}


def test_a_network_that_torchvision_may_add_is_taken_as_it_comes():
    assert family("quantumnet_b") == Family("quantumnet_b", "quantumnet_b", None, "torchvision")


@pytest.mark.parametrize("name", cases(SMALL, [name for name in SMALL if family(name).smallest > 1]))
def test_the_smallest_image_is_the_smallest_that_the_network_takes(name):
    kin = family(name)
    made = shapes_only(name, (3, kin.smallest, kin.smallest))
    assert made.size == (kin.smallest, kin.smallest)
    with torch.no_grad():
        assert made.train()(images((3, kin.smallest, kin.smallest), device="meta")).shape == (2, 7)
        if kin.smallest > 1:
            side = kin.smallest - 1
            with pytest.raises((RuntimeError, AssertionError)):
                made.network(images((3, side, side), device="meta"))


@pytest.mark.parametrize("name", cases(SMALL, HEADS))
def test_the_head_is_the_last_block_alone_and_gives_the_outputs(name):
    shape = (1, 28, 28)
    made = shapes_only(name, shape)
    head = made.get_submodule(PARTS[name].head)
    assert isinstance(head, nn.Linear | nn.Conv2d)
    assert head.weight.shape[0] == 7
    found = blocks.map_blocks(made, images(shape, 1, "meta"), head=PARTS[name].head, stages="all")
    by_itself = blocks.map_blocks(made, images(shape, 1, "meta"), head=None, stages="all")
    assert found.head == by_itself.head == PARTS[name].head
    owners = [path for path, module in made.named_modules() if any(True for _ in module.parameters(recurse=False))]
    assert [path for path in owners if found.block(path) == found.n_blocks - 1] == [found.head]
    assert found.unused == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_every_one_of_them_gives_outputs_for_a_small_grey_image(name):
    made = shapes_only(name, (1, 28, 28))
    with torch.no_grad():
        assert made.train()(images((1, 28, 28), device="meta")).shape == (2, 7)
    assert made.get_submodule(PARTS[name].head).weight.shape[0] == 7


@pytest.mark.parametrize(
    ("name", "shape", "size", "due"),
    [
        ("resnet18", (1, 28, 28), 0, (28, 28)),
        ("resnet18", (3, 8, 8), 64, (64, 64)),
        ("resnet18", (3, 40, 20), 0, (40, 20)),
        ("vgg11", (1, 28, 28), 0, (32, 32)),
        ("vgg11", (3, 64, 20), 0, (64, 32)),
        ("vit_b_16", (1, 28, 28), 0, (32, 32)),
        ("vit_b_16", (1, 8, 8), 0, (16, 16)),
        ("vit_b_16", (3, 32, 40), 0, (48, 48)),
        ("vit_b_32", (3, 32, 32), 0, (32, 32)),
        ("vit_h_14", (1, 28, 28), 0, (28, 28)),
        ("vit_b_16", (3, 32, 32), 64, (64, 64)),
        ("maxvit_t", (1, 28, 28), 0, (224, 224)),
        ("inception_v3", (3, 32, 32), 0, (75, 75)),
    ],
)
def test_images_are_brought_to_the_size_asked_for_or_to_the_least_that_is_needed(name, shape, size, due):
    assert fitting_size(family(name), *shape[1:], size) == due


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("vgg11", 31, "size must be 0 or a whole number of at least 32, got 31"),
        ("vit_b_16", 40, "size must be 0 or a whole number of at least 16, a multiple of 16, got 40"),
        ("maxvit_t", 256, "at least 224, a multiple of 224, got 256"),
        ("resnet18", -1, "at least 1, got -1"),
        ("resnet18", 32.0, "at least 1, got 32.0"),
        ("resnet18", True, "at least 1, got True"),
    ],
)
def test_a_size_that_the_network_does_not_take_is_refused_with_the_rule(name, size, message):
    with pytest.raises(ValueError, match=message):
        PARTS[name].build((3, 32, 32), 10, size=size)


@pytest.mark.parametrize("shape", [(4, 28, 28), (2, 8, 8), (30,), (28, 28), (0, 8, 8)])
def test_inputs_that_are_no_grey_or_coloured_images_are_refused(shape):
    with pytest.raises(ValueError, match="resnet18: inputs must be images of 1 or 3 channels, got shape"):
        PARTS["resnet18"].build(shape, 10)


def network():
    torch.manual_seed(0)
    return PARTS["squeezenet1_1"].build((1, 20, 20), 5, size=24).eval()


def test_a_grey_image_is_three_equal_channels_to_the_network():
    made, grey = network(), images((1, 24, 24))
    assert torch.equal(made(grey), made.network(torch.cat([grey, grey, grey], 1)))


def test_images_are_resized_bilinearly_and_smoothed_where_they_shrink():
    made = network()
    for side, shrinks in ((20, False), (50, True)):
        coloured = images((3, side, side))
        due = nn.functional.interpolate(coloured, (24, 24), mode="bilinear", antialias=shrinks)
        assert torch.equal(made(coloured), made.network(due))


def test_the_network_inside_is_torchvisions_own_to_its_numbers():
    torch.manual_seed(0)
    made = PARTS["shufflenet_v2_x0_5"].build((1, 28, 28), 10)
    assert isinstance(made, Fitted)
    torch.manual_seed(0)
    plain = models.shufflenet_v2_x0_5(num_classes=10)
    assert made.network.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(made.network.state_dict()[name], tensor) for name, tensor in plain.state_dict().items())
    assert {name.partition(".")[0] for name in made.state_dict()} == {"network"}


def test_a_vision_transformer_has_a_place_for_each_patch():
    made = shapes_only("vit_b_16", (1, 28, 28))
    assert made.network.encoder.pos_embedding.shape == (1, 2 * 2 + 1, 768)
    made = shapes_only("vit_b_16", (3, 32, 32), size=64)
    assert made.network.encoder.pos_embedding.shape == (1, 4 * 4 + 1, 768)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_with_auxiliary_outputs_are_built_without_them(name):
    made = shapes_only(name, (3, 80, 80)).train()
    with torch.no_grad():
        assert made(images((3, 80, 80), device="meta")).shape == (2, 7)
    assert not [path for path, _ in made.named_modules() if "aux" in path.lower()]


# Published weights ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARTS)
def test_every_network_says_which_weights_torchvision_publishes_of_it(name):
    enum = models.get_model_weights(name)
    said = PARTS[name].weights
    assert set(said) == {one.name for one in enum if one.meta["categories"]}
    assert next(iter(said)) == enum.DEFAULT.name
    for key, one in said.items():
        assert one.url == enum[key].url
        assert one.url.endswith(f"-{one.sha256_prefix}.pth")
        assert len(one.sha256_prefix) >= 8
        assert one.url.rpartition("/")[2] == one.file
        assert (one.outputs, one.channels, one.module) == (1000, 3, "network")


def test_weights_say_which_images_they_were_published_for():
    resnet, vit = PARTS["resnet50"].weights["IMAGENET1K_V1"], PARTS["vit_b_16"].weights["IMAGENET1K_SWAG_E2E_V1"]
    assert (resnet.file, resnet.input_size, resnet.options) == ("resnet50-0676ba61.pth", 224, {})
    assert (resnet.mean, resnet.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (vit.input_size, vit.options) == (384, {"size": 384})
    assert "IMAGENET1K_FEATURES" not in PARTS["vgg16"].weights


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_the_scale_is_that_of_a_network_which_changes_none_by_itself(name):
    shape, pixels = (3, 80, 80), images((3, 80, 80)).sigmoid()
    mean, std = (torch.tensor(one).reshape(3, 1, 1) for one in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    usual = (pixels - mean) / std
    said = PARTS[name].weights["IMAGENET1K_V1"]
    assert said.mean == said.std == (0.5, 0.5, 0.5)
    theirs = getattr(models, {"inception_v3": "Inception3", "googlenet": "GoogLeNet"}[name])
    torchvisions = theirs._transform_input(type("", (), {"transform_input": True})(), usual)
    torch.testing.assert_close((pixels - 0.5) / 0.5, torchvisions)
    assert not shapes_only(name, shape).network.transform_input


def counted(name, key):
    """Parameters of the network as its weights want it built, and as torchvision counts them."""
    said = PARTS[name].weights[key]
    made = shapes_only(name, (3, 32, 32), said.outputs, **said.options)
    return sum(one.numel() for one in made.parameters()), models.get_model_weights(name)[key].meta["num_params"]


WEIGHTS = [(name, key) for name, part in PARTS.items() for key in part.weights if name != "inception_v3"]
COUNTED = [("resnet18", "IMAGENET1K_V1"), ("vit_b_16", "IMAGENET1K_V1"), ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1")]


@pytest.mark.parametrize(
    ("name", "key"),
    [pytest.param(*pair, marks=[] if pair in COUNTED else pytest.mark.slow) for pair in WEIGHTS],
    ids=str,
)
def test_with_the_options_of_its_weights_a_network_has_the_parameters_that_torchvision_counts(name, key):
    found, due = counted(name, key)
    assert found == due


def published(root, name, state):
    """The state under the file name of the network's own weights, but with its own hash, and the part that says so."""
    part = PARTS[name]
    own = next(iter(part.weights.values()))
    torch.save(state, root / "draft")
    prefix = hashlib.sha256((root / "draft").read_bytes()).hexdigest()[: len(own.sha256_prefix)]
    file = own.file.replace(own.sha256_prefix, prefix)
    (root / "weights").mkdir()
    (root / "draft").rename(root / "weights" / file)
    said = dataclasses.replace(own, file=file, sha256_prefix=prefix)
    return dataclasses.replace(part, weights={"IMAGENET1K_V1": said}), said


AS_PUBLISHED = {
    "shufflenet_v2_x0_5": {},
    "resnet18": {},
    "mobilenet_v3_small": {},
    "densenet121": {},
    "googlenet": {"aux_logits": True, "init_weights": False},
    "inception_v3": {"aux_logits": True, "init_weights": False},
}
FEW = ("shufflenet_v2_x0_5", "mobilenet_v3_small")


def older(name, state):
    """The state as files of that age have it: DenseNet's names with dots, no counts of batches."""
    if name not in ("densenet121", "googlenet", "inception_v3"):
        return state
    dotted = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))([12])")
    kept = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    return {dotted.sub(r"\1.\2", key): tensor for key, tensor in kept.items()}


@pytest.mark.parametrize("name", cases(AS_PUBLISHED, FEW))
def test_a_file_of_torchvisions_own_network_makes_ours_the_same_function(tmp_path, name):
    torch.manual_seed(3)
    theirs = models.get_model(name, num_classes=1000, **AS_PUBLISHED[name]).eval()
    part, said = published(tmp_path, name, older(name, theirs.state_dict()))
    path, sha256 = harness.published.find(said, root=tmp_path)
    made = weights.build(part, (3, 96, 96), said, path, sha256=sha256).eval()
    shown = images((3, 96, 96))
    with torch.no_grad():
        assert torch.equal(made(shown), theirs(shown))
    assert made.get_submodule(part.head).weight.shape[0] == 1000


def test_weights_of_a_sister_network_are_refused_by_their_tensors(tmp_path):
    part, said = published(tmp_path, "shufflenet_v2_x0_5", models.shufflenet_v2_x1_0().state_dict())
    with pytest.raises(PluginError, match=r"than 'shufflenet_v2_x0_5': shape of .* in place of \(\d+,?.* and \d+ more"):
        weights.build(part, (3, 32, 32), said, tmp_path / "weights" / said.file)
    with pytest.raises(PluginError, match=r"takes images of 3 channels, and .* not adapted"):
        weights.build(part, (1, 28, 28), said, tmp_path / "weights" / said.file)


def test_a_vision_transformer_needs_the_size_of_its_weights(tmp_path):
    said = PARTS["vit_b_16"].weights["IMAGENET1K_V1"]
    with pytest.raises(PluginError, match=r"vit_b_16-c867db91.pth fits model 'vit_b_16' with size = 224 only, got 0"):
        weights.build(PARTS["vit_b_16"], (3, 224, 224), said, tmp_path)


CHECKED = ("shufflenet_v2_x0_5", "squeezenet1_1", "mobilenet_v3_small")


@pytest.mark.parametrize("name", CHECKED)
def test_small_ones_conform(name):
    check(PARTS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(SMALL) - set(CHECKED)))
def test_one_of_each_family_conforms(name):
    check(PARTS[name])


def trained(name, shape):
    """Two steps of the harness's own training, with a test at the end."""
    inputs = images(shape, 24)
    splits = Splits((inputs, torch.arange(24) % 3), (inputs[:6], torch.arange(6) % 3), classes=3)
    small = payload(
        epochs=None, steps=2, batch_size=8, train_examples=16, validation_examples=8, rule="last",
        model={"use": "net", "size": 0}, optimizer={"use": "optimizer", "lr": 0.001},
    )  # fmt: skip
    chosen = Parts(**{**parts(optimizer=torch.optim.SGD).__dict__, "model": PARTS[name]})
    result = run(small, chosen, splits)
    gc.collect()
    return result


GREY, TINY, COLOUR = (1, 28, 28), (1, 8, 8), (3, 32, 32)
ALL = [
    (name, shape) for name in ("resnet18", "convnext_tiny", "vgg11_bn", "vit_b_16") for shape in (GREY, TINY, COLOUR)
]
QUICK = [*ALL[:3], ("convnext_tiny", GREY), ("vit_b_16", TINY)]


@pytest.mark.parametrize(
    ("name", "shape"), [pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow) for case in ALL], ids=str
)
def test_four_families_train_on_small_and_on_grey_images(name, shape):
    result = trained(name, shape)
    assert result["status"] == "ok", result["reason"]
    assert result["steps"] == 2
    assert result["parameters"] == result["trainable_parameters"] > 1_000_000
    assert {row[3] for row in result["evaluations"]} == {"train", "validation", "test"}


def test_training_is_reproducible_bit_for_bit():
    assert trained("shufflenet_v2_x0_5", TINY) == trained("shufflenet_v2_x0_5", TINY)


def test_a_network_is_named_like_any_model_and_refused_where_it_does_not_fit(project):
    suite = {"problem.dataset": {"use": "random", "classes": 3, "train": 200, "test": 20}, "tuning": None}
    suite |= {"problem.model": "squeezenet1_1", "problem.epochs": None, "problem.steps": 1, "compare.replicates": 1}
    result = project.write(suite=suite).run("run", "suite.toml")
    assert result.code == 0, result.err
    assert "2 of 2 ok" in result.err
    suite["problem.model"] = {"use": "squeezenet1_1", "size": 8}
    result = project.write(suite=suite).run("plan", "suite.toml")
    assert result.code == 2
    assert "cannot be built: ValueError: size must be 0 or a whole number of at least 17, got 8" in result.err
    suite |= {"problem.model": "squeezenet1_1", "problem.dataset": "clouds"}
    result = project.write(suite=suite).run("plan", "suite.toml")
    assert result.code == 2
    assert "squeezenet1_1: inputs must be images of 1 or 3 channels, got shape (4,)" in result.err
    result = project.write(suite={"problem.model": "resnet19"}).run("check", "suite.toml")
    assert result.code == 2
    assert "did you mean 'resnet18'?" in result.err
    assert len(max(result.err.splitlines(), key=len)) < 200
