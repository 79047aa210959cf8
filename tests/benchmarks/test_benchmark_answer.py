"""Time to the answer of `optimizers.toml`, with 2 of its 5 replicates, against the same study by hand, by hand first.

By hand (`article.py`) is Optuna around the article's loop, or around Lightning's Trainer with all that it writes turned
off: for each replicate and arm a study, then a training with the best learning rate, at last the means. Equal work:
trials, trainings, images, epochs, and images validated and tested, of the same network. Both are whole commands; the
suite's includes verdicts, tables and report. Beside the article's loop also in bf16, and pruned.
"""

from __future__ import annotations

import importlib.util
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import measured
from tests.conftest import changed, to_toml

REPLICATES = 2
SUITE: dict[str, Any] = tomllib.loads((Path(__file__).parents[2] / "suites/optimizers.toml").read_text())
SUITE["compare"] |= {"replicates": REPLICATES, "untuned": False}  # nobody who does it by hand runs the defaults too
SUITE["execution"] = {"device": "cpu"}
PROBLEM = SUITE["problem"]
WORK = {
    "arms": SUITE["arms"]["optimizer"],
    "replicates": REPLICATES,
    "trials": SUITE["tuning"]["trials"],
    "epochs": PROBLEM["epochs"],
    "train": PROBLEM["train_examples"],
    "validation": PROBLEM["validation_examples"],
    "quarters": PROBLEM["model"]["hidden"] // 32,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"problem.precision": "bf16"},
    "fp32 pruned": {"tuning.pruner": "median"},
    "bf16 pruned": {"problem.precision": "bf16", "tuning.pruner": "median"},
}


def suites(folder: Path, variants: Iterable[str], info: dict[str, Any]) -> dict[str, str]:
    """Write the suites that this harness accepts, and price them; what is refused is noted with the reason."""
    accepted = {}
    for variant in variants:
        changes = VARIANTS[variant]
        name = f"{variant.replace(' ', '-')}.toml"
        (folder / name).write_text(to_toml(changed(SUITE, changes)))
        checked = measured.harness(folder, "check", name, "--json", allowed=(0, 2))
        answer = json.loads(checked.said)
        if answer["ok"]:
            measured.harness(folder, "plan", name)
            accepted[variant] = name
        else:
            info[f"{variant}: skipped"] = answer["mistakes"][0]["message"]
    return accepted


def _variants(loop: str) -> list[str]:
    """Beside Lightning fp32 alone; beside the article's loop all that this CPU is made for."""
    able = [name for name in VARIANTS if name.split()[0] in measured.precisions()]
    return able if loop == "article" else ["fp32"]


@pytest.mark.parametrize("loop", ["article", "lightning"])
def test_the_answer_against_the_study_by_hand(benchmark: Any, tmp_path: Path, loop: str) -> None:
    if importlib.util.find_spec(loop if loop == "lightning" else "optuna") is None:
        pytest.skip("lightning is not installed: pip install 'harness[bench]'")
    info = benchmark.extra_info
    accepted = suites(tmp_path, _variants(loop), info)
    by_hand: list[float] = []
    ours: dict[str, list[float]] = {variant: [] for variant in accepted}
    work = {**WORK, "loop": loop}

    def together() -> None:
        by_hand.append(measured.article(tmp_path, "study", json.dumps(work)).seconds)
        for variant, name in accepted.items():
            folder = f"results-{variant.replace(' ', '-')}-{len(by_hand)}"
            ours[variant].append(measured.harness(tmp_path, "run", name, "--results", folder).seconds)

    benchmark.pedantic(together, rounds=1, iterations=1)
    info["by hand: seconds"] = measured.median(by_hand, 1)
    for variant, seconds in ours.items():
        info[f"{variant}: seconds"] = measured.median(seconds, 1)
        info[f"{variant}: times faster"] = measured.median(
            [theirs / mine for theirs, mine in zip(by_hand, seconds, strict=True)]
        )
    info["bf16 on this CPU"] = measured.bf16()
