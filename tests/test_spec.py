"""Ids and seeds: equal for equal runs, different for different ones, the same in every process."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.spec import RunSpec, canonical, digest, run_seeds, seed

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(derandomize=True, deadline=None)
@given(plain)
def test_canonical_text_reads_back_as_the_same_value(value):
    assert json.loads(canonical(value)) == value


@settings(derandomize=True, deadline=None)
@given(st.dictionaries(st.text(), plain, min_size=2))
def test_the_order_of_keys_changes_no_id(value):
    assert digest(value) == digest(dict(reversed(value.items())))


def test_numbers_written_in_two_ways_have_one_id():
    assert digest({"lr": 1e-3}) == digest({"lr": 0.001})
    assert digest({"lr": 1}) == digest({"lr": 1.0})
    assert digest({"lr": 1}) != digest({"lr": True})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, object(), {"a": {1, 2}}])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(TypeError, match="part of a run's id"):
        canonical({"value": value} if not isinstance(value, dict) else value)


def test_an_id_is_the_hash_of_compact_sorted_json():
    spec = RunSpec({"b": [1, 2.5], "a": "é"})
    assert spec.id == hashlib.sha256('{"a":"é","b":[1,2.5]}'.encode()).hexdigest()


def test_a_seed_is_the_leading_bits_of_the_hash_of_its_names():
    whole = int.from_bytes(hashlib.sha256(b'[0,"mnist",3,"split"]').digest()[:8])
    assert seed(0, "mnist", 3, "split") == whole >> 1
    assert seed(0, "mnist", 3, "split", bits=32) == whole >> 32


def test_seeds_do_not_depend_on_pythons_own_hash():
    code = "from harness.spec import seed; print(seed(0, 'mnist', 1, 'init', 'final', 0))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": salt}, capture_output=True, text=True, check=True
        ).stdout
        for salt in ("0", "1", "2")
    }
    assert found == {f"{seed(0, 'mnist', 1, 'init', 'final', 0)}\n"}


def _seeds(**changed):
    return run_seeds(**{"suite": 0, "dataset": "mnist", "replicate": 0, "phase": "final", "repeat": 0, **changed})


def test_tuning_and_final_runs_share_the_split_and_nothing_else():
    tune, final = _seeds(phase="tune"), _seeds(phase="final")
    assert tune["split"] == final["split"]
    assert not {tune[s] for s in tune if s != "split"} & {final[s] for s in final if s != "split"}


@pytest.mark.parametrize("changed", [{"suite": 1}, {"dataset": "digits"}, {"replicate": 1}])
def test_another_suite_seed_data_set_or_replicate_changes_every_seed(changed):
    assert not set(_seeds().values()) & set(_seeds(**changed).values())


def test_no_final_seed_is_among_the_seeds_of_tuning():
    tune = {
        v for r in range(20) for i in range(5) for v in list(_seeds(replicate=r, phase="tune", repeat=i).values())[1:]
    }
    final = {v for r in range(20) for v in list(_seeds(replicate=r, phase="final").values())[1:]}
    assert len(tune) == 20 * 5 * 4
    assert not tune & final
