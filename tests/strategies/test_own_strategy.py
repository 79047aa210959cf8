"""A strategy of one's own, as the plugins page shows it: checked, and compared, and only its runs are computed."""

from __future__ import annotations

import copy
import re
from pathlib import Path

from tests.test_sources import MOVED, records

PAGE = (Path(__file__).parents[2] / "plugins" / "README.md").read_text(encoding="utf-8")


def slow_backbone() -> str:
    """The example of the page."""
    return next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "slow_backbone" in block)


def test_a_strategy_in_a_plugins_folder_is_an_arm_and_only_its_runs_are_computed(project):
    assert len([line for line in slow_backbone().splitlines() if line.strip()]) <= 12
    assert project.write(suite=copy.deepcopy(MOVED)).run("run", "suite.toml").code == 0
    folder = project.folder / "results" / "suite"
    before = {id: record["sha256"] for id, record in records(folder).items()}
    more = copy.deepcopy({**MOVED, "arms": {"strategy": [*MOVED["arms"]["strategy"], "slow_backbone"]}})
    project.plugin("slow_backbone", slow_backbone()).write(suite=more)
    said = project.run("run", "suite.toml")
    assert said.code == 0, said.err
    assert "6 runs done" in said.err
    after = records(folder)
    assert {id: after[id]["sha256"] for id in before} == before
    own = [record for id, record in after.items() if id not in before]
    multipliers = [block["multipliers"] for record in own for block in record["result"]["transfer"]["blocks"] or ()]
    scales = {record["spec"]["problem"]["strategy"]["scale"] for record in own}
    assert all(m[0] == 1.0 or any(abs(m[0] - scale) < 1e-12 for scale in scales) for m in multipliers)
    assert "slow_backbone" in (folder / "report" / "report.md").read_text()
