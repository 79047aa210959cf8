"""The one place that imports seaborn: look, axes and output that all figures share.

Only `Figure` objects are used, never pyplot, so nothing depends on a display or stays open.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as Outline
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from harness.report.svg import refine
from harness.report.view import COLOURS, ArmStyle

with warnings.catch_warnings():
    # seaborn 0.13.2 is frozen in 2024 and still asks for names that its dependencies deprecate.
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    warnings.simplefilter("ignore", FutureWarning)
    import seaborn


INK, MUTED, RULE, BAND, PAPER = "#1d2329", "#5d6873", "#dfe3e7", "#e9ecef", "#ffffff"
_CLASSES = {INK: "ink", MUTED: "muted", RULE: "rule", BAND: "band", PAPER: "paper"}
_CLASSES |= {colour: f"c{at}" for at, colour in enumerate(COLOURS)}

WIDTH = 9.5
"""Inches; every figure is as wide, so that its text is as large."""

_LOOK: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "harness",
    # A name is a name: `$` must not start a formula.
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-6, 6),
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "figure.facecolor": PAPER,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.solid_capstyle": "round",
}


@contextmanager
def look() -> Iterator[None]:
    """The look of all figures, whatever the reader's matplotlibrc says."""
    with warnings.catch_warnings(), matplotlib.style.context(["default", _LOOK]):
        for kind in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=kind, module=r"seaborn\..*")
        yield


def canvas(height: float) -> Figure:
    """An empty figure of the common width; `height` in inches."""
    return Figure(figsize=(WIDTH, height))


def place(figure: Figure, left: float, top: float, width: float, height: float, **options: Any) -> Axes:
    """Axes at a place in inches, counted from the figure's upper left corner."""
    full_width, full_height = figure.get_size_inches()
    box = (left / full_width, 1 - (top + height) / full_height, width / full_width, height / full_height)
    return figure.add_axes(box, **options)


_COLUMNS, _PANEL, _BESIDE, _BELOW = 4, (1.85, 1.15), 0.43, 0.75
"""Panels a row, and inches: of a panel, between two, and below each for ticks and the next one's title."""


def grid_height(panels: int) -> float:
    """Inches of a figure with so many small panels."""
    return 0.05 + -(-panels // _COLUMNS) * (_PANEL[1] + _BELOW)


def grid(figure: Figure, titles: Sequence[str]) -> list[Axes]:
    """Small panels with their titles, row by row; ticks of the left axis stand at the first of a row alone."""
    made = []
    for at, title in enumerate(titles):
        row, column = divmod(at, _COLUMNS)
        left, top = 0.65 + column * (_PANEL[0] + _BESIDE), 0.28 + row * (_PANEL[1] + _BELOW)
        axes = place(figure, left, top, *_PANEL)
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelleft=not column)
        made.append(axes)
    return made


def leftmost(at: int) -> bool:
    """Whether a panel of the grid is the first of its row."""
    return at % _COLUMNS == 0


def lowest(at: int, panels: int) -> bool:
    """Whether no panel of the grid stands below this one."""
    return at + _COLUMNS >= panels


def svg_text(figure: Figure, *, name: str, title: str) -> str:
    """The figure as one `<svg>` element whose bytes depend on nothing but what is drawn."""
    figure.patch.set_gid("bg")
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return refine(out.getvalue(), name=name, title=title, colours=_CLASSES)


@contextmanager
def tagged(axes: Axes, gid: str) -> Iterator[None]:
    """All that is drawn inside gets this class in the page, so that an arm can be hidden."""
    before = set(axes.get_children())
    yield
    for artist in axes.get_children():
        if artist not in before:
            artist.set_gid(gid)


def replicate_lines(axes: Axes, data: pd.DataFrame, *, x: str, y: str, **look: Any) -> None:
    """One thin line per replicate."""
    seen = data[data[y].notna()]
    # seaborn fails on data without a single point.
    if len(seen):
        seaborn.lineplot(
            seen,
            x=x,
            y=y,
            units="replicate",
            estimator=None,
            errorbar=None,
            legend=False,
            ax=axes,
            **look,
        )


def scatter(axes: Axes, data: pd.DataFrame, *, x: str, y: str, style: ArmStyle, **look: Any) -> None:
    """One marker per row, in the arm's colour."""
    seen = data[data[y].notna()]
    if len(seen):
        seaborn.scatterplot(seen, x=x, y=y, color=style.colour, legend=False, ax=axes, **look)


def strip(axes: Axes, data: pd.DataFrame, *, x: str, at: float, style: ArmStyle, hollow: bool) -> None:
    """A row of small dots at a height, one per replicate; failed ones are crosses."""
    for failed, marker in ((False, "o"), (True, "x")):
        some = data[(data["failed"].fillna(False).astype(bool) == failed) & data[x].notna()]
        if len(some):
            seaborn.stripplot(
                pd.DataFrame({"x": some[x].to_numpy(float), "y": at}),
                x="x",
                y="y",
                orient="h",
                native_scale=True,
                jitter=False,
                legend=False,
                ax=axes,
                marker=marker,
                size=4.2,
                linewidth=1,
                zorder=3,
                color=style.colour,
                edgecolor=style.colour,
                facecolor="none" if hollow and not failed else style.colour,
            )


def swatch(style: ArmStyle) -> str:
    """The arm's marker as an SVG path in a box from -1 to 1."""
    marker = MarkerStyle(style.marker)
    outline = marker.get_path().transformed(marker.get_transform())
    scale = 0.9 / float(np.abs(outline.vertices).max())
    words = {Outline.MOVETO: "M", Outline.LINETO: "L", Outline.CURVE3: "Q", Outline.CURVE4: "C", Outline.CLOSEPOLY: "Z"}
    steps = []
    for points, code in outline.iter_segments(curves=True):
        # Matplotlib's y goes up, SVG's down.
        flipped = [f"{scale * value * (-1) ** at:.2f}" for at, value in enumerate(points)]
        steps.append("Z" if code == Outline.CLOSEPOLY else words[code] + " ".join(flipped))
    return "".join(steps)


def handle(style: ArmStyle, label: str, *, line: bool = True) -> Line2D:
    """Explicit legend entry: automatic ones drop labels that begin with an underscore."""
    return Line2D(
        [], [], color=style.colour, marker=style.marker, markersize=5.5, linewidth=1.8 if line else 0, label=label
    )


ENTRIES = 6
"""Of a legend in one row; names are at most 26 characters."""


def legend(figure: Figure, handles: Sequence[Line2D], gids: Sequence[str], *, top: float) -> None:
    """One row or several of entries at the figure's upper left; `top` in inches."""
    height = figure.get_size_inches()[1]
    box = figure.legend(
        handles=list(handles),
        loc="upper left",
        bbox_to_anchor=(0.0, 1 - top / height),
        ncols=max(1, min(len(handles), ENTRIES)),
        columnspacing=1.8,
        handletextpad=0.6,
        borderaxespad=0.0,
    )
    for entry, text, gid in zip(box.legend_handles, box.get_texts(), gids, strict=True):
        if entry is not None:
            entry.set_gid(gid)
        text.set_gid(gid)


def legend_height(entries: int) -> float:
    """Inches that `legend` needs."""
    return 0.22 * math.ceil(entries / ENTRIES) + 0.12


def log_axis(axis: Any) -> None:
    """Ticks at powers of ten (and 2 and 5 when there are few), written plainly: mathtext is off."""
    low, high = axis.get_view_interval()
    decades = math.log10(high / low) if 0 < low < high else 1.0
    subs = (1.0,) if decades > 1.8 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: power_text(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def power_text(value: float) -> str:
    """`0.01` and `1000` as they are, `1e-5` and `1e6` by their exponent."""
    if value and not 1e-4 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:g}"


def few_ticks(axis: Any, most: int = 5, *, whole: bool = False) -> None:
    """At most so many ticks at round numbers."""
    axis.set_major_locator(MaxNLocator(nbins=most, integer=whole, min_n_ticks=2, steps=[1, 2, 2.5, 5, 10]))


def category_axis(axis: Any, labels: Sequence[str]) -> None:
    """One tick per label at 0, 1, 2, ..."""
    axis.set_major_locator(FixedLocator(list(range(len(labels)))))
    axis.set_major_formatter(FuncFormatter(lambda value, _: labels[round(value)] if 0 <= value < len(labels) else ""))


def category_ticks(axis: Any, labels: Sequence[str], *, size: float) -> None:
    """One tick in the middle of each unit from 0 on, with labels of that size."""
    axis.set_major_locator(FixedLocator([at + 0.5 for at in range(len(labels))]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: labels[int(value)] if 0 <= value < len(labels) else ""))
    axis.set_tick_params(labelsize=size)


def pad_limits(values: Sequence[float], share: float = 0.06) -> tuple[float, float]:
    """Limits around all finite values with some air; never of zero width."""
    finite = [float(value) for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    air = share * (high - low) or max(abs(high) * 0.05, 0.5)
    return low - air, high + air
