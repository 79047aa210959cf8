"""What a value of a suite may be where a plain type does not say it: parts, counts, heads, tables.

Each kind is a mark on a field of `schema`: it checks a value, says in words what is allowed, and gives its JSON Schema.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError, core_schema

from harness.toml.scan import Path

NONE = "none"
"""Switches off what an arm would otherwise inherit from [problem]; the default of the keys that take it."""


class Table(BaseModel):
    """A table of a suite: strict types, no key but those declared."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class Mark:
    """What all marks have in common; `str` of one is what it allows, in words."""

    def __str__(self) -> str:
        raise NotImplementedError

    def _check(self, value: Any) -> Any:
        """The value as it is, or a pydantic error that says where in it what is amiss."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)


@dataclass(frozen=True)
class PartOf(Mark):
    """Marks a value that names a part of one kind: a string, or a table of options with or without `use`."""

    kind: str

    def __str__(self) -> str:
        return f'{self.kind} name, or {{use = "name", option = value}}'

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        name = {"type": "string", "x-part": self.kind}
        return {"anyOf": [name, {"type": "object", "properties": {"use": name}}]}

    def _check(self, value: Any) -> Any:
        at = "use" if isinstance(value, dict) and "use" in value else ""
        name = value["use"] if at else value
        if isinstance(name, str) and name:
            return value
        if isinstance(value, dict) and not at:
            return value
        raise PydanticCustomError("part_type", "a part is due", {"at": (at,) if at else ()})


@dataclass(frozen=True)
class PartsOf(Mark):
    """Marks a value that names any number of parts of one kind: `none`, a part or a list of them; tables have `use`."""

    kind: str

    def __str__(self) -> str:
        return f'{self.kind} name, {{use = "name", option = value}}, a list of these, or "{NONE}"'

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        name = {"type": "string", "x-part": self.kind}
        part = [name, {"type": "object", "properties": {"use": name}, "required": ["use"]}]
        return {"anyOf": [{"const": NONE}, *part, {"type": "array", "items": {"anyOf": part}, "minItems": 1}]}

    def _check(self, value: Any) -> Any:
        if value == []:
            raise PydanticCustomError("too_short", "at least one part is due")
        for path in items((), value):
            part = value[path[0]] if path else value
            name = part.get("use") if isinstance(part, dict) else part
            if not (isinstance(name, str) and name):
                inside = ("use",) if isinstance(part, dict) and "use" in part else ()
                raise PydanticCustomError("part_type", "a part is due", {"at": (*path, *inside)})
        return value


def items(path: Path, value: Any) -> list[Path]:
    """Paths of the single parts that a value at the path names, as `PartsOf` has it."""
    if isinstance(value, list):
        return [(*path, index) for index in range(len(value))]
    return [] if value == NONE else [path]


@dataclass(frozen=True)
class CountOrAll(Mark):
    """Marks a value that is a number of at least `least`, or the word "all"."""

    least: int = 1

    def __str__(self) -> str:
        return f'integer >= {self.least}, or "all"'

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "integer", "minimum": self.least}, {"const": "all"}]}

    def _check(self, value: Any) -> Any:
        if value == "all" or (type(value) is int and value >= self.least):
            return value
        raise PydanticCustomError("count_or_all", 'a number or "all" is due')


@dataclass(frozen=True)
class HeadInit(Mark):
    """Marks how a new head is drawn: `normal:STD`, or one of the words of `harness.strategies.heads`."""

    choices: ClassVar[tuple[str, ...]] = ("zeros", "default", "keep")
    deviations: ClassVar[tuple[float, float]] = (1e-8, 100.0)
    """What the standard deviation may be: one below is `zeros` in all but name, one above no start."""
    number: ClassVar[str] = r"\d+(\.\d+)?([eE][+-]?\d+)?"

    def __str__(self) -> str:
        low, high = self.deviations
        return f"{', '.join(self.choices)}, or normal:0.01 with another standard deviation, {low} .. {high:g}"

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"enum": list(self.choices)}, {"type": "string", "pattern": f"^normal:{self.number}$"}]}

    def _check(self, value: Any) -> Any:
        if value in self.choices or (isinstance(value, str) and self._is_drawn(value)):
            return value
        raise PydanticCustomError("head_init", "no way to draw a head")

    def _is_drawn(self, value: str) -> bool:
        """Whether the value is "normal:" and a plainly written number in the range."""
        low, high = self.deviations
        found = re.fullmatch(f"normal:(?P<deviation>{self.number})", value, re.ASCII)
        return found is not None and low <= float(found["deviation"]) <= high


@dataclass(frozen=True)
class TableOrNone(Mark):
    """Marks a value that is a table, in which every key has a default, or `none`."""

    table: type[Table]

    def __str__(self) -> str:
        keys = ", ".join(f"{key} = ..." for key in self.table.model_fields)
        return f'{{{keys}}}, or "{NONE}"'

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        inner = handler.generate_schema(self.table)
        return core_schema.no_info_wrap_validator_function(
            lambda value, ok: value if value == NONE else ok(value), inner
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"const": NONE}, handler(schema["schema"])]}
