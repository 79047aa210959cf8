"""What a suite says and where: the file with each `--set` laid over it, and the mistakes found so far."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import toml
from harness.diagnostics import LONGEST_QUOTE, Mistake, Place
from harness.registry.catalog import Catalog
from harness.suite import declaration, schema
from harness.toml.scan import Entry, Path

MISSING = object()


@dataclass(frozen=True)
class Source:
    """Values and their places; places of the file and of `--set` side by side."""

    file: toml.Document
    values: dict[str, Any]
    entries: Mapping[Path, tuple[toml.Document, Entry]]

    def at(self, path: Path) -> Any:
        """The value at the path, or MISSING."""
        value: Any = self.values
        for step in path:
            inside = step in value if isinstance(value, dict) else isinstance(value, list) and step in range(len(value))
            if inside:
                value = value[step]
            else:
                return MISSING
        return value

    def key(self, path: Path, label: str = "") -> Place:
        """Where the key stands; the value where it has none, the nearest table where it is not there at all."""
        return self._place(path, label, key=True)

    def value(self, path: Path, label: str = "") -> Place:
        """Where the value stands, or the nearest table."""
        return self._place(path, label, key=False)

    def _place(self, path: Path, label: str, *, key: bool) -> Place:
        while path and path not in self.entries:
            path, key = path[:-1], False
        if not path:
            return self.file.whole()
        document, entry = self.entries[path]
        return document.place(entry.key if key and entry.key else entry.value, label)

    def written(self, path: Path) -> str:
        """The value as it stands in the file, or of what it is a part."""
        while path not in self.entries:
            path = path[:-1]
        return self.entries[path][0].written(path)

    def found(self, path: Path) -> str:
        """The value as written, with its TOML type: `"fast" (string)`."""
        text = " ".join(self.written(path).split())
        text = text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "..."
        return f"{text} ({toml_type(self.at(path))})"

    def oversized(self, path: Path) -> bool:
        """Whether an integer stands there that does not fit in 64 bits."""
        return path in self.entries and path in self.entries[path][0].oversized

    def leaves(self) -> Iterator[tuple[Path, Any]]:
        """Every value that is no table and no list, with its path."""
        waiting: list[tuple[Path, Any]] = [((), self.values)]
        while waiting:
            path, value = waiting.pop()
            if isinstance(value, dict):
                waiting += [((*path, key), item) for key, item in value.items()]
            elif isinstance(value, list):
                waiting += [((*path, index), item) for index, item in enumerate(value)]
            else:
                yield path, value


def toml_type(value: Any) -> str:
    """What TOML calls the type of a value."""
    names = {bool: "boolean", int: "integer", float: "float", str: "string", list: "list", dict: "table"}
    return names.get(type(value), "date or time")


class Reading:
    """A suite that is being read: what it says, what it may name, and what was found wrong with it."""

    def __init__(self, source: Source, catalog: Catalog) -> None:
        self.source = source
        self.catalog = catalog
        self.broken: set[Path] = set()
        """Values that were refused, so that nothing more is said of them."""
        self._mistakes: dict[Mistake, None] = {}

    @property
    def mistakes(self) -> list[Mistake]:
        """What was found so far, each once."""
        return list(self._mistakes)

    def add(self, code: str, message: str, *places: Place, allowed: str = "", help: str = "") -> None:
        """Note a mistake; the first place is the one under the carets."""
        self._mistakes.setdefault(Mistake(code, message, places, allowed, help))

    def refuse(self, path: Path, code: str, message: str, *, allowed: str = "", help: str = "") -> None:
        """Add a mistake at the value, and say nothing more of it."""
        if self.sound(path):
            message = f"{subject(path, self.source)}: {message}"
            self.add(code, message, self.source.value(path), allowed=allowed, help=help)
        self.broken.add(path)

    def sound(self, path: Path) -> bool:
        """True when neither the value nor what it is part of was refused."""
        return not any(path[:length] in self.broken for length in range(len(path) + 1))

    def get(self, path: Path, default: Any) -> Any:
        """The value, or the default where it is not given or was refused."""
        value = self.source.at(path)
        return default if value is MISSING or not self.sound(path) else value


def subject(path: Path, source: Source) -> str:
    """What a path is called in a message: `[compare] baseline`, `arm "nesterov" optimizer.lr`."""
    if not path:
        return "the suite"
    head, rest = f"[{path[0]}]", path[1:]
    if path[0] == "arm" and len(path) > 1:
        name = source.at((*path[:2], "name"))
        head = f'arm "{name}"' if isinstance(name, str) else f"arm {int(path[1]) + 1}"
        rest = path[2:]
    elif path[0] == "claim" and len(path) > 1:
        head, rest = f"claim {int(path[1]) + 1}", path[2:]
    elif path[:2] == ("tuning", "space") and len(path) > 2:
        head, rest = "[tuning.space]", path[2:]
    elif not rest and not isinstance(source.at(path), dict | list):
        return str(path[0])
    names = ".".join(step for step in rest if isinstance(step, str))
    items = [f"value {step + 1}" for step in rest if isinstance(step, int)]
    return ", ".join([f"{head} {names}".rstrip(), *items[:1]])


# Laying --set over the file -------------------------------------------------------------------------------------------


def combine(file: toml.Document, overrides: Sequence[str]) -> tuple[Source, list[Mistake]]:
    """The file with every `key.path=value` laid over it, and what is wrong with these as text."""
    values = file.values
    mistakes: list[Mistake] = []
    entries = {path: (file, entry) for path, entry in file.entries.items()}
    for number, text in enumerate(overrides, start=1):
        document = _parse(text, number)
        if document.mistakes:
            mistakes += document.mistakes
            continue
        target = _target(document)
        if target is None:
            place = document.place((0, len(text)))
            mistakes.append(Mistake("bad-override", "one key.path=value is due", (place,)))
            continue
        laid = _lay(values, target, Source(document, document.values, {}).at(target), ())
        if laid is None:
            place = document.place(document.entries[target].key or (0, len(text)))
            message = f"'{'.'.join(map(str, target))}' leads into a value that is no table"
            mistakes.append(Mistake("bad-override", message, (place,), help="give the whole value"))
            continue
        values = laid
        entries = {path: entry for path, entry in entries.items() if path[: len(target)] != target}
        entries |= {path: (document, entry) for path, entry in document.entries.items() if path not in entries}
    return Source(file, values, entries), mistakes


def _parse(text: str, number: int) -> toml.Document:
    name = f"--set #{number}"
    # Arguments that are not UTF-8 come with surrogates, which no output can take.
    text = text.encode("utf-8", "backslashreplace").decode()
    document = toml.parse(text, name, number)
    if "=" not in text:
        message = "'=' is due between key and value"
        mistake = Mistake("bad-override", message, (document.place((0, len(text))),), help="write key.path=value")
        return toml.Document(name, text, mistakes=(mistake,), order=number)
    if not (document.mistakes and document.mistakes[0].code == "unquoted"):
        return document
    first = document.mistakes[0]
    key, value = (part.strip() for part in text.split("=", 1))
    cure = f"the shell takes quotes away; write --set '{key}=\"{value}\"'"
    quoted = Mistake(first.code, first.message, first.places, first.allowed, cure)
    return toml.Document(name, text, mistakes=(quoted,), order=number)


def _target(document: toml.Document) -> Path | None:
    """The one key path that the text sets."""
    path: Path = ()
    values: Any = document.values
    while True:
        if len(values) != 1 or document.text.lstrip().startswith("["):
            return None
        key = next(iter(values))
        path, values = (*path, key), values[key]
        entry = document.entries[path]
        # A dotted key on the way has no value of its own.
        if entry.value != entry.key:
            return path


def _lay(values: Any, target: Path, value: Any, above: Path) -> Any:
    """A copy of the values with the one at the path replaced; None where the path leads into no table."""
    if not target:
        return value
    if isinstance(values, str) and len(above) == 2 and above[0] == "problem" and above[1] in schema.PART_KEYS:
        values = {"use": values}
    if not isinstance(values, dict):
        return None
    below = _lay(values.get(str(target[0]), {}), target[1:], value, (*above, target[0]))
    return None if below is None else {**values, target[0]: below}


# What no value may be, wherever it stands -----------------------------------------------------------------------------


def check_leaves(reading: Reading) -> None:
    """Refuse numbers that are none, integers that are too large, dates, and text that looks like it were expanded."""
    source = reading.source
    for path, value in source.leaves():
        if source.oversized(path):
            allowed = declaration.allowed(path) or "integer of at most 64 bits"
            digits = sum(map(str.isdigit, source.written(path)))
            reading.refuse(path, "out-of-range", f"integer too large (64 bits), {digits:,} digits", allowed=allowed)
        elif isinstance(value, float) and not math.isfinite(value):
            _refuse_not_finite(reading, path)
        elif not isinstance(value, bool | int | float | str):
            cure = f'quote it: "{source.written(path)}"'
            reading.refuse(path, "wrong-type", f"found {source.found(path)}, a date or time is never due", help=cure)
        elif isinstance(value, str) and ("${" in value or value.startswith("~")) and not _free_text(path):
            what = "${...}" if "${" in value else "~"
            cure = "write it out or use --set"
            reading.refuse(path, "not-expanded", f"{what} is not expanded, found {source.found(path)}", help=cure)


def _free_text(path: Path) -> bool:
    """A question may say anything; the name of an arm has a rule of its own."""
    return path == ("question",) or (path[0], path[2:]) in (("arm", ("name",)), ("claim", ("statement",)))


def _refuse_not_finite(reading: Reading, path: Path) -> None:
    written = reading.source.written(path)
    allowed = declaration.allowed(path) or "finite number"
    if written.lstrip("+-") in ("inf", "nan"):
        reading.refuse(path, "not-finite", f"a finite number is due, found {written} (float)", allowed=allowed)
    else:
        reading.refuse(path, "not-finite", f"{written} overflows to infinity", allowed=allowed)
