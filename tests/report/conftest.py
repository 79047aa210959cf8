"""Makes the made-up findings importable, and builds the reports that several tests read."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import synthetic

from harness.report import write

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the whole report of the default findings."""
    folder = tmp_path_factory.mktemp("base")
    write(synthetic.findings(), folder)
    return folder


@pytest.fixture(scope="session")
def hostile_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with names and texts that mean something to HTML, Markdown, matplotlib or a spreadsheet."""
    folder = tmp_path_factory.mktemp("hostile")
    findings = synthetic.findings(
        arms=(SCRIPT, "$\\frac$", "=cmd()|'x'", "_hidden", "a" * 64),
        problems=("<img src=x onerror=alert(2)>",),
        reason=f"</td>{SCRIPT}",
        question='"><svg onload=alert(4)>',
        headline="<b>bold</b> {{ 7*7 }}",
        replicates=3,
        trials=2,
        epochs=1,
    )
    write(findings, folder)
    return folder


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports with empty drawings, for tests of words: they take a tenth of the time."""
    empty = '<svg xmlns="http://www.w3.org/2000/svg" role="img"><title>{}</title></svg>'
    monkeypatch.setattr("harness.report.chart.drawn", lambda *_, name, **__: empty.format(f"{name} " * 2000))
