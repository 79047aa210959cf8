"""Words for codes; verdict sentences themselves come from the verdicts."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from harness.verdict.words import VERDICTS

TONES = {
    "better": "good",
    "better_small": "good",
    "equivalent": "even",
    "undecided": "open",
    "worse_small": "bad",
    "worse": "bad",
    "identical": "even",
    "not_compared": "none",
    "reproduced": "good",
    "not_reproduced": "bad",
}
"""Which colour goes with a verdict; `none` has no colour, because nothing was compared."""

SETTINGS = {
    "tuned": "tuned",
    "given": "as given, without tuning",
    "untuned": "at the defaults, without tuning",
}


def verdict(code: str) -> str:
    """The word for a verdict's code."""
    return VERDICTS.get(code, code.replace("_", " "))


def tone(code: str) -> str:
    """The colour class of a verdict's code."""
    return TONES.get(code, "none")


def setting(name: str) -> str:
    """How a setting came about, in words."""
    return SETTINGS.get(name, name)


def held(name: str, value: Any, searched: Collection[str]) -> str:
    """`batch size 64`, `model cnn (channels [32, 64], dropout 0)`, `augmentation rotate (degrees 15), crop`."""
    if isinstance(value, list):
        return f"{name} {', '.join(held('', part, searched).lstrip() for part in value)}"
    if not isinstance(value, dict):
        return f"{name.replace('_', ' ')} {_plain(value)}"
    options = [
        f"{option.replace('_', ' ')} {_plain(chosen)}"
        for option, chosen in sorted(value.items())
        if option != "use" and f"{name}.{option}" not in searched
    ]
    named = f"{name.replace('_', ' ')} {value.get('use', '')}".rstrip()
    return named + (f" ({', '.join(options)})" if options else "")


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
