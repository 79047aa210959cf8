"""A TOML file as values with the place of each key and value, or as the mistakes that keep it from being read.

Limits are checked before `tomllib` sees the text: it overflows the stack on deep nesting, takes seconds for a dotted
key of thousands of parts, raises a bare ValueError on long integers, and does not say where.
"""

from __future__ import annotations

import bisect
import difflib
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

from harness.diagnostics import Mistake, Place, quote
from harness.toml.scan import Entry, Path, scan
from harness.toml.tokens import Fault, Span

LARGEST = 2**20
"""Bytes."""

_WHERE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_BARE_RETURN = re.compile(r"\r(?!\n)")
_CONFLICT = re.compile(r"^<{7}(?=[ \r]|$)", re.MULTILINE)
_CONFLICT_END = re.compile(r"^>{7}(?=[ \r]|$)", re.MULTILINE)
_FIRST_LINE = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+([^\n]*)")
_JSON = re.compile(r"\{|\[\s*[{\[]?\s*$|\[\s*\{")
_YAML = re.compile(r"---\s*$|%YAML|-\s+\S|[A-Za-z_][\w-]*:(?:\s|$)")


@dataclass(frozen=True)
class Document:
    """The text, its values as `tomllib` gives them, and where they stand. With mistakes there are no values."""

    name: str
    text: str
    values: dict[str, Any] = field(default_factory=dict)
    entries: dict[Path, Entry] = field(default_factory=dict)
    oversized: frozenset[Path] = frozenset()
    """Integers that do not fit in 64 bits; their value is 0."""
    mistakes: tuple[Mistake, ...] = ()
    order: int = 0
    """0 for a file, n for `--set #n`."""

    @cached_property
    def _lines(self) -> list[str]:
        return [line.removesuffix("\r") for line in self.text.split("\n")]

    @cached_property
    def _starts(self) -> list[int]:
        starts = [0]
        starts += (match.end() for match in re.finditer("\n", self.text))
        return starts

    def place(self, span: Span, label: str = "") -> Place:
        """The part of the span that stands on its first line."""
        line = bisect.bisect_right(self._starts, span[0]) - 1
        begin, text = self._starts[line], self._lines[line]
        width = max(1, min(span[1] - begin, len(text)) - (span[0] - begin))
        return Place(self.name, line + 1, span[0] - begin + 1, width, label, text, self.order)

    def whole(self) -> Place:
        """The document without a line."""
        return Place(self.name, order=self.order)

    def written(self, path: Path) -> str:
        """The value as it stands in the text."""
        start, end = self.entries[path].value
        return self.text[start:end]


def read(path: FilePath, name: str | None = None) -> Document:
    """The file as a document; a file that cannot be read is a document with a mistake.

    `name` is how messages call the file (default: the path as given).
    """
    name = str(path) if name is None else name
    try:
        raw = _bytes(path)
    except FileNotFoundError:
        return _missing(path, name)
    except PermissionError:
        message = f"no permission to read {quote(name)}{_owner(path)}"
        return _refused(name, "unreadable", message)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return _refused(name, "unreadable", f"cannot read {quote(name)}: {reason}")
    if isinstance(raw, str):
        return _refused(name, "unreadable", f"{quote(name)} is {raw}", allowed="a TOML text of at most 1 MiB")
    return _decode(raw, name)


def parse(text: str, name: str, order: int = 0) -> Document:
    """The text as a document; never raises."""
    bare = Document(name, text.removeprefix("\ufeff"), order=order)
    if mistake := next(_not_toml(bare), None):
        return _with(bare, mistake)
    found = scan(bare.text)
    if found.faults:
        return _with(bare, *(_mistake(bare, fault) for fault in found.faults))
    text = bare.text
    for start, end in found.oversized.values():
        text = f"{text[:start]}0{' ' * (end - start - 1)}{text[end:]}"
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return _with(bare, _from_parser(bare, error))
    return Document(name, bare.text, values, found.entries, frozenset(found.oversized), order=order)


# Reading -------------------------------------------------------------------------------------------------------------


def _bytes(path: FilePath) -> bytes | str:
    """The content, or what the file is instead of a short regular one."""
    # Without O_NONBLOCK, opening a FIFO waits for a writer for ever.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            return "a folder, not a regular file"
        if not stat.S_ISREG(status.st_mode):
            return "not a regular file"
        if status.st_size > LARGEST:
            return "larger than 1 MiB"
        with os.fdopen(handle, "rb", closefd=False) as stream:
            content = stream.read(LARGEST + 1)
        return "larger than 1 MiB" if len(content) > LARGEST else content
    finally:
        os.close(handle)


def _decode(raw: bytes, name: str) -> Document:
    try:
        return parse(raw.decode(), name)
    except UnicodeDecodeError as error:
        document = Document(name, raw.decode("utf-8", "replace").removeprefix("\ufeff"))
        sixteen = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
        # Decoded with "replace", so the first replacement that the text does not have itself is the place.
        before = len(raw[: error.start].decode().removeprefix("\ufeff"))
        message = f"not UTF-8: byte 0x{raw[error.start]:02x}"
        cure = f"the file is UTF-16; save it as UTF-8{' without BOM' if sixteen else ''}" if sixteen else ""
        place = document.whole() if sixteen else document.place((before, before + 1))
        return _with(document, Mistake("encoding", message, (place,), help=cure or "save the file as UTF-8"))


def _missing(path: FilePath, name: str) -> Document:
    try:
        beside = sorted(other.name for other in path.parent.iterdir() if other.suffix == ".toml")
    except OSError:
        return _refused(name, "no-file", f"no suite file {quote(name)}", help=f"no folder {quote(str(path.parent))}")
    near = _nearest_files(path.name, beside)
    allowed = ", ".join(near or beside[:5])
    folder = path.parent if path.parent != FilePath() else None
    cure = f"did you mean '{folder / near[0] if folder else near[0]}'?" if near else ""
    return _refused(name, "no-file", f"no suite file {quote(name)}", allowed=allowed, help=cure)


def _nearest_files(name: str, beside: list[str]) -> list[str]:
    return difflib.get_close_matches(name if name.endswith(".toml") else f"{name}.toml", beside, n=5, cutoff=0.6)


def _owner(path: FilePath) -> str:
    """Owner and mode, in brackets, as far as they can be seen."""
    try:
        status = path.stat()
        owner = path.owner()
    except (OSError, KeyError, NotImplementedError):
        return ""
    return f" (owner {owner}, mode {stat.filemode(status.st_mode)})"


# Mistakes ------------------------------------------------------------------------------------------------------------


def _not_toml(document: Document) -> Iterator[Mistake]:
    """What a text that is no TOML at all looks like."""
    text = document.text
    if match := _BARE_RETURN.search(text):
        place = document.place((match.start(), match.start() + 1))
        yield Mistake("syntax", "bare carriage return (CR without LF)", (place,), help="end lines with LF or CR LF")
    if match := _CONFLICT.search(text):
        end = _CONFLICT_END.search(text, match.end())
        first, last = document.place((match.start(), match.end())), document.place(end.span() if end else match.span())
        message = f"unresolved merge conflict, lines {first.line}-{last.line}"
        yield Mistake("syntax", message, (first, last) if last.line > first.line else (first,))
    first_line = _FIRST_LINE.match(text)
    if first_line and (kind := _other_format(first_line[1])):
        place = document.place(first_line.span(1))
        yield Mistake("syntax", f"looks like {kind}; a suite is TOML", (place,), help='in TOML: key = "value"')


def _other_format(line: str) -> str | None:
    if _JSON.match(line):
        return "JSON"
    return "YAML" if _YAML.match(line) else None


def _mistake(document: Document, fault: Fault) -> Mistake:
    places = tuple(document.place(span, label) for span, label in fault.spans)
    return Mistake(fault.code, fault.message, places, fault.allowed, fault.help)


def _from_parser(document: Document, error: Exception) -> Mistake:
    where = _WHERE.search(str(error))
    message = _WHERE.sub("", str(error))
    place = document.whole()
    if where and where[1]:
        line, column = int(where[1]), int(where[2])
        start = document._starts[min(line, len(document._starts)) - 1] + column - 1
        place = document.place((start, start + 1))
    return Mistake("syntax", f"not TOML: {message[:1].lower()}{message[1:]}", (place,))


def _refused(name: str, code: str, message: str, *, allowed: str = "", help: str = "") -> Document:
    document = Document(name, "")
    return _with(document, Mistake(code, message, (document.whole(),), allowed, help))


def _with(document: Document, *mistakes: Mistake) -> Document:
    return Document(document.name, document.text, mistakes=mistakes, order=document.order)
