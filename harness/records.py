"""The form of a record: made, checked whenever it is read, and converted from what older versions wrote.

A record is `{schema, id, spec, result, environment, observed, sha256}`. Equality of two runs is judged on `spec`,
`result` and `environment`; `observed` holds clocks, host and attempts. `schema`, `id` and `sha256` mean the same in
every schema, so that a damaged record is told apart from one of a newer harness.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from harness.errors import ResultsError
from harness.spec import SCHEMA, canonical, digest

Record = Mapping[str, Any]
CONVERTERS: Mapping[int, Callable[[Record], Record]] = {}
"""By schema: a pure function from a record of that schema to the body of the same run's record one schema later."""


class Damaged(Exception):
    """A record that must not be used, with the reason."""


def make_record(spec: Mapping[str, Any], result: Any, *, environment: Any, observed: Any) -> Record:
    """A complete record of the run, with its id and checksum."""
    return _sealed({"spec": spec, "result": result, "environment": environment, "observed": observed}, schema=SCHEMA)


def _sealed(parts: Mapping[str, Any], *, schema: int) -> Record:
    body = {**parts, "schema": schema, "id": digest(parts["spec"])}
    return {**body, "sha256": _checksum(body)}


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical({key: body[key] for key in body if key != "sha256"}).encode()).hexdigest()


def parse_record(data: bytes, *, expected_id: str, spec: Mapping[str, Any] | None = None) -> Record:
    """The record in `data`, of the schema that it was written with.

    `spec`: what the expected id was made from, if at hand; to compare with it is cheaper than to hash the record's.

    Raises:
        Damaged: not strict JSON, another id, a wrong checksum.
        ResultsError: written by a newer harness.
    """
    try:
        record = json.loads(data.decode(), parse_constant=_refuse, object_pairs_hook=_single_keys)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"not a JSON record: {error}") from error
    if not isinstance(record, dict) or type(record.get("schema")) is not int:
        raise Damaged("not a record: no schema")
    if record.get("id") != expected_id:
        raise Damaged(f"the file name says {expected_id[:12]}, the record says {str(record.get('id'))[:12]}")
    try:
        if _checksum(record) != record.get("sha256"):
            raise Damaged("the checksum does not fit")
        _refuse_newer(record)
        if record["spec"] != spec and digest(record["spec"]) != expected_id:
            raise Damaged("the spec is not the one that the id was made from")
        if record["schema"] != SCHEMA and record["schema"] not in CONVERTERS:
            raise Damaged(f"no harness ever wrote schema {record['schema']}")
    except (TypeError, KeyError, RecursionError) as error:
        raise Damaged(f"incomplete record: {error!r}") from error
    return record


def _refuse_newer(record: Record) -> None:
    if record["schema"] > SCHEMA:
        raise ResultsError(
            f"record {record['id'][:12]} has schema {record['schema']}, this harness knows {SCHEMA}: it was written by "
            "a newer version; update harness or choose another --results folder"
        )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _single_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("doubled key")
    return made


def converted(record: Record) -> Record:
    """The record as this version would have written it; its id is that of the converted spec."""
    while record["schema"] < SCHEMA:
        schema = record["schema"] + 1
        record = _sealed(CONVERTERS[schema - 1](record), schema=schema)
    return record
