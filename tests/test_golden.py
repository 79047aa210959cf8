"""Records of every released schema open right: a golden folder gives the tables that were written when it was made.

A change that turns this red makes old results worthless: raise `spec.SCHEMA`, write a converter, and add a folder by
`python -m tests.test_golden`. Only before the first release of a schema may its folder be made anew.
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).with_name("golden")
FOLDERS = sorted(path.name for path in GOLDEN.glob("schema-*"))
TIMED = ("timings", "epoch_timings", "cost")
CHANGES = {"tuning.trials": 2, "compare.replicates": 3}


def session_of(folder: Path, results: Path):
    from harness.session import Options, Session
    from harness.store import Store
    from tests.small import a_plan

    return Session(a_plan(folder, CHANGES), Store(results), Options())


def cells(path: Path) -> dict[str, list[str]]:
    """Columns by name, so that a later version may add some."""
    with path.open(newline="") as file:
        head, *rows = csv.reader(file)
    return {name: [row[at] for row in rows] for at, name in enumerate(head)}


@pytest.mark.parametrize("name", FOLDERS)
def test_records_of_an_older_schema_give_equal_tables(name, tmp_path):
    from harness import outputs, session
    from harness.tables.datapackage import write_tables

    results = tmp_path / "results"
    shutil.copytree(GOLDEN / name, results)
    shutil.rmtree(results / "tables")
    made = session_of(tmp_path, results)
    walk = session.walk_records(made)
    assert walk.counts(made.plan) == {"planned": 24, "ok": 24, "pruned": 0, "failed": 0, "missing": 0}
    assert made.store.damaged == {}
    write_tables(outputs.findings(made, walk).tables, results, name="suite")
    tables = sorted(path.name for path in (GOLDEN / name / "tables").glob("*.csv"))
    assert "runs.csv" in tables
    for table in tables:
        before, now = cells(GOLDEN / name / "tables" / table), cells(results / "tables" / table)
        assert {column: now.get(column) for column in before} == before, table


def test_the_present_schema_has_a_golden_folder():
    from harness.spec import SCHEMA

    assert f"schema-{SCHEMA}" in FOLDERS


def make() -> Path:
    """The golden folder of the present schema."""
    import tempfile

    from harness import outputs
    from harness.coordinator import Coordinator
    from harness.spec import SCHEMA
    from harness.tables.datapackage import write_tables
    from tests.small import Answering

    folder = GOLDEN / f"schema-{SCHEMA}"
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        made = session_of(Path(place), folder)
        walk = Coordinator(made.plan, made.store, executor=Answering()).run()
        tables = outputs.findings(made, walk).tables
        write_tables({name: table for name, table in tables.items() if name not in TIMED}, folder, name="suite")
    (folder / "datapackage.json").unlink()
    return folder


if __name__ == "__main__":
    sys.stdout.write(f"{make()}\n")
