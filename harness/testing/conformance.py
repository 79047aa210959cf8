"""What the child process answers about a part: the rules of its kind that it keeps, or the one that it breaks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import DataError
from harness.registry import load_part
from harness.registry.catalog import Origin
from harness.registry.place import where
from harness.testing import NonConforming, check


def conformance(question: Mapping[str, Any]) -> dict[str, Any]:
    """`rules`: those that the part keeps; `broken`: none, or the `rule` that it breaks and what was `found` instead.

    The question has the part's kind, name and origin, `options` beside its defaults, `root` for a data set's files,
    and, where they are not those of the checks, `input_shape` and `outputs` for models, `outputs` as the number of
    classes for losses and metrics.

    Raises:
        DataError: a data set's files cannot be had, which says nothing of the part.
    """
    part = load_part(question["kind"], question["name"], Origin(**question["origin"]))
    try:
        return {"rules": list(check(part, **_arguments(question))), "broken": None}
    except NonConforming as error:
        if isinstance(error.__cause__, DataError):
            raise error.__cause__ from None
        place = where(error.__cause__) if error.__cause__ is not None else ""
        return {
            "rules": [],
            "broken": {"rule": error.rule, "found": error.found + place + _shape_hint(question, error)},
        }


def _shape_hint(question: Mapping[str, Any], error: NonConforming) -> str:
    """A model may simply be for other inputs than the check's."""
    if question["kind"] != "model" or question["input_shape"] is not None or "input" not in error.rule:
        return ""
    return "; a model that is not for images of 1x28x28 needs --input-shape"


def _arguments(question: Mapping[str, Any]) -> dict[str, Any]:
    """Of the check of the part's kind."""
    own: dict[str, dict[str, Any]] = {
        "dataset": {"root": Path(question["root"])},
        "model": {name: question[name] for name in ("input_shape", "outputs")},
        "loss": {"classes": question["outputs"]},
        "metric": {"classes": question["outputs"]},
    }
    given = {name: value for name, value in own.get(question["kind"], {}).items() if value is not None}
    return {**given, "options": question["options"]}
