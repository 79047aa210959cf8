"""When training ends before its budget does, because validation no longer improves."""

from __future__ import annotations

from collections.abc import Sequence


def waited(values: Sequence[float], *, direction: str, min_delta: float) -> int:
    """How many evaluations in a row, up to the last, brought no improvement by more than `min_delta`.

    An improvement is one over the last value that was an improvement itself, the first value being one; so small steps
    add up. Goodfellow, Bengio & Courville 2016, Deep Learning, Algorithm 7.1, whose patience is compared with this
    number; `min_delta` is that of Keras.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    at = 0
    for place, value in enumerate(values):
        if sign * (value - values[at]) > min_delta:
            at = place
    return len(values) - 1 - at
