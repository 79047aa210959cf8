"""Small data sets embedded in scikit-learn. None has a test split: a fifth of each is held out, always the same.

Tensor axes: N examples, D features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from harness.hookspecs import Dataset, Splits, hookimpl

from .images import Images, image_dataset

HELD_OUT = 0.2
SEED = 0


def hold_out(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of the training and of the test split: of the n examples of a class floor(n / 5 + 0.5) are for test.

    They are drawn class by class from a generator that begins anew at each call; rows come in ascending order.
    """
    generator = torch.Generator().manual_seed(SEED)
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label in sorted(set(labels.tolist())):
        rows = (labels == label).nonzero().flatten()
        order = torch.randperm(len(rows), generator=generator)
        held[rows[order[: int(HELD_OUT * len(rows) + 0.5)]]] = True
    return (~held).nonzero().flatten(), held.nonzero().flatten()


@image_dataset
def digits(root: Path) -> Images:
    """Handwritten digits in 8 x 8: grey images (N, 1, 8, 8) of 17 shades, 1,438 for training, 359 for test.

    A fifth of each class is held out (see `hold_out`).
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = torch.from_numpy(found.images).to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(found.target).long()
    train, test = ((pixels[rows], labels[rows]) for rows in hold_out(labels))
    return Images(train, test, tuple("0123456789"), white=16)


def breast_cancer(root: Path) -> Splits:
    """Malignant or benign tumours, from measurements of their cells: features (N, 30), 456 for training, 113 for test.

    A fifth of each class is held out (see `hold_out`). Each feature has mean 0 and deviation 1 over the training split.
    """
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    labels = torch.from_numpy(found.target).long()
    rows = hold_out(labels)
    train, test = standardised(found.data, *rows)
    names = tuple(map(str, found.target_names))
    return Splits((train, labels[rows[0]]), (test, labels[rows[1]]), classes=len(names), class_names=names)


def diabetes(root: Path) -> Splits:
    """A regression: how far diabetes has gone after a year, from measurements (N, 10), 354 for training, 88 for test.

    A fifth is held out (see `hold_out`). Each feature, and the target (N,) too, has mean 0 and deviation 1 over the
    training split: a squared error of 1 is that of always giving the mean.
    """
    from sklearn.datasets import load_diabetes

    # Not `scaled`, which takes mean and deviation over the test examples too.
    found = load_diabetes(scaled=False)
    rows = hold_out(torch.zeros(len(found.target)))
    inputs, targets = standardised(found.data, *rows), standardised(found.target, *rows)
    return Splits((inputs[0], targets[0]), (inputs[1], targets[1]), classes=None)


def standardised(values: Any, train: torch.Tensor, test: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of both splits as float32, less the mean of the training rows and divided by their deviation."""
    exact = torch.from_numpy(values).double()
    mean, deviation = exact[train].mean(0), exact[train].std(0, correction=0)
    return ((exact[train] - mean) / deviation).float(), ((exact[test] - mean) / deviation).float()


@hookimpl
def harness_datasets() -> list[Dataset]:
    """`digits`, `breast_cancer`, `diabetes`."""
    return [
        Dataset("digits", load=digits, source="Alpaydin & Kaynak 1998, doi:10.24432/C50P49"),
        Dataset("breast_cancer", load=breast_cancer, source="Wolberg et al. 1993, doi:10.24432/C5DW2B"),
        Dataset("diabetes", load=diabetes, source="Efron et al. 2004, Annals of Statistics 32(2), table 1"),
    ]
