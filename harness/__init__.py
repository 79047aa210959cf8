"""Benchmark and ablation harness: tunes every arm alike, repeats and pairs everything, and says what is real.

`import harness` is cheap; whatever is heavy is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.errors import ClusterError, DataError, HarnessError, PluginError, ResultsError, SuiteError
    from harness.hookspecs import (
        Augmentation,
        Choice,
        Dataset,
        Executor,
        Float,
        Int,
        Loss,
        Metric,
        Model,
        NotApplicable,
        Optimizer,
        Phase,
        Predictions,
        Schedule,
        Splits,
        Strategy,
        Weights,
        hookimpl,
    )
    from harness.results import load

__version__ = "0.1.0"

_ERRORS = ("ClusterError", "DataError", "HarnessError", "PluginError", "ResultsError", "SuiteError")
_CONTRACT = (
    "Augmentation",
    "Choice",
    "Dataset",
    "Executor",
    "Float",
    "Int",
    "Loss",
    "Metric",
    "Model",
    "NotApplicable",
    "Optimizer",
    "Phase",
    "Predictions",
    "Schedule",
    "Splits",
    "Strategy",
    "Weights",
    "hookimpl",
)
_HOMES = {
    **dict.fromkeys(_ERRORS, "harness.errors"),
    **dict.fromkeys(_CONTRACT, "harness.hookspecs"),
    "load": "harness.results",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'harness' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
