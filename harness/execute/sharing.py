"""Whether a worker sees the files that runs start from, under the paths that they have where the coordinator is.

A mark with random content lies in the results folder for as long as the cluster is used: a folder that is only called
alike does not have it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import ResultsError
from harness.store import write_atomically
from harness.train.checkpoints import sha256_of

Seen = Mapping[str, str]
"""`path` and `sha256` of a file."""


def mark(folder: Path) -> dict[str, str]:
    """Put a mark into the folder; named as a temporary file, so that what a killed coordinator left is swept."""
    path, content = _temporary(folder, "shared"), secrets.token_hex(16).encode()
    write_atomically(path, content, durable=False)
    return {"path": str(path.absolute()), "sha256": hashlib.sha256(content).hexdigest()}


def take_away(marked: Seen) -> None:
    """Remove the mark."""
    with contextlib.suppress(OSError):
        Path(marked["path"]).unlink()


def unseen(files: Sequence[Seen], folder: str | None) -> list[str]:
    """What a worker lacks: files that are not there or are others, a folder that is another or cannot be written to."""
    found = [_words(Path(file["path"]), folder, reason) for file in files if (reason := _difference(file))]
    if folder is not None and not found and (reason := _unwritable(Path(folder))):
        found.append(f"{folder}: {reason}")
    return found


def _difference(file: Seen) -> str:
    try:
        return "" if sha256_of(Path(file["path"])) == file["sha256"] else "another file there"
    except OSError as error:
        return f"{_why(error)} there"


def _words(path: Path, folder: str | None, reason: str) -> str:
    if folder is not None and path.parent == Path(folder):
        return f"{folder}: not the folder that it is here ({reason.removesuffix(' there')})"
    return f"{path}: {reason}"


def _why(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()


def _unwritable(folder: Path) -> str:
    path = _temporary(folder, "worker")
    try:
        write_atomically(path, b"", durable=False)
        path.unlink()
    except (ResultsError, OSError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        return f"cannot be written to ({_why(cause) if isinstance(cause, OSError) else error})"
    return ""


def _temporary(folder: Path, name: str) -> Path:
    return folder / f".{name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
