"""The keys of a suite file: the one place where each is declared, with its type, range and default.

`Problem` declares what a problem is made of; the tables whose keys follow from it ([problems], [arms], [[arm]]) are
derived. A key that is added here is at once accepted, checked, listed in messages and part of the JSON Schema.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, create_model

from harness.suite.marks import NONE, CountOrAll, HeadInit, PartOf, PartsOf, Table, TableOrNone

SCHEMA = 1
"""The schema of suite files that this version reads."""

Part = str | dict[str, Any]
Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
Pair = Annotated[list[Text], Field(min_length=2, max_length=2)]


class Regularisation(Table):
    """Penalties in the loss, l1 sum |w| + l2 sum w^2 (`harness.train.penalties`)."""

    l1: Annotated[float, Field(ge=0)] = 0.0
    l2: Annotated[float, Field(ge=0)] = 0.0


class EarlyStopping(Table):
    """When training ends before its budget does (`harness.train.stopping`)."""

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
EQUAL_KEYS: tuple[str, ...] = ("dataset", *BUDGET_KEYS)
"""What all arms of a problem share, so that they are measured on the same examples after the same effort."""
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


def without_none(annotation: Any) -> Any:
    """The type without the None that says that nothing is given."""
    inner = [item for item in get_args(annotation) if item is not type(None)]
    return inner[0] if type(None) in get_args(annotation) and len(inner) == 1 else annotation


def _item(key: str) -> Any:
    """The type of one value of a key of [problem]."""
    info = Problem.model_fields[key]
    plain = without_none(info.annotation)
    annotated: Any = Annotated
    return annotated[(plain, *info.metadata)] if info.metadata else plain


def _axes(name: str, keys: list[str]) -> type[Table]:
    fields: dict[str, Any] = {key: (Annotated[list[_item(key)], Field(min_length=1)] | None, None) for key in keys}  # type: ignore[misc]
    return create_model(name, __base__=Table, **fields)


_PATCHED = [key for key in Problem.model_fields if key not in EQUAL_KEYS]
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
