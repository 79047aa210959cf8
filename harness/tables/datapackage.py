"""Tables as CSV files, with a `datapackage.json` that says what each column is (Frictionless Data Package v1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.store import write_atomically
from harness.tables import columns
from harness.tables.csvtext import csv_text


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path, *, name: str) -> None:
    """One `tables/NAME.csv` each, and the description of all of them."""
    for table, frame in tables.items():
        write_atomically(folder / "tables" / f"{table}.csv", csv_text(frame).encode(), durable=False)
    text = json.dumps(describe(name), indent=1, ensure_ascii=False)
    write_atomically(folder / "datapackage.json", f"{text}\n".encode(), durable=False)


def describe(name: str) -> dict[str, Any]:
    """The data package of a results folder."""
    return {
        "profile": "tabular-data-package",
        "name": name.lower(),
        "resources": [_resource(table) for table in columns.TABLES],
    }


def _resource(table: str) -> dict[str, Any]:
    meaning, declared = columns.TABLES[table]
    fields = [
        {
            "name": column.name,
            "type": column.type,
            "description": column.meaning,
            **({} if column.empty else {"constraints": {"required": True}}),
        }
        for column in declared
    ]
    return {
        "name": table,
        "path": f"tables/{table}.csv",
        "profile": "tabular-data-resource",
        "encoding": "utf-8",
        "description": meaning,
        "schema": {"fields": fields, "missingValues": [""]},
    }
