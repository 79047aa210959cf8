"""Mistakes in a suite as data, and as the text that a person reads."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import SuiteError

MOST_SHOWN = 20
LONGEST_LINE = 100
LONGEST_QUOTE = 60


@dataclass(frozen=True)
class Place:
    """A stretch of one line of the suite file or of a `--set`; line and column count characters from 1."""

    source: str
    """The file as the user named it, or `--set #2`."""
    line: int = 0
    """0: the file as a whole."""
    column: int = 0
    width: int = 1
    label: str = ""
    text: str = ""
    """The source line."""
    order: int = 0
    """0 for the file, n for `--set #n`."""

    def __str__(self) -> str:
        return self.source if self.order or not self.line else f"{self.source}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Mistake:
    """What is wrong, where (the first place is under the carets), what may stand there, and the cure."""

    code: str
    message: str
    places: tuple[Place, ...]
    allowed: str = ""
    help: str = ""

    def __post_init__(self) -> None:
        if not self.places:
            raise ValueError(f"Mistake: at least one place is needed, got none for {self.message!r}")

    def to_plain(self) -> dict[str, Any]:
        """The mistake as JSON types, for `--json`."""
        places = [
            {"source": at.source, "line": at.line, "column": at.column, "width": at.width, "label": at.label}
            for at in self.places
        ]
        return {
            "code": self.code,
            "message": self.message,
            "places": places,
            "allowed": self.allowed,
            "help": self.help,
        }


class MistakesError(SuiteError):
    """Every mistake of one suite; the text is what `render` makes of them."""

    def __init__(self, mistakes: Iterable[Mistake], name: str) -> None:
        self.mistakes = in_order(mistakes)
        self.name = name
        super().__init__(render(self.mistakes, name))

    def __reduce__(self) -> tuple[type[MistakesError], tuple[tuple[Mistake, ...], str]]:
        return type(self), (self.mistakes, self.name)


def in_order(mistakes: Iterable[Mistake]) -> tuple[Mistake, ...]:
    """By place: the file from top to bottom, then each `--set`."""
    return tuple(sorted(mistakes, key=lambda one: (one.places[0].order, one.places[0].line, one.places[0].column)))


def render(mistakes: Sequence[Mistake], name: str) -> str:
    """The text for the terminal, without a final line end; `name` is the suite file as the user named it."""
    blocks = [_block(mistake) for mistake in mistakes[:MOST_SHOWN]]
    if len(mistakes) > MOST_SHOWN:
        blocks.append(f"and {len(mistakes) - MOST_SHOWN:,} more")
    where = [escape(name)] if any(not one.places[0].order for one in mistakes) else []
    where += ["--set"] if any(one.places[0].order for one in mistakes) else []
    count = "1 error" if len(mistakes) == 1 else f"{len(mistakes):,} errors"
    return "\n\n".join([*blocks, f"{count} in {' and '.join(where)}; nothing was run"])


def escape(text: str) -> str:
    """The text with every character that a terminal obeys or hides as its code point, such as <U+001B>."""
    return "".join(_shown(character) for character in text)


def quote(text: str) -> str:
    """The text in single quotes, cut where it is long."""
    return f"'{text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + '...'}'"


def _shown(character: str) -> str:
    if character == " " or (character.isprintable() and unicodedata.category(character) != "Co"):
        return character
    return f"<U+{ord(character):04X}>"


def _block(mistake: Mistake) -> str:
    lines = [f"error[{mistake.code}]: {escape(mistake.message)}"]
    numbers = [str(at.line) for at in mistake.places if at.line and not at.order]
    gutter = " " * max([1, *map(len, numbers)])
    lines.append(f"{gutter}--> {escape(str(mistake.places[0]))}")
    lines += _excerpts(mistake.places, gutter)
    lines += [f"{gutter} = allowed: {escape(mistake.allowed)}"] if mistake.allowed else []
    lines += [f"{gutter} = help: {escape(mistake.help)}"] if mistake.help else []
    return "\n".join(lines)


def _excerpts(places: Sequence[Place], gutter: str) -> list[str]:
    shown = sorted((at for at in places if at.line), key=lambda at: (at.order, at.line, at is not places[0]))
    lines = [f"{gutter} |"] if shown else []
    before: tuple[int, int, str] | None = None
    for at in shown:
        excerpt, marks = _excerpt(at, "^" if at is places[0] else "-")
        if (at.order, at.line, excerpt) != before:
            number = "" if at.order else str(at.line)
            lines.append(f"{number:>{len(gutter)}} | {excerpt}".rstrip())
        before = (at.order, at.line, excerpt)
        lines.append(f"{gutter} | {marks} {escape(at.label)}".rstrip())
    return lines


def _excerpt(at: Place, mark: str) -> tuple[str, str]:
    """The source line, clipped around the place, and the marks that go under it."""
    begin = min(at.column - 1, len(at.text))
    first = max(0, min(begin - LONGEST_LINE // 2, len(at.text) - LONGEST_LINE))
    last = min(len(at.text), first + LONGEST_LINE)
    end = min(begin + at.width, last)
    cells = ["    " if character == "\t" else _shown(character) for character in at.text[first:last]]
    before, after = "..." if first else "", "..." if last < len(at.text) else ""
    blank = len(before) + _width(cells[: begin - first])
    length = max(1, _width(cells[begin - first : end - first]))
    return before + "".join(cells) + after, " " * blank + mark * length


def _width(cells: Iterable[str]) -> int:
    """Columns that the text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for cell in cells
        for one in cell
    )
