"""The scope box's lines on fine-tuning: what networks were trained on first, and how they are shared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.report.view import View
from harness.report.wording import held
from harness.verdict.format import count, listed
from harness.verdict.judgement import context_of
from harness.verdict.words import without_controls


def finetuned(view: View) -> list[tuple[str, str]]:
    """What a fine-tuning suite starts from and moves to, and which controls it has not."""
    source = view.suite.source
    if source is None:
        return []
    lacks = context_of(view.suite).lacks
    return [
        ("Pair", _pair(view)),
        ("Source runs", _source_runs(view)),
        ("Checkpoints", _checkpoints(view)),
        ("Controls", without_controls(lacks).removesuffix(".")),
    ]


def _pair(view: View) -> str:
    """`mnist (classes [0, 1]) → mnist (classes [2, 3])`, with the options in which both sides differ."""
    source, targets = view.suite.source, [setting.values.get("dataset") for setting in view.suite.settings]
    assert source is not None
    origins = [setting.source.values.get("dataset") for setting in view.suite.settings if setting.source is not None]
    if source.weights:
        origin, given = f"published weights {source.weights}", targets
    else:
        given = [*origins, *targets]
        origin = listed(_told_apart(origins, given)) if origins else source.dataset
    return f"{origin} → {listed(_told_apart(targets, given))}"


def _told_apart(datasets: Sequence[Any], among: Sequence[Any]) -> list[str]:
    """The data sets, each once, with the options that have several values among all of them."""
    options = {option for dataset in among for option in dataset if option != "use"}
    same = {option for option in options if all(one.get(option) == among[0].get(option) for one in among)}
    shown = [{option: value for option, value in one.items() if option not in same} for one in datasets]
    return list(dict.fromkeys(held("", one, ()).strip() for one in shown))


def _source_runs(view: View) -> str:
    """How networks were trained first, and what they reached there; empty for published weights."""
    every = [setting.source.values for setting in view.suite.settings if setting.source is not None]
    if not every or "dataset" not in every[0]:
        return ""
    first, told = every[0], ("epochs", "steps", "train_examples", "batch_size", "optimizer", "schedule")
    texts = [
        held(name, first[name], ())
        for name in told
        if first.get(name) is not None and all(values.get(name) == first[name] for values in every)
    ]
    runs = view.table("runs", "run_id", "phase", "status")
    ids = runs.loc[(runs["phase"] == "source") & (runs["status"] == "ok"), "run_id"]
    rows = view.table("evaluations", "run_id", "split", "metric", "value")
    rows = rows[rows["run_id"].isin(ids) & (rows["split"] == "test") & (rows["metric"] == "accuracy")]
    reached = sorted({f"{100 * value:.2f}" for value in rows["value"]}, key=float)
    span = f"{reached[0]} to {reached[-1]}" if len(reached) > 1 else "".join(reached)
    return ", ".join(texts) + (f"; test accuracy {span} %" if reached else "")


def _checkpoints(view: View) -> str:
    """How many trained networks there are, and what an interval covers of them."""
    number, replicates = view.suite.source.replicates, view.suite.compare.replicates  # type: ignore[union-attr]
    if number == 1:
        return f"1, from which all {count(replicates, 'replicate')} start: what is said holds for this checkpoint only"
    if number >= replicates:
        return f"{number}, one for each replicate: intervals cover the checkpoint"
    each = count(replicates // number, "replicate")
    return f"{number}, from each of which {each} start: averaged within a checkpoint first, so that n = {number}"
