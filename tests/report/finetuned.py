"""Findings of a made-up fine-tuning suite: strategies as arms, label budgets as problems, all columns of its runs."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pandas as pd
import synthetic

from harness.report import Findings
from harness.suite.origin import Origins, SuiteSource

ARMS = ("full", "scratch", "linear_probe", "lp_ft", "bitfit", "lora")
BUDGETS = {"few": 10, "some": 50, "every": "all"}
SENSELESS = "norm_only"
WHY = "the model has no norm layer with parameters"
SHARE = dict(zip(ARMS, (1.0, 1.0, 0.012, 1.0, 0.0036, 0.05), strict=True))
SAVED = dict(zip(ARMS, (8.15, 8.15, 0.02, 8.15, 7.77, 9.75), strict=True))
STORED = dict(zip(ARMS, (1.61, 1.61, 0.0049, 1.61, 0.0055, 0.09), strict=True))
FORGOT = dict(zip(ARMS, (0.31, None, 0.0, 0.11, 0.06, 0.05), strict=True))
RATE = dict(zip(ARMS, (0.1, 0.2, 0.5, 0.12, 0.3, 0.25), strict=True))
BLOCKS = (320, 18496, 401536, 64256, 645)
MIB = 2**20
MNIST = {"use": "mnist", "normalize": "symmetric"}
ORIGIN = Origins({"dataset": {**MNIST, "classes": [0, 1, 2, 3, 4]}})
CLASSES = 5
EVERY = 5881
"""Labels a class where all are taken."""


def findings(
    *,
    arms: tuple[str, ...] = ARMS,
    budgets: dict[str, Any] | None = None,
    replicates: int = 5,
    checkpoints: int | None = None,
    trials: int = 2,
    senseless: bool = False,
    seed: int = 3,
    **compare: Any,
) -> Findings:
    """A finished suite; with `senseless` one more arm has no meaning on the model."""
    budgets = budgets or BUDGETS
    every = (*arms, *([SENSELESS] if senseless else []))
    plain = synthetic.findings(arms=arms, problems=tuple(budgets), replicates=replicates, trials=trials, epochs=2)
    source = SuiteSource(checkpoints or replicates, "mnist")
    chosen = dataclasses.replace(plain.suite.compare, replicates=replicates, epoch="last", primary=every[1:], **compare)
    one = plain.suite.settings[0]
    settings = tuple(
        dataclasses.replace(one, problem=problem, arm=arm, values=values(one.values, arm, budget), source=ORIGIN)
        for problem, budget in budgets.items()
        for arm in every
    )
    suite = dataclasses.replace(plain.suite, source=source, compare=chosen, settings=settings, arms=every)
    tables = {**plain.tables, "classes": classes(budgets)}
    tables["runs"] = runs(plain.tables["runs"], np.random.default_rng(seed), budgets)
    tables["blocks"] = blocks(tables["runs"])
    tables["timings"] = plain.tables["timings"].assign(step_milliseconds=4.25)
    finals = plain.finals
    if senseless:
        tables["runs"], finals = without_meaning(tables["runs"], finals, budgets, replicates)
    return dataclasses.replace(plain, suite=suite, tables=tables, finals=finals, counts=counts(plain, tables["runs"]))


def values(given: dict[str, Any], arm: str, budget: Any) -> dict[str, Any]:
    moved = {"strategy": {"use": arm}, "optimizer": {"use": "momentum", "lr": 0.01}, "train_examples": None}
    sets = {"dataset": {**MNIST, "classes": [5, 6, 7, 8, 9]}, "validation_examples": 1000}
    return {**given, **moved, **sets, "labels_per_class": budget, "head_init": "normal:0.01", "norm": "follow"}


def classes(budgets: dict[str, Any]) -> pd.DataFrame:
    rows = [(problem, label, str(label + 5)) for problem in budgets for label in range(CLASSES)]
    made = pd.DataFrame(rows, columns=["problem", "class", "name"])
    shares = {"precision": 0.9, "recall": 0.9, "f1": 0.9, "auc": 0.99}
    return made.assign(arm="full", setting="tuned", replicate=0, support=900, **shares)


def runs(table: pd.DataFrame, draw: np.random.Generator, budgets: dict[str, Any]) -> pd.DataFrame:
    """The runs with the columns of fine-tuning in their final ones."""
    made = table.assign(hyperparameters=[rate(row) for row in table.to_dict("records")])
    final = made["phase"] == "final"
    noise = pd.Series(draw.normal(0, 0.01, len(made)), index=made.index)
    forgot = made["arm"].map(FORGOT).astype(float)
    labels = made["problem"].map({p: EVERY if budget == "all" else budget for p, budget in budgets.items()})
    found = {
        "trainable_share": made["arm"].map(SHARE),
        "trainable_parameters": (made["parameters"] * made["arm"].map(SHARE)).round(),
        "stored_bytes": (MIB * made["arm"].map(STORED)).round(),
        "saved_bytes": (MIB * made["arm"].map(SAVED)).round(),
        "forgetting_kept": forgot + noise.where(forgot != 0, 0.0),
        "forgetting_refit": 0.4 * forgot + noise.where(forgot != 0, 0.0),
        "selection": made["arm"],
        "phases": made["arm"].map(lambda arm: json.dumps(PHASES.get(arm, [["", 0, 188]]))),
    }
    made = made.assign(**{name: column.where(final) for name, column in found.items()})
    return made.assign(examples=made["epochs"] * CLASSES * labels)


PHASES = {"lp_ft": [["probe", 0, 94], ["all", 94, 188]]}


def rate(row: dict[str, Any]) -> str:
    return json.dumps({"optimizer.lr": RATE.get(row["arm"], 0.1) * (1 + row["replicate"])})


def blocks(runs: pd.DataFrame) -> pd.DataFrame:
    """Five blocks a run, of which the probe trains the last alone."""
    rows = []
    for row in runs[runs["phase"] == "final"].to_dict("records"):
        for block, parameters in enumerate(BLOCKS):
            learns = row["arm"] != "linear_probe" or block == len(BLOCKS) - 1
            drift = {"full": 0.2, "scratch": np.nan, "bitfit": 0.002}.get(row["arm"], 0.02) * (block + 1)
            same = {name: row[name] for name in ("run_id", "problem", "arm", "setting", "replicate")}
            measured = {"trained": parameters if learns else 0, "drift": drift if learns else 0.0}
            rows.append({**same, "block": block, "parameters": parameters, **measured, "multipliers": "[1.0]"})
    return pd.DataFrame(rows)


def without_meaning(
    runs: pd.DataFrame, finals: pd.DataFrame, budgets: dict[str, Any], replicates: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables with a last arm that has no meaning on the model."""
    rows = [
        {"run_id": "", "phase": "final", "problem": problem, "arm": SENSELESS, "replicate": replicate, "epochs": 0.0}
        | {"setting": "tuned", "status": "not_applicable", "reason": WHY, "steps": 0, "examples": 0}
        for problem in budgets
        for replicate in range(replicates)
    ]
    more = pd.DataFrame(rows)
    ended = more.assign(metric="accuracy", n_examples=4861)[
        [name for name in finals if name in {*more, "metric", "n_examples"}]
    ]
    return pd.concat([runs, more], ignore_index=True), pd.concat([finals, ended], ignore_index=True)


def counts(plain: Findings, runs: pd.DataFrame) -> dict[str, int]:
    senseless = int((runs["status"] == "not_applicable").sum())
    more = {"planned": plain.counts["planned"] + senseless, "not_applicable": senseless}
    return {**plain.counts, **(more if senseless else {})}
