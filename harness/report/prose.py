"""The scope box and the methods paragraph, made from what was really done."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.report import labels
from harness.report.starts import finetuned
from harness.report.view import UNTUNED, View, no_unit
from harness.report.wording import held
from harness.suite.checks import unmatched
from harness.verdict.format import count, listed, percent
from harness.verdict.judgement import averaged_over, checkpoints_of
from harness.verdict.words import CHECKPOINTS

if TYPE_CHECKING:
    from harness.suite import Setting

SIZES = ("train_examples", "validation_examples", "validation_within")
MOST_ARMS = 12
"""Up to so many are told one by one."""
SAMPLERS = {
    "random": "random search",
    "qmc": "quasi-random search",
    "tpe": "a tree-structured Parzen estimator",
    "gp": "a Gaussian process",
}
"""How each sampler proposes its trials; all are Optuna's."""
REFERENCES = {
    "bouthillier": (
        "Bouthillier et al. 2021, Accounting for variance in machine learning benchmarks",
        "https://arxiv.org/abs/2103.03098",
    ),
    "dewinter": ("de Winter 2013, Using the Student's t-test with extremely small sample sizes", ""),
    "colas": ("Colas et al. 2018, How many random seeds?", "https://arxiv.org/abs/1806.08295"),
    "nadeau": ("Nadeau and Bengio 2003, Inference for the generalization error", ""),
    "sivaprasad": (
        "Sivaprasad et al. 2020, Optimizer benchmarking needs to account for hyperparameter tuning",
        "https://arxiv.org/abs/1910.11758",
    ),
    "choi": (
        "Choi et al. 2019, On empirical comparisons of optimizers for deep learning",
        "https://arxiv.org/abs/1910.05446",
    ),
    "optuna": (
        "Akiba et al. 2019, Optuna: a next-generation hyperparameter optimization framework",
        "https://arxiv.org/abs/1907.10902",
    ),
    "fawcett": ("Fawcett 2006, An introduction to ROC analysis", ""),
    "simonyan": (
        "Simonyan et al. 2014, Deep inside convolutional networks: visualising image classification models and "
        "saliency maps",
        "https://arxiv.org/abs/1312.6034",
    ),
    "random": ("Bergstra and Bengio 2012, Random search for hyper-parameter optimization", ""),
    "qmc": (
        "Bousquet et al. 2017, Critical hyper-parameters: no random, no cry",
        "https://arxiv.org/abs/1706.03200",
    ),
    "tpe": (
        "Watanabe 2023, Tree-structured Parzen estimator: understanding its algorithm components",
        "https://arxiv.org/abs/2304.11127",
    ),
    "gp": (
        "Snoek et al. 2012, Practical Bayesian optimization of machine learning algorithms",
        "https://arxiv.org/abs/1206.2944",
    ),
}


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


def detail(view: View) -> str:
    """Whose mistakes are shown, and why."""
    chosen = {problem: view.detail_arm(problem) for problem in view.problems}
    same = len(set(chosen.values())) == 1
    arms = next(iter(chosen.values())) if same else listed([f"{arm} on {problem}" for problem, arm in chosen.items()])
    why = (
        "as the suite asks"
        if view.suite.report.arm is not None
        else f"the best{' of its problem' if len(view.problems) > 1 else ''} by mean test {view.measure.words}"
    )
    return f"Shown of one arm: {arms}, {why}. The final runs are those of the main setting ({view.main_setting})."


def _unit_of_n(view: View) -> str:
    if (shared := averaged_over(checkpoints_of(view.suite), replicates=view.suite.compare.replicates)) is not None:
        each = count(view.suite.compare.replicates // shared, "replicate")
        return f"one source checkpoint: the mean of its {each}"
    if view.suite.compare.claim == "setting":
        return "one final run: its own split and seeds"
    if view.suite.compare.folds is not None:
        return f"one fold of a stratified cross-validation{', with its own tuning study' if _tuned_anew(view) else ''}"
    return f"one replicate: its own split{', tuning study' if _tuned_anew(view) else ''} and seeds"


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


def _tuned_anew(view: View) -> bool:
    return bool(view.suite.tuning.trials) and view.suite.compare.claim == "method"


def _varied(view: View) -> str:
    study = ["the tuning study and the setting it chose"] if _tuned_anew(view) else []
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
    study = "" if _tuned_anew(view) or not view.suite.tuning.trials else ", the tuning study"
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


def methods(view: View) -> str:
    """What was computed, as a paragraph for a paper."""
    return " ".join(filter(None, [_design(view), _intervals(view), _adjustment(view), _tests(view), _failures(view)]))


def _design(view: View) -> str:
    compare = view.suite.compare
    parts = [
        f"{count(len(view.arms), 'arm')} on {count(len(view.problems), 'problem')} in "
        f"{count(compare.replicates, 'replicate')}.",
        "Arms of a replicate share what the seed decides (split, order of examples, and initial weights where the "
        "model is the same), so they are paired."
        if len(view.arms) > 1 and view.pairs.get("paired", pd.Series(dtype=bool)).all()
        else "",
        _studies(view),
        "The test split took no part in any choice.",
    ]
    return " ".join(filter(None, parts))


def _studies(view: View) -> str:
    tuning = view.suite.tuning
    if not tuning.trials:
        return "Nothing was tuned: every arm ran as the suite gives it, else at its parts' defaults."
    how = f"{count(tuning.trials, 'trial')}, proposed by {SAMPLERS[tuning.sampler]} (Optuna)"
    repeats = f", each the mean of {tuning.repeats} runs" if tuning.repeats > 1 else ""
    on_all = ", on all labels of its subset" if labels.within(view) else ""
    if _tuned_anew(view):
        return (
            f"In each replicate every arm had a study of its own with {how}{repeats}; the setting with the best "
            f"validation value was trained again with fresh seeds{on_all}, and only that run is reported."
        )
    again = f"its setting was trained again with each replicate's seeds{on_all}"
    return f"Every arm had one study with {how}{repeats}; {again}."


def _pairs(view: View) -> pd.DataFrame:
    rows = view.pairs
    return rows[rows["lo"].notna()] if "lo" in rows else rows.iloc[:0]


def _intervals(view: View) -> str:
    rows = _pairs(view)
    if rows.empty:
        return "No interval of a difference was computed."
    methods = sorted(set(rows["method"]))
    how = {
        "paired t": "the mean of the paired differences with Student's t-interval",
        "Welch t": "the difference of the means with Welch's t-interval",
        CHECKPOINTS: "the mean over checkpoints of paired differences, averaged within one first, with Student's "
        "t-interval",
        "Welch t of checkpoint means": "the difference of the means over checkpoints with Welch's t-interval",
        "corrected paired t": "the mean of the paired differences with Student's t-interval, its variance corrected "
        "for training sets that overlap (Nadeau and Bengio 2003)",
    }
    means = listed([how.get(method, method) for method in methods])
    margin = view.suite.compare.margin
    rule = (
        f"The verdict follows the interval's place beside zero and the declared margin of "
        f"{view.measure.margin(margin)}."
        if margin is not None
        else "No margin was declared, so the verdict follows the interval's place beside zero."
    )
    return f"Comparisons give {means}. {rule}"


def _adjustment(view: View) -> str:
    primary = view.primary
    if primary.empty or _pairs(view).empty:
        return ""
    family, level = int(primary["family_size"].max()), float(primary["level"].dropna().max())
    looks = view.suite.compare.looks
    looked = f" The error rate is shared out among {looks} looks at the verdict." if looks > 1 else ""
    text = (
        f"The {count(family, 'declared comparison')} form one family: intervals are at {percent(level)} (Bonferroni), "
        "p values are adjusted by Holm's method."
        if family > 1
        else f"The one declared comparison is at {percent(level)}."
    )
    others = " All other comparisons are exploratory and not adjusted." if len(view.pairs) > len(primary) else ""
    at_defaults = " Every arm was also run at its defaults." if UNTUNED in set(view.pairs["setting"]) else ""
    return text + looked + others + at_defaults


def _tests(view: View) -> str:
    rows = _pairs(view)
    if rows.empty:
        return ""
    texts = ["the exact sign-flip test with its smallest possible p"] if rows["p_signflip"].notna().any() else []
    texts += ["wins with exact binomial intervals"]
    texts += ["two one-sided tests of equivalence"] if rows["p_tost"].notna().any() else []
    texts += ["the difference that so many replicates find with 80 % power"] if rows["mde80"].notna().any() else []
    return f"Also reported: {listed(texts)}."


def _failures(view: View) -> str:
    if not view.findings.counts["failed"]:
        return "No run failed."
    floor = view.measure.floor
    if floor is None:
        return "Failed runs are counted; the metric has no floor, so an arm with a failed final run has no mean."
    return f"A failed final run counts as the metric's floor ({view.measure.value(floor, 2)})."


def references(view: View) -> list[tuple[str, str]]:
    """Text and address of what the methods rest on."""
    keys, tuning = ["bouthillier"], view.suite.tuning
    if tuning.trials:
        keys += ["optuna", tuning.sampler]
        optimizers = {str(setting.values.get("optimizer")) for setting in view.suite.settings}
        keys += ["choi", "sivaprasad"] if len(optimizers) > 1 else []
    kept = [found for arm in view.arms for problem in view.problems for _, found in view.details(problem, arm)]
    keys += ["fawcett"] if any("roc" in found for found in kept) else []
    keys += ["simonyan"] if any("saliency" in found.get("pictures", ()) for found in kept) else []
    rows = _pairs(view)
    if len(rows):
        keys += ["dewinter"] if int(rows["n"].min()) <= 5 else []
        keys += ["colas"]
    keys += ["nadeau"] if view.suite.compare.folds is not None else []
    return sorted(REFERENCES[key] for key in keys)
