"""The scope box and the methods paragraph, made from what was really done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.report.view import UNTUNED, View
from harness.verdict.format import count, listed, percent

PARTS = ("dataset", "model", "loss", "optimizer", "schedule", "strategy")
REFERENCES = {
    "bouthillier": (
        "Bouthillier et al. 2021, Accounting for variance in machine learning benchmarks",
        "https://arxiv.org/abs/2103.03098",
    ),
    "dewinter": ("de Winter 2013, Using the Student's t-test with extremely small sample sizes", ""),
    "colas": ("Colas et al. 2018, How many random seeds?", "https://arxiv.org/abs/1806.08295"),
    "sivaprasad": (
        "Sivaprasad et al. 2020, Optimizer benchmarking needs to account for hyperparameter tuning",
        "https://arxiv.org/abs/1910.11758",
    ),
    "choi": (
        "Choi et al. 2019, On empirical comparisons of optimizers for deep learning",
        "https://arxiv.org/abs/1910.05446",
    ),
}


def scope(view: View) -> list[tuple[str, str]]:
    """What the answer covers, as terms and descriptions."""
    compare, measure = view.suite.compare, view.measure
    better = "higher is better" if measure.sign > 0 else "lower is better"
    unit = {"fraction": "in percent, differences in percentage points (pp)", "": "without unit"}
    units = unit.get(measure.unit, f"in {measure.unit}")
    unit_of_n = "one replicate: its own split, tuning study and seeds" if compare.claim == "method" else "one final run"
    found = [
        ("Problems" if len(view.problems) > 1 else "Problem", listed(view.problems)),
        ("Compared", f"{count(len(view.arms), 'arm')}: {listed(view.arms)}; baseline {view.baseline}"),
        ("Held equal", _held_equal(view)),
        ("Metric", f"test {measure.words} ({better}), {units}"),
        ("Margin", measure.margin(compare.margin) if compare.margin is not None else "none declared"),
        ("Split", _split(view)),
        ("Tuning", _tuning(view)),
        ("Varied between replicates", _varied(view)),
        ("Not varied", _fixed(view)),
        ("Unit of n", f"{unit_of_n}; {compare.replicates} planned"),
        ("Runs", _runs(view)),
    ]
    return [(term, text) for term, text in found if text]


def _held_equal(view: View) -> str:
    """Values that are the same in every arm of every problem."""
    every = [setting.values for setting in view.suite.settings]
    if not every:
        return ""
    same = [name for name in every[0] if all(values.get(name) == every[0][name] for values in every)]
    texts = []
    for name in same:
        value = every[0][name]
        if name in PARTS and isinstance(value, dict):
            texts.append(f"{name} {value['use']}")
        elif (
            name not in ("train_examples", "validation_examples") and value is not None and not isinstance(value, dict)
        ):
            texts.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(texts)


def _split(view: View) -> str:
    """Sizes of the training, validation and test splits."""
    values: Mapping[str, Any] = next((setting.values for setting in view.suite.settings), {})
    texts = []
    if values.get("train_examples"):
        texts.append(f"{values['train_examples']:,} training examples")
    if values.get("validation_examples"):
        texts.append(f"{values['validation_examples']:,} validation examples, drawn anew in each replicate")
    sizes = sorted({int(size) for size in view.findings.finals["n_examples"].dropna()})
    if sizes:
        texts.append(f"{' or '.join(f'{size:,}' for size in sizes)} test examples, the same in all runs")
    rule = view.suite.compare.epoch
    epoch = "the epoch that was best on validation" if rule == "best_validation" else "the last epoch"
    return "; ".join([*texts, f"the test set is read once per final run, at {epoch}"])


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
    study = "the tuning study and the setting it chose, " if _tuned_anew(view) else ""
    return f"training and validation split, {study}initial weights, order of examples, augmentation"


def _fixed(view: View) -> str:
    study = "" if _tuned_anew(view) or not view.suite.tuning.trials else ", the tuning study"
    return f"the test set, the machine{study}: no interval covers these"


def _runs(view: View) -> str:
    counts = view.findings.counts
    texts = [
        f"{counts[name]:,} {name}" for name in ("ok", "pruned", "failed", "missing") if counts[name] or name == "ok"
    ]
    return f"{count(counts['planned'], 'run')} planned: {', '.join(texts)}"


def methods(view: View) -> str:
    """What was computed, as a paragraph for a paper."""
    return " ".join(filter(None, [_design(view), _intervals(view), _adjustment(view), _tests(view), _failures(view)]))


def _design(view: View) -> str:
    compare, tuning = view.suite.compare, view.suite.tuning
    tuned = (
        f"In each replicate every arm had a study of its own with {count(tuning.trials, 'trial')} ({tuning.sampler}), "
        "and the setting with the best validation value was trained again with fresh seeds; only that run is reported."
        if _tuned_anew(view)
        else f"Every arm had one study with {count(tuning.trials, 'trial')} ({tuning.sampler}); its setting was "
        "trained again with the seeds of each replicate."
        if tuning.trials
        else "Nothing was tuned."
    )
    return (
        f"{count(len(view.arms), 'arm')} on {count(len(view.problems), 'problem')} in "
        f"{count(compare.replicates, 'replicate')}. Arms of a replicate share what the seed decides (split, order of "
        f"examples, and initial weights where the model is the same), so they are paired. {tuned} The test split took "
        "no part in any choice."
    )


def _pairs(view: View) -> pd.DataFrame:
    rows = view.comparisons
    return rows[rows["lo"].notna()] if "lo" in rows else rows.iloc[:0]


def _intervals(view: View) -> str:
    rows = _pairs(view)
    if rows.empty:
        return "No interval of a difference was computed."
    methods = sorted(set(rows["method"]))
    how = {
        "paired t": "the mean of the paired differences with Student's t-interval",
        "Welch t": "the difference of the means with Welch's t-interval",
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
    if primary.empty:
        return ""
    family, level = int(primary["family_size"].max()), float(primary["level"].dropna().max())
    text = (
        f"The {count(family, 'declared comparison')} form one family: intervals are at {percent(level)} (Bonferroni), "
        "p values are adjusted by Holm's method."
        if family > 1
        else f"The one declared comparison is at {percent(level)}."
    )
    others = " All other comparisons are exploratory and not adjusted." if len(view.comparisons) > len(primary) else ""
    at_defaults = " Every arm was also run at its defaults." if UNTUNED in set(view.comparisons["setting"]) else ""
    return text + others + at_defaults


def _tests(view: View) -> str:
    rows = _pairs(view)
    if rows.empty:
        return ""
    texts = ["the exact sign-flip test with its smallest possible p", "wins with exact binomial intervals"]
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
    keys = ["bouthillier"]
    if view.suite.tuning.trials:
        keys += ["choi", "sivaprasad"]
    rows = _pairs(view)
    if len(rows):
        keys += ["dewinter"] if int(rows["n"].min()) <= 5 else []
        keys += ["colas"]
    return [REFERENCES[key] for key in sorted(keys)]
