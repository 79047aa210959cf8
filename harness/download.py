"""Files from the web and from archives: there whole and as published, or not at all, whatever ends the process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from harness.errors import DataError, ResultsError
from harness.store import sweep_abandoned, write_atomically

if TYPE_CHECKING:
    import tarfile

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


def unpack(path: Path, folder: Path) -> None:
    """Put the files of a tar archive below the folder, each of them in place of what may be there.

    Links and whatever else is no regular file are left out.

    Raises:
        DataError: it has a file that would lie elsewhere, cannot be read, or its files cannot be kept.
    """
    import tarfile
    import zlib

    try:
        with tarfile.open(path) as archive:
            _unpack(archive, path, folder)
    except (ResultsError, OSError, EOFError, zlib.error, tarfile.TarError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"{path} cannot be unpacked into {folder} ({reason}); the same command tries again") from error


def _unpack(archive: tarfile.TarFile, path: Path, folder: Path) -> None:
    swept: set[Path] = set()
    for member in archive:
        place = PurePosixPath(member.name)
        if place.is_absolute() or ".." in place.parts:
            raise DataError(f"{path} has a file outside its own folder, {member.name!r}; remove it")
        content = archive.extractfile(member) if member.isfile() else None
        if content is None:
            continue
        target = folder / place
        if target.parent not in swept:
            sweep_abandoned(target.parent)
            swept.add(target.parent)
        write_atomically(target, content.read(), durable=False)


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
