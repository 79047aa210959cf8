"""How long validation has not improved, against counts by hand and the loop that Keras has."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.train.stopping import waited


@pytest.mark.parametrize(
    ("values", "direction", "min_delta", "due"),
    [
        ([0.5], "minimize", 0.0, 0),
        ([0.5, 0.4, 0.3], "minimize", 0.0, 0),
        ([0.5, 0.4, 0.4, 0.4], "minimize", 0.0, 2),
        ([0.5, 0.6, 0.4, 0.5], "minimize", 0.0, 1),
        ([0.5, 0.6, 0.6], "maximize", 0.0, 1),
        ([0.5, 0.4, 0.3], "maximize", 0.0, 2),
        ([0.5, 0.75, 1.0], "maximize", 0.25, 0),
        ([0.5, 0.75], "maximize", 0.25, 1),
        ([1.0, 0.9, 0.8, 0.7, 0.6], "minimize", 0.25, 1),
    ],
    ids=[
        "the first counts", "falling", "equal is no improvement", "worse, better, worse", "rising", "falling is worse",
        "small steps add up", "by more than the least", "a slow fall counts every third time",
    ],
)  # fmt: skip
def test_counts_by_hand(values, direction, min_delta, due):
    assert waited(values, direction=direction, min_delta=min_delta) == due


def keras(values, sign, min_delta):
    """The loop of tf.keras.callbacks.EarlyStopping: `best` moves only where the improvement is more than min_delta."""
    best, wait = None, 0
    for value in values:
        wait += 1
        if best is None or sign * value - min_delta > sign * best:
            best, wait = value, 0
    return wait


eighths = st.integers(-16, 16).map(lambda number: number / 8)


@settings(derandomize=True, deadline=None)
@given(st.lists(eighths, min_size=1, max_size=12), st.sampled_from([0.0, 0.125, 0.5]), st.booleans())
def test_counts_equal_those_of_keras(values, min_delta, rising):
    direction, sign = ("maximize", 1) if rising else ("minimize", -1)
    assert waited(values, direction=direction, min_delta=min_delta) == keras(values, sign, min_delta)
