"""At the end, a table of all figures that can be pasted into the README, and the machine that they are from."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.measured import machine


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Print the figures that benchmarks left in `extra_info`."""
    session = getattr(config, "_benchmarksession", None)
    found = [bench for bench in session.benchmarks if bench.extra_info] if session else []
    if not found:
        return
    write = terminalreporter.write_line
    terminalreporter.section("figures")
    write("\n| benchmark | figure | value |\n| --- | --- | --- |")
    for bench in sorted(found, key=lambda bench: bench.name):
        for figure, value in bench.extra_info.items():
            write(f"| {bench.name.removeprefix('test_').replace('_', ' ')} | {figure} | {value} |")
    write(f"\nOn {', '.join(f'{name} {value}' for name, value in machine().items())}.")
