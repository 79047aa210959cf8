"""What the scope box says of labels: what validates, and where trials see labels of the final runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import sizes
from harness.report.view import View
from harness.verdict.format import listed


def within(view: View) -> bool:
    """Whether a part of the labels validates, so that final runs have no validation set."""
    return any("validation_within" in setting.values for setting in view.suite.settings)


def validated(view: View) -> str:
    """`1,000 examples, the same for all arms; more than the labels that train on few (50)`; or of which labels."""
    settings = [setting.values for setting in view.suite.settings]
    if within(view):
        return sizes.validation_in_words(settings, tunes=bool(view.suite.tuning.trials))
    if view.suite.source is None:
        return ""
    values = {setting.problem: setting.values for setting in view.suite.settings}
    found = list(dict.fromkeys(map(_beside, values.values())))
    beyond = []
    for problem in view.problems:
        labels, chosen = (values[problem].get(key) for key in ("labels_per_class", "validation_examples"))
        known = isinstance(labels, int) and isinstance(chosen, int)
        trained = labels * len(view.class_names(problem)) if known else 0  # type: ignore[operator]
        beyond += [f"{problem} ({trained:,})"] if 0 < trained < chosen else []  # type: ignore[operator]
    more = [f"more than the labels that train on {listed(beyond)}"] if beyond else []
    return "; ".join([listed(found, "or"), *more])


def _beside(values: Mapping[str, Any]) -> str:
    return f"{values.get('validation_examples') or 0:,} examples, the same for all arms"


def shared(view: View) -> str:
    """Where blocks of labels are too small to be held apart; empty where they are not."""
    return "; ".join(map(str, view.findings.shared))
