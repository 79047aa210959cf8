"""A figure as the page, the Markdown and the files need it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from harness.report.plotting import look, svg_text
from harness.report.view import View

LISTED = 60
"""Rows of plotted numbers that are shown below a figure; longer frames are linked."""
LONGEST = 80
"""Characters of a cell in such a table; pictures as text are longer."""


@dataclass(frozen=True)
class Chart:
    """One figure with the numbers that it shows."""

    name: str
    """File stem and prefix of its ids."""
    problem: str
    title: str
    caption: str
    alt: str
    frame: pd.DataFrame
    """Exactly what is plotted, in the units of the axes."""
    svg: str

    @property
    def listed(self) -> bool:
        """Whether its numbers are few and short enough to stand below it in the page."""
        texts = (value for name in self.frame for value in self.frame[name] if isinstance(value, str))
        return len(self.frame) <= LISTED and all(len(text) <= LONGEST for text in texts)


Draw = Callable[[pd.DataFrame, View], Figure]


def chart(
    draw: Draw, frame: pd.DataFrame, view: View, *, name: str, problem: str, title: str, caption: str, alt: str = ""
) -> Chart | None:
    """The drawn chart, or None when there is nothing to draw; `problem` is empty where it is about several."""
    if frame.empty:
        return None
    if problem:
        name = f"{name}{view.slug(problem)}"
        title = f"{title}: {problem}" if len(view.problems) > 1 else title
    # A line must not end inside "n = 5".
    caption = caption.replace("n = ", "n\u00a0=\u00a0")
    alt = alt or f"{title}. {caption}"
    svg = drawn(draw, frame, view, name=f"fig-{name}", title=alt)
    return Chart(name, problem, title, caption, alt, frame.reset_index(drop=True), svg)


def drawn(draw: Draw, frame: pd.DataFrame, view: View, *, name: str, title: str) -> str:
    """The drawing as an `<svg>` element, whose ids begin with the name."""
    with look():
        return svg_text(draw(frame, view), name=name, title=title)
