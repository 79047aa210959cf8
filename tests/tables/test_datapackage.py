"""The data package says what the files hold, and so does the page beside them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from harness.outputs import findings
from harness.session import Options, Session
from harness.store import Store
from harness.tables import columns
from harness.tables.csvtext import csv_text
from harness.tables.datapackage import describe, write_tables
from tests.tables.test_tables import built, spoilt, walked

README = Path(__file__).parents[2] / "results" / "README.md"
PANDAS = {"string": str, "datetime": str, "integer": "Int64", "number": "float64", "boolean": "boolean"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with the tables of a suite in which a third of all runs failed."""
    folder = tmp_path_factory.mktemp("suite")
    plan, walk = walked(folder, {"tuning.trials": 3}, spoilt)
    frames = findings(Session(plan, Store(folder), Options()), walk).tables
    write_tables(frames, folder, name="My-Suite")
    return folder, frames


def package(folder):
    return json.loads((folder / "datapackage.json").read_text())


def read_back(folder, resource):
    """The file as pandas reads it with the types of the package."""
    types = {field["name"]: PANDAS[field["type"]] for field in resource["schema"]["fields"]}
    missing = dict.fromkeys(types, resource["schema"]["missingValues"])
    return pd.read_csv(folder / resource["path"], dtype=types, keep_default_na=False, na_values=missing)


def test_the_package_lists_just_the_files_that_there_are(written):
    folder, frames = written
    resources = package(folder)["resources"]
    assert sorted(path.relative_to(folder).as_posix() for path in (folder / "tables").iterdir()) == sorted(
        resource["path"] for resource in resources
    )
    assert {resource["name"] for resource in resources} == set(frames) == set(columns.TABLES)
    assert package(folder)["name"] == "my-suite"


def test_the_first_line_of_each_file_is_the_packages_fields(written):
    folder, _ = written
    for resource in package(folder)["resources"]:
        head = (folder / resource["path"]).read_text().splitlines()[0]
        assert head.split(",") == [field["name"] for field in resource["schema"]["fields"]], resource["name"]


def test_pandas_reads_every_file_back_with_the_types_of_the_package(written):
    folder, frames = written
    for resource in package(folder)["resources"]:
        found, frame = read_back(folder, resource), frames[resource["name"]]
        assert len(found) == len(frame)
        for column in frame.columns:
            expected = frame[column].astype(object).where(frame[column].notna(), None)
            expected = expected.where(expected != "", None) if expected.map(type).eq(str).any() else expected
            actual = found[column].astype(object).where(found[column].notna(), None)
            assert actual.tolist() == expected.tolist(), f"{resource['name']}.{column}"


def test_no_cell_of_a_required_field_is_missing(written):
    folder, _ = written
    for resource in package(folder)["resources"]:
        found = read_back(folder, resource)
        for field in resource["schema"]["fields"]:
            if field.get("constraints", {}).get("required"):
                assert found[field["name"]].notna().all(), f"{resource['name']}.{field['name']}"


def test_a_package_says_all_that_the_columns_say():
    for resource in describe("suite")["resources"]:
        meaning, declared = columns.TABLES[resource["name"]]
        assert resource["description"] == meaning
        assert [(f["name"], f["type"], f["description"]) for f in resource["schema"]["fields"]] == [
            (column.name, column.type, column.meaning) for column in declared
        ]
        required = [field["name"] for field in resource["schema"]["fields"] if "constraints" in field]
        assert required == [column.name for column in declared if not column.empty]


def test_writing_twice_gives_the_same_bytes(tmp_path):
    frames = built(tmp_path)
    for folder in ("one", "two"):
        write_tables(frames, tmp_path / folder, name="suite")
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / f).rglob("*") if p.is_file()} for f in ("one", "two"))
    assert one == two
    assert one["runs.csv"].decode() == csv_text(frames["runs"])


def documented():
    """Table -> rows (name, type, empty, meaning) as `results/README.md` has them."""
    sections = re.split(r"^### ", README.read_text(), flags=re.MULTILINE)[1:]
    found = {}
    for section in sections:
        title = re.match(r"`(\w+)`: (.*)", section)
        if title:
            rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (yes|no) \| (.*) \|$", section, flags=re.MULTILINE)
            found[title[1]] = (title[2], rows)
    return found


def test_the_page_beside_the_results_documents_every_table():
    assert {name: meaning for name, (meaning, _) in documented().items()} == {
        name: meaning for name, (meaning, _) in columns.TABLES.items()
    }


@pytest.mark.parametrize("table", columns.TABLES)
def test_the_page_beside_the_results_documents_every_column_with_its_type(table):
    _, rows = documented()[table]
    assert [(name, type_, meaning) for name, type_, _, meaning in rows] == [
        (column.name, column.type, column.meaning) for column in columns.TABLES[table][1]
    ]
