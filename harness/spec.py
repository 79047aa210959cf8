"""What determines a run: its resolved spec, the id that is the spec's hash, and the seeds inside it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

SCHEMA = 1
"""Raised when the layout of a spec or record changes."""
TRAINING = 1
"""Raised when the training loop gives other results for the same spec; a golden test holds it."""

PhaseName = Literal["source", "tune", "final"]
STREAMS = ("split", "init", "order", "augmentation", "noise")
"""What a run's seeds decide: the examples, the initial weights, their order, augmentation, and draws in the model."""


def canonical(value: Any) -> str:
    """JSON with sorted keys, no blanks and shortest floats, so that equal values are equal text.

    Whole floats are written as integers: `1` and `1.0` agree.

    Raises:
        TypeError: a value that JSON cannot hold, nan and infinity included.
    """
    return _ENCODER.encode(_typed(value))


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_AS_IT_IS = frozenset({str, int, bool, type(None)})


def _typed(value: Any) -> Any:
    """The value with whole floats as integers. Most of it are plain leaves, so these cost no call."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"a number must be finite to be part of a run's id, got {value}")
        return int(value) if value.is_integer() else value
    if isinstance(value, (list, tuple)):
        return [item if type(item) in _AS_IT_IS else _typed(item) for item in value]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"keys must be text to be part of a run's id, got {list(value)!r}")
        return {key: item if type(item) in _AS_IT_IS else _typed(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(f"{type(value).__name__} cannot be part of a run's id: {value!r}")


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def seed(*names: Any, bits: int = 63) -> int:
    """A seed from named components, never from positions or Python's own hash; 63 bits for torch, 32 for samplers."""
    return int.from_bytes(hashlib.sha256(canonical(list(names)).encode()).digest()[:8]) >> (64 - bits)


@lru_cache(maxsize=1024)
def run_seeds(*, suite: int, dataset: str, replicate: int, phase: PhaseName, repeat: int) -> dict[str, int]:
    """The five seeds of a run; nothing in them depends on the arm, which is what pairs the arms.

    The split is the same for tuning and final runs of a replicate; the rest differs by phase, so that a final run never
    meets a seed that tuning saw.
    """
    own = {stream: seed(suite, dataset, replicate, stream, phase, repeat) for stream in STREAMS[1:]}
    return {"split": seed(suite, dataset, replicate, "split"), **own}


@dataclass(frozen=True)
class RunSpec:
    """One training, fully resolved, as plain data.

    Keys of `payload`: schema, training, phase, problem (every option of every part), parts (distribution, version and
    source hash by kind), data (fingerprints of what the run may see), seeds, metrics, threads, and for final runs
    `select` (metric, direction, rule), which says at which epoch the test set is read. A network that is moved has
    `source` too: the id of the run whose weights it starts from, published weights, or that it starts at random.
    """

    payload: Mapping[str, Any]

    @cached_property
    def id(self) -> str:
        """SHA-256 of the canonical payload: 64 hexadecimal digits."""
        return digest(self.payload)

    @property
    def phase(self) -> str:
        """`source`, `tune` or `final`."""
        return str(self.payload["phase"])
