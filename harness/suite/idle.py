"""What a suite says to no effect: options that no arm takes, values in [arms] that make one arm twice, and what changes
with every step next to a strategy that takes none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.diagnostics import quote
from harness.registry.catalog import PartInfo, few_names
from harness.suite import origin
from harness.suite.arms import Variant, Variants, comparable
from harness.suite.parts import Parts, did_you_mean, has_option
from harness.suite.source import Reading
from harness.toml.scan import Path

_OF_STEPS = ("augmentation", "regularisation", "early_stopping")


def check_taken(reading: Reading, parts: Parts, layers: Mapping[str, Sequence[tuple[Path, ...]]]) -> None:
    """Refuse options in [problem] of a part in whose place every setting has one of its own.

    `layers` say, by kind of part and for each setting, where the kind has values, the one that counts last.
    """
    for kind, of_settings in layers.items():
        base: Path = ("problem", kind)
        value = reading.source.at(base)
        options = [option for option in value if option != "use"] if isinstance(value, dict) else []
        if not options or _of_source(reading, kind):
            continue
        if all(_replaced(reading, paths[1:]) for paths in of_settings):
            there = [part.info for part in (parts.choose(kind, paths) for paths in of_settings) if part is not None]
            for option in options:
                if reading.sound((*base, option)):
                    _refuse_option(reading, (*base, option), there)


def _replaced(reading: Reading, paths: Iterable[Path]) -> bool:
    """Whether one of the values names a part: it takes no option of the one before."""
    values = [reading.source.at(path) for path in paths]
    return any(isinstance(value, str) or (isinstance(value, dict) and "use" in value) for value in values)


def _of_source(reading: Reading, kind: str) -> bool:
    """Whether [source] has the problem's part of that kind."""
    return kind in origin.INHERITED and origin.trained(reading) and not _replaced(reading, [(*origin.SOURCE, kind)])


def _refuse_option(reading: Reading, path: Path, parts: Sequence[PartInfo]) -> None:
    kind, option = str(path[1]), str(path[2])
    known = sorted({name for part in parts for name in (*part.options, *part.required, *part.space)})
    takes = next((part.name for part in parts if has_option(part, option)), None)
    cure = did_you_mean(option, known)
    if takes:
        cure = f'write {{use = "{takes}", {option} = {reading.source.written(path)}}} where it is named'
    message = f"[problem] {kind}: no arm takes '{option}', since each names a {kind} with options of its own"
    place, allowed = reading.source.key(path), few_names(option, known)
    reading.add("unknown-key", message, place, allowed=allowed, help=cure)


def check_apart(reading: Reading, variants: Variants, settings: Mapping[str, Sequence[Any]]) -> None:
    """Refuse values in [arms] that make one arm twice, once every default is filled in.

    `settings` are by arm, in the order of the problems. Arms that [[arm]] gives names may be equal: to see how far
    equal arms differ is a question too.
    """
    first: dict[Any, Variant] = {}
    shown = set()
    for arm in variants.arms:
        if arm.made_at[:1] != ("arms",):
            continue
        same = first.setdefault(tuple(map(_whole, settings[arm.name])), arm)
        keys = [key for key in arm.paths if arm.paths[key] != same.paths[key]]
        places = tuple((arm.paths[key], same.paths[key]) for key in keys)
        if keys and places not in shown and arm.name != same.name:  # one name for both is refused already
            shown.add(places)
            _refuse_arm(reading, arm, same, keys[0])


def check_stepless(reading: Reading, settings: Iterable[Any]) -> None:
    """Refuse what makes no difference to a strategy that takes no steps, at each place once."""
    told = set()
    for setting in settings:
        used, values = str(setting.values["strategy"]["use"]), setting.values
        keys = [*(key for key in _OF_STEPS if key in values), *(["norm"] if values.get("norm") == "train" else [])]
        for key in keys if setting.exact else ():
            place = setting.places[key]
            if (key, place) not in told:
                told.add((key, place))
                message = (
                    f"{key} next to the strategy '{used}', which takes no steps: it would make no difference to it"
                )
                reading.add("conflict", message, place, help=f"leave out {key}, or that strategy")


def _whole(setting: Any) -> Any:
    source = None if setting.source is None else comparable(setting.source.values)
    return comparable(setting.values), frozenset(setting.space.items()), source


def _refuse_arm(reading: Reading, arm: Variant, same: Variant, key: str) -> None:
    message = f"[arms] {key}: arms {quote(same.name)} and {quote(arm.name)} are equal once every default is filled in"
    places = reading.source.value(arm.paths[key]), reading.source.value(same.paths[key], "the other one")
    cure = "leave one of them out; to compare equal arms, spell them out as [[arm]]"
    reading.add("doubled-value", message, *places, help=cure)
