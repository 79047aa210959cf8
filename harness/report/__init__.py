"""Findings to a folder that can be read, mailed and cited: an HTML page, Markdown, LaTeX, figures, their numbers."""

from __future__ import annotations

from pathlib import Path

from harness.report.findings import Findings

__all__ = ["Findings", "write"]


def write(findings: Findings, folder: Path) -> Path:
    """Write `report/` into the results folder and give the path of the page.

    The bytes depend on the findings alone: no clock, no path. Files of an earlier report are replaced, and figures
    that no longer exist are removed.
    """
    # seaborn takes two seconds to import, and whoever only builds findings does not need it.
    from harness.report.page import write_report

    return write_report(findings, folder)
