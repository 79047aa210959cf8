"""The contract between harness and its plugins: hooks, parts and search domains.

A plugin is a module. Each hook takes nothing and returns a list of frozen dataclasses ("parts"). This file never
imports torch: a part names callables that are only called where runs happen.

Tensor axes: N examples, K outputs (classes, or values of a regression).
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pluggy

from harness import names

if TYPE_CHECKING:
    import torch
    from torch import nn

    from harness.execute import Evaluator
    from harness.strategies import Transfer
    from harness.strategies.selection import Parameter

PROJECT = "harness"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Task = Literal["classification", "regression"]
"""Of labels, or of values: `Splits.classes` is None for a regression."""
_TASKS = (None, "classification", "regression")

# What may stand in a suite file, a RunSpec and a record.
Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


# Search domains ------------------------------------------------------------------------------------------------------


def _check_bounds(kind: str, low: float, high: float, log: bool) -> None:
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{kind}: {name} must be a finite number, got {value!r}")
    if not low < high:
        raise ValueError(f"{kind}: low must be below high, got low={low}, high={high}")
    if log and low <= 0:
        raise ValueError(f"{kind}: low must be above 0 on a log scale, got low={low}")


@dataclass(frozen=True)
class Float:
    """Real numbers from `low` to `high`, both included; on a log scale when `log`."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds("Float", self.low, self.high, self.log)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Int:
    """Whole numbers from `low` to `high`, both included; on a log scale when `log`."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds("Int", self.low, self.high, self.log)
        if not (isinstance(self.low, int) and isinstance(self.high, int)):
            raise ValueError(f"Int: bounds must be whole numbers, got low={self.low!r}, high={self.high!r}")

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True, init=False)
class Choice:
    """One of the given options, which are plain values without an order."""

    options: tuple[bool | int | float | str | None, ...]

    def __init__(self, *options: bool | int | float | str | None) -> None:
        object.__setattr__(self, "options", options)
        if not options:
            raise ValueError("Choice: at least one option is needed, got none")
        if any(not isinstance(option, None | bool | int | float | str) for option in options):
            only = options[0] if len(options) == 1 else None
            way = f"; write Choice({', '.join(map(repr, only))})" if isinstance(only, list | tuple) else ""
            raise ValueError(f"Choice: options must be plain values, got {options!r}{way}")
        if len(set(map(repr, options))) < len(options):
            raise ValueError(f"Choice: options must differ, got {options!r}")

    def __contains__(self, value: object) -> bool:
        return any(type(value) is type(option) and value == option for option in self.options)


Domain = Float | Int | Choice


def domain_to_plain(domain: Domain) -> dict[str, Any]:
    """The domain as plain data: `{"float": [low, high], "log": ...}`, `{"int": ...}` or `{"choice": [...]}`."""
    if isinstance(domain, Choice):
        return {"choice": list(domain.options)}
    return {type(domain).__name__.lower(): [domain.low, domain.high], "log": domain.log}


def domain_from_plain(plain: Mapping[str, Any]) -> Domain:
    """The inverse of `domain_to_plain`."""
    if "choice" in plain:
        return Choice(*plain["choice"])
    kind: type[Float] | type[Int] = Float if "float" in plain else Int
    low, high = plain["float" if kind is Float else "int"]
    return kind(low, high, log=plain["log"])


# Parts ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Described:
    """What every part says of itself besides its name and its callable."""

    space: Mapping[str, Domain] = field(default_factory=dict)
    """What tuning searches, by option name, unless the suite fixes the option."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Options passed besides (or instead of) the callable's own default values."""
    source: str = ""
    """Where the method is published, down to the equation or algorithm."""

    kind: ClassVar[str]
    """The word under which a suite names the part: `optimizer`, `model`, ..."""
    call: ClassVar[str] = "build"
    """Which field holds the callable whose keyword arguments are the part's options."""
    given: ClassVar[int] = 0
    """How many leading arguments of that callable harness passes itself."""

    def __post_init__(self) -> None:
        kind, name = type(self).__name__, getattr(self, "name", None)
        if not isinstance(name, str) or (broken := names.broken_rule(name)):
            why = broken if isinstance(name, str) else f"it is {type(name).__name__}"
            raise ValueError(f"{kind}: a part's name must match {names.RULE}, got {name!r}: {why}")
        place = f"{kind} '{name}'"
        _check_callable(place, self.call, getattr(self, self.call))
        for what, given in (("space", self.space), ("defaults", self.defaults)):
            if not isinstance(given, Mapping):
                raise ValueError(f"{place}: {what} must be a dict by option, got {given!r}")
        for option, domain in self.space.items():
            if isinstance(domain, Float | Int | Choice) and option in self.defaults:
                _check_default(place, option, self.defaults[option], domain)


def _check_callable(place: str, field_name: str, given: object) -> None:
    if not callable(given):
        raise ValueError(f"{place}: {field_name} must be a function or another callable, got {given!r}")


def _check_one_of(place: str, field_name: str, given: object, allowed: tuple[str | None, ...]) -> None:
    if given not in allowed:
        raise ValueError(f"{place}: {field_name} must be {' or '.join(map(repr, allowed))}, got {given!r}")


def _check_bool(place: str, field_name: str, given: object) -> None:
    if not isinstance(given, bool):
        raise ValueError(f"{place}: {field_name} must be True or False, got {given!r}")


def _check_default(place: str, option: str, given: object, domain: Domain) -> None:
    """A default lies in the option's own space, or is no number at all, as None for what is off unless it is tuned."""
    if isinstance(domain, Choice):
        inside = given is None or any(_same(given, one) for one in domain.options)
        allowed = f"one of {', '.join(map(repr, domain.options))}"
    else:
        inside = isinstance(given, bool) or not isinstance(given, int | float) or given in domain
        whole = "a whole number " if isinstance(domain, Int) else ""
        allowed = f"{whole}from {domain.low} to {domain.high}"
    if not inside:
        raise ValueError(
            f"{place}: the default of {option} must be in the space that tuning searches, {allowed}, got {given!r}; "
            "widen the space or change the default"
        )


def _same(given: object, option: object) -> bool:
    return given == option and isinstance(given, bool) == isinstance(option, bool)


@dataclass(frozen=True)
class Optimizer(_Described):
    """`build(params, **hyperparameters) -> torch.optim.Optimizer`; `params` are torch parameter groups."""

    name: str
    build: Callable[..., torch.optim.Optimizer]
    kind: ClassVar[str] = "optimizer"
    given: ClassVar[int] = 1


@dataclass(frozen=True)
class Weights:
    """Published weights of a model: the file that they lie in, and the inputs and outputs that they were trained with.

    The file holds a state dict, by `torch.save` (`.pth`, of which nothing is run) or by safetensors (`.safetensors`).
    """

    file: str
    """Name of the file, without a folder."""
    outputs: int
    """Of the head that it holds."""
    channels: int = 3
    """Of the images that the weights take; inputs of other channels are refused."""
    input_size: int | None = None
    """Pixels a side of the images that they were published for; None where any will do."""
    mean: tuple[float, ...] = ()
    """Of each channel, taken from pixels in [0, 1]; () where nothing is known of the scale."""
    std: tuple[float, ...] = ()
    """What the rest was divided by."""
    url: str = ""
    """Where the file is downloaded from; '' where it has to be put into its folder by hand."""
    sha256_prefix: str = ""
    """First hexadecimal digits of the file's SHA-256, as far as they are published."""
    module: str = ""
    """Dotted name of the submodule whose state dict the file holds; '' for the whole model."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options that the model must have for the weights to fit."""
    renamed: tuple[str, str] | None = None
    """Regular expression, and what takes the place of each match in the names that the file has, as in `re.sub`."""
    left_out: str = ""
    """Regular expression of names in the file, from their beginning, that the model has no use for."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^/\\\0]+\.(pth|safetensors)", self.file):
            raise ValueError(f"Weights: file must be a bare name ending in .pth or .safetensors, got {self.file!r}")
        counts = {"outputs": self.outputs, "channels": self.channels, "input_size": self.input_size}
        for what, count in counts.items():
            if (what, count) != ("input_size", None) and (type(count) is not int or count < 1):
                raise ValueError(f"Weights: {what} must be a whole number of at least 1, got {count!r}")
        if {len(self.mean), len(self.std)} not in ({0}, {self.channels}):
            each = f"one number for each of the {self.channels} channels"
            raise ValueError(f"Weights: mean and std must have {each}, got mean={self.mean}, std={self.std}")
        if self.url and not re.match(r"https?://", self.url):
            raise ValueError(f"Weights: url must begin with https:// or http://, got {self.url!r}")
        if not re.fullmatch(r"[0-9a-f]{0,64}", self.sha256_prefix):
            raise ValueError(f"Weights: sha256_prefix must be hexadecimal digits, got {self.sha256_prefix!r}")


DEFAULT_WEIGHTS = "DEFAULT"
"""Stands for the first of a model's weights."""


def weights_to_plain(weights: Mapping[str, Weights]) -> dict[str, dict[str, Any]]:
    """Weights by name as plain data, in their order."""
    return {name: {**one.__dict__, "options": dict(one.options)} for name, one in weights.items()}


def weights_from_plain(plain: Mapping[str, Mapping[str, Any]]) -> dict[str, Weights]:
    """The inverse of `weights_to_plain`."""
    made = {}
    for name, one in plain.items():
        pairs = {key: tuple(one[key]) for key in ("mean", "std", "renamed") if one[key] is not None}
        made[name] = Weights(**{**one, **pairs})
    return made


@dataclass(frozen=True)
class Model(_Described):
    """`build(input_shape, outputs, **options) -> nn.Module` from inputs (N, *input_shape) to (N, outputs)."""

    name: str
    build: Callable[..., nn.Module]
    head: str | None = None
    """Dotted name of the output layer, where it is not the last module that has parameters."""
    blocks: tuple[str, ...] = ()
    """Blocks from the input side, the head left out, where they are not found by order of execution: regular
    expressions, of which each parameter's dotted name matches exactly one from its beginning."""
    weights: Mapping[str, Weights] = field(default_factory=dict)
    """Published weights by name; the first is what `DEFAULT` stands for."""
    kind: ClassVar[str] = "model"
    given: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        place = f"Model '{self.name}'"
        if self.head is not None and not isinstance(self.head, str):
            raise ValueError(f"{place}: head must be the dotted name of a layer, or None, got {self.head!r}")
        if not isinstance(self.blocks, list | tuple) or not all(isinstance(one, str) for one in self.blocks):
            way = f"; write blocks=({self.blocks!r},)" if isinstance(self.blocks, str) else ""
            raise ValueError(f"{place}: blocks must be a list of regular expressions, got {self.blocks!r}{way}")
        for name, one in self.weights.items():
            if not isinstance(name, str) or name in ("", DEFAULT_WEIGHTS):
                raise ValueError(f"Model: weights need names other than '{DEFAULT_WEIGHTS}', got {name!r}")
            if not isinstance(one, Weights):
                raise ValueError(f"Model: weights['{name}'] must be harness.Weights, got {one!r}")


@dataclass(frozen=True)
class Splits:
    """What a data set is: pairs of (inputs (N, ...), targets (N,)), and the number of classes (None: regression).

    A split that is too large for memory may be a map-style `torch.utils.data.Dataset` whose items are pairs (input,
    target) of tensors instead; then `fingerprints` says what identifies it.
    """

    train: tuple[torch.Tensor, torch.Tensor] | torch.utils.data.Dataset[Any]
    test: tuple[torch.Tensor, torch.Tensor] | torch.utils.data.Dataset[Any]
    classes: int | None
    class_names: tuple[str, ...] = ()
    fingerprints: tuple[str, str] | None = None
    """Of map-style splits, which nobody reads through to hash them: what changes when training or test examples do,
    such as the checksum of their archive. Splits in memory are hashed by harness."""


@dataclass(frozen=True)
class Dataset(_Described):
    """`load(root, **options) -> Splits`; `root` is the folder where data files may lie."""

    name: str
    load: Callable[..., Splits]
    kind: ClassVar[str] = "dataset"
    call: ClassVar[str] = "load"
    given: ClassVar[int] = 1


@dataclass(frozen=True)
class Loss(_Described):
    """`build(**options) -> f(outputs (N, K), targets (N,)) -> Tensor ()`, the mean over the N examples."""

    name: str
    build: Callable[..., Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]
    task: Task | None = None
    """The only task that it has a meaning for; None: both. Another one is refused before anything runs."""
    kind: ClassVar[str] = "loss"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_one_of(f"Loss '{self.name}'", "task", self.task, _TASKS)


@dataclass(frozen=True)
class Schedule(_Described):
    """`build(optimizer, steps, steps_per_epoch, **options) -> LRScheduler`, stepped after every training step.

    None in place of a scheduler leaves the learning rate as it is.
    """

    name: str
    build: Callable[..., torch.optim.lr_scheduler.LRScheduler | None]
    watches: str | None = None
    """The option that names a metric, for a schedule that follows one: its scheduler is stepped after every evaluation
    instead, as `step(value)`, with the metric on validation turned so that smaller is better."""
    kind: ClassVar[str] = "schedule"
    given: ClassVar[int] = 3


@dataclass(frozen=True)
class Augmentation(_Described):
    """`apply(images (B, C, H, W), draws (B, K), **options) -> images`: other images of the same shape and type.

    All chance comes from `draws`, K uniform numbers in [0, 1) for each image. They depend on the run's seed, the step
    and the example alone, so that neither its place in the batch nor a resume changes what becomes of an image.
    """

    name: str
    apply: Callable[..., torch.Tensor]
    draws: int = 1
    """K."""
    kind: ClassVar[str] = "augmentation"
    call: ClassVar[str] = "apply"
    given: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.draws, bool) or not isinstance(self.draws, int) or self.draws < 0:
            raise ValueError(f"Augmentation: draws must be a whole number of at least 0, got {self.draws!r}")
        if self.space:
            raise ValueError(f"Augmentation: its options are not tuned, got space for {', '.join(self.space)}")
        if self.name == "none":
            raise ValueError("Augmentation: 'none' stands for no augmentation in a suite; choose another name")


@dataclass(frozen=True)
class Predictions:
    """A whole split as a metric sees it: outputs (N, K), targets (N,), the problem's loss, the number of classes."""

    outputs: torch.Tensor
    targets: torch.Tensor
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    classes: int | None


@dataclass(frozen=True)
class Metric(_Described):
    """`apply(predictions, **options) -> float` over a whole split; `NotApplicable` where the split has no such number.

    A run that cannot be measured on validation or test fails with that reason; on the batches that it trained on the
    number is left out.
    """

    name: str
    apply: Callable[..., float | torch.Tensor]
    direction: Literal["maximize", "minimize"]
    unit: str = ""
    """`fraction` is shown in percent and its differences in percentage points (pp); else the unit as it is."""
    floor: float | Literal["chance"] | None = None
    """What a failed run counts as; `chance` is 1 / classes. None: one failure means no mean difference."""
    ceiling: float | None = None
    task: Task | None = None
    """The only task that it has a meaning for; None: both. Another one is refused before anything runs."""
    kind: ClassVar[str] = "metric"
    call: ClassVar[str] = "apply"
    given: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_one_of(f"Metric '{self.name}'", "direction", self.direction, ("maximize", "minimize"))
        _check_one_of(f"Metric '{self.name}'", "task", self.task, _TASKS)


@dataclass(frozen=True)
class Phase:
    """A stretch of training: `select(parameter)` gives its multiplier of the learning rate, None where it is frozen."""

    select: Callable[[Parameter], float | None]
    share: float = 1.0
    """Of the steps, relative to the shares of the other phases."""
    name: str = ""
    carry: bool = True
    """Parameters that trained in an earlier phase keep their optimizer state."""
    keep: bool = False
    """The state at the end of the phase is copied to `transfer.kept[name]`."""

    def __post_init__(self) -> None:
        if not callable(self.select):
            way = (
                f"; for one rate write Phase(lambda p: {self.select!r})" if isinstance(self.select, int | float) else ""
            )
            raise ValueError(f"Phase: select must be a function of a parameter, got {self.select!r}{way}")
        number = isinstance(self.share, int | float) and not isinstance(self.share, bool)
        if not (number and math.isfinite(self.share) and self.share >= 0):
            raise ValueError(f"Phase: share must be a finite number of at least 0, got {self.share!r}")
        if not isinstance(self.name, str):
            raise ValueError(f"Phase: name must be a word, got {self.name!r}")
        _check_bool("Phase", "carry", self.carry)
        _check_bool("Phase", "keep", self.keep)


@dataclass(frozen=True)
class Strategy(_Described):
    """Which parameter learns, how fast, in which phase; the runner owns everything else.

    The options of a strategy are its `defaults`; the callables read them from `transfer.options`.
    """

    name: str
    phases: Callable[[Transfer], list[Phase]]
    prepare: Callable[[Transfer], None] | None = None
    penalty: Callable[[Transfer], torch.Tensor] | None = None
    finish: Callable[[Transfer], None] | None = None
    start: Literal["source", "random"] = "source"
    weight_decay: bool = True
    exact: Callable[[Transfer], float] | None = None
    """Instead of taking steps, fit the head to its optimum on the features, with this penalty on its squared weights
    (`harness.strategies.exact`). Its one phase trains the head alone. Such an arm is not matched in steps, and every
    output says so."""
    kind: ClassVar[str] = "strategy"
    call: ClassVar[str] = "phases"
    given: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        place = f"Strategy '{self.name}'"
        for hook in ("prepare", "penalty", "finish", "exact"):
            if getattr(self, hook) is not None:
                _check_callable(place, hook, getattr(self, hook))
        _check_one_of(place, "start", self.start, ("source", "random"))
        _check_bool(place, "weight_decay", self.weight_decay)


@dataclass(frozen=True)
class Executor(_Described):
    """`build(settings, **options) -> harness.execute.Evaluator`: where runs happen; it changes no result and no id.

    `settings` is a `harness.execute.Settings`. The coordinator calls it, so its module imports nothing heavy.
    """

    name: str
    build: Callable[..., Evaluator]
    kind: ClassVar[str] = "executor"
    given: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.space:
            raise ValueError(f"Executor: where runs happen is not tuned, got space for {', '.join(self.space)}")


class NotApplicable(Exception):
    """Raised by a strategy that has no meaning on a model, or a metric that has none on a split; says why in words."""


Part = Optimizer | Model | Dataset | Loss | Schedule | Augmentation | Metric | Strategy | Executor
PART_TYPES: tuple[type[Part], ...] = (
    Optimizer,
    Model,
    Dataset,
    Loss,
    Schedule,
    Augmentation,
    Metric,
    Strategy,
    Executor,
)
KINDS: tuple[str, ...] = tuple(part.kind for part in PART_TYPES)


def plural(kind: str) -> str:
    """The kind as hooks and `harness list` spell it: `losses`, `strategies`, `optimizers`."""
    return {"loss": "losses", "strategy": "strategies"}.get(kind, f"{kind}s")


# Hooks ---------------------------------------------------------------------------------------------------------------


@hookspec
def harness_models() -> list[Model]:  # type: ignore[empty-body]
    """Networks."""


@hookspec
def harness_optimizers() -> list[Optimizer]:  # type: ignore[empty-body]
    """Update rules."""


@hookspec
def harness_strategies() -> list[Strategy]:  # type: ignore[empty-body]
    """Ways to fine-tune: which parameter learns, how fast, in which phase."""


@hookspec
def harness_datasets() -> list[Dataset]:  # type: ignore[empty-body]
    """Data sets with a training and a test split."""


@hookspec
def harness_losses() -> list[Loss]:  # type: ignore[empty-body]
    """What training minimises."""


@hookspec
def harness_schedules() -> list[Schedule]:  # type: ignore[empty-body]
    """The learning rate over the steps of a run."""


@hookspec
def harness_augmentations() -> list[Augmentation]:  # type: ignore[empty-body]
    """Other images from training images."""


@hookspec
def harness_metrics() -> list[Metric]:  # type: ignore[empty-body]
    """What is measured on a split, and which way is better."""


@hookspec
def harness_executors() -> list[Executor]:  # type: ignore[empty-body]
    """Where runs happen."""


HOOKS: dict[str, type[Part]] = {f"harness_{plural(part.kind)}": part for part in PART_TYPES}


def part_fields(part: Part) -> Iterator[tuple[str, Any]]:
    """Field names and values of a part, callables included."""
    for spec in dataclasses.fields(part):
        yield spec.name, getattr(part, spec.name)
