"""Keys of [problem] beside its single parts: lists of parts, and tables of their own.

What is off is left out of a setting's values, so that a suite without these keys asks for the runs that it asked for
before they were there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.hookspecs import Plain
from harness.registry.catalog import Origin, PartInfo
from harness.suite import schema
from harness.suite.marks import NONE
from harness.suite.parts import Chosen, Parts, find
from harness.suite.source import Reading
from harness.toml.scan import Path

KEY = "key"
"""Kind of a table that is searched as the options of a part are."""
PENALTIES = PartInfo(KEY, "regularisation", Origin("", "", "", "", ""), schema.table_defaults("regularisation"))


@dataclass(frozen=True)
class Extras:
    """What one setting has beside its single parts."""

    augmentation: tuple[Chosen, ...]
    penalties: Chosen
    stopping: dict[str, Plain] | None
    """The table `early_stopping` with every default filled in; None: training ends with its budget."""

    @property
    def origins(self) -> dict[str, Origin]:
        """Where each part of the lists comes from, by key and name."""
        return {f"augmentation:{part.use}": part.info.origin for part in self.augmentation}

    def values(self, searched: Iterable[str]) -> dict[str, Plain]:
        """The keys that are on, `searched` by tuning or set; parts of a list are tables as single parts are."""
        found: dict[str, Plain] = {}
        if self.augmentation:
            found["augmentation"] = [{"use": part.use, **part.values} for part in self.augmentation]
        if any(self.penalties.values.values()) or any(name.startswith("regularisation.") for name in searched):
            found["regularisation"] = dict(self.penalties.values)
        if self.stopping is not None:
            found["early_stopping"] = self.stopping
        return found


def extras(reading: Reading, parts: Parts, layers: Mapping[str, tuple[Path, ...]]) -> Extras | None:
    """What a setting has, from where its keys have values; None, with a mistake, where a part is not there."""
    listed = layers["augmentation"]
    augmentation = parts.choose_all("augmentation", listed[-1] if listed else None)
    if augmentation is None:
        return None
    return Extras(augmentation, _penalties(reading, layers["regularisation"]), _stopping(reading, layers))


def _laid(reading: Reading, layers: Iterable[Path]) -> dict[str, Path] | None:
    """Where the options of a table stand, of values laid one over another; None where it is off or not given."""
    found: dict[str, Path] | None = None
    for path in layers:
        value = reading.source.at(path)
        if value == NONE:
            found = None
        elif isinstance(value, dict):
            found = {**(found or {}), **{option: (*path, option) for option in value}}
    return found


def _penalties(reading: Reading, layers: tuple[Path, ...]) -> Chosen:
    given = _laid(reading, layers)
    values = {name: _number(reading, (given or {}).get(name)) for name in PENALTIES.options}
    if given is None and layers:  # switched off, which fixes all of them
        given = dict.fromkeys(PENALTIES.options, layers[-1])
    return Chosen(PENALTIES, "", values, given or {})


def _number(reading: Reading, path: Path | None) -> float:
    value: Any = 0.0 if path is None else reading.get(path, 0.0)
    return float(value) if isinstance(value, int | float) else 0.0


def _stopping(reading: Reading, layers: Mapping[str, tuple[Path, ...]]) -> dict[str, Plain] | None:
    given = _laid(reading, layers["early_stopping"])
    if given is None:
        return None
    defaults = schema.table_defaults("early_stopping")
    values = {
        name: reading.get(given[name], default) if name in given else default for name, default in defaults.items()
    }
    values["min_delta"] = float(values["min_delta"])
    metric = find(reading, "metric", values["metric"], given.get("metric"))
    return values if metric is None else {**values, "metric": metric.name}


def given(parts: Iterable[Chosen], extras: Extras) -> frozenset[str]:
    """The keys with parts or tables of which the suite gives an option."""
    found = {part.info.kind for part in (*parts, *extras.augmentation) if part.fixed}
    found |= {"regularisation"} if any(extras.penalties.values.values()) else set()
    return frozenset(found | ({"early_stopping"} if extras.stopping is not None else set()))


def watched(schedule: Chosen, extras: Extras) -> tuple[str, ...]:
    """The metrics that a setting follows while it trains: its schedule, and what stops it early."""
    option = schedule.info.extra.get("watches")
    names = [] if option is None else [schedule.values[option]]
    names += [] if extras.stopping is None else [extras.stopping["metric"]]
    return tuple(dict.fromkeys(map(str, names)))
