"""The scope box: what the answer covers, made from what was really done."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.report import labels
from harness.report.starts import finetuned
from harness.report.view import View, no_unit
from harness.report.wording import held
from harness.suite.checks import unmatched
from harness.verdict.format import count, listed
from harness.verdict.judgement import averaged_over, checkpoints_of

if TYPE_CHECKING:
    from harness.suite import Setting

SIZES = ("train_examples", "validation_examples", "validation_within")
MOST_ARMS = 12
"""Up to so many are told one by one."""


def scope(view: View) -> list[tuple[str, str]]:
    """What the answer covers, as terms and descriptions."""
    compare, measure = view.suite.compare, view.measure
    better = "higher is better" if measure.sign > 0 else "lower is better"
    unit = {"fraction": "in percent, differences in percentage points (pp)", "": no_unit(measure)}
    of_values = {"mse": "in the square of the target's unit", "mae": "in the unit of the target"}
    units = of_values.get(measure.name) or unit.get(measure.unit, f"in {measure.unit}")
    also = [held(view.measure_of(metric.name).words, dict(metric.options), ()) for metric in view.suite.also]
    found = [
        ("Problems" if len(view.problems) > 1 else "Problem", listed(view.problems)),
        ("Compared", f"{count(len(view.arms), 'arm')}: {listed(view.arms)}; baseline {view.baseline}"),
        *finetuned(view),
        ("Validated on", labels.validated(view)),
        ("Label blocks", labels.shared(view)),
        ("Arms", _arms(view)),
        ("Held equal", _held_equal(view)),
        ("Metric", f"test {measure.words} ({better}), {units}"),
        ("Also measured", listed(also) if also else ""),
        ("Margin", measure.margin(compare.margin) if compare.margin is not None else "none declared"),
        ("Split", _split(view)),
        ("Tuning", _tuning(view)),
        ("Varied between replicates", _varied(view)),
        ("Not varied", _fixed(view)),
        ("Steps", unmatched(view.suite.stepless).removesuffix(".")),
        ("Unit of n", f"{_unit_of_n(view)}; {_planned(view)} planned"),
        ("Runs", _runs(view)),
    ]
    return [(term, text) for term, text in found if text]


def _unit_of_n(view: View) -> str:
    if (shared := averaged_over(checkpoints_of(view.suite), replicates=view.suite.compare.replicates)) is not None:
        each = count(view.suite.compare.replicates // shared, "replicate")
        return f"one source checkpoint: the mean of its {each}"
    if view.suite.compare.claim == "setting":
        return "one final run: its own split and seeds"
    if view.suite.compare.folds is not None:
        return f"one fold of a stratified cross-validation{', with its own tuning study' if tuned_anew(view) else ''}"
    return f"one replicate: its own split{', tuning study' if tuned_anew(view) else ''} and seeds"


def _planned(view: View) -> str:
    replicates = view.suite.compare.replicates
    shared = averaged_over(checkpoints_of(view.suite), replicates=replicates)
    return str(replicates) if shared is None else f"{count(shared, 'checkpoint')} with {replicates} replicates"


def _searched(view: View) -> set[str]:
    """What studies choose, by dotted option or key."""
    return {name for setting in view.suite.settings for name in setting.space} if view.suite.tuning.trials else set()


def _arms(view: View) -> str:
    """What each arm is, where it differs from others: `text: optimizer sgd (lr 0.001); code: optimizer momentum`."""
    first = [setting for setting in view.suite.settings if setting.problem == view.problems[0]]
    names = list(dict.fromkeys(name for setting in first for name in setting.values))
    differing = [name for name in names if any(s.values.get(name) != first[0].values.get(name) for s in first)]
    if len(first) < 2 or len(first) > MOST_ARMS or not differing:
        return ""
    return "; ".join(f"{setting.arm}: {_patch(setting, first, differing, _searched(view))}" for setting in first)


def _patch(setting: Setting, every: Sequence[Setting], names: Sequence[str], searched: Collection[str]) -> str:
    """The values of one arm that some other arm does not have."""
    texts = []
    for name in names:
        value, values = setting.values.get(name), [other.values.get(name) for other in every]
        if isinstance(value, dict):
            same = _same_options(values)
            value = {option: chosen for option, chosen in value.items() if option not in same}
        if value is not None:
            texts.append(held(name, value, searched))
    return ", ".join(texts) or "without"


def _same_options(values: Sequence[Any]) -> dict[str, Any]:
    """The part and the options that all of these tables have, where they name one part; else nothing."""
    if not all(isinstance(value, dict) for value in values) or len({value.get("use") for value in values}) > 1:
        return {}
    return {name: value for name, value in values[0].items() if all(other.get(name) == value for other in values)}


def _held_equal(view: View) -> str:
    """Values that are the same in every arm of every problem, and that no study searches."""
    every, searched = [setting.values for setting in view.suite.settings], _searched(view)
    texts = []
    for name in every[0] if every else ():
        values = [setting.get(name) for setting in every]
        same = values[0] if all(value == values[0] for value in values) else _same_options(values)
        if name not in SIZES and name not in searched and same not in (None, {}):
            texts.append(held(name, same, searched))
    return ", ".join(texts)


def _split(view: View) -> str:
    """Sizes of the training, validation and test splits."""
    values: Mapping[str, Any] = next((setting.values for setting in view.suite.settings), {})
    texts = []
    asked: set[Any] = {setting.values.get("train_examples") for setting in view.suite.settings}
    if None not in asked:
        texts.append(f"{listed([f'{size:,}' for size in sorted(asked)], 'or')} training examples")
    if values.get("validation_examples"):
        texts.append(f"{values['validation_examples']:,} validation examples, drawn anew in each replicate")
    sizes = sorted({int(size) for size in view.findings.finals["n_examples"].dropna()})
    shown, folds = " or ".join(f"{size:,}" for size in sizes), view.suite.compare.folds
    if sizes and folds is not None:
        texts.append(f"tested on a fold of about {shown} training examples, each example in one of the {folds} folds")
    elif sizes:
        texts.append(f"{shown} test examples, the same in all runs")
    rule = view.suite.compare.epoch
    when = "at the epoch that was best on validation" if rule == "best_validation" else "after its last step"
    if any("early_stopping" in setting.values for setting in view.suite.settings):
        when += ", where early stopping does not choose it by its own metric"
    return "; ".join([*texts, f"the test set is read once per final run, {when}"])


def _tuning(view: View) -> str:
    tuning = view.suite.tuning
    if not tuning.trials:
        return "none: every arm as the suite gives it, else at its parts' defaults"
    pruner = "" if tuning.pruner == "none" else f", {tuning.pruner} pruner"
    repeats = f" of {tuning.repeats} runs" if tuning.repeats > 1 else ""
    return (
        f"{count(tuning.trials, 'trial')}{repeats} per arm and replicate, the same for all arms; "
        f"{tuning.sampler} sampler{pruner}; chosen on validation"
    )


def tuned_anew(view: View) -> bool:
    """Whether each replicate had a study of its own."""
    return bool(view.suite.tuning.trials) and view.suite.compare.claim == "method"


def _varied(view: View) -> str:
    study = ["the tuning study and the setting it chose"] if tuned_anew(view) else []
    dropout = ["dropout"] if any(_drops(setting) for setting in view.suite.settings) else []
    augmentation = ["augmentation"] if any("augmentation" in s.values for s in view.suite.settings) else []
    chance = [*augmentation, *dropout]
    source = ["the source checkpoint"] if (checkpoints_of(view.suite) or 1) > 1 else []
    return ", ".join(
        [*source, "training and validation split", *study, "initial weights", "order of examples", *chance]
    )


def _drops(setting: Setting) -> bool:
    model = setting.values.get("model")
    return "model.dropout" in setting.space or bool(isinstance(model, dict) and model.get("dropout"))


def _fixed(view: View) -> str:
    study = "" if tuned_anew(view) or not view.suite.tuning.trials else ", the tuning study"
    tested = "the data that the folds are of" if view.suite.compare.folds is not None else "the test set"
    source = ", the source checkpoint" if checkpoints_of(view.suite) == 1 else ""
    return f"{tested}{source}, the machine{study}: no interval covers these"


def _runs(view: View) -> str:
    counts = view.findings.counts
    texts = [
        f"{counts[name]:,} {name.replace('_', ' ')}"
        for name in ("ok", "pruned", "not_applicable", "failed", "missing")
        if counts.get(name) or name == "ok"
    ]
    return f"{count(counts['planned'], 'run')} planned: {', '.join(texts)}"
