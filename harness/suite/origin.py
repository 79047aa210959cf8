"""[source]: what a network is trained on, or which published weights it has, before it comes to a suite's problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness import published
from harness.diagnostics import Place, quote
from harness.hookspecs import Plain
from harness.registry.catalog import Origin, PartInfo, few_names
from harness.suite import schema
from harness.suite.parts import Chosen, Parts, did_you_mean
from harness.suite.source import MISSING, Reading
from harness.toml.scan import Path

SOURCE: Path = ("source",)
REPEATS = 3
"""Label subsets that a trial is scored on where the suite says nothing: nothing is tuned to one draw of images."""
INHERITED = ("loss", "optimizer", "schedule")
"""Parts beside the model that are the problem's where [source] names none."""
_TRAINING_KEYS = ("dataset", "loss", "optimizer", "schedule", "train_examples", "epochs", "steps", "batch_size")


@dataclass(frozen=True)
class Origins:
    """What the networks of one setting come from: a problem of its own, with every default filled in."""

    values: dict[str, Plain]
    """By key of [problem]; of published weights `model` alone."""
    origins: dict[str, Origin] = field(default_factory=dict)
    """Where the part of each kind comes from."""
    places: Mapping[str, Place] = field(default_factory=dict, compare=False, repr=False)
    """By kind of part where the value stands that counts, and under "" that of [source]."""


@dataclass(frozen=True)
class SuiteSource:
    """[source] of a suite."""

    replicates: int
    """Checkpoints S; replicate r starts from checkpoint r mod S."""
    dataset: str = ""
    """Name of the source data set; empty for published weights."""
    weights: str | None = None
    """Name of the published weights."""


def asked(reading: Reading) -> bool:
    """Whether the suite moves networks from a source."""
    return isinstance(reading.source.at(SOURCE), dict)


def trained(reading: Reading) -> bool:
    """Whether the source is trained, and no published weights."""
    return asked(reading) and reading.source.at((*SOURCE, "weights")) is MISSING


def read(reading: Reading, replicates: int) -> SuiteSource | None:
    """[source] as a whole; None where the suite has none."""
    if not asked(reading):
        return None
    weights = reading.get((*SOURCE, "weights"), None)
    dataset = reading.get((*SOURCE, "dataset"), "")
    name = dataset.get("use", "") if isinstance(dataset, dict) else dataset
    checkpoints = 1 if weights else reading.get((*SOURCE, "replicates"), None) or replicates
    return SuiteSource(int(checkpoints), str(name), weights)


def origins(reading: Reading, parts: Parts, model: Sequence[Path]) -> Origins | None:
    """What one setting's networks come from; `model` says where its model has values, the last one counting."""
    if not asked(reading):
        return None
    layers: dict[str, tuple[Path, ...]] = {"model": _there(reading, *model, (*SOURCE, "model")), "strategy": ()}
    fits = _same_model(reading, parts, model, layers["model"])
    if reading.get((*SOURCE, "weights"), None):
        chosen = parts.choose("model", layers["model"]) if fits else None
        if chosen is None or not _has_weights(reading, chosen.info):
            return None
        return Origins({"model": {"use": chosen.use, **chosen.values}}, places=_places(reading, layers))
    layers["dataset"] = _there(reading, (*SOURCE, "dataset"))
    for kind in INHERITED:
        layers[kind] = _there(reading, ("problem", kind), (*SOURCE, kind))
    if not layers["dataset"]:
        return None
    found = {kind: parts.choose(kind, layers[kind]) for kind in schema.PART_KEYS}
    there = {kind: part for kind, part in found.items() if part is not None}
    alone = "schedule" in there and _runs_by_itself(reading, there["schedule"], layers["schedule"])
    if not fits or not alone or len(there) < len(found):
        return None
    values: dict[str, Plain] = {kind: {"use": part.use, **part.values} for kind, part in there.items()}
    where = {kind: part.info.origin for kind, part in there.items()}
    return Origins(values | _numbers(reading), where, _places(reading, layers))


def _places(reading: Reading, layers: Mapping[str, Sequence[Path]]) -> dict[str, Place]:
    """Of parts where they stand; for the whole what it is made of first, the model's value in [source] or the data."""
    found = {kind: reading.source.value(paths[-1]) for kind, paths in layers.items() if paths}
    heads: list[Path] = [(*SOURCE, key) for key in ("model", "dataset", "weights")]
    return {**found, "": reading.source.value(next(iter(_there(reading, *heads)), SOURCE))}


def _same_model(reading: Reading, parts: Parts, target: Sequence[Path], source: tuple[Path, ...]) -> bool:
    """Whether both are one model, whatever its options; a mistake, if not: weights fit no other."""
    here, there = parts.choose("model", tuple(target)), parts.choose("model", source)
    if here is None or there is None or here.use == there.use:
        return here is not None and there is not None
    message = f"[source] model: '{there.use}' is trained, and its weights would go into '{here.use}'"
    cure = "leave model out of [source], or give it options without 'use'"
    reading.add("conflict", message, reading.source.value(source[-1]), help=cure)
    return False


def _runs_by_itself(reading: Reading, schedule: Chosen, layers: Sequence[Path]) -> bool:
    """Whether the schedule follows no metric; a mistake, if it does: a source run keeps nothing for validation."""
    if schedule.info.extra.get("watches") is None:
        return True
    message = f"[source] schedule: '{schedule.use}' follows a metric on validation, and source runs have none"
    cure = 'write schedule = "constant" in [source], or another one that follows none'
    reading.add("conflict", message, reading.source.value(layers[-1]), help=cure)
    return False


def _has_weights(reading: Reading, model: PartInfo) -> bool:
    """Whether the model has published weights of that name; a mistake, if not."""
    path: Path = (*SOURCE, "weights")
    name, known = str(reading.source.at(path)), published.names(model)
    if name not in known and reading.source.at((*SOURCE, "dataset")) is MISSING:
        message = f"[source] weights: model '{model.name}' has no weights named {quote(name)}"
        place, allowed = reading.source.value(path), few_names(name, known) if known else "none: it has no such weights"
        reading.add("unknown-name", message, place, allowed=allowed, help=did_you_mean(name, known))
    return name in known


def _there(reading: Reading, *paths: Path) -> tuple[Path, ...]:
    return tuple(path for path in paths if reading.source.at(path) is not MISSING)


def _numbers(reading: Reading) -> dict[str, Plain]:
    """Budget and sizes: a source run sees all examples but those of the test set, and keeps none for validation."""
    fields = schema.Problem.model_fields
    given = {key: reading.get((*SOURCE, key), None) for key in ("train_examples", "epochs", "steps", "batch_size")}
    shared = {key: reading.get(("problem", key), fields[key].default) for key in ("batch_size", "precision")}
    if given["epochs"] is None and given["steps"] is None:
        given["epochs"] = schema.DEFAULT_EPOCHS
    return {
        **given,
        "validation_examples": 0,
        "batch_size": given["batch_size"] or shared["batch_size"],
        "precision": shared["precision"],
    }


def check(reading: Reading, settings: Sequence[Mapping[str, Any]]) -> None:
    """Report what contradicts in [source], and what next to it has no meaning."""
    if not asked(reading):
        _check_unused(reading)
        return
    _check_kind(reading)
    _check_checkpoints(reading)
    _check_epoch(reading)
    if reading.source.at(("problem", "folds")) is not MISSING:
        places = reading.source.key(("problem", "folds")), reading.source.key(SOURCE, "and here")
        reading.add("conflict", "folds and [source] cannot be had together", *places, help="leave one of them out")
    if any("early_stopping" in values for values in settings):
        message = "early_stopping next to [source]: phases of a strategy have their steps by contract"
        stands = [reading.source.key(path) for path in _standing(reading, "early_stopping")[:1]]
        stands.append(reading.source.key(SOURCE, "and here"))
        reading.add("conflict", message, *stands, help="leave early_stopping out")


def _check_unused(reading: Reading) -> None:
    for path in _standing(reading, "head_init"):
        message = "head_init without [source]: no head is replaced"
        reading.add("conflict", message, reading.source.key(path), help="write [source], or leave head_init out")


def _standing(reading: Reading, key: str) -> list[Path]:
    """Where the suite has that key of a problem."""
    arms = reading.get(("arm",), [])
    tables: list[Path] = [("problem",), ("problems",), ("arms",)]
    tables += [("arm", index) for index in range(len(arms)) if isinstance(arms, list)]
    return [(*table, key) for table in tables if reading.source.at((*table, key)) is not MISSING]


def _check_kind(reading: Reading) -> None:
    """A data set to train on, or published weights."""
    weights: Path = (*SOURCE, "weights")
    if reading.source.at(weights) is MISSING:
        if reading.source.at((*SOURCE, "dataset")) is MISSING and reading.sound(SOURCE):
            message = "[source] lacks the key 'dataset': what the networks are trained on first"
            cure = 'write dataset = "..." in [source], or weights = "..." for published weights'
            reading.add("missing-key", message, reading.source.value(SOURCE), help=cure)
        epochs, steps = (*SOURCE, "epochs"), (*SOURCE, "steps")
        if reading.source.at(epochs) is not MISSING and reading.source.at(steps) is not MISSING:
            places = reading.source.key(steps), reading.source.key(epochs, "and here")
            message = "[source] has both epochs and steps; exactly one sets the budget"
            reading.add("conflict", message, *places, help="leave one of them out")
        return
    for key in _TRAINING_KEYS:
        if reading.source.at((*SOURCE, key)) is not MISSING:
            places = reading.source.key((*SOURCE, key)), reading.source.key(weights, "and here")
            message = f"[source] has weights and {key}: published weights are not trained here"
            reading.add("conflict", message, *places, help="leave one of them out")


def _check_checkpoints(reading: Reading) -> None:
    path: Path = (*SOURCE, "replicates")
    checkpoints, replicates = reading.get(path, None), reading.get(("compare", "replicates"), 5)
    if checkpoints is None or not reading.sound(("compare", "replicates")):
        return
    if checkpoints > 1 and reading.source.at((*SOURCE, "weights")) is not MISSING:
        reading.refuse(path, "conflict", "published weights are one checkpoint", allowed="1")
    elif checkpoints > replicates:
        message = f"{checkpoints} checkpoints, and only {replicates} replicates that start from them"
        reading.refuse(path, "out-of-range", message, allowed=f"1 .. {replicates}")
    elif replicates % checkpoints:
        message = f"{replicates} replicates cannot start from {checkpoints} checkpoints equally often"
        allowed = ", ".join(str(number) for number in range(1, replicates + 1) if replicates % number == 0)
        reading.refuse(path, "conflict", message, allowed=allowed)


def _check_epoch(reading: Reading) -> None:
    path: Path = ("compare", "epoch")
    if reading.get(path, "last") != "last":
        message = "next to [source] runs end with their last step, since a strategy finishes once, at the end"
        reading.refuse(path, "conflict", message, allowed="last")


def default_repeats(reading: Reading) -> int:
    """Runs a trial, where the suite does not say."""
    return REPEATS if asked(reading) else 1


def transfer_values(reading: Reading, paths: Mapping[str, Path]) -> dict[str, Plain]:
    """How a network is moved, with defaults only where there is something to move."""
    given = {key: reading.get(paths[key], default) for key, default in schema.TRANSFER.items() if key in paths}
    return {**schema.TRANSFER, **given} if asked(reading) else given
