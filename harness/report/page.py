"""The report's files: one self-contained page, Markdown, LaTeX, figures and their numbers."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.errors import ResultsError
from harness.report import latex, markdown, scope
from harness.report.chart import Chart
from harness.report.findings import Findings
from harness.report.plotting import swatch
from harness.report.sections import Section, answers, banner, sections
from harness.report.view import View
from harness.store import write_atomically
from harness.tables.csvtext import csv_text

INLINE = 1_600_000
"""Most characters of figures in the page; what does not fit is linked."""
WHOLE = 1_950_000
"""Most bytes of the page, as long as that takes no more than leaving figures out."""


def write_report(findings: Findings, folder: Path) -> Path:
    """Write `report/` into the results folder; gives the path of the page."""
    view = View(findings)
    made = sections(view)
    files: dict[str, str] = {
        "report.html": page(view, made),
        "report.md": markdown.text(view, made),
        "tables/summary.tex": latex.summary(view),
    }
    for chart in _charts(made):
        files[f"figures/{chart.name}.svg"] = f"{chart.svg}\n"
        files[f"figures/{chart.name}.csv"] = csv_text(chart.frame)
    root = folder / "report"
    for place in (root, root / "figures", root / "tables"):
        if place.is_symlink():
            raise ResultsError(
                f"{place.name} in the results folder is a link; a report is written to plain folders only"
            )
    for name, text in files.items():
        write_atomically(root / name, text.encode(), durable=False)
    for stale in sorted((root / "figures").glob("*")):
        if stale.suffix in (".svg", ".csv") and f"figures/{stale.name}" not in files:
            stale.unlink()
    return root / "report.html"


def _charts(made: Iterable[Section]) -> list[Chart]:
    return [chart for section in made for chart in section.charts]


def page(view: View, made: list[Section]) -> str:
    """The whole page; equal findings give equal bytes."""
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["numbers"] = numbers
    style, script = _resource("style.css"), _resource("script.js")
    render = partial(
        environment.get_template("report.html").render,
        view=view,
        findings=view.findings,
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        style=Markup(style),
        script=Markup(script),
        banner=banner(view),
        answers=answers(view, primary=True),
        explored=answers(view, primary=False),
        scope=scope.scope(view),
        sections=made,
        svg={chart.name: Markup(chart.svg) for chart in _charts(made)},
        marks={arm: swatch(style) for arm, style in view.styles.items()},
    )
    names = _inline(made, room=min(INLINE, WHOLE - _bytes(render(inline=()))))
    while _bytes(text := render(inline=names)) > WHOLE and names:
        names.pop()  # with a figure its numbers may be in the page
    return text


def _resource(name: str) -> str:
    return resources.files("harness.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _bytes(text: str) -> int:
    return len(text.encode())


def _inline(made: list[Section], *, room: int) -> list[str]:
    """Names of the figures that fit into the page, in the order of the sections."""
    names = []
    for chart in _charts(made):
        if len(chart.svg) <= room:
            room -= len(chart.svg)
            names.append(chart.name)
    return names


def numbers(frame: pd.DataFrame) -> list[list[str]]:
    """Cells of a frame as text with six significant digits; the CSV file has them all."""
    return [[_shown(value) for value in row] for row in frame.astype(object).itertuples(index=False, name=None)]


def _shown(value: Any) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
