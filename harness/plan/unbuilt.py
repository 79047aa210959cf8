"""What could not be built before anything ran: every arm at once, each with where the suite has what is at fault."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from harness import registry
from harness.diagnostics import Place
from harness.registry import child
from harness.suite import Setting
from harness.suite.origin import Origins

if TYPE_CHECKING:
    from harness.plan import Plan

Key = tuple[str, str]
_KINDS = ("strategy", "optimizer", "schedule", "loss", "model", "dataset")
_MISFIT = "does not fit the weights of its source"


def refuse(plan: Plan, failed: Mapping[Key, child.Failed]) -> None:
    """Raise the error that these failures stand for, by problem and arm; one reason of several arms is said once.

    Raises:
        PluginError: a part cannot be built.
        DataError: data or weights cannot be had.
    """
    by_reason: dict[str, list[Key]] = {}
    for key, failure in failed.items():
        by_reason.setdefault(failure.reason, []).append(key)
    first, *others = (_text(plan, keys, reason) for reason, keys in by_reason.items())
    whole = [first[1], *(f"{where}: {reason}" for where, reason in others)]
    kind = next(iter(failed.values())).kind
    registry.raise_failure(child.Failed("\n".join(whole), kind), first[0])


def _text(plan: Plan, keys: list[Key], reason: str) -> tuple[str, str]:
    """What cannot be built, with its place; and why."""
    origins = [setting.source for setting in plan.suite.settings if setting.source is not None]
    if any(key not in plan.settings for key in keys):
        return f"{_place(plan, origins[0], reason)}: [source] cannot be built", reason
    setting, source = plan.settings[keys[0]], plan.settings[keys[0]].source
    also = f" (nor can {', '.join(_named(keys))})" if len(keys) > 1 else ""
    whose = f"problem '{setting.problem}', arm '{setting.arm}' cannot be built"
    if source is not None and _MISFIT in reason:
        return f"{_place(plan, source, '')}: [source] does not fit: {whose}", reason + also + _fix(reason)
    return f"{_place(plan, setting, reason)}: {whose}", reason + also


def _fix(reason: str) -> str:
    """The way out where it is tuning that makes another network than the source's."""
    tuned = dict.fromkeys(re.findall(r"\bmodel\.\w+", reason.partition("(tuning may try")[2]))
    return f"; give {' and '.join(tuned)} a fixed value: the source has one network" if tuned else ""


def _named(keys: list[Key]) -> Iterator[str]:
    """The arms after the first; with their problems where these are several."""
    several = len({problem for problem, _ in keys}) > 1
    for problem, arm in keys[1:]:
        yield f"'{arm}' of '{problem}'" if several else f"'{arm}'"


def _place(plan: Plan, side: Setting | Origins, reason: str) -> Place | str:
    """Where the part stands that the reason names, else what makes the arm; the file, where it shows neither."""
    for kind in _KINDS:
        used = side.values.get(kind)
        name = re.escape(str(used["use"]).rpartition(":")[2]) if isinstance(used, dict) else ""
        if name and kind in side.places and re.search(rf"'{name}'|\b{name}:", reason):
            return side.places[kind]
    return side.places.get("", str(plan.suite.path))
