"""What the declaration of a suite says of a place: mistakes, the keys of a table, what is allowed, JSON Schema."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types
from pydantic import TypeAdapter, ValidationError

from harness.suite.marks import Mark, PartOf, PartsOf, Table, TableOrNone
from harness.suite.schema import TABLE_KEYS, SuiteFile, without_none
from harness.toml.scan import Path


@dataclass(frozen=True)
class Fault:
    """What pydantic has against the value at a path, in its own words for the kind of mistake."""

    path: Path
    kind: str


def faults(values: Mapping[str, Any]) -> list[Fault]:
    """Everything in the values that is not as declared."""
    try:
        SuiteFile.model_validate(dict(values))
    except ValidationError as error:
        return [_fault(one) for one in error.errors(include_url=False, include_input=False)]
    return []


def _fault(error: Any) -> Fault:
    at = error.get("ctx", {}).get("at", ()) if error["type"] == "part_type" else ()
    return Fault((*error["loc"], *at), error["type"])


def keys_of(path: Path) -> tuple[str, ...]:
    """The keys that the table at this path may have; empty where there is no such table."""
    declared = _declared(path)[0]
    if not (isinstance(declared, type) and issubclass(declared, Table)):
        return ()
    return tuple(info.alias or name for name, info in declared.model_fields.items())


def tables() -> list[Path]:
    """Every table of a suite, the top level first; the items of [[arm]] go by index 0."""
    inside = [("problem", key) for key in TABLE_KEYS]
    found = ((), *((key,) for key in keys_of(())), ("arm", 0), ("claim", 0), *inside)
    return [path for path in found if keys_of(path)]


def allowed(path: Path) -> str:
    """What may stand at a path, in words: a range, the words to choose from, or a type."""
    return _in_words(*_declared(path))


def takes(path: Path, value: Any) -> bool:
    """Whether the value may stand at the path, as far as it is declared."""
    kind, constraints = _declared(path)
    if kind is None:
        return False
    annotated: Any = Annotated
    declared = annotated[(kind, *constraints)] if constraints else kind
    try:
        TypeAdapter(declared).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _declared(path: Path) -> tuple[Any, tuple[Any, ...]]:
    """Type and constraints at a path; (None, ()) where nothing is declared."""
    current: Any = SuiteFile
    constraints: tuple[Any, ...] = ()
    for step in path:
        if isinstance(step, int) and get_origin(current) is list:
            current, constraints = _peel(get_args(current)[0])
        elif isinstance(current, type) and issubclass(current, Table):
            found = {info.alias or name: info for name, info in current.model_fields.items()}.get(str(step))
            if found is None:
                return None, ()
            current, constraints = _peel(found.annotation)
            constraints = (*constraints, *found.metadata)
        elif isinstance(step, int) and (several := [one for one in constraints if isinstance(one, PartsOf)]):
            constraints = (PartOf(several[0].kind),)
        else:
            return None, ()
        current = next((one.table for one in constraints if isinstance(one, TableOrNone)), current)
    return current, constraints


def _peel(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    annotation = without_none(annotation)
    if get_origin(annotation) is not Annotated:
        return annotation, ()
    plain, *metadata = get_args(annotation)
    spread = [item for one in metadata for item in getattr(one, "metadata", [one])]
    return plain, tuple(spread)


def _in_words(kind: Any, constraints: tuple[Any, ...]) -> str:
    if marks := [str(one) for one in constraints if isinstance(one, Mark)]:
        return marks[0]
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    if get_origin(kind) is list:
        inside = _in_words(*_peel(get_args(kind)[0]))
        exact = [one.max_length for one in constraints if isinstance(one, annotated_types.MaxLen)]
        return f"list of {exact[0]}: {inside}" if exact else f"list of: {inside}"
    words = {int: "integer", float: "number", bool: "true, false", str: "text"}.get(kind)
    if words is None:
        return "table" if kind is not None else ""
    return words + _range(constraints)


def _range(constraints: tuple[Any, ...]) -> str:
    low: Any = next((one.ge for one in constraints if isinstance(one, annotated_types.Ge)), None)
    high: Any = next((one.le for one in constraints if isinstance(one, annotated_types.Le)), None)
    above: Any = next((one.gt for one in constraints if isinstance(one, annotated_types.Gt)), None)
    below: Any = next((one.lt for one in constraints if isinstance(one, annotated_types.Lt)), None)
    if above is not None and below is not None:
        return f" between {above} and {below}, without these"
    if low is not None and high is not None:
        return f", {low}" if low == high else f", {low} .. {_number(high)}"
    return f" >= {low}" if low is not None else f" > {above}" if above is not None else ""


def _number(value: Any) -> str:
    exponent = math.log2(value + 1)
    return f"2^{exponent:.0f} - 1" if exponent > 16 and exponent.is_integer() else str(value)


def json_schema(parts: Mapping[str, list[str]]) -> dict[str, Any]:
    """JSON Schema of a suite file; `parts` are the installed names by kind."""

    def fill(node: Any) -> Any:
        if isinstance(node, list):
            return [fill(item) for item in node]
        if not isinstance(node, dict):
            return node
        node = {key: fill(item) for key, item in node.items()}
        kind = node.pop("x-part", None)
        # Any text is allowed besides the names: `distribution:name`, `-` for `_`, plugins that come later.
        return {"anyOf": [{"enum": parts.get(kind, [])}, node]} if kind else node

    return dict(fill(SuiteFile.model_json_schema(by_alias=True)))
