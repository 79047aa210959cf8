"""Where every key and value of a TOML text stands; `tomllib` gives the values but keeps no positions.

The scanner goes once through the text, in time linear in its length, and stops at limits that protect the parser
that comes after it. It accepts every text that `tomllib` accepts within these limits; what it does not look at (the
characters of strings and comments, days of a calendar) is left to `tomllib`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from harness.toml.tokens import BLANK, COMMENT, EQUALS, GAP, LONGEST_KEY, STATEMENT, STRINGS, Cursor, Fault, Span, Stop

Path = tuple[str | int, ...]

DEEPEST = 32
MOST_ENTRIES = 10_000


class Entry(NamedTuple):
    """Where a key and its value stand; an item of a list has no key of its own."""

    key: Span | None
    value: Span


@dataclass(frozen=True)
class Scan:
    """What the scanner found."""

    entries: dict[Path, Entry]
    faults: tuple[Fault, ...]
    oversized: dict[Path, Span]
    """Integers of more than 64 bits or 19 digits, which must not reach the parser."""


@dataclass
class _Table:
    kind: Literal["implied", "header", "dotted", "value", "list"]
    span: Span
    children: dict[str, _Table] = field(default_factory=dict)
    items: list[_Table] = field(default_factory=list)


def scan(text: str) -> Scan:
    """Entries by key path and, when the text cannot be read, the faults: doubled keys, then the first syntax error."""
    scanner = _Scanner(text)
    try:
        scanner.document()
    except Stop as stop:
        scanner.faults.append(stop.fault)
    return Scan(scanner.entries, tuple(scanner.faults), scanner.oversized)


class _Scanner(Cursor):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.entries: dict[Path, Entry] = {}
        self.faults: list[Fault] = []
        self.oversized: dict[Path, Span] = {}
        self.root = _Table("header", (0, 0))

    def enter(self, path: Path, key: Span | None, value: Span) -> None:
        self.entries[path] = Entry(key, value)
        if len(self.entries) > MOST_ENTRIES:
            self.stop(f"more than {MOST_ENTRIES:,} keys and values", value, code="too-large")
        if len(path) > DEEPEST + LONGEST_KEY:
            self.stop(f"nested deeper than {DEEPEST}", value, code="too-large")

    # Statements

    def document(self) -> None:
        table: _Table = self.root
        path: Path = ()
        while True:
            self.skip(GAP)
            if self.at >= len(self.text):
                return
            if self.sees("["):
                table, path = self.header()
            else:
                self.pair(table, path, depth=0)
            self.end_of_line()

    def end_of_line(self) -> None:
        self.skip(BLANK)
        self.skip(COMMENT)
        if not self.ended():
            self.stop(f"a new line is due here, found {self.found()}", self.here())

    def header(self) -> tuple[_Table, Path]:
        start, brackets = self.at, "[[" if self.sees("[[") else "["
        self.at += len(brackets)
        self.skip(BLANK)
        parts = self.key()
        self.skip(BLANK)
        close = "]" * len(brackets)
        if not self.sees(close):
            self.stop(f"'{close}' is due after the table's name, found {self.found()}", (start, self.at))
        self.at += len(close)
        span = (start, self.at)
        above, path = self.descend(parts[:-1], span)
        define = self.define_list if len(brackets) == 2 else self.define_table
        return define(above, path, *parts[-1], span)

    def descend(self, parts: list[tuple[str, Span]], span: Span) -> tuple[_Table, Path]:
        table: _Table = self.root
        path: Path = ()
        for name, key in parts:
            below = table.children.get(name)
            path = (*path, name)
            if below is None:
                below = table.children[name] = _Table("implied", key)
                self.enter(path, key, span)
            elif below.kind == "value":
                self.doubled(name, below.span, key, "")
                below = _Table("implied", key)
            if below.kind == "list":
                path = (*path, len(below.items) - 1)
                below = below.items[-1]
            table = below
        return table, path

    def define_table(self, above: _Table, path: Path, name: str, key: Span, span: Span) -> tuple[_Table, Path]:
        path = (*path, name)
        old = above.children.get(name)
        if old is None or old.kind == "implied":
            table = above.children[name] = _Table("header", key, old.children if old else {})
            self.enter(path, key, span)
            return table, path
        cure = f"put both tables together; for a list write [[{_dotted(path)}]]"
        self.doubled(name, old.span, key, cure if old.kind in ("header", "list") else "")
        return _Table("header", key), path

    def define_list(self, above: _Table, path: Path, name: str, key: Span, span: Span) -> tuple[_Table, Path]:
        path = (*path, name)
        array = above.children.get(name)
        if array is None:
            array = above.children[name] = _Table("list", key)
            self.enter(path, key, span)
        elif array.kind != "list":
            cure = f"for a list write [[{_dotted(path)}]] both times" if array.kind == "header" else ""
            self.doubled(name, array.span, key, cure)
            return _Table("header", key), path
        item = _Table("header", key)
        array.items.append(item)
        path = (*path, len(array.items) - 1)
        self.enter(path, key, span)
        return item, path

    def doubled(self, name: str, first: Span, second: Span, cure: str) -> None:
        spans = ((second, "written again here"), (first, "first written here"))
        self.faults.append(Fault("doubled-key", f"doubled key '{name}'", spans, help=cure))

    def pair(self, table: _Table, path: Path, depth: int) -> None:
        parts = self.key()
        if not EQUALS.match(self.text, self.at):
            self.skip(BLANK)
            self.stop(f"'=' is due after the key '{parts[-1][0]}', found {self.found()}", self.here())
        self.skip(EQUALS)
        *above, (name, key) = parts
        for part, span in above:
            path = (*path, part)
            table = self.dotted(table, path, part, span)
        path = (*path, name)
        if name in table.children:
            self.doubled(name, table.children[name].span, key, "")
        table.children.setdefault(name, _Table("value", key))
        self.value(path, key, depth)

    def dotted(self, table: _Table, path: Path, name: str, span: Span) -> _Table:
        below = table.children.get(name)
        if below is None:
            self.enter(path, span, span)
            table.children[name] = below = _Table("dotted", span)
        elif below.kind not in ("dotted", "implied"):
            self.doubled(name, below.span, span, "")
            return _Table("dotted", span)
        below.kind = "dotted"
        return below

    # Values

    def value(self, path: Path, key: Span | None, depth: int) -> None:
        start = self.at
        # In its place before its items, so that a path never stands before its parent.
        self.enter(path, key, (start, start + 1))
        if self.sees("["):
            self.array(path, depth + 1)
        elif self.sees("{"):
            self.inline_table(path, depth + 1)
        elif self.sees('"') or self.sees("'"):
            quotes = next(quotes for quotes in STRINGS if self.sees(quotes))
            self.string(quotes)
        elif not self.scalar(nested=depth > 0):
            self.oversized[path] = (start, self.at)
        self.entries[path] = Entry(key, (start, self.at))

    def array(self, path: Path, depth: int) -> None:
        start, index = self.at, 0
        self.limit_depth(depth)
        self.at += 1
        while not self.closes_array(start):
            self.value((*path, index), None, depth)
            index += 1
            if self.closes_array(start):
                break
            if not self.sees(","):
                self.stop(f"',' or ']' is due here, found {self.found()}", self.here())
            self.at += 1
        self.at += 1

    def closes_array(self, start: int) -> bool:
        before = self.at
        self.skip(GAP)
        new_line = "\n" in self.text[before : self.at]
        if self.at >= len(self.text) or (new_line and STATEMENT.match(self.text, self.at)):
            self.stop("array without closing ]", (start, start + 1), code="unclosed", label="opened here")
        return self.sees("]")

    def inline_table(self, path: Path, depth: int) -> None:
        start = self.at
        self.limit_depth(depth)
        table = _Table("value", self.here())
        self.at += 1
        while not self.closes_table(start):
            self.pair(table, path, depth)
            if self.closes_table(start):
                break
            if not self.sees(","):
                self.stop(f"',' or '}}' is due here, found {self.found()}", self.here())
            self.at += 1
            if self.closes_table(start):
                self.stop("no comma may stand before '}'", (self.at - 1, self.at))
        self.at += 1

    def closes_table(self, start: int) -> bool:
        self.skip(BLANK)
        if self.ended():
            cure = "an inline table stands on one line"
            span = (start, start + 1)
            self.stop("inline table without closing }", span, code="unclosed", label="opened here", help=cure)
        return self.sees("}")

    def limit_depth(self, depth: int) -> None:
        if depth > DEEPEST:
            self.stop(f"nested deeper than {DEEPEST}", self.here(), code="too-large")


def _dotted(path: Path) -> str:
    return ".".join(part for part in path if isinstance(part, str))
