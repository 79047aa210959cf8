"""What the installed plugins offer, as plain data: all that check, plan and list need, without importing torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import PluginError
from harness.hookspecs import Domain, domain_from_plain, domain_to_plain, plural

MOST_NAMES = 12
NEAREST_NAMES = 5


@dataclass(frozen=True)
class Origin:
    """Where a part comes from. Distribution, version and hash are part of a run's id."""

    distribution: str
    """Distribution name, or the folder's name for a file in a plugins folder."""
    version: str
    module: str
    """Import name; for a file in a plugins folder the file's stem."""
    file: str
    """Path of the module's file."""
    sha256: str
    """Over the module and every module of its distribution (or folder) that it imports."""
    local: bool = False
    """True for a file in a plugins folder."""

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip()


@dataclass(frozen=True)
class PartInfo:
    """One part as plain data."""

    kind: str
    name: str
    origin: Origin
    options: Mapping[str, Any] = field(default_factory=dict)
    """Every option that has a default, with the default that counts (the part's `defaults` before the signature's)."""
    required: tuple[str, ...] = ()
    """Options without a default."""
    open: bool = False
    """True when the callable takes any keyword, so that unknown options cannot be refused."""
    space: Mapping[str, Domain] = field(default_factory=dict)
    source: str = ""
    summary: str = ""
    """First line of the callable's docstring."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields of one kind only: a metric's direction, unit, floor and ceiling, a model's head and published weights."""

    def to_plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        plain = {**self.__dict__, "origin": dict(self.origin.__dict__), "required": list(self.required)}
        plain["options"], plain["extra"] = dict(self.options), dict(self.extra)
        plain["space"] = {name: domain_to_plain(domain) for name, domain in self.space.items()}
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> PartInfo:
        """The inverse of `to_plain`."""
        space = {name: domain_from_plain(domain) for name, domain in plain["space"].items()}
        return cls(
            **{**plain, "origin": Origin(**plain["origin"]), "required": tuple(plain["required"]), "space": space}
        )


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be used; it fails only what needs it."""

    module: str
    distribution: str
    version: str
    file: str
    reason: str
    """Last line of the traceback, or what the plugin did."""
    mentions: tuple[str, ...] = ()
    """String constants of its source: names of parts that it probably offers."""
    local: bool = False
    """True for a file in a plugins folder."""

    def __str__(self) -> str:
        return f"{self.module} ({self.distribution} {self.version}".strip() + f"): {self.reason}"


@dataclass(frozen=True)
class Catalog:
    """All parts that were found, and the plugins that could not be used."""

    parts: tuple[PartInfo, ...]
    broken: tuple[Broken, ...] = ()

    def of(self, kind: str) -> list[PartInfo]:
        """The parts of one kind, by name."""
        return sorted((part for part in self.parts if part.kind == kind), key=lambda part: part.name)

    def names(self, kind: str) -> list[str]:
        """The names of one kind."""
        return sorted({part.name for part in self.parts if part.kind == kind})

    def named(self, name: str) -> list[PartInfo]:
        """The parts of that name, of any kind; `distribution:name` picks, and `-` and `_` are the same."""
        distribution, _, bare = name.rpartition(":")
        return [p for p in self.parts if _same(p.name, bare) and distribution in ("", p.origin.distribution)]

    def find(self, kind: str, name: str) -> PartInfo:
        """The part of that name; `distribution:name` picks one of several, and `-` and `_` are the same.

        Raises:
            PluginError: no such part (with the near one), or several.
        """
        found = [part for part in self.named(name) if part.kind == kind]
        if len(found) == 1:
            return found[0]
        if found:
            origins = " and ".join(f"{part.origin} ({part.origin.file})" for part in found)
            ways = " or ".join(f"'{part.origin.distribution}:{part.name}'" for part in found)
            raise PluginError(f"{kind} '{found[0].name}' is offered twice, by {origins}; write {ways}")
        raise PluginError(self._missing(kind, name))

    def broken_with(self, name: str) -> str:
        """That a plugin which could not be imported mentions the name, and why it could not; empty where none does."""
        found = (broken for broken in self.broken if name in broken.mentions)
        return next((f"'{name}' is mentioned in a plugin that could not be imported: {one}" for one in found), "")

    def _missing(self, kind: str, name: str) -> str:
        message = f"no {kind} named '{name}' (known: {few_names(name, self.names(kind))})"
        if broken := self.broken_with(name):
            return f"{message}; {broken}"
        near = nearest(name, self.names(kind))
        return f"{message}; did you mean '{near}'?" if near else f"{message}; 'harness list {plural(kind)}' shows all"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a person most likely meant, if any is near."""
    spelled = {one.lower(): one for one in known}
    found = difflib.get_close_matches(word.lower(), list(spelled), n=1, cutoff=0.6)
    return spelled[found[0]] if found else None


def few_names(word: str, known: Sequence[str], command: str = "") -> str:
    """All names, or where there are many the nearest ones and the command that lists the others."""
    if len(known) <= MOST_NAMES:
        return ", ".join(known) or "none"
    near = difflib.get_close_matches(word, known, n=NEAREST_NAMES, cutoff=0.0)
    return f"{', '.join(near)} and {len(known) - len(near):,} more" + (f"; {command} shows all" if command else "")


def _same(name: str, other: str) -> bool:
    return name.replace("-", "_") == other.replace("-", "_")
