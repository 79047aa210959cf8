"""The mistakes that a network was surest of, as pictures, and where it looked."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from harness.report.chart import Chart, chart
from harness.report.layout import Cell, Column, Line, Table, number, table
from harness.report.plotting import INK, MUTED, RULE, canvas, place
from harness.report.view import COLOURS, View, short

COLUMNS = ["problem", "arm", "replicate", "rank", "test_index", "true", "predicted", "true_name", "predicted_name"]
COLUMNS += ["probability", "height", "width", "channels", "image", "saliency"]
ABREAST = 4
SIDE, GAP, HEAD, FOOT = 0.98, 0.08, 0.26, 0.3
"""Inches: a picture, what lies between two, the lines above and below them."""
PITCH = 2.34
"""Inches from one mistake to the next."""


def mistakes(view: View, problem: str) -> Chart | None:
    """The surest mistakes of one run of the chosen arm, each with its map; None for inputs that are no images."""
    frame, arm = mistakes_frame(view, problem), view.detail_arm(problem)
    mapped = bool(frame["saliency"].notna().any())
    maps = (
        " Beside each, the stronger the orange the more the output of the class that it was taken for depends on that "
        "pixel: the absolute gradient, largest over the channels, each map scaled to its own largest value."
        if mapped
        else ""
    )
    replicate = "" if frame.empty else f", replicate {frame['replicate'].iat[0]}"
    return chart(
        _draw,
        frame,
        view,
        name="mistakes",
        problem=problem,
        title=f"The mistakes that {arm} was surest of",
        caption=f"Test images of one final run (n = 1{replicate}, {view.main_setting}): true class → class that it was "
        f"taken for, the probability given to the latter, and the example's place in the test split.{maps}",
    )


def mistakes_frame(view: View, problem: str) -> pd.DataFrame:
    """What `mistakes` shows: pictures and maps as base64 of bytes, row by row, channels last."""
    arm, names = view.detail_arm(problem), view.class_names(problem)
    for replicate, kept in view.details(problem, arm, "pictures"):
        pictures = kept["pictures"]
        maps = pictures.get("saliency") or [None] * len(pictures["images"])
        size = {name: pictures[name] for name in ("height", "width", "channels")}
        rows = [
            {**_row(row, rank, names), **size, "image": image, "saliency": map_}
            for rank, (row, image, map_) in enumerate(zip(kept["mistakes"], pictures["images"], maps, strict=False), 1)
        ]
        return pd.DataFrame(rows).assign(problem=problem, arm=arm, replicate=replicate)[COLUMNS]
    return pd.DataFrame(columns=COLUMNS)


def _row(mistake: Mapping[str, Any], rank: int, names: list[str]) -> dict[str, Any]:
    return {
        "rank": rank,
        "test_index": mistake["index"],
        **{of: mistake[of] for of in ("true", "predicted", "probability")},
        **{f"{of}_name": names[mistake[of]] for of in ("true", "predicted")},
    }


def _draw(frame: pd.DataFrame, view: View) -> Figure:
    tall = SIDE * min(1.5, max(0.5, float(frame["height"].iat[0] / frame["width"].iat[0])))
    high = HEAD + tall + FOOT
    figure = canvas(-(-len(frame) // ABREAST) * (high + 0.12))
    for at, (_, row) in enumerate(frame.iterrows()):
        down, across = divmod(at, ABREAST)
        left, top = 0.05 + across * PITCH, down * (high + 0.12) + HEAD
        axes = _picture(figure, left, top, tall, _image(row))
        said = f"{short(row['true_name'], 13)} → {short(row['predicted_name'], 13)}"
        axes.set_title(said, fontsize=9.5, pad=4, color=INK)
        below = f"{certainty(row['probability'])}, no. {row['test_index']}"
        axes.text(0, -0.06, below, transform=axes.transAxes, va="top", fontsize=8.5, color=MUTED)
        if isinstance(row["saliency"], str):
            _picture(figure, left + SIDE + GAP, top, tall, _map(row))
    return figure


def _picture(figure: Figure, left: float, top: float, tall: float, pixels: np.ndarray) -> Axes:
    """Pixels as they are, in a thin frame."""
    axes = place(figure, left, top, SIDE, tall)
    axes.imshow(pixels, interpolation="none", aspect="auto", clip_on=False)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, color=RULE)
    return axes


def _image(row: pd.Series) -> np.ndarray:
    """(H, W, 3) of bytes."""
    pixels = _bytes(row["image"]).reshape(row["height"], row["width"], row["channels"])
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _map(row: pd.Series) -> np.ndarray:
    """(H, W, 4) of bytes: one colour that covers the paper by as much as a pixel counts."""
    strength = _bytes(row["saliency"]).reshape(row["height"], row["width"], 1)
    colour = np.round(255 * np.array(to_rgb(COLOURS[2]))).astype(np.uint8)
    return np.concatenate([np.broadcast_to(colour, (*strength.shape[:2], 3)), strength], axis=2)


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8)


def certainty(probability: float) -> str:
    """`93.10 %`, and never 100 % for a mistake that another class had some chance in."""
    return "over 99.99 %" if probability > 0.9999 else f"{100 * probability:.2f} %"


def surest(view: View, problem: str) -> Table | None:
    """The same in words, of inputs that are no images too; None where no run kept a mistake."""
    arm, names = view.detail_arm(problem), view.class_names(problem)
    columns = [Column("Test example", True), Column("True class"), Column("Taken for"), Column("Probability", True)]
    for replicate, kept in view.details(problem, arm, "mistakes"):
        rows: list[Line] = [
            (
                "",
                [
                    Cell(str(mistake["index"]), float(mistake["index"])),
                    names[mistake["true"]],
                    names[mistake["predicted"]],
                    number(certainty(mistake["probability"]), float(mistake["probability"])),
                ],
            )
            for mistake in kept["mistakes"]
        ]
        on = f" on {problem}" if len(view.problems) > 1 else ""
        return table(
            f"The mistakes that {arm} was surest of{on}, in the final run of replicate {replicate}; examples are "
            "counted from 0 in the test split.",
            columns,
            rows,
        )
    return None
