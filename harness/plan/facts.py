"""What is known of data and costs before anything runs: what a child process found out about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.hookspecs import Task


@dataclass(frozen=True)
class DataFacts:
    """What is known of a data set without holding it in memory."""

    train: int
    test: int
    input_shape: tuple[int, ...]
    classes: int | None
    class_names: tuple[str, ...]
    fingerprints: Mapping[str, str]
    """SHA-256 of the training and of the test split."""
    class_counts: tuple[int, ...] | None = None
    """Training examples by class; None for a regression, and where nobody reads the whole split."""
    outputs: int = 0
    """Of a network: the number of classes, or of values of a regression."""

    @property
    def task(self) -> Task:
        """Of labels, or of values."""
        return "regression" if self.classes is None else "classification"


@dataclass(frozen=True)
class Price:
    """Measured cost of one setting on this machine: seconds a step and seconds an evaluated example."""

    step_seconds: float | None
    example_seconds: float | None
    parameters: int
    not_applicable: str = ""
    """Why the setting's strategy has no meaning on the model; empty where it has one."""

    @property
    def known(self) -> bool:
        """False where the setting failed in its first steps."""
        return self.step_seconds is not None and self.example_seconds is not None
