"""What a finished suite of 100, 1,000 and 10,000 records costs: its plan, its resume, and its tables and report.

The records are answered, not trained (`synthetic.py`): 22 values a run, random sampler. Each size is measured in whole
commands, one after the other in each round, so that load on the machine falls on all sizes alike; the ratio is the
growth in seconds from one size to the next, at most 10 where it is linear. Memory is the coordinator's peak.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import measured, synthetic

ROUNDS = 2
COMMANDS = {"plan": "plan", "resume": "run", "tables and report": "report"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Finished suites by number of records, their caches filled and their reports written."""
    made = {}
    for records in synthetic.SHAPES:
        made[records] = tmp_path_factory.mktemp("records") / str(records)
        synthetic.make(made[records], records)
        for command in ("plan", "report"):
            measured.harness(made[records], command, "suite.toml")
    return made


@pytest.mark.parametrize("what", COMMANDS)
def test_fixed_costs_grow_no_faster_than_records(benchmark: Any, folders: dict[int, Path], what: str) -> None:
    found: dict[int, list[measured.Measured]] = {records: [] for records in folders}

    def all_sizes() -> None:
        for records, folder in folders.items():
            found[records].append(measured.harness(folder, COMMANDS[what], "suite.toml"))

    benchmark.pedantic(all_sizes, rounds=ROUNDS, iterations=1)
    for records, runs in found.items():
        benchmark.extra_info[f"{records:,} records: seconds"] = measured.median([run.seconds for run in runs])
        benchmark.extra_info[f"{records:,} records: user seconds"] = measured.median([run.user_seconds for run in runs])
        benchmark.extra_info[f"{records:,} records: peak MB"] = measured.median([run.memory_mb for run in runs], 0)
    smaller, larger = list(found)[-2:]
    growth = [large.seconds / small.seconds for small, large in zip(found[smaller], found[larger], strict=True)]
    benchmark.extra_info[f"growth from {smaller:,} to {larger:,}"] = measured.median(growth)
