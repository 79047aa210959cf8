"""A finished folder to look at, shared by all tests here, so that its plugins are described only once."""

from pathlib import Path

import pytest

from tests.conftest import Project


class Looked(Project):
    """The shared folder as working folder. Suites, and whatever a test writes, lie in a folder of the test's own."""

    def __init__(self, folder: Path, own: Path, capfd: pytest.CaptureFixture[str]) -> None:
        super().__init__(folder, capfd)
        self.own = own

    def suite(self, text: str, *, name: str = "suite.toml") -> str:
        """Write a suite into the test's own folder; returns its path."""
        (self.own / name).write_text(text, encoding="utf-8")
        return str(self.own / name)

    def files(self) -> dict[Path, bytes]:
        """Everything in both folders."""
        paths = [path for folder in (self.folder, self.own) for path in folder.rglob("*")]
        return {path: path.read_bytes() for path in paths if path.is_file() and "__pycache__" not in path.parts}


@pytest.fixture
def look(_finished_once, tmp_path, monkeypatch, capfd, warm, blank_figures) -> Looked:
    monkeypatch.chdir(_finished_once)
    return Looked(_finished_once, tmp_path, capfd)
