"""The small pieces of a TOML text: keys, strings, numbers, dates, and the gaps between them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import NoReturn

Span = tuple[int, int]
"""Offsets of the first character and of the one after the last."""

LONGEST_KEY = 16
"""Parts."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
EQUALS = re.compile(r"[ \t]*=[ \t]*")
BLANK = re.compile(r"[ \t]*+")
COMMENT = re.compile(r"#[^\n]*+")
GAP = re.compile(r"(?:[ \t\n]++|\r\n|#[^\n]*+)*+")
STRINGS = {
    '"""': re.compile(r'"""(?:[^\\"]++|\\[\s\S]|"(?!""))*+"{3,5}'),
    "'''": re.compile(r"'''(?:[^']++|'(?!''))*+'{3,5}"),
    '"': re.compile(r'"(?:[^\\"\n]++|\\[^\n])*+"'),
    "'": re.compile(r"'[^'\n]*+'"),
}
_INTEGER = re.compile(
    r"[+-]?(?:0|[1-9](?:_?[0-9])*+)|0x[0-9A-Fa-f](?:_?[0-9A-Fa-f])*+|0o[0-7](?:_?[0-7])*+|0b[01](?:_?[01])*+"
)
_FLOAT = re.compile(
    r"[+-]?(?:(?:0|[1-9](?:_?[0-9])*+)(?:\.[0-9](?:_?[0-9])*+)?(?:[eE][+-]?[0-9](?:_?[0-9])*+)?|inf|nan)"
)
_DATE = re.compile(
    r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)?)?|\d\d:\d\d:\d\d(?:\.\d+)?", re.ASCII
)
_TOKEN = re.compile(r"[^\s,\[\]{}#=\"']++")
_REST_OF_LINE = re.compile(r"[^#\n]*+")
_REST_OF_ITEM = re.compile(r"[^#\n,\]}]*+")
# A line that cannot go on an array: `key =`, `[table]`, `[[list]]`.
STATEMENT = re.compile(
    r"(?:[A-Za-z0-9_-]+(?:[ \t]*\.[ \t]*[A-Za-z0-9_-]+){0,16}[ \t]*="
    r"|\[\[?[ \t]*(?!(?:true|false|inf|nan)\b)[A-Za-z_][A-Za-z0-9_.-]*[ \t]*\]\]?[ \t]*(?:#[^\n]*)?\r?$)",
    re.MULTILINE,
)
_NO_WORDS = {
    "True": "write true",
    "False": "write false",
    "None": "there is no such value; leave the key out",
    "null": "there is no such value; leave the key out",
}


@dataclass(frozen=True)
class Fault:
    """What keeps the text from being read; the first span is the one to look at."""

    code: str
    message: str
    spans: tuple[tuple[Span, str], ...]
    """Each with its label."""
    allowed: str = ""
    help: str = ""


class Stop(Exception):
    """Nothing after this can be made sense of."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault


class Cursor:
    """A place in the text, and the steps that go over one piece each."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def stop(self, message: str, span: Span, *, code: str = "syntax", label: str = "", help: str = "") -> NoReturn:
        """Give up, with the reason at the span."""
        raise Stop(Fault(code, message, ((span, label),), help=help))

    def skip(self, pattern: re.Pattern[str]) -> None:
        """Go over what the pattern matches here, if it does."""
        if match := pattern.match(self.text, self.at):
            self.at = match.end()

    def sees(self, characters: str) -> bool:
        """Whether these characters come next."""
        return self.text.startswith(characters, self.at)

    def here(self) -> Span:
        """The next character."""
        return (self.at, self.at + 1)

    def ended(self) -> bool:
        """Whether the line, or the text, is over."""
        return self.at >= len(self.text) or self.sees("\n") or self.sees("\r\n")

    def found(self) -> str:
        """What comes next, in words."""
        return "the end of the line" if self.ended() else f"'{self.text[self.at]}'"

    def key(self) -> list[tuple[str, Span]]:
        """Parts of a dotted key, each with its place."""
        start, parts = self.at, [self.key_part()]
        while match := _DOT.match(self.text, self.at):
            self.at = match.end()
            parts.append(self.key_part())
            if len(parts) > LONGEST_KEY:
                self.stop(f"key longer than {LONGEST_KEY} parts", (start, self.at), code="too-large")
        return parts

    def key_part(self) -> tuple[str, Span]:
        """One part, bare or quoted."""
        start = self.at
        if match := _BARE_KEY.match(self.text, self.at):
            self.at = match.end()
            return match[0], (start, self.at)
        if not (self.sees('"') or self.sees("'")):
            self.stop(f"a key is due here, found {self.found()}", self.here())
        quoted = self.string(self.text[self.at])
        if "\\" not in quoted or quoted.startswith("'"):
            return quoted[1:-1], (start, self.at)
        try:
            return str(tomllib.loads(f"key = {quoted}")["key"]), (start, self.at)
        except tomllib.TOMLDecodeError:
            self.stop(f"no key can be read from {quoted}", (start, self.at))

    def string(self, quotes: str) -> str:
        """Go over a string that begins with these quotes; the answer is the string as written."""
        match = STRINGS[quotes].match(self.text, self.at)
        if not match:
            end = self.text.find("\n", self.at) if len(quotes) == 1 else self.at + 3
            end = len(self.text) if end < 0 else end
            self.stop(f"string without closing {quotes}", (self.at, end), code="unclosed", label="opened here")
        self.at = match.end()
        return match[0]

    def scalar(self, *, nested: bool) -> bool:
        """Go over a number, date, true or false; the answer is whether it fits in 64 bits."""
        start = self.at
        if match := _DATE.match(self.text, start):
            self.at = match.end()
            return True
        token = _TOKEN.match(self.text, start)
        if not token:
            self.stop(f"a value is due here, found {self.found()}", self.here())
        self.at = token.end()
        if token[0] in ("true", "false") or _FLOAT.fullmatch(token[0]) or _INTEGER.fullmatch(token[0]):
            return not _INTEGER.fullmatch(token[0]) or _fits(token[0])
        self.refuse(token[0], start, nested=nested)

    def refuse(self, token: str, start: int, *, nested: bool) -> NoReturn:
        """Give up on a value that is none."""
        rest = (_REST_OF_ITEM if nested else _REST_OF_LINE).match(self.text, start)
        words = rest[0].rstrip() if rest else token
        span = (start, start + len(words))
        if token[0] in "\u201c\u201d\u201e\u2018\u2019`":
            cure = 'write " in place of the quotes found'
            self.stop("strings need straight quotes", span, code="unquoted", help=cure)
        if words in _NO_WORDS:
            self.stop(f"not a TOML value: {words}", span, help=_NO_WORDS[words])
        if token[0] not in "+-.0123456789":
            self.stop(f'strings need quotes: "{words[:60]}"', span, code="unquoted")
        cure = "a number is written like 3, 0.5 or 1e-3; strings need quotes"
        if re.fullmatch(r"[+-]?0+[1-9][0-9]*", token):
            cure = "a number has no leading zeros"
        self.stop(f"not a TOML value: {words[:60]}", span, help=cure)


def _fits(token: str) -> bool:
    digits = token.replace("_", "").lstrip("+-")
    if digits[:2] in ("0x", "0o", "0b"):
        return len(digits) <= 2 + 64 and int(digits, 0) < 2**63
    number = int(digits) if len(digits) <= 19 else 2**64
    return number < 2**63 or (number == 2**63 and token.startswith("-"))
