"""Keys, types and ranges of a suite: what pydantic finds, in the words of a person."""

from __future__ import annotations

from collections.abc import Callable

from harness.registry.catalog import nearest
from harness.suite import declaration, schema
from harness.suite.source import Reading, subject
from harness.toml.scan import Path

_DUE = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "part_type": "a part",
}
_HINTS: dict[Path, str] = {
    ("include",): "a suite is one file",
    ("tuning", "split"): "tuning reads validation only",
}


def check_shape(reading: Reading) -> None:
    """Report every key that is not declared and every value that is not of its type or range."""
    # Refused already for what it is, wherever it stands.
    faults = [fault for fault in declaration.faults(reading.source.values) if reading.sound(fault.path)]
    unknown = [fault.path for fault in faults if fault.kind == "extra_forbidden"]
    for fault in faults:
        if fault.kind == "missing":
            _missing(reading, fault.path, unknown)
        elif fault.kind in _DUE:
            _wrong_type(reading, fault.path, _DUE[fault.kind])
        else:
            _REPORTS.get(fault.kind, _wrong_value)(reading, fault.path)
        reading.broken.add(fault.path)


# Keys ----------------------------------------------------------------------------------------------------------------


def _missing(reading: Reading, path: Path, unknown: list[Path]) -> None:
    table, key = path[:-1], str(path[-1])
    misspelt = [other for other in unknown if other[:-1] == table and nearest(str(other[-1]), [key])]
    if misspelt:
        return
    if path == ("compare",):
        message, cure = "table [compare] is missing", 'write [compare] with metric = "..." and baseline = "..."'
    else:
        message, cure = f"{_table(reading, table)} lacks the key '{key}'", ""
    reading.add("missing-key", message, reading.source.value(table), allowed=declaration.allowed(path), help=cure)


def _unknown(reading: Reading, path: Path) -> None:
    table, key = path[:-1], str(path[-1])
    if table and table[0] in ("arm", "arms") and key in schema.EQUAL_KEYS:
        budget = key in schema.BUDGET_KEYS
        why = "budgets are equal by construction" if budget else "what is compared is measured on the same examples"
        message, cure = f"arms cannot differ in '{key}': {why}", f"write {key} in [problem], or vary it in [problems]"
        code = "unequal-budget" if budget else "unequal-data"
        return reading.add(code, message, reading.source.key(path), help=cure)
    message = f"unknown key '{key}' {_inside(reading, table)}"
    allowed = ", ".join(declaration.keys_of(table))
    return reading.add("unknown-key", message, reading.source.key(path), allowed=allowed, help=_cure(reading, path))


def _cure(reading: Reading, path: Path) -> str:
    table, key = path[:-1], str(path[-1])
    if path in _HINTS or path[-1:] == ("include",):
        return _HINTS.get(path, _HINTS[("include",)])
    owners = [other for other in declaration.tables() if key in declaration.keys_of(other)]
    if _is_meant(reading, path, own := nearest(key, declaration.keys_of(table)), owners):
        return f"did you mean '{own}'?"
    if owners and key not in declaration.keys_of(()):
        return f"'{key}' belongs in {_head(owners[0])}"
    homes = {name: other for other in reversed(declaration.tables()) for name in declaration.keys_of(other)}
    near = nearest(key, homes)
    if own and near in declaration.keys_of(table):
        return f"did you mean '{own}'?"
    if owners:
        return f"'{key}' belongs at the top of the file, before the first table"
    kinds = [part for part in reading.catalog.parts if key in part.options or key in part.required]
    if kinds and table and table[0] in ("problem", "problems", "arm", "arms"):
        part = next((part for part in kinds if part.kind == "optimizer"), kinds[0])
        return f'an option goes into its part: {part.kind} = {{use = "{part.name}", {key} = ...}}'
    return f"did you mean '{near}' in {_head(homes[near])}?" if near and homes[near] else ""


def _is_meant(reading: Reading, path: Path, own: str | None, owners: list[Path]) -> bool:
    """Whether the value can be that of the table's own near key, and of no table that has the key itself."""
    value, key = reading.source.at(path), str(path[-1])
    if own is None or not declaration.takes((*path[:-1], own), value):
        return False
    return not any(declaration.takes((*owner, key), value) for owner in owners)


def _head(table: Path) -> str:
    return f"[[{table[0]}]]" if table[0] in ("arm", "claim") else f"[{'.'.join(map(str, table))}]"


def _table(reading: Reading, table: Path) -> str:
    return subject(table, reading.source) if table else "the suite"


def _inside(reading: Reading, table: Path) -> str:
    return f"in {_table(reading, table)}" if table else "at the top level"


# Values --------------------------------------------------------------------------------------------------------------


def _wrong_type(reading: Reading, path: Path, due: str) -> None:
    source = reading.source
    message, cure = f"expected {due}, found {source.found(path)}", _right_type(reading, path, due)
    if isinstance(source.at(path), list) and due == "an integer":
        message = f"a count, not a list; found {source.found(path)}"
    code, allowed = "wrong-type", declaration.allowed(path)
    reading.add(code, f"{subject(path, source)}: {message}", source.value(path), allowed=allowed, help=cure)


def _right_type(reading: Reading, path: Path, due: str) -> str:
    value, written = reading.source.at(path), reading.source.written(path)
    if path in (("arm",), ("claim",)):
        return f"for a list of {path[0]}s write [[{path[0]}]]"
    if isinstance(value, list) and due == "a table" and len(path) == 1:
        return f"write [{path[0]}]" + (", or [[arm]] for arms spelled out" if path == ("arms",) else "")
    if isinstance(value, list) and due == "an integer" and value:
        return f"write {path[-1]} = {len(value)}"
    if isinstance(value, dict) and path[-1] == "metric":
        name = value.get("use") if isinstance(value.get("use"), str) else "..."
        return f'write metric = "{name}"; its options belong in [compare], as metric or in also'
    if isinstance(value, list | dict) or len(written) > 40:
        return ""
    if due == "a list":
        return _as_list(reading, path)
    return f'strings need quotes: "{written}"' if due == "text" else ""


def _as_list(reading: Reading, path: Path) -> str:
    """The value in brackets; of a list in place of a list of lists the whole, where that makes one of its items."""
    if isinstance(path[-1], str):
        return f"write {path[-1]} = [{reading.source.written(path)}]"
    outer = path[:-1]
    whole = declaration.takes(outer, [reading.source.at(outer)])
    return f"write {outer[-1]} = [{reading.source.written(outer)}]" if whole else ""


def _wrong_value(reading: Reading, path: Path) -> None:
    source = reading.source
    message = f"{subject(path, source)}: {source.found(path)} is not allowed"
    reading.add("bad-value", message, source.value(path), allowed=declaration.allowed(path))


def _out_of_range(reading: Reading, path: Path) -> None:
    source = reading.source
    message = f"{subject(path, source)}: {source.found(path)} is out of range"
    if path == ("schema",):
        message = f"schema {source.written(path)} is not known here; this version reads schema {schema.SCHEMA}"
    reading.add("out-of-range", message, source.value(path), allowed=declaration.allowed(path))


def _unknown_word(reading: Reading, path: Path) -> None:
    source = reading.source
    allowed = declaration.allowed(path)
    word = source.at(path)
    near = nearest(word, allowed.split(", ")) if isinstance(word, str) else None
    cure = f"did you mean '{near}'?" if near else ""
    message = f"{subject(path, source)}: {source.found(path)} is not one of the words allowed"
    reading.add("unknown-word", message, source.value(path), allowed=allowed, help=cure)


def _empty(reading: Reading, path: Path) -> None:
    source = reading.source
    message = f"{subject(path, source)}: {source.found(path)} is empty"
    reading.add("empty", message, source.value(path), allowed=declaration.allowed(path))


def _too_short(reading: Reading, path: Path) -> None:
    _wrong_value(reading, path) if reading.source.at(path) else _empty(reading, path)


_REPORTS: dict[str, Callable[[Reading, Path], None]] = {
    "extra_forbidden": _unknown,
    "count_or_all": _wrong_value,
    "head_init": _wrong_value,
    "greater_than": _out_of_range,
    "greater_than_equal": _out_of_range,
    "less_than": _out_of_range,
    "less_than_equal": _out_of_range,
    "literal_error": _unknown_word,
    "too_short": _too_short,
    "too_long": _wrong_value,
    "string_too_short": _empty,
}
