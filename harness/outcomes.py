"""What became of a run, where that is neither a result nor a failure of the arm."""

from __future__ import annotations

from typing import Any

NOT_APPLICABLE = "not_applicable"
"""Status of a run whose strategy has no meaning on the model; the reason says why."""
SOURCE_FAILED = "source_failed"
"""How the reason of a crashed run begins whose source run failed."""


def source_failed(status: Any, reason: Any) -> bool:
    """Whether the run could not start because the run that should have trained its weights failed."""
    return status == "crashed" and isinstance(reason, str) and reason.startswith(SOURCE_FAILED)


def set_aside(status: Any, reason: Any) -> bool:
    """Whether the run says nothing of its arm, so that it has no value, not even that of a failure."""
    return status == NOT_APPLICABLE or source_failed(status, reason)
