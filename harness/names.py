"""Which names may stand in file names, tables, reports and shell commands without harm."""

from __future__ import annotations

import re

RULE = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$, without a dot at the end, no Windows device name"
LONGEST = 64

_CHARACTER = re.compile(r"[A-Za-z0-9._+-]")
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}


def broken_rule(name: str) -> str | None:
    """What is wrong with a name, in words; None where nothing is."""
    if not name:
        return "it is empty"
    for character in name:
        if not character.isascii():
            return f"only ASCII is allowed, found U+{ord(character):04X}"
        if not _CHARACTER.match(character):
            return f"{_called(character)} is not allowed"
    if not name[0].isalnum():
        return f"it begins with '{name[0]}'"
    if name.endswith("."):
        return "it ends with a dot"
    if len(name) > LONGEST:
        return f"it has {len(name)} characters, {LONGEST} are allowed"
    if name.split(".")[0].lower() in _DEVICES:
        return f"'{name.split('.')[0]}' is a device on Windows"
    return None


def sanitized(text: str) -> str:
    """The text with every character that no name may have replaced by `-`, and no sign at its start."""
    return re.sub(r"[^A-Za-z0-9._+-]", "-", text).lstrip("._+-").rstrip(".")


def _called(character: str) -> str:
    if character.isprintable():
        return "a blank" if character == " " else f"'{character}'"
    return f"U+{ord(character):04X}"
