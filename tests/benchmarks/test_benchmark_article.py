"""Images a second of a whole suite against the article's script doing equal work; pairs in one run, script first.

Equal work: as many trainings of the article's network on as many MNIST images, with as many validated and tested ones.
The script (`article.py`) does them one after the other with torch's own choice of threads, the suite with two workers
of one thread. Both are whole commands, with imports and the reading of MNIST; the suite is timed from the start of the
command to the end of its last run. Tables and report, for which the script has nothing, are left out of that and
part of the figure `seconds with report`. `harness plan` was called before, which prices the runs once and keeps it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import measured
from tests.conftest import to_toml

ROUNDS = 3
TRAININGS, TRAIN, VALIDATION, TEST = 6, 10_000, 2_000, 10_000
WORK = {"trainings": TRAININGS, "epochs": 1, "train": TRAIN, "validation": VALIDATION}


def suite(folder: Path, precision: str) -> str:
    """Write the suite; gives its name."""
    text: dict[str, Any] = {
        "question": "How well does the article's recipe do?",
        "problem": {
            "dataset": "mnist",
            "model": "cnn",
            "optimizer": {"use": "momentum", "lr": 0.001},
            "train_examples": TRAIN,
            "validation_examples": VALIDATION,
            "epochs": 1,
            "batch_size": 64,
            "precision": precision,
        },
        "compare": {"metric": "accuracy", "replicates": TRAININGS},
        "execution": {"workers": 2, "device": "cpu"},
    }
    (folder / f"{precision}.toml").write_text(to_toml(text))
    measured.harness(folder, "plan", f"{precision}.toml")
    return f"{precision}.toml"


def test_a_whole_suite_against_the_articles_script(benchmark: Any, tmp_path: Path) -> None:
    suites = {precision: suite(tmp_path, precision) for precision in measured.precisions()}
    script: list[float] = []
    ours: dict[str, list[measured.Measured]] = {precision: [] for precision in suites}

    def together() -> None:
        script.append(measured.article(tmp_path, "trainings", json.dumps(WORK)).seconds)
        for precision, name in suites.items():
            folder = f"results-{precision}-{len(script)}"
            ours[precision].append(measured.harness(tmp_path, "run", name, "--results", folder))

    benchmark.pedantic(together, rounds=ROUNDS, iterations=1)
    images = TRAININGS * TRAIN
    info = benchmark.extra_info
    info["script: trained images a second"] = measured.median([images / seconds for seconds in script], 0)
    for precision, runs in ours.items():
        to_last_run = [run.to_last_run for run in runs]
        if None in to_last_run:
            pytest.fail(f"harness no longer says {measured.LAST_RUN!r}: {runs[0].said}")
        rates = [images / (seconds or 0.0) for seconds in to_last_run]
        info[f"{precision}: trained images a second"] = measured.median(rates, 0)
        info[f"{precision}: times the script"] = measured.median(
            [rate * seconds / images for rate, seconds in zip(rates, script, strict=True)]
        )
        info[f"{precision}: times the script, report included"] = measured.median(
            [theirs / run.seconds for theirs, run in zip(script, runs, strict=True)]
        )
    info["bf16 on this CPU"] = measured.bf16()
