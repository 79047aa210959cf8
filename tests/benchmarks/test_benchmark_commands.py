"""What a command costs before it does anything: `harness --help`, `plan`, and `run` on a finished suite.

Each is paired with a bare interpreter in the same run; the ratio is in `extra_info` of `--benchmark-json`.
"""

from __future__ import annotations

import subprocess
import sys
import time

import pytest


def _seconds(command, folder, times=5):
    """Median seconds of a whole process."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        subprocess.run(command, cwd=folder, capture_output=True, check=True)
        found.append(time.perf_counter() - begun)
    return sorted(found)[times // 2]


@pytest.mark.parametrize("arguments", [["--help"], ["plan", "suite.toml"], ["run", "suite.toml"]], ids=lambda a: a[0])
def test_a_command_that_has_nothing_to_do(benchmark, finished, arguments):
    command = [sys.executable, "-m", "harness", *arguments]
    subprocess.run(command, cwd=finished.folder, capture_output=True, check=True)
    bare = _seconds([sys.executable, "-c", "pass"], finished.folder)
    benchmark.pedantic(
        lambda: subprocess.run(command, cwd=finished.folder, capture_output=True, check=True), rounds=7, iterations=1
    )
    benchmark.extra_info["times a bare interpreter"] = round(benchmark.stats.stats.median / bare, 1)
