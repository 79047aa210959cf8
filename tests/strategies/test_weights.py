"""State dicts as files: equal states are equal bytes, and what is not what was written is refused with the reason."""

import hashlib
import json
import os
import struct

import pytest
import safetensors.torch
import torch
from torch import nn

from harness.errors import DataError, PluginError, ResultsError
from harness.hookspecs import Model, Weights
from harness.published import DamagedWeights, verify
from harness.strategies import weights
from harness.strategies.weights import build, load, load_state, put_into, save_state
from harness.train.snapshot import equal

torch.set_num_threads(1)


def state():
    """Every kind of tensor that a state dict has, and some that few have."""
    generator = torch.Generator().manual_seed(0)
    return {
        "weight": torch.randn(4, 3, 3, 3, generator=generator),
        "bias": torch.tensor([0.0, -0.0, float("inf"), 1e-42]),
        "count": torch.tensor(7),
        "scale": torch.tensor(0.5, dtype=torch.float64),
        "indices": torch.arange(6).reshape(2, 3),
        "mask": torch.tensor([True, False]),
        "half": torch.randn(5, generator=generator).bfloat16(),
        "nothing": torch.empty(0, 3),
        "bytes": torch.arange(3, dtype=torch.uint8),
    }


# Of this suite -------------------------------------------------------------------------------------------------------


def test_a_state_comes_back_bit_for_bit_by_name_in_their_order(tmp_path):
    sha256 = save_state(tmp_path / "new" / "a.safetensors", state())
    found = load_state(tmp_path / "new" / "a.safetensors", sha256)
    assert list(found) == sorted(state())
    assert equal(found, state())


def test_the_hash_is_that_of_the_file(tmp_path):
    path = tmp_path / "a.safetensors"
    assert save_state(path, state()) == hashlib.sha256(path.read_bytes()).hexdigest()
    verify(path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert [one.name for one in tmp_path.iterdir()] == ["a.safetensors"]


def test_an_empty_state_is_a_state(tmp_path):
    assert load_state(tmp_path / "a", save_state(tmp_path / "a", {})) == {}


def test_equal_states_are_equal_bytes_in_any_order_and_layout(tmp_path):
    plain = state()
    other = dict(reversed(state().items()))
    other["weight"] = other["weight"].contiguous(memory_format=torch.channels_last)
    other["indices"] = other["indices"].T.contiguous().T
    other["bias"] = nn.Parameter(other["bias"])
    assert weights.to_bytes(plain) == weights.to_bytes(other)
    assert len({weights.to_bytes(state()) for _ in range(5)}) == 1


def test_other_states_are_other_bytes():
    moved = {**state(), "count": torch.tensor(8)}
    renamed = {("counts" if name == "count" else name): tensor for name, tensor in state().items()}
    negative = {**state(), "scale": -state()["scale"]}
    assert len({weights.to_bytes(one) for one in (state(), moved, renamed, negative)}) == 4


def test_a_layout_is_not_kept_and_its_numbers_are(tmp_path):
    tensor = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    found = load_state(tmp_path / "a", save_state(tmp_path / "a", {"x": tensor}))["x"]
    assert found.is_contiguous()
    assert torch.equal(found, tensor)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False)
        self.last.weight = self.first.weight
        self.register_buffer("copy", self.first.weight.detach().clone())


def test_tied_tensors_are_written_once_and_are_one_tensor_again(tmp_path):
    model = Tied()
    found = load_state(tmp_path / "a", save_state(tmp_path / "a", model.state_dict()))
    assert (tmp_path / "a").stat().st_size < 2.2 * 64 * 64 * 4
    assert found["first.weight"] is found["last.weight"]
    assert found["copy"] is not found["first.weight"]
    other = Tied()
    other.load_state_dict(found)
    assert all(torch.equal(one, found[name]) for name, one in other.state_dict().items())


def test_views_that_share_memory_only_in_part_keep_their_numbers(tmp_path):
    whole = torch.arange(10.0)
    parts = {"whole": whole, "head": whole[:4], "turned": whole.reshape(2, 5).T, "empty": whole[:0], "void": whole[:0]}
    found = load_state(tmp_path / "a", save_state(tmp_path / "a", parts))
    assert {name: tensor.tolist() for name, tensor in found.items()} == {n: t.tolist() for n, t in parts.items()}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "'x' of the state is no dense tensor but int"),
        ({"extra": 1}, "'x' of the state is no dense tensor but dict"),
        (torch.eye(2).to_sparse(), "'x' of the state is no dense tensor but torch.sparse_coo"),
        (torch.zeros(2, dtype=torch.complex128), "of a type that no file holds"),
    ],
)
def test_what_no_file_can_hold_is_named(tmp_path, value, message):
    with pytest.raises(TypeError, match=message):
        save_state(tmp_path / "a", {"x": value})
    assert list(tmp_path.iterdir()) == []


def test_a_tensor_without_numbers_to_write_is_refused():
    with pytest.raises(TypeError, match="'x' of the state is on the meta device"):
        weights.to_bytes({"x": torch.empty(2, device="meta")})


def test_nothing_is_written_through_a_link_or_into_a_folder(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder").mkdir()
    for name in ("link", "folder"):
        with pytest.raises(ResultsError, match=f"there is a {name} in its place"):
            save_state(tmp_path / name, state())
    assert not (tmp_path / "elsewhere").exists()


def refused(path, sha256):
    with pytest.raises(DamagedWeights) as said:
        load_state(path, sha256)
    assert str(path) in str(said.value)
    assert "\n" not in str(said.value)
    return str(said.value)


def test_any_damaged_byte_is_found_with_both_hashes(tmp_path):
    path = tmp_path / "a"
    sha256 = save_state(path, state())
    whole = path.read_bytes()
    for at in (0, 7, 8, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        assert f"its SHA-256 must be {sha256}, got {found}" in refused(path, sha256)


@pytest.mark.parametrize("keep", [0, 5, 8, 100, -1])
def test_a_cut_file_is_damaged(tmp_path, keep):
    path = tmp_path / "a"
    sha256 = save_state(path, state())
    path.write_bytes(path.read_bytes()[:keep])
    assert "is not what it was" in refused(path, sha256)


def header(**tables):
    text = json.dumps(tables).encode()
    return struct.pack("<Q", len(text)) + text


FOREIGN = {
    "nothing": b"",
    "text": b"a page that asks for a password",
    "a length beyond the file": struct.pack("<Q", 2**62) + b"{}",
    "no metadata": safetensors.torch.save({"x": torch.zeros(2)}),
    "other metadata": safetensors.torch.save({"x": torch.zeros(2)}, metadata={"format": "pt"}),
    "metadata that are no table": header(__metadata__=[1]),
    "ties to nothing": safetensors.torch.save({"x": torch.zeros(2)}, metadata={weights.MARK: '{"y": "z"}'}),
    "ties that are no table": safetensors.torch.save({"x": torch.zeros(2)}, metadata={weights.MARK: "[1]"}),
    "ties that are no text": safetensors.torch.save({"x": torch.zeros(2)}, metadata={weights.MARK: '{"x": []}'}),
    "numbers beyond the file": header(
        __metadata__={weights.MARK: "{}"}, x={"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_damaged_though_its_hash_is_right(tmp_path, kind):
    (tmp_path / "a").write_bytes(FOREIGN[kind])
    sha256 = hashlib.sha256(FOREIGN[kind]).hexdigest()
    assert "holds no weights that harness wrote (" in refused(tmp_path / "a", sha256)


def test_what_is_no_regular_file_is_refused_at_once_with_what_it_is(tmp_path):
    sha256 = save_state(tmp_path / "a", state())
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    due = {"folder": "not a regular file", "pipe": "not a regular file", "link": "a link", "none": "No such file"}
    for name, words in due.items():
        assert words in refused(tmp_path / name, sha256)
        with pytest.raises(DamagedWeights, match=words):
            verify(tmp_path / name, sha256)


# Published -----------------------------------------------------------------------------------------------------------


class Net(nn.Module):
    """A convolution, batch normalisation, a head."""

    def __init__(self, outputs, width=4):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, width, 3), nn.BatchNorm2d(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, images):
        return self.head(self.norm(self.conv(images)).mean((2, 3)))


def net(input_shape, outputs, *, width=4):
    return Net(outputs, width)


PART = Model("net", build=net)
SHAPE = (3, 8, 8)


def trained(outputs=6, seed=1, width=4):
    torch.manual_seed(seed)
    model = Net(outputs, width)
    model(torch.randn(2, 3, 8, 8))  # moves the statistics
    return model.state_dict()


def published(folder, state, *, suffix=".pth", legacy=False, **fields):
    """The state as a file whose name ends with its own hash, as publishers have it, and what is said of it."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"draft{suffix}"
    if suffix == ".pth":
        torch.save(state, draft, _use_new_zipfile_serialization=not legacy)
    else:
        safetensors.torch.save_file(dict(state), draft)
    prefix = hashlib.sha256(draft.read_bytes()).hexdigest()[:8]
    path = draft.rename(folder / f"net-{prefix}{suffix}")
    return path, Weights(path.name, **{"outputs": 6, "sha256_prefix": prefix, **fields})


@pytest.mark.parametrize(("suffix", "legacy"), [(".pth", False), (".pth", True), (".safetensors", False)])
def test_a_model_is_built_with_the_outputs_and_numbers_of_its_weights(tmp_path, suffix, legacy):
    path, said = published(tmp_path, trained(), suffix=suffix, legacy=legacy)
    made = build(PART, SHAPE, said, path)
    assert made.head.out_features == 6
    assert equal(dict(made.state_dict()), dict(trained()))
    whole = hashlib.sha256(path.read_bytes()).hexdigest()
    assert equal(load(path, said, sha256=whole), dict(trained()))


def test_a_file_of_another_hash_is_refused_before_it_is_read(tmp_path):
    path, said = published(tmp_path, trained())
    with pytest.raises(DamagedWeights, match=rf"must be {'0' * 64}, got {said.sha256_prefix}"):
        load(path, said, sha256="0" * 64)
    path.write_bytes(path.read_bytes() + b"\0")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(DamagedWeights, match=f"must begin with {said.sha256_prefix}, got {found}"):
        load(path, said)


EXPLODED = []


class Bomb:
    """What a pickle can do."""

    def __reduce__(self):
        return EXPLODED.append, ("bang",)


@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_in_a_file_is_run(tmp_path, legacy):
    path, said = published(tmp_path, {"conv.weight": Bomb()}, legacy=legacy)
    with pytest.raises(DamagedWeights, match="cannot be read") as error:
        load(path, said)
    assert EXPLODED == []
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"a page", b"PK\3\4"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_something_else_is_refused_in_one_line(tmp_path, suffix, content):
    (tmp_path / f"net{suffix}").write_bytes(content)
    with pytest.raises(DamagedWeights, match=rf"net{suffix} cannot be read \(") as error:
        load(tmp_path / f"net{suffix}", Weights(f"net{suffix}", outputs=6))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3, "state": {}}, torch.zeros(2)])
def test_a_file_that_holds_no_state_dict_is_refused(tmp_path, content):
    path, said = published(tmp_path, content)
    with pytest.raises(DamagedWeights, match="must hold a state dict, tensors by name, and holds"):
        load(path, said)


def test_the_first_few_tensors_that_differ_are_named(tmp_path):
    other = {**trained(width=5), "stem.weight": torch.zeros(1)}
    del other["head.bias"]
    path, said = published(tmp_path, other)
    with pytest.raises(PluginError) as error:
        build(PART, SHAPE, said, path)
    text = str(error.value)
    assert text.startswith(f"{path.name} is of another model than 'net': no head.bias; it has stem.weight; shape of ")
    assert "shape of conv.weight (5, 3, 3, 3) in place of (4, 3, 3, 3), conv.bias (5,) in place of (4,)" in text
    assert text.endswith(", norm.weight (5,) in place of (4,) and 4 more")


def test_other_outputs_than_declared_are_another_model(tmp_path):
    path, said = published(tmp_path, trained(outputs=5))
    with pytest.raises(PluginError, match=r"shape of head.weight \(5, 4\) in place of \(6, 4\), head.bias"):
        build(PART, SHAPE, said, path)


@pytest.mark.parametrize("shape", [(1, 8, 8), (4, 8, 8), (3,)])
def test_other_channels_are_refused_and_not_adapted(tmp_path, shape):
    path, said = published(tmp_path, trained())
    with pytest.raises(PluginError, match=r"takes images of 3 channels, and .* its first layer is not adapted"):
        build(PART, shape, said, path)


def test_an_option_that_the_weights_need_must_have_its_value(tmp_path):
    path, said = published(tmp_path, trained(width=5), options={"width": 5})
    with pytest.raises(PluginError, match=r"fits model 'net' with width = 5 only, got 4$"):
        build(PART, SHAPE, said, path)
    assert build(PART, SHAPE, said, path, options={"width": 5}).conv.out_channels == 5
    assert build(Model("net", build=net, defaults={"width": 5}), SHAPE, said, path, options={"width": 5})


def test_a_file_from_before_batches_were_counted_is_read_as_torch_reads_it(tmp_path):
    older = {name: tensor for name, tensor in trained().items() if name != "norm.num_batches_tracked"}
    path, said = published(tmp_path, older)
    made = build(PART, SHAPE, said, path).state_dict()
    assert equal({name: made[name] for name in older}, older)
    assert int(made["norm.num_batches_tracked"]) == 0


def test_a_file_of_safetensors_has_to_hold_them_all(tmp_path):
    older = {name: tensor for name, tensor in trained().items() if name != "norm.num_batches_tracked"}
    path, said = published(tmp_path, older, suffix=".safetensors")
    with pytest.raises(PluginError, match=r"than 'net': no norm.num_batches_tracked$"):
        build(PART, SHAPE, said, path)


class Wrapped(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.inner, self.outer = Net(outputs), nn.Linear(1, 1)


def test_the_state_of_a_part_of_the_model_is_put_there_by_its_own_names(tmp_path):
    old = {name.replace("conv.", "conv.1."): tensor for name, tensor in trained().items()} | {"aux.x": torch.ones(1)}
    path, said = published(
        tmp_path, old, module="inner", renamed=(r"conv\.([0-9])\.", r"conv."), left_out=r"aux\."
    )  # fmt: skip
    made = Wrapped(6)
    outer = made.outer.weight.detach().clone()
    put_into(made, load(path, said), said, name="wrapped")
    assert equal(dict(made.inner.state_dict()), dict(trained()))
    assert torch.equal(made.outer.weight, outer)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    spoilt = trained()
    spoilt["norm.running_var"][1] = float("nan")
    path, said = published(tmp_path, spoilt)
    with pytest.raises(DataError, match=r"'norm\.running_var' has numbers that are not finite"):
        build(PART, SHAPE, said, path)
