"""The columns of every table: type, unit and meaning; `results/README.md` and `datapackage.json` are held to it."""

from __future__ import annotations

from typing import Literal, NamedTuple

Type = Literal["string", "integer", "number", "boolean", "datetime"]


class Column(NamedTuple):
    """One column; `empty` says that a cell may be missing."""

    name: str
    type: Type
    meaning: str
    empty: bool = False


def _c(name: str, type_: Type, meaning: str) -> Column:
    """A column; a name that ends in `?` may be empty."""
    return Column(name.rstrip("?"), type_, meaning, name.endswith("?"))


_PLACE = (
    _c("problem", "string", "name of the problem"),
    _c("arm", "string", "name of the arm"),
)
_RUN = (
    *_PLACE,
    _c("setting", "string", "tuned, untuned or given"),
    _c("replicate", "integer", "number of the replicate, from 0"),
)

# Empty in a suite without [source]; what needs the test set, or costs time, in tuning runs too.
_TRANSFER = (
    _c("source_run?", "string", "run that trained what this one starts from; empty for published weights"),
    _c("source_sha256?", "string", "SHA-256 of the file that those weights lie in"),
    _c("selection?", "string", "SHA-256 of names and multipliers of what was trained, phase by phase"),
    _c("phases?", "string", "JSON list of the phases: name, first step (from 0) and end"),
    _c("trainable_share?", "number", "parameters that were trained, the most over the phases, of all while training"),
    _c("worst_class_accuracy?", "number", "accuracy on the test examples of the class where it is lowest"),
    _c("start_accuracy?", "number", "test accuracy of the weights that the run started from; only for a kept head"),
    _c(
        "forgetting_kept?",
        "number",
        "accuracy that was lost on the source's test set, with the source's head; empty for a random start",
    ),
    _c("forgetting_refit?", "number", "the same with a head fitted anew to each, before and after"),
    _c("stored_bytes?", "integer", "tensors that differ from the start before the strategy's finish, and added ones"),
    _c("saved_bytes?", "integer", "saved for the backward pass of one batch, without parameters; most over the phases"),
    _c("optimizer_state_bytes?", "integer", "state of the optimizer, most over the phases"),
    _c("steps_to_95?", "integer", "first evaluated step within 5 % of the last validation value of the metric"),
    _c("curve_area?", "number", "mean of that metric over the validation curve"),
    _c("drift?", "number", "distance of the backbone's parameters from the start, over their length there"),
    _c("frozen_intact?", "boolean", "whether all that was never trained kept its bits; if not, the run failed"),
)

TABLES: dict[str, tuple[str, tuple[Column, ...]]] = {
    "runs": (
        "one row a run of the plan",
        (
            _c(
                "run_id?",
                "string",
                "SHA-256 of the resolved spec; empty where a failed study left none, or a repeat was spared",
            ),
            _c("phase", "string", "source (pre-training), tune or final"),
            *_PLACE,
            _c("replicate", "integer", "number of the replicate, from 0"),
            _c("setting", "string", "tuned, untuned (the parts' defaults) or given (a suite without tuning)"),
            _c("trial?", "integer", "number of the trial in its study, from 0; only tuning runs have one"),
            _c("repeat?", "integer", "number of the repeat of the trial, from 0; only tuning runs have one"),
            _c(
                "status",
                "string",
                "ok, pruned, not_applicable, diverged, error, bad_output, timeout, oom, crashed or killed",
            ),
            _c("reason?", "string", "why it failed or was pruned"),
            _c("epochs", "number", "passes over the training examples that were done"),
            _c("steps", "integer", "training steps that were done"),
            _c(
                "examples",
                "integer",
                "training examples that were seen, repetitions included; of an arm that takes no steps, those that its "
                "fit read",
            ),
            _c("stopped_early", "boolean", "whether early stopping ended the run before its budget did"),
            _c(
                "selected_epoch?",
                "number",
                "epoch whose weights the test set was read with; tuning runs: that early stopping chose",
            ),
            _c("epoch_rule", "string", "best_validation, last or early_stopping: how that epoch was chosen"),
            _c(
                "validation", "string", "beside (examples that no run trains on), within (a part of its labels) or none"
            ),
            _c("seed_split?", "integer", "decides training and validation examples"),
            _c("seed_init?", "integer", "decides the initial weights"),
            _c("seed_order?", "integer", "decides the order of examples"),
            _c("seed_augmentation?", "integer", "decides augmentation"),
            _c("seed_noise?", "integer", "decides dropout and other draws inside the model"),
            _c("parameters?", "integer", "parameters of the model"),
            _c("trainable_parameters?", "integer", "parameters that were trained in some phase"),
            _c("hyperparameters", "string", "JSON object: what the arm searches, with the values of this run"),
            _c("init_hash?", "string", "SHA-256 of the initial weights"),
            _c("weights_hash?", "string", "SHA-256 of the final weights (of the selected epoch)"),
            *_TRANSFER,
        ),
    ),
    "evaluations": (
        "one row a (run, epoch, split, metric)",
        (
            _c("run_id", "string", "run"),
            _c("epoch", "number", "passes over the training examples before the evaluation"),
            _c("step", "integer", "training steps before it"),
            _c("examples", "integer", "training examples before it"),
            _c("split", "string", "train (over the batches as they were trained on), validation or test (final runs)"),
            _c("metric", "string", "metric"),
            _c("value", "number", "in the metric's unit"),
            _c("n_examples", "integer", "examples that the value is over"),
            _c("selected", "boolean", "true for the selected epoch of the run"),
        ),
    ),
    "studies": (
        "one row a study",
        (
            _c("study_id", "string", "SHA-256 of suite seed, problem, arm, replicate and search space"),
            *_PLACE,
            _c("replicate", "integer", "number of the replicate"),
            _c("sampler", "string", "Optuna sampler"),
            _c("pruner", "string", "Optuna pruner"),
            _c("metric", "string", "metric that was tuned, on validation"),
            _c("validation", "string", "how its runs validate: beside or within, as in `runs`"),
            _c("direction", "string", "maximize or minimize"),
            _c("trials", "integer", "trials that were spent"),
            _c("complete", "integer", "trials with a value"),
            _c("pruned", "integer", "trials that were pruned"),
            _c("failed", "integer", "trials that failed"),
            _c("batch", "integer", "trials asked for at once"),
            _c("repeats", "integer", "runs a trial"),
            _c("dimensions", "integer", "hyperparameters that were searched"),
            _c("space_hash", "string", "SHA-256 of the search space"),
            _c("space", "string", "JSON object: the search space"),
            _c("best_trial?", "integer", "number of the chosen trial"),
            _c("best_value?", "number", "its validation value"),
            _c(
                "final_value?",
                "number",
                "validation value of the final run with its setting; empty where it has no such set",
            ),
            _c("optimism?", "number", "how much better the study looked than the final run, in the metric's unit"),
            _c("edges", "integer", "hyperparameters of the chosen trial that lie on an edge of the space"),
        ),
    ),
    "trials": (
        "one row a (study, trial)",
        (
            _c("study_id", "string", "study"),
            _c("trial", "integer", "number of the trial, from 0"),
            _c("batch", "integer", "number of the batch it was asked in"),
            _c("state", "string", "complete, pruned or failed"),
            _c("value?", "number", "mean validation value over the repeats"),
            _c("told?", "number", "what Optuna was told"),
            _c("pruned_epoch?", "number", "epoch at which the first of its runs was pruned; empty for pruner wilcoxon"),
            _c("run_ids", "string", "its runs, separated by blanks"),
            _c("reason?", "string", "why it failed or was pruned"),
        ),
    ),
    "trial_parameters": (
        "one row a (study, trial, hyperparameter)",
        (
            _c("study_id", "string", "study"),
            _c("trial", "integer", "number of the trial"),
            _c("name", "string", "hyperparameter, `part.option` or a key of the problem"),
            _c("value?", "number", "its value, where that is a number"),
            _c("text?", "string", "its value, where that is not a number"),
            _c("low?", "number", "lower bound of its domain"),
            _c("high?", "number", "upper bound of its domain"),
            _c("log?", "boolean", "whether it was searched on a log scale"),
            _c("on_edge?", "boolean", "whether it lies within 5 % of the (log) range of a bound"),
        ),
    ),
    "summary": (
        "one row a (problem, arm, setting, metric), over the final runs",
        (
            *_PLACE,
            _c("setting", "string", "tuned, untuned or given"),
            _c("metric", "string", "metric"),
            _c("split", "string", "test"),
            _c("epoch_rule", "string", "how the epoch was chosen"),
            _c("unit", "string", "what the interval is over: replicates, means of checkpoints, folds or runs"),
            _c("n", "integer", "final runs"),
            _c("n_ok", "integer", "final runs that finished"),
            _c("mean?", "number", "mean, failed runs at the metric's floor"),
            _c("mean_ok?", "number", "mean of the finished runs"),
            _c("sd?", "number", "standard deviation (n - 1)"),
            _c("median?", "number", "median"),
            _c("min?", "number", "smallest"),
            _c("max?", "number", "largest"),
            _c("lo?", "number", "lower end of the interval of the mean"),
            _c("hi?", "number", "upper end"),
            _c("level?", "number", "level of the interval"),
            _c("method?", "string", "how the interval was made"),
        ),
    ),
    "comparisons": (
        "one row a verdict",
        (
            _c("question", "string", "the suite's question"),
            _c("kind", "string", "pair: two arms on one problem; claim: one arm against a published value"),
            _c("primary", "boolean", "whether the verdict belongs to the family that the level is adjusted for"),
            _c(
                "family_size",
                "integer",
                "verdicts in that family; pairs with an arm that has no meaning on the model are not counted",
            ),
            _c(
                "looks",
                "integer",
                "verdicts that may be read, replicates being added: the level is adjusted for them too",
            ),
            *_PLACE,
            _c("baseline", "string", "arm that it is compared with, or what is claimed"),
            _c("metric", "string", "metric"),
            _c("split", "string", "test"),
            _c("setting", "string", "tuned, untuned or given"),
            _c(
                "claim",
                "string",
                "method (arm with its tuning), setting (one tuned setting), given or defaults (no tuning)",
            ),
            _c("paired", "boolean", "whether runs are paired by replicate"),
            _c("paired_on", "string", "streams of chance that the pair shares"),
            _c("n", "integer", "pairs; checkpoints, where several replicates start from each"),
            _c("failed_arm", "integer", "failed runs of the arm"),
            _c("failed_baseline", "integer", "failed runs of the baseline"),
            _c("delta?", "number", "mean difference, positive when the arm is better"),
            _c("sd?", "number", "standard deviation of the differences"),
            _c("lo?", "number", "lower end of the interval of the mean difference"),
            _c("hi?", "number", "upper end"),
            _c("level?", "number", "level of the interval, adjusted for the family"),
            _c("method?", "string", "how the interval was made"),
            _c("p_t?", "number", "paired t-test"),
            _c("p_holm?", "number", "the same, adjusted by Holm's method"),
            _c("p_signflip?", "number", "exact sign-flip test"),
            _c("p_floor?", "number", "smallest value that test can give"),
            _c(
                "p_tost?",
                "number",
                "two one-sided tests of equivalence within the margin; equivalent below (1 - level) / 2",
            ),
            _c("wins?", "integer", "replicates in which the arm is better"),
            _c("wins_n?", "integer", "replicates with a difference"),
            _c("wins_lo?", "number", "lower end of the exact binomial interval of the share of wins; empty for folds"),
            _c("wins_hi?", "number", "upper end"),
            _c("p_superior?", "number", "share of all pairs of runs in which the arm is better"),
            _c("margin?", "number", "smallest difference that matters, as declared"),
            _c(
                "mde80?",
                "number",
                "true difference that this many replicates tell from 0 in 4 of 5 cases, if sd is right",
            ),
            _c("more?", "integer", "more replicates until that difference is at most the margin"),
            _c("more_lo?", "integer", "the same for the smallest plausible standard deviation"),
            _c("more_hi?", "integer", "for the largest"),
            _c("agree", "integer", "robustness analyses that agree with the verdict"),
            _c("analyses", "integer", "robustness analyses"),
            _c("verdict", "string", "code of the verdict"),
            _c("sentence", "string", "the verdict in words"),
        ),
    ),
    "classes": (
        "one row a (final run, class), over the test split",
        (
            *_RUN,
            _c("class", "integer", "number of the class, from 0"),
            _c("name?", "string", "its name, where the data set gives one"),
            _c("support", "integer", "test examples of the class"),
            _c("precision", "number", "share of right ones among the examples taken for it; 0 where there are none"),
            _c("recall?", "number", "share of its examples that were found"),
            _c("f1?", "number", "harmonic mean of the two"),
            _c("auc?", "number", "area under the ROC curve of the class against all others; up to 100 classes"),
        ),
    ),
    "confusion": (
        "one row a (final run, true class, predicted class) that occurs on the test split, up to 100 classes",
        (
            *_RUN,
            _c("true", "integer", "number of the class that the examples have"),
            _c("predicted", "integer", "number of the class that they were taken for"),
            _c("count", "integer", "such examples, 1 or more"),
        ),
    ),
    "blocks": (
        "one row a (final run with a source, block of the network)",
        (
            _c("run_id", "string", "run"),
            *_RUN,
            _c("block", "integer", "number of the block, 0 on the input side; the head is the last"),
            _c("parameters", "integer", "its parameters, those that the strategy added included"),
            _c("trained", "integer", "how many of them some phase trained"),
            _c("multipliers", "string", "JSON list by phase: largest share of the learning rate, null if frozen"),
            _c("drift?", "number", "as in runs, of the block; empty for a new head"),
        ),
    ),
    "metrics": (
        "one row a metric",
        (
            _c("metric", "string", "metric"),
            _c("direction", "string", "maximize or minimize"),
            _c("unit?", "string", "unit; a fraction is shown in percent"),
            _c("display?", "string", "unit in which it is shown"),
            _c("floor?", "number", "what a failed run counts as"),
            _c("ceiling?", "number", "best possible value"),
            _c("description?", "string", "first line of its documentation"),
            _c("plugin", "string", "distribution and version that it comes from"),
        ),
    ),
    "timings": (
        "wall clock, one row a run",
        (
            _c("run_id", "string", "run"),
            _c("started?", "datetime", "UTC"),
            _c("ended?", "datetime", "UTC"),
            _c("attempt?", "integer", "how often the run was begun"),
            _c("train_seconds?", "number", "training steps"),
            _c("evaluate_seconds?", "number", "evaluation"),
            _c("data_seconds?", "number", "dividing and moving data"),
            _c("total_seconds?", "number", "all of the run"),
            _c("step_milliseconds?", "number", "median of a step with its batch, 5 warm-up steps left out"),
            _c("peak_memory_mb?", "number", "largest resident memory of the run's process"),
            _c("overlapped?", "boolean", "whether more threads than cores were at work"),
            _c("environment?", "string", "device and its capability, torch version, threads"),
        ),
    ),
    "epoch_timings": (
        "wall clock, one row a (run, evaluation)",
        (
            _c("run_id", "string", "run"),
            _c("epoch", "number", "passes over the training examples"),
            _c("train_seconds", "number", "training clock so far, evaluation excluded"),
        ),
    ),
    "cost": (
        "wall clock, one row a (problem, arm)",
        (
            *_PLACE,
            _c("tune_seconds", "number", "training steps of all runs of its studies"),
            _c("train_seconds_median?", "number", "training steps of a final run"),
            _c("target_seconds_median?", "number", "training seconds to the target; empty without targets"),
            _c("peak_memory_mb?", "number", "largest resident memory of its runs"),
            _c("comparable", "boolean", "false when runs overlapped or environments were mixed"),
        ),
    ),
}


def names(table: str) -> list[str]:
    """The table's column names, in order."""
    return [column.name for column in TABLES[table][1]]
