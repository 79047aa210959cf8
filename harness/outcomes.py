"""What became of a run: which statuses are failures, and which say nothing of the arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import DataError, ResultsError

NOT_APPLICABLE = "not_applicable"
"""Status of a run whose strategy has no meaning on the model; the reason says why."""
DATA_CHANGED = "data_changed"
"""Status of a run that found other data than it was planned with; never recorded."""
UNWRITABLE = "unwritable"
"""Status of a run that could not write its weights into the results folder; never recorded."""
SOURCE_FAILED = "source_failed"
"""How the reason of a crashed run begins whose source run failed."""


FINE = ("ok", "pruned", NOT_APPLICABLE)
"""Statuses of runs that did not fail."""


def failed(status: Any) -> bool:
    """Whether a run of that status counts as a failure."""
    return status not in FINE


def failure(status: str, reason: str) -> dict[str, Any]:
    """The result of a run that has no numbers."""
    return {"status": status, "reason": reason, "evaluations": []}


def source_failed(status: Any, reason: Any) -> bool:
    """Whether the run could not start because the run that should have trained its weights failed."""
    return status == "crashed" and isinstance(reason, str) and reason.startswith(SOURCE_FAILED)


def set_aside(status: Any, reason: Any) -> bool:
    """Whether the run says nothing of its arm, so that it has no value, not even that of a failure."""
    return status == NOT_APPLICABLE or source_failed(status, reason)


def check_recordable(result: Mapping[str, Any]) -> None:
    """Nothing, where the result is one of the run and not of the place that it was done in.

    Raises:
        DataError: the data are not what they were when the run was planned.
        ResultsError: the weights cannot be written.
    """
    if result["status"] == DATA_CHANGED:
        raise DataError(str(result["reason"]))
    if result["status"] == UNWRITABLE:
        raise ResultsError(str(result["reason"]))
