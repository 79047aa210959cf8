"""The methods paragraph and what it rests on, made from what was really done."""

from __future__ import annotations

import pandas as pd

from harness.report import labels
from harness.report.scope import tuned_anew
from harness.report.view import UNTUNED, View
from harness.verdict.format import count, listed, percent
from harness.verdict.judgement import ERROR_RATE
from harness.verdict.words import CHECKPOINTS

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


def methods(view: View) -> str:
    """What was computed, as a paragraph for a paper."""
    parts = [_design(view), _intervals(view), _adjustment(view), _tests(view), _claims(view), _failures(view)]
    return " ".join(filter(None, parts))


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
    if tuned_anew(view):
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
    looked = (
        f" The error rate is shared out among {looks} looks at the verdict, so that these p values are to be held "
        f"against {ERROR_RATE / looks:.2g}."
        if looks > 1
        else ""
    )
    text = (
        f"The {count(family, 'declared comparison')} form one family: intervals are at {percent(level)} (Bonferroni), "
        "p values are adjusted by Holm's method."
        if family > 1
        else f"The one declared comparison is at {percent(level)}."
    )
    others = " All other comparisons are exploratory and not adjusted." if len(view.pairs) > len(primary) else ""
    if (~view.pairs["primary"].astype(bool) & (view.pairs["baseline"] != view.baseline)).any():
        others += " Those of the leading arm with arms other than the baseline favour it, since these runs picked it."
    at_defaults = " Every arm was also run at its defaults." if UNTUNED in set(view.pairs["setting"]) else ""
    return text + looked + others + at_defaults


def _tests(view: View) -> str:
    rows = _pairs(view)
    if rows.empty:
        return ""
    texts = ["the exact sign-flip test with its smallest possible p"] if rows["p_signflip"].notna().any() else []
    texts += ["wins with exact binomial intervals"] if rows["wins_lo"].notna().any() else ["wins"]
    texts += ["two one-sided tests of equivalence"] if rows["p_tost"].notna().any() else []
    found = "the difference that so many replicates find with 80 % power if the spread is the one seen"
    texts += [found] if rows["mde80"].notna().any() else []
    return f"Also reported: {listed(texts)}."


def _claims(view: View) -> str:
    if not (view.comparisons["kind"] == "claim").any():
        return ""
    return "Published claims are judged by 95 % intervals of the arm's mean, each for itself: they are not adjusted."


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
