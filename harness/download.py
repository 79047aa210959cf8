"""Files from the web: there whole and as published, or not at all, whatever ends the process that fetches them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import DataError, ResultsError
from harness.store import sweep_abandoned, write_atomically

PATIENCE_SECONDS = 60.0
"""How long a download may stand still."""
_CHUNK = 2**20


def fetch(url: str, path: Path, *, digest: str, algorithm: str = "sha256") -> str:
    """Download a file to `path`, in place of what may be there; returns its hash.

    What killed downloads left in the folder is removed first; another process may download at the same time.

    Args:
        digest: hexadecimal digits that the hash must begin with.
        algorithm: of the hash, as `hashlib` calls it.

    Raises:
        DataError: what stands in the way, in one line with the way out.
    """
    found, again = hashlib.new(algorithm, usedforsecurity=False), _again(path)
    try:
        sweep_abandoned(path.parent)
        write_atomically(path, _fetched(url, path, found, digest))
    except (ResultsError, OSError) as error:
        cause = error.__cause__ if isinstance(error, ResultsError) else error
        reason = getattr(cause, "strerror", None) or cause
        raise DataError(f"{path.name} cannot be downloaded into {path.parent} ({reason}); {again}") from error
    return str(found.hexdigest())


def _again(path: Path) -> str:
    return f"the same command tries again, or put the file into {path.parent}"


def _fetched(url: str, path: Path, found: Any, digest: str) -> Iterator[bytes]:
    """The file piece by piece, an error in place of its end if it is not as published."""
    import http.client
    import urllib.error
    import urllib.request

    failed, again = f"{path.name} cannot be downloaded from {url}", _again(path)
    size = 0
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            due = answer.headers.get("Content-Length")
            while chunk := answer.read(_CHUNK):
                found.update(chunk)
                size += len(chunk)
                yield chunk
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        if isinstance(error, urllib.error.HTTPError):  # it is the answer as well
            error.close()
        raise DataError(f"{failed} ({reason}); {again}") from error
    if due is not None and due.isdecimal() and int(due) != size:
        raise DataError(f"{failed} ({size:,} of {int(due):,} bytes came); {again}")
    whole, name = found.hexdigest(), {"sha256": "SHA-256", "md5": "MD5"}.get(found.name, found.name)
    if not whole.startswith(digest):
        must = f"its {name} must {'be' if len(digest) == len(whole) else 'begin with'} {digest}, got {whole}"
        raise DataError(f"what came from {url} is not as published: {must}; {again}")
