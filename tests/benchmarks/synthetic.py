"""A finished suite of any size in seconds: its records are answered, not trained, and written through the store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import session as sessions
from harness.coordinator import Coordinator
from harness.execute import Outcome
from tests.conftest import TINY, changed, to_toml
from tests.small import Answering, ok

EPOCHS = 5
"""Evaluations of a run: with train and validation, loss and accuracy, 20 values, and 2 more of a final run."""
ARMS = ("sgd", "momentum", "adam", "adamw")
SUITE: Mapping[str, Any] = {
    "question": "Which optimizer separates two clouds best?",
    "problem": {
        "dataset": "clouds",
        "model": "line",
        "train_examples": 120,
        "validation_examples": 80,
        "epochs": EPOCHS,
        "batch_size": 30,
    },
    "arms": {"optimizer": list(ARMS)},
    "tuning": {"sampler": "random"},
    "compare": {"metric": "accuracy", "baseline": "sgd", "margin": 0.01},
    "execution": {"executor": "serial"},
}
SHAPES = {100: (5, 3), 1_000: (10, 23), 10_000: (25, 98)}
"""Replicates and trials by number of records: arms x replicates x (trials + tuned and untuned final run)."""


class InTurn(Answering):
    """Answers in the order of the plan, so that a folder of a size is always the same folder."""

    def wait(self, seconds: float) -> Sequence[Outcome]:
        some, self._under_way = self._under_way, []
        return [self._outcome(job) for job in some]


def make(folder: Path, records: int) -> Path:
    """Write a suite of that many runs, and `results/suite` with all of its records; returns the suite's path."""
    replicates, trials = SHAPES[records]
    (folder / "plugins").mkdir(parents=True)
    (folder / "plugins" / "tiny.py").write_text(TINY)
    suite = folder / "suite.toml"
    suite.write_text(to_toml(changed(SUITE, {"compare.replicates": replicates, "tuning.trials": trials})))
    with _working_in(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)  # the folder is made faster, never what is measured
        opened = sessions.open_session(Path("suite.toml"), sessions.Options())
        sessions.write_inputs(opened)
        executor = InTurn(lambda payload: ok(payload, epochs=EPOCHS))
        walk = Coordinator(opened.plan, opened.store, executor=executor).run()
        assert walk.computed == records
    return suite


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
