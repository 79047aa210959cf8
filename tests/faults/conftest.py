"""Folders that faults are put into, and the uninterrupted suite that they must end equal to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.tools import Folder, Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """A process that forks commands."""
    made = Zygote()
    yield made
    made.close()


@pytest.fixture(scope="session")
def reference(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose suite ran without a fault."""
    folder = Folder(tmp_path_factory.mktemp("uninterrupted"), zygote, None)
    ended = folder.run()
    assert ended.code == 0, ended.err
    return folder.path


@pytest.fixture
def folder(tmp_path: Path, zygote: Zygote, reference: Path) -> Folder:
    """A folder whose suite was not run yet."""
    return Folder(tmp_path / "work", zygote, reference)


@pytest.fixture(scope="session")
def strace() -> None:
    """System calls can be made to fail or to kill: skipped without strace, but not in CI."""
    reason = "strace is missing, or may not trace here"
    if shutil.which("strace") is not None:
        tried = subprocess.run(
            ["strace", "-f", "-qq", "-o", os.devnull, sys.executable, "-c", ""], timeout=60, check=False
        )
        if tried.returncode == 0:
            return
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
