"""A state on disk: what comes back has the bits that went in, and nothing else goes in."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from harness.train import snapshot

STATE = {
    "numbers": [1, -2.5, 1e-310, float("inf"), float("nan"), True, None, "text"],
    "tuple": (1, [torch.tensor(3), (2.0,)]),
    "by number": {0: {"step": torch.tensor(7.0), "empty": torch.zeros(0, 3)}, 1: {}},
    "types": [torch.arange(3).to(t) for t in (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool)],
    "images": torch.arange(48.0).reshape(2, 2, 3, 4).contiguous(memory_format=torch.channels_last),
    "part": torch.arange(10.0)[::3],
    "not a number": torch.tensor([float("nan"), -0.0]),
}


def through(tmp_path, state):
    snapshot.save(tmp_path / "state.safetensors", state)
    return snapshot.load(tmp_path / "state.safetensors")


def test_nested_tables_lists_and_tensors_come_back_bit_for_bit(tmp_path):
    back = through(tmp_path, STATE)
    assert snapshot.equal(back, STATE)
    assert [type(value) for value in back["numbers"]] == [type(value) for value in STATE["numbers"]]
    assert math.isnan(back["numbers"][4])
    assert isinstance(back["tuple"], tuple)
    assert list(back["by number"]) == [0, 1]
    assert back["images"].is_contiguous(memory_format=torch.channels_last)


def test_tensors_that_share_memory_are_stored_each(tmp_path):
    shared = torch.arange(4.0)
    back = through(tmp_path, {"a": shared, "b": shared, "c": shared[1:]})
    back["a"][1] = 9
    assert back["b"].tolist() == [0, 1, 2, 3]
    assert back["c"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [1, object()]}, r"state.a\[1\] is object"),
        ({"a": {(1, 2): 3}}, r"state.a has a key of type tuple"),
        ({"f": print}, "state.f is builtin_function_or_method"),
        ({"s": {1, 2}}, "state.s is set"),
    ],
)
def test_anything_else_is_refused_with_its_place(tmp_path, value, place):
    with pytest.raises(snapshot.NotPlain, match=place):
        through(tmp_path, value)
    assert not snapshot.plain(value, "state")
    assert snapshot.plain(STATE, "state")


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["numbers"].__setitem__(0, 1.0),
        lambda s: s["not a number"].__setitem__(1, 0.0),
        lambda s: s["by number"].pop(1),
        lambda s: s.__setitem__("part", s["part"].double()),
        lambda s: s.__setitem__("tuple", s["tuple"][:1]),
    ],
)
def test_states_that_differ_in_one_bit_or_type_are_not_equal(change):
    changed = copy.deepcopy(STATE)
    assert snapshot.equal(changed, STATE)
    change(changed)
    assert not snapshot.equal(changed, STATE)


def test_loaded_tensors_lie_where_torch_would_put_them(tmp_path):
    """Where in memory a vector begins may decide how a sum over it is rounded, and so the bits of a resumed run."""
    back = through(tmp_path, {str(n): torch.randn(n) for n in (1, 3, 5, 100)})
    assert {tensor.data_ptr() % 64 for tensor in [torch.empty(3), *back.values()]} == {0}
