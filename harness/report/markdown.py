"""The report as Markdown: the same sentences and tables, with links to the figures."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.report import scope
from harness.report.layout import Table
from harness.report.sections import Section, answers, banner
from harness.report.view import View

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def text(view: View, made: Iterable[Section]) -> str:
    """All of the report but the drawings."""
    findings = view.findings
    blocks = [f"# {escape(findings.headline)}"]
    blocks += [f"**{escape(note)}**"] if (note := banner(view)) else []
    blocks += [f"Question: {escape(view.suite.question)}"] if view.suite.question else []
    blocks += [
        _bullets(f"**{escape(answer.word)}**: {escape(answer.sentence)}" for answer in answers(view, primary=True))
    ]
    if explored := answers(view, primary=False):
        blocks += [
            "## Exploratory comparisons",
            _bullets(f"**{escape(a.word)}**: {escape(a.sentence)}" for a in explored),
        ]
    blocks += ["## Scope", _bullets(f"{escape(term)}: {escape(said)}" for term, said in scope.scope(view))]
    blocks += ["## Remarks", _remarks(view)]
    for section in made:
        blocks += _section(section)
    return "\n\n".join(block for block in blocks if block) + "\n"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _remarks(view: View) -> str:
    remarks = view.findings.remarks
    words = {"W": "warning", "N": "note"}
    lines = [f"{words[r.level]} {r.code}: {escape(r.message)}. Way out: {escape(r.remedy)}." for r in remarks]
    return _bullets(lines) if lines else "None."


def _section(section: Section) -> list[str]:
    blocks = [f"## {escape(section.title)}", escape(section.lead)]
    blocks += [_code(section.code)] if section.code else []
    for chart in section.charts:
        image = f"![{escape(chart.title)}](figures/{chart.name}.svg)"
        numbers = f"[numbers](figures/{chart.name}.csv)"
        blocks += [f"### {escape(chart.title)}", image, f"{escape(chart.caption)} ({numbers})"]
    blocks += [block for table in section.tables for block in (escape(table.caption), markdown_table(table))]
    links = (f"[{escape(said)}]({address})" if address else escape(said) for said, address in section.links)
    return [*blocks, _bullets(links)]


def _code(code: str) -> str:
    """A block whose fence is longer than any in the code."""
    longest = max(map(len, re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{code}\n{fence}"


def markdown_table(table: Table) -> str:
    """A pipe table; numbers to the right."""
    head = [escape(column.label) for column in table.columns]
    rule = ["---:" if column.numeric else "---" for column in table.columns]
    rows = [[escape(cell.text) for cell in row.cells] for row in table.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def escape(said: str) -> str:
    """Text that Markdown and the HTML inside it show as it is, on one line."""
    said = " ".join("".join(char if char.isprintable() else " " for char in said).split())
    said = re.sub(r"[\\`*|$~]", lambda match: f"\\{match[0]}", said)
    # Inside a word an underscore is one; elsewhere it would start emphasis.
    said = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", said)
    said = said.replace("](", "]\\(").replace("![", "!\\[")
    said = re.sub(r"[&<>]", lambda match: _ENTITIES[match[0]], said)
    return re.sub(r"^([#+=-])", r"\\\1", said)
