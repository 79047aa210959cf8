"""Folders of this user, without importing anything heavy."""

from __future__ import annotations

import os
from pathlib import Path

DOWNLOAD = "HARNESS_DOWNLOAD"
"""Environment variable by which the command line tells every process that it starts that data may be downloaded."""


def cache_folder() -> Path:
    """Where facts about plugins and data are kept: `HARNESS_CACHE`, or the platform's cache folder."""
    if given := os.environ.get("HARNESS_CACHE"):
        return Path(given)
    import platformdirs

    return platformdirs.user_cache_path("harness")


def is_text(path: Path) -> bool:
    """Whether messages, JSON and tables can hold the path: on Linux a name may be any bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def data_root() -> Path:
    """Where data files may lie: `HARNESS_DATA`, or `data` in the cache folder."""
    given = os.environ.get("HARNESS_DATA")
    return Path(given) if given else cache_folder() / "data"


def may_download() -> bool:
    """Whether a data set that is not found may be downloaded into the data root: with `--download`."""
    return os.environ.get(DOWNLOAD, "") not in ("", "0")
