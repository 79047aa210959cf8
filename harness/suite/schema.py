"""The keys of a suite file: the one place where each is declared, with its type, range and default.

`Problem` declares what a problem is made of; the tables whose keys follow from it ([problems], [arms], [[arm]]) are
derived. A key that is added here is at once accepted, checked, listed in messages and part of the JSON Schema.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic_core import PydanticCustomError, core_schema

from harness.toml.scan import Path

SCHEMA = 1
"""The schema of suite files that this version reads."""
NONE = "none"
"""Switches off what an arm would otherwise inherit from [problem]; the default of the keys that take it."""


@dataclass(frozen=True)
class PartOf:
    """Marks a value that names a part of one kind: a string, or a table of options with or without `use`."""

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        name = {"type": "string", "x-part": self.kind}
        return {"anyOf": [name, {"type": "object", "properties": {"use": name}}]}

    def check(self, value: Any) -> Any:
        """The value as it is, or a pydantic error that says where in it the name is amiss."""
        at = "use" if isinstance(value, dict) and "use" in value else ""
        name = value["use"] if at else value
        if isinstance(name, str) and name:
            return value
        if isinstance(value, dict) and not at:
            return value
        raise PydanticCustomError("part_type", "a part is due", {"at": (at,) if at else ()})


@dataclass(frozen=True)
class PartsOf:
    """Marks a value that names any number of parts of one kind: `none`, a part or a list of them; tables have `use`."""

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        name = {"type": "string", "x-part": self.kind}
        part = [name, {"type": "object", "properties": {"use": name}, "required": ["use"]}]
        return {"anyOf": [{"const": NONE}, *part, {"type": "array", "items": {"anyOf": part}, "minItems": 1}]}

    def check(self, value: Any) -> Any:
        """The value as it is, or a pydantic error that says where in it a name is amiss."""
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
class CountOrAll:
    """Marks a value that is a number of at least `least`, or the word "all"."""

    least: int = 1

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "integer", "minimum": self.least}, {"const": "all"}]}

    def check(self, value: Any) -> Any:
        """The value as it is, or a pydantic error."""
        if value == "all" or (type(value) is int and value >= self.least):
            return value
        raise PydanticCustomError("count_or_all", 'a number or "all" is due')


@dataclass(frozen=True)
class HeadInit:
    """Marks how a new head is drawn: `normal:STD`, or one of the words of `harness.heads`."""

    words: ClassVar[tuple[str, ...]] = ("zeros", "default", "keep")

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"enum": list(self.words)}, {"type": "string", "pattern": f"^normal:{_PLAIN_NUMBER}$"}]}

    def check(self, value: Any) -> Any:
        """The value as it is, or a pydantic error."""
        if value in self.words or (isinstance(value, str) and _is_deviation(value.removeprefix("normal:"), value)):
            return value
        raise PydanticCustomError("head_init", "no way to draw a head")


_PLAIN_NUMBER = r"\d+(\.\d+)?([eE][+-]?\d+)?"
_DEVIATIONS = 1e-8, 100.0
"""What the standard deviation of a head may be: one below is `zeros` in all but name, one above no start."""


def _is_deviation(text: str, whole: str) -> bool:
    """Whether `whole` is "normal:" and a number in the range, written plainly, which is the rest of it."""
    low, high = _DEVIATIONS
    return text != whole and re.fullmatch(_PLAIN_NUMBER, text, re.ASCII) is not None and low <= float(text) <= high


Part = str | dict[str, Any]
Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
Pair = Annotated[list[Text], Field(min_length=2, max_length=2)]


class Table(BaseModel):
    """A table of a suite: strict types, no key but those declared."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


@dataclass(frozen=True)
class TableOrNone:
    """Marks a value that is a table, in which every key has a default, or `none`."""

    table: type[Table]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        inner = handler.generate_schema(self.table)
        return core_schema.no_info_wrap_validator_function(
            lambda value, ok: value if value == NONE else ok(value), inner
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"const": NONE}, handler(schema["schema"])]}


class Regularisation(Table):
    """Penalties in the loss, l1 sum |w| + l2 sum w^2 (`harness.penalties`)."""

    l1: Annotated[float, Field(ge=0)] = 0.0
    l2: Annotated[float, Field(ge=0)] = 0.0


class EarlyStopping(Table):
    """When training ends before its budget does (`harness.stopping`)."""

    patience: Count = 3
    metric: Text = "loss"
    min_delta: Annotated[float, Field(ge=0)] = 0.0


class Problem(Table):
    """What is held equal for all arms. None: not given, and without a default that could stand for it."""

    dataset: Annotated[Part, PartOf("dataset")] | None = None
    model: Annotated[Part, PartOf("model")] | None = None
    loss: Annotated[Part, PartOf("loss")] = "cross_entropy"
    optimizer: Annotated[Part, PartOf("optimizer")] = "sgd"
    schedule: Annotated[Part, PartOf("schedule")] = "constant"
    strategy: Annotated[Part, PartOf("strategy")] = "full"
    augmentation: Annotated[Any, PartsOf("augmentation")] = NONE
    regularisation: Annotated[Any, TableOrNone(Regularisation)] = NONE
    early_stopping: Annotated[Any, TableOrNone(EarlyStopping)] = NONE
    train_examples: Count | None = None
    labels_per_class: Annotated[int | str, CountOrAll()] | None = None
    folds: Annotated[int, Field(ge=2)] | None = None
    validation_examples: Count = 5000
    validation_within: Annotated[float, Field(gt=0, lt=1)] | None = None
    epochs: Count | None = None
    steps: Count | None = None
    batch_size: Count = 64
    precision: Literal["fp32", "bf16"] = "fp32"
    head_init: Annotated[str, HeadInit()] | None = None
    norm: Literal["follow", "eval", "train"] | None = None
    stages: Annotated[int | str, CountOrAll(2)] | None = None


PART_KEYS: tuple[str, ...] = ("dataset", "model", "loss", "optimizer", "schedule", "strategy")
PARTS_KEYS: tuple[str, ...] = ("augmentation",)
"""Any number of parts, in their order; an arm's value takes the place of the problem's."""
TABLE_KEYS: dict[str, type[Table]] = {"regularisation": Regularisation, "early_stopping": EarlyStopping}
"""A table of the key's own; an arm's is laid over the problem's."""
BUDGET_KEYS: tuple[str, ...] = (
    "train_examples",
    "labels_per_class",
    "folds",
    "validation_examples",
    "validation_within",
    "epochs",
    "steps",
)
"""What no arm may have more of, and tuning may not choose."""
TRANSFER: dict[str, Any] = {"head_init": "normal:0.01", "norm": "follow", "stages": 5}
"""Keys that say how a network is moved to the problem, with their defaults."""
LATER_KEYS: tuple[str, ...] = ("labels_per_class", "folds", "validation_within", *TRANSFER)
"""Keys that came later: a spec has them only where the suite gives them, so that older runs keep their ids."""
TUNABLE_KEYS: tuple[str, ...] = ("batch_size",)
DEFAULT_EPOCHS = 1


def default_part(kind: str) -> str | None:
    """The name of the part that stands where the suite names none of that kind."""
    fields = {**Problem.model_fields, **Execution.model_fields}
    return fields[kind].default if kind in fields else None


def table_defaults(key: str) -> dict[str, Any]:
    """Every key of a table of `TABLE_KEYS` with its default."""
    return {name: info.default for name, info in TABLE_KEYS[key].model_fields.items()}


def _without_none(annotation: Any) -> Any:
    inner = [item for item in get_args(annotation) if item is not type(None)]
    return inner[0] if type(None) in get_args(annotation) and len(inner) == 1 else annotation


def _item(key: str) -> Any:
    """The type of one value of a key of [problem]."""
    info = Problem.model_fields[key]
    plain = _without_none(info.annotation)
    annotated: Any = Annotated
    return annotated[(plain, *info.metadata)] if info.metadata else plain


def _axes(name: str, keys: list[str]) -> type[Table]:
    fields: dict[str, Any] = {key: (Annotated[list[_item(key)], Field(min_length=1)] | None, None) for key in keys}  # type: ignore[misc]
    return create_model(name, __base__=Table, **fields)


_PATCHED = [key for key in Problem.model_fields if key not in BUDGET_KEYS]
_PATCH: dict[str, Any] = {key: (_item(key) | None, None) for key in _PATCHED}

# Replicates are folds, so all problems have as many.
Problems = _axes("Problems", [key for key in Problem.model_fields if key != "folds"])
Arms = _axes("Arms", _PATCHED)
Arm = create_model("Arm", __base__=Table, name=(Text, ...), **_PATCH)


class Source(Table):
    """[source]: what networks are trained on before they come to the problem; defaults are the problem's."""

    dataset: Annotated[Part, PartOf("dataset")] | None = None
    weights: Text | None = None
    model: Annotated[Part, PartOf("model")] | None = None
    loss: Annotated[Part, PartOf("loss")] | None = None
    optimizer: Annotated[Part, PartOf("optimizer")] | None = None
    schedule: Annotated[Part, PartOf("schedule")] | None = None
    train_examples: Count | None = None
    epochs: Count | None = None
    steps: Count | None = None
    batch_size: Count | None = None
    replicates: Count | None = None


class Tuning(Table):
    """[tuning]: how many settings each arm may try, and how they are proposed."""

    trials: Annotated[int, Field(ge=0)] = 0
    sampler: Literal["random", "qmc", "tpe", "gp"] = "tpe"
    pruner: Literal["none", "median", "hyperband", "halving", "wilcoxon"] = "none"
    batch: Count = 1
    repeats: Count | None = None
    space: dict[str, Any] = Field(default_factory=dict)


class Compare(Table):
    """[compare]: what is measured, against which arm, how often."""

    metric: Annotated[Part, PartOf("metric")]
    also: list[Annotated[Part, PartOf("metric")]] = Field(default_factory=list)
    baseline: Text | None = None
    replicates: Count = 5
    margin: Annotated[float, Field(gt=0)] | None = None
    claim: Literal["method", "setting"] = "method"
    epoch: Literal["best_validation", "last"] | None = None
    untuned: bool = True
    primary: list[Text] | None = None
    controls: bool = True
    nested: Annotated[list[Pair], Field(min_length=1)] | None = None
    looks: Count = 1


class Execution(Table):
    """[execution]: how runs are carried out; only `threads` can change a result."""

    workers: Count | None = None
    executor: Annotated[Part, PartOf("executor")] = "process"
    threads: Count = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    time_limit: Annotated[float, Field(gt=0)] = 21600.0
    memory_limit: Annotated[float, Field(gt=0)] | None = None
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 600.0
    loaders: Annotated[int, Field(ge=0)] = 0


class Claim(Table):
    """[[claim]]: a published statement about one arm, to be checked."""

    statement: Text
    arm: Text | None = None
    problem: Text | None = None
    metric: Text | None = None
    split: Literal["test", "validation", "train"] = "test"
    at_least: float | None = None
    at_most: float | None = None
    equals: float | None = None
    tolerance: Annotated[float, Field(ge=0)] = 0.0


class Report(Table):
    """[report]: what the report shows; it changes no run."""

    arm: Text | None = None


class SuiteFile(Table):
    """The whole file."""

    question: Text
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    schema_: Annotated[int, Field(ge=SCHEMA, le=SCHEMA)] = Field(default=SCHEMA, alias="schema")
    problem: Problem = Field(default_factory=Problem)
    problems: Problems | None = None  # type: ignore[valid-type]
    arms: Arms | None = None  # type: ignore[valid-type]
    arm: Annotated[list[Arm], Field(min_length=1)] | None = None  # type: ignore[valid-type]
    source: Source | None = None
    tuning: Tuning = Field(default_factory=Tuning)
    compare: Compare
    claim: Annotated[list[Claim], Field(min_length=1)] | None = None
    execution: Execution = Field(default_factory=Execution)
    report: Report = Field(default_factory=Report)


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
    annotation = _without_none(annotation)
    if get_origin(annotation) is not Annotated:
        return annotation, ()
    plain, *metadata = get_args(annotation)
    spread = [item for one in metadata for item in getattr(one, "metadata", [one])]
    return plain, tuple(spread)


def _in_words(kind: Any, constraints: tuple[Any, ...]) -> str:
    for constraint in constraints:
        if isinstance(constraint, CountOrAll):
            return f'integer >= {constraint.least}, or "all"'
        if isinstance(constraint, HeadInit):
            low, high = _DEVIATIONS
            return f"{', '.join(constraint.words)}, or normal:0.01 with another standard deviation, {low} .. {high:g}"
        if isinstance(constraint, PartOf):
            return f'{constraint.kind} name, or {{use = "name", option = value}}'
        if isinstance(constraint, PartsOf):
            return f'{constraint.kind} name, {{use = "name", option = value}}, a list of these, or "{NONE}"'
        if isinstance(constraint, TableOrNone):
            keys = ", ".join(f"{key} = ..." for key in constraint.table.model_fields)
            return f'{{{keys}}}, or "{NONE}"'
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
