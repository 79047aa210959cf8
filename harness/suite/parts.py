"""Parts that a suite names: found in the catalog, with every option checked against what the part declares."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.diagnostics import quote
from harness.errors import PluginError
from harness.hookspecs import Choice, Domain, Float, Int, Plain, plural
from harness.registry.catalog import MOST_NAMES, Catalog, PartInfo, few_names, nearest
from harness.suite import marks, schema
from harness.suite.source import MISSING, Reading, subject, toml_type
from harness.toml.scan import Path


@dataclass(frozen=True)
class Chosen:
    """A part as one setting has it."""

    info: PartInfo
    use: str
    """The name, with the distribution before it where the name alone would not be unique."""
    values: Mapping[str, Plain]
    """Every option, the part's defaults filled in."""
    fixed: Mapping[str, Path] = field(default_factory=dict)
    """The options that the suite gives, and where."""


class Parts:
    """The parts of a suite, each looked at once however many settings share it."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self._chosen: dict[tuple[str, tuple[Path, ...]], Chosen | None] = {}

    def choose(self, kind: str, layers: tuple[Path, ...]) -> Chosen | None:
        """The part of that kind, from values laid one over another; None, with a mistake, where there is none."""
        if (kind, layers) not in self._chosen:
            self._chosen[kind, layers] = self._choose(kind, layers)
        return self._chosen[kind, layers]

    def choose_all(self, kind: str, path: Path | None) -> tuple[Chosen, ...] | None:
        """The parts that the value at the path names, in order; None, with a mistake, where one is not there."""
        if path is None or not self.reading.sound(path):
            return () if path is None else None
        chosen = [self.choose(kind, (one,)) for one in marks.items(path, self.reading.source.at(path))]
        found = tuple(part for part in chosen if part is not None)
        return found if len(found) == len(chosen) else None

    def check(self, kind: str, path: Path) -> None:
        """Look at what stands in the suite, though every arm may replace it or add to its options."""
        if kind in schema.PARTS_KEYS:
            self.choose_all(kind, path if self.reading.source.at(path) is not MISSING else None)
            return
        value = self.reading.source.at(path)
        if isinstance(value, str) or (isinstance(value, dict) and "use" in value):
            self._look_up(kind, *_merge(self.reading, kind, (path,)))

    def _choose(self, kind: str, layers: tuple[Path, ...]) -> Chosen | None:
        name, named_at, options = _merge(self.reading, kind, layers)
        if not all(map(self.reading.sound, layers)):
            return None
        if name is None:
            _no_part(self.reading, kind)
            return None
        found = self._look_up(kind, name, named_at, options)
        if found is not None:
            _check_required(self.reading, found.info, options, named_at)
        return found

    def _look_up(self, kind: str, name: str | None, named_at: Path | None, options: dict[str, Path]) -> Chosen | None:
        reading = self.reading
        if name is None or (named_at and not reading.sound(named_at)):
            return None
        info = find(reading, kind, name, named_at)
        if info is None:
            return None
        values = {option: check_option(reading, info, option, path) for option, path in options.items()}
        defaults = {option: plain(default) for option, default in info.options.items()}
        values = {**defaults, **values, **_watched(reading, info, {**defaults, **values}, options)}
        return Chosen(info, canonical(reading.catalog, info), values, options)


def _watched(
    reading: Reading, info: PartInfo, values: Mapping[str, Plain], options: Mapping[str, Path]
) -> dict[str, Plain]:
    """The option that names a metric which the part follows, with that metric's own name; a mistake if it is none."""
    option = info.extra.get("watches")
    name = values.get(option) if option else None
    metric = find(reading, "metric", name, options.get(str(option))) if isinstance(name, str) else None
    return {} if metric is None else {str(option): metric.name}


def _no_part(reading: Reading, kind: str) -> None:
    misspelt = any(
        nearest(str(path[-1]), [kind] if path[0] == "problem" else ["problem"])
        for path in reading.broken
        if len(path) == 1 or path[0] == "problem"
    )
    if not misspelt:
        message = f"no {kind} is given: neither in [problem] nor for every arm or problem"
        allowed = _installed(reading, kind, "")
        reading.add("missing-key", message, reading.source.value(("problem",)), allowed=allowed)


def _merge(reading: Reading, kind: str, layers: Iterable[Path]) -> tuple[str | None, Path | None, dict[str, Path]]:
    """Name of the part, where it is named, and the paths of its options."""
    name: str | None = schema.default_part(kind)
    named_at: Path | None = None
    options: dict[str, Path] = {}
    for path in layers:
        value = reading.source.at(path)
        if isinstance(value, str):
            name, named_at, options = value, path, {}
        elif isinstance(value, dict):
            if "use" in value:
                name, named_at, options = value["use"], (*path, "use"), {}
            options |= {option: (*path, option) for option in value if option != "use"}
    return name, named_at, options


def plain(value: Any) -> Plain:
    """The value as JSON types: tuples become lists."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return value  # type: ignore[no-any-return]


# Finding -------------------------------------------------------------------------------------------------------------


def find(reading: Reading, kind: str, name: str, path: Path | None) -> PartInfo | None:
    """The part of that name, or None with a mistake at the path (None: a default that the suite does not show)."""
    try:
        return reading.catalog.find(kind, name)
    except PluginError as error:
        reason = str(error)
    where = f"{subject(path, reading.source)}: " if path else ""
    place = reading.source.value(path) if path else reading.source.file.whole()
    same = _named(reading.catalog, kind, name)
    if len(same) > 1:
        ways = ", ".join(f"{part.origin.distribution}:{part.name}" for part in same)
        reading.add("ambiguous-name", where + reason, place, allowed=ways, help="write distribution:name")
        return None
    cure = reading.catalog.broken_with(name) or did_you_mean(name, reading.catalog.names(kind))
    allowed = _installed(reading, kind, name)
    reading.add("unknown-name", f"{where}no {kind} named {quote(name)}", place, allowed=allowed, help=cure)
    return None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question about the near word, or nothing where none is near."""
    near = nearest(word, known)
    return f"did you mean '{near}'?" if near else ""


def _installed(reading: Reading, kind: str, word: str) -> str:
    """Names of the parts of a kind, each distribution in brackets after its own."""
    parts = reading.catalog.of(kind)
    command = f"'harness list {plural(kind)}'"
    if len(parts) > MOST_NAMES:
        return few_names(word, [part.name for part in parts], command)
    by_origin = itertools.groupby(sorted(parts, key=lambda part: str(part.origin)), key=lambda part: str(part.origin))
    return "; ".join(f"{', '.join(part.name for part in group)} ({origin})" for origin, group in by_origin) or "none"


def canonical(catalog: Catalog, info: PartInfo) -> str:
    """The part's name, with its distribution before it only where the name alone would not be unique."""
    same = _named(catalog, info.kind, info.name)
    return f"{info.origin.distribution}:{info.name}" if len(same) > 1 else info.name


def _named(catalog: Catalog, kind: str, name: str) -> list[PartInfo]:
    plain_name = name.replace("-", "_")
    return [part for part in catalog.of(kind) if part.name.replace("-", "_") == plain_name]


# Options -------------------------------------------------------------------------------------------------------------


def has_option(info: PartInfo, option: str) -> bool:
    """Whether the part names the option; an open part may take it all the same."""
    return option in info.options or option in info.required or option in info.space


def _check_required(reading: Reading, info: PartInfo, options: Mapping[str, Path], named_at: Path | None) -> None:
    for option in info.required:
        misspelt = any(not has_option(info, given) and nearest(given, [option]) for given in options)
        if option not in options and not misspelt:
            place = reading.source.value(named_at) if named_at else reading.source.file.whole()
            message = f"{info.kind} '{info.name}' needs the option '{option}'"
            cure = f'write {info.kind} = {{use = "{info.name}", {option} = ...}}'
            reading.add("missing-key", message, place, help=cure)


def check_option(reading: Reading, info: PartInfo, option: str, path: Path) -> Plain:
    """The value of an option, of the type of its default; with a mistake where it is none that the part takes."""
    value = reading.source.at(path)
    if not reading.sound(path):
        return None
    if not has_option(info, option) and not info.open:
        known = sorted({*info.options, *info.required, *info.space})
        message = f"{subject(path[:-1], reading.source)}: {info.kind} '{info.name}' has no option '{option}'"
        place, allowed = reading.source.key(path), few_names(option, known)
        reading.add("unknown-key", message, place, allowed=allowed, help=did_you_mean(option, known))
        return None
    if not takes(info, option, value):
        _wrong_type(reading, info, option, path)
        return None
    check_scale(reading, info, option, path)
    return as_type(value, option_type(info, option))


def option_type(info: PartInfo, option: str) -> type | None:
    """The type that values of the option have; None where the part does not say.

    0 as a default says nothing of whole numbers (`momentum = 0`), so any number may stand for it.
    """
    domain = info.space.get(option)
    if isinstance(domain, Float | Int):
        return float if isinstance(domain, Float) else int
    default = info.options.get(option)
    if default is None:
        return None
    if isinstance(default, tuple):
        return list
    if type(default) is int and default == 0 and domain is None:
        return complex
    return type(default) if type(default) in (bool, int, float, str, list, dict) else None


def takes(info: PartInfo, option: str, value: Any) -> bool:
    """Whether the value may go to the part: it has the option's type, or is one of the choices that the part declares.

    A strategy may also have a word where its default is a number ("all", "none"): which words it knows is its own
    affair, and it is built before anything runs. A number in quotes is no word.
    """
    kind, domain = option_type(info, option), info.space.get(option)
    if fits(value, kind):
        return True
    if isinstance(domain, Choice):
        return any(type(value) is type(one) and value == one for one in domain.options)
    return info.kind == "strategy" and kind in (int, float, complex) and isinstance(value, str) and _is_word(value)


def as_type(value: Any, kind: type | None) -> Plain:
    """The value, an integer that stands for a float as a float."""
    return float(value) if kind is float and type(value) is int else plain(value)


def fits(value: Any, kind: type | None) -> bool:
    """Whether the value is of that type; an integer may stand for a float, true and false for nothing else."""
    if kind is None:
        return True
    numbers: dict[type, tuple[type, ...]] = {float: (float, int), complex: (float, int)}
    return type(value) in numbers.get(kind, (kind,))


_DUE = {bool: "true or false", int: "integer", float: "number", complex: "number", str: "text", list: "list"}


def _wrong_type(reading: Reading, info: PartInfo, option: str, path: Path) -> None:
    value, source = reading.source.at(path), reading.source
    due = _DUE.get(option_type(info, option) or type(None), "table")
    message = f"{subject(path, source)}: {info.kind} '{info.name}' takes {_with_article(due)}"
    message += f", found {source.found(path)}"
    cure = ""
    if isinstance(value, list) and due != "list":
        cure = "lists of values belong in [arms], [problems] or [tuning.space]"
    elif isinstance(value, dict) and "low" in value:
        cure = f"ranges belong in [tuning.space]: {info.kind}.{option} = {source.written(path)}"
    elif due in ("integer", "number") and isinstance(value, str) and _is_number(value):
        cure = "numbers have no quotes"
    default = f", default {source_text(info.options[option])}" if option in info.options else ""
    reading.add("wrong-type", message, source.value(path), allowed=f"{due}{default}", help=cure)


def _with_article(due: str) -> str:
    return {"integer": "an integer", "number": "a number", "list": "a list", "table": "a table"}.get(due, due)


def _is_word(text: str) -> bool:
    return bool(text.strip()) and not _is_number(text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def source_text(value: Any) -> str:
    """A plain value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(source_text, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def in_words(domain: Domain) -> str:
    """A search range: `1e-05 .. 0.1 (log scale)`."""
    if isinstance(domain, Choice):
        return ", ".join(map(source_text, domain.options))
    return f"{domain.low} .. {domain.high}" + (" (log scale)" if domain.log else "")


def check_scale(reading: Reading, info: PartInfo, option: str, path: Path) -> bool:
    """Whether the number at the path can be that of an option which is searched on a log scale; a mistake, if not.

    Below 0 none can. 0 turns off what the option weighs, so the part itself may refuse it; a count or a rate of 0 is
    none.
    """
    domain, value = info.space.get(option), reading.source.at(path)
    if isinstance(domain, Choice) or domain is None or not domain.log or isinstance(value, str | list | dict):
        return True
    strict = isinstance(domain, Int) or option == "lr"
    if value > 0 or (value == 0 and not strict):
        return True
    due = "above 0" if strict else "of 0 or above"
    found = f"{reading.source.written(path)} ({toml_type(value)})"
    message = f"{info.kind} '{info.name}' takes {option} {due}, found {found}"
    allowed = f"{due.removeprefix('of ')}; '{info.name}' searches {in_words(domain)}"
    reading.refuse(path, "out-of-range", message, allowed=allowed)
    return False
