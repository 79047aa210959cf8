"""How many examples each run trains on, validates on and is tested on, and whether the data set has as many."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.diagnostics import Mistake
from harness.fitting import place

if TYPE_CHECKING:
    from harness.plan import DataFacts, Plan
    from harness.suite import Setting, Suite


def balanced_shares(examples: int, classes: int) -> list[int]:
    """How many of so many examples each class has: equal numbers, the first classes one more where it does not come out
    even."""
    return [examples // classes + (label < examples % classes) for label in range(classes)]


def within(labels: int, share: float) -> int:
    """How many of so many labels of a class validate: that share, at least 1, and at least 1 is left to train on."""
    return min(max(1, math.floor(share * labels + 0.5)), labels - 1)


def by_class(facts: DataFacts, folds: int | None) -> list[int]:
    """Examples of each class that a run may train or validate on; in folds without those of the largest one."""
    return [count - math.ceil(count / folds) if folds else count for count in facts.class_counts or ()]


def validated(values: Mapping[str, Any], facts: DataFacts, folds: int | None, *, tunes: bool) -> int:
    """Validation examples of a run that tunes, or of a final one."""
    share, labels = values.get("validation_within"), values.get("labels_per_class")
    if share is None:
        return int(values["validation_examples"])
    each = by_class(facts, folds) if labels == "all" else [int(labels or 0)] * (facts.classes or 0)
    return sum(within(count, share) for count in each) if tunes else 0


def used(values: Mapping[str, Any], facts: DataFacts, pool: int) -> int:
    """Examples that a final run trains on."""
    labels = values.get("labels_per_class")
    if labels not in (None, "all"):
        return int(labels) * (facts.classes or 1)
    return int(values["train_examples"] or pool - values["validation_examples"])


def validation_in_words(settings: Iterable[Mapping[str, Any]], *, tunes: bool) -> str:
    """How a part of the labels validates, `20 % of the labels (2 of 10) validate in tuning runs, ...`; or nothing.

    `settings` are the values of each (problem, arm).
    """
    known = [values for values in settings if "validation_within" in values]
    if not known:
        return ""
    if not tunes:
        return "nothing validates, since nothing is tuned; runs train on all their labels"
    parts: dict[float, dict[int, str]] = {}
    for values in known:
        share, labels = float(values["validation_within"]), values.get("labels_per_class")
        counts = parts.setdefault(share, {})
        if isinstance(labels, int):
            counts[labels] = f"{within(labels, share):,} of {labels:,}"
    shares = [
        f"{100 * share:g} % of the labels" + (f" ({', '.join(of.values())} a class)" if of else "")
        for share, of in parts.items()
    ]
    return (
        f"{' or '.join(shares)} validate in tuning runs, which train on the others; final runs train on all their "
        "labels and have no validation set"
    )


@dataclass(frozen=True)
class Shared:
    """A label budget for which the blocks of a class are too small: final runs have labels that trials have seen."""

    problem: str
    labels: int | str
    block: int
    """Labels of the smallest class in one of the equal blocks."""
    of: int
    """So many blocks: one for the final runs, one for each repeat of a trial."""
    within: bool
    """Whether a part of the labels validates."""

    def __str__(self) -> str:
        """Who shares what, as a sentence without its full stop."""
        number = "all" if self.labels == "all" else f"{self.labels:,}"
        differ = "and by which of them validate" if self.within else "alone"
        return (
            f"{self.problem}: {number} labels a class are more than one of {self.of} blocks has ({self.block:,}), so "
            f"tuning and final runs share them, and repeats differ by their seeds {differ}"
        )


def shared(plan: Plan) -> list[Shared]:
    """The problems whose label budgets are larger than a block."""
    suite, found = plan.suite, {}
    for setting in suite.settings:
        values, facts = setting.values, plan.facts[setting.problem]
        labels: Any = values.get("labels_per_class")
        if labels is None or not suite.tuning.trials or facts.class_counts is None:
            continue
        there, of = by_class(facts, suite.compare.folds), suite.tuning.repeats + 1
        shares = balanced_shares(int(values["validation_examples"]), len(there))  # type: ignore[arg-type]
        block = min((count - share) // of for count, share in zip(there, shares, strict=True))
        if labels == "all" or labels > block:
            found[setting.problem] = Shared(setting.problem, labels, block, of, "validation_within" in values)
    return list(found.values())


def mistakes(plan: Plan) -> Iterator[Mistake]:
    """More examples asked for than there are."""
    for setting in plan.suite.settings:
        facts = plan.facts[setting.problem]
        found = list(_fold_mistakes(plan, setting, facts)) or list(_label_mistakes(plan, setting, facts))
        yield from found or _example_mistakes(plan, setting, facts)
        if setting.source is not None and plan.source_facts is not None:
            yield from _source_mistakes(plan.suite, setting.source.values, plan.source_facts)


def _source_mistakes(suite: Suite, values: Mapping[str, Any], facts: DataFacts) -> Iterator[Mistake]:
    """Of what networks are trained on first, which keeps nothing for validation."""
    train, batch, name = values["train_examples"], values["batch_size"], values["dataset"]["use"]
    if train is not None and train > facts.train:
        allowed = f"1 to {facts.train}: '{name}' has {facts.train} training examples"
        yield _too_many(suite, "train_examples", train, allowed, of_source=True)
    elif batch > (size := used(values, facts, facts.train)):
        allowed = f"1 to {size}, the size of the training set of [source]"
        yield _too_many(suite, "batch_size", batch, allowed, of_source=True)


def _example_mistakes(plan: Plan, setting: Setting, facts: DataFacts) -> Iterator[Mistake]:
    values: Mapping[str, Any] = setting.values
    validation, train, pool = values["validation_examples"], values["train_examples"], plan.pool(setting.problem)
    left, name = pool - validation, values["dataset"]["use"]
    has = f"'{name}' has {pool} training examples" + (" outside a fold" if plan.suite.compare.folds else "")
    if left < 1:
        yield _too_many(plan.suite, "validation_examples", validation, f"1 to {pool - 1}: {has} in all")
    elif train is not None and train > left:
        yield _too_many(plan.suite, "train_examples", train, f"1 to {left}: {has}, {validation} are for validation")
    else:
        yield from _batch_mistakes(plan, setting, facts)


def _fold_mistakes(plan: Plan, setting: Setting, facts: DataFacts) -> Iterator[Mistake]:
    """Each fold needs an example of each class, and each class one outside it."""
    folds, name = plan.suite.compare.folds, setting.values["dataset"]["use"]  # type: ignore[index,call-overload]
    if folds is None:
        return
    if facts.classes is not None and facts.class_counts is None:
        message = f"folds need a data set in memory, and '{name}' is not"
        yield Mistake("conflict", message, (place(plan.suite, ("problem", "folds")),), help="leave folds out")
        return
    counts = facts.class_counts or (facts.train,)
    smallest = min(range(len(counts)), key=counts.__getitem__)
    if folds > counts[smallest]:
        whose = f"class {_class_name(facts, smallest)} of" if facts.class_counts else ""
        allowed = f"2 to {counts[smallest]}: {whose} '{name}' has {counts[smallest]} training examples".replace(
            "  ", " "
        )
        yield _too_many(plan.suite, "folds", folds, allowed)


def _label_mistakes(plan: Plan, setting: Setting, facts: DataFacts) -> Iterator[Mistake]:
    """A label budget must be had in every class, beside the examples for validation."""
    values: Mapping[str, Any] = setting.values
    labels, name = values.get("labels_per_class"), values["dataset"]["use"]
    if labels is None:
        return
    if facts.classes is None or facts.class_counts is None:
        why = "is a regression" if facts.classes is None else "is not in memory"
        message = f"labels_per_class needs a data set with classes in memory, and '{name}' {why}"
        where = place(plan.suite, ("problem", "labels_per_class"), ("problems", "labels_per_class"))
        yield Mistake("conflict", message, (where,), help="write train_examples instead")
        return
    there = by_class(facts, plan.suite.compare.folds)
    validation = values["validation_examples"]
    if "validation_within" not in values and validation < facts.classes:
        yield _too_few(plan.suite, validation, facts.classes)
        return
    shares = balanced_shares(validation, facts.classes)
    left = [count - share for count, share in zip(there, shares, strict=True)]
    fewest = min(range(len(left)), key=left.__getitem__)
    said = f"class {_class_name(facts, fewest)} of '{name}' has {there[fewest]} training examples"
    if left[fewest] < 1:
        most = min(there) * facts.classes - facts.classes
        yield _too_many(plan.suite, "validation_examples", validation, f"{facts.classes} to {most}: {said}")
    elif labels != "all" and labels > left[fewest]:
        beside = "" if "validation_within" in values else f", {shares[fewest]} are for validation"
        yield _too_many(plan.suite, "labels_per_class", labels, f'1 to {left[fewest]}, or "all": {said}{beside}')
    elif there[fewest] < 2 and "validation_within" in values and plan.suite.tuning.trials:
        message = f"validation_within needs 2 labels a class, one to train and one to validate on: {said}"
        where = place(plan.suite, ("problem", "validation_within"), ("problems", "validation_within"))
        yield Mistake("conflict", message, (where,), help="write validation_examples instead, or leave the class out")
    else:
        yield from _batch_mistakes(plan, setting, facts)


def _too_few(suite: Suite, validation: int, classes: int) -> Mistake:
    """Next to a label budget validation examples are of all classes alike."""
    message = f"validation_examples is {validation}, fewer than one of each class next to labels_per_class"
    where = place(suite, ("problem", "validation_examples"), ("problems", "validation_examples"))
    return Mistake("out-of-range", message, (where,), allowed=f"{classes} or more, the number of classes")


def _batch_mistakes(plan: Plan, setting: Setting, facts: DataFacts) -> Iterator[Mistake]:
    """A batch holds no example twice, in tuning runs neither, where a part of the labels validates."""
    values: Mapping[str, Any] = setting.values
    size, what = used(values, facts, plan.pool(setting.problem)), "the training set"
    if "validation_within" in values and plan.suite.tuning.trials:
        size -= validated(values, facts, plan.suite.compare.folds, tunes=True)
        what = "what tuning runs train on"
    if values["batch_size"] > size:
        yield _too_many(plan.suite, "batch_size", values["batch_size"], f"1 to {size}, the size of {what}")


def _class_name(facts: DataFacts, label: int) -> str:
    return repr(facts.class_names[label]) if facts.class_names else str(label)


def _too_many(suite: Suite, key: str, found: int, allowed: str, *, of_source: bool = False) -> Mistake:
    """The mistake, at the key where the file has it, else at the file."""
    tables = (*([("source",)] if of_source else []), ("problem",), ("problems",))
    message = f"{'[source] ' if of_source else ''}{key} is {found}, more than there are"
    return Mistake("out-of-range", message, (place(suite, *((*table, key) for table in tables)),), allowed=allowed)
