"""The line of a plugin's own code that an error came from, for messages that are shown without a traceback."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

_CORE = Path(__file__).parents[1]
_HIDDEN = {"site-packages", "dist-packages", f"python{sys.version_info[0]}.{sys.version_info[1]}"}
"""Folders of installed code, which no author of a plugin looks into first."""


def where(error: BaseException, *, core: bool = False) -> str:
    """` (mine.py, line 6)`, the innermost line that its author can change; nothing where there is none.

    Args:
        core: a line of harness itself is better than none.
    """
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_file():
        return _said(error.filename, error.lineno)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_file() and not _HIDDEN & set(Path(frame.filename).parts)
    ]
    own = [frame for frame in frames if _CORE not in Path(frame.filename).parents]
    if core and not own:
        own = [frame for frame in frames if Path(__file__).parent not in Path(frame.filename).parents]
    return _said(own[-1].filename, own[-1].lineno) if own else ""


def _said(file: str, line: int | None) -> str:
    return f" ({Path(file).name}, line {line})"
