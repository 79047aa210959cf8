"""Findings made up from a seed, with frames as statistics.md section 11 names them; nothing is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from harness.hookspecs import Choice, Float
from harness.registry.catalog import Origin, PartInfo
from harness.report import Findings
from harness.suite import Compare, Execution, Setting, Suite, Tuning
from harness.tables import frame
from harness.verdict.lint import Remark

DEFAULT_ARMS = ("sgd", "momentum", "adam")
ACCURACY = {
    "metric": "accuracy",
    "direction": "maximize",
    "unit": "fraction",
    "display": "accuracy",
    "floor": 0.1,
    "ceiling": 1.0,
    "description": "share of examples whose class is right",
    "plugin": "harness 0.1.0",
}
LOSS = {
    "metric": "loss",
    "direction": "minimize",
    "unit": "nats",
    "display": "loss",
    "floor": float("nan"),
    "ceiling": float("nan"),
    "description": "the problem's loss",
    "plugin": "harness 0.1.0",
}


class World:
    """All that one made-up suite run has produced."""

    def __init__(
        self,
        *,
        arms: tuple[str, ...],
        problems: tuple[str, ...],
        replicates: int,
        trials: int,
        epochs: int,
        metric: str,
        margin: float | None,
        failed: frozenset[tuple[str, int]],
        missing: frozenset[tuple[str, int]],
        untuned: bool,
        seed: int,
    ) -> None:
        self.arms, self.problems, self.replicates, self.trials = arms, problems, replicates, trials
        self.epochs, self.metric, self.margin, self.failed, self.missing = epochs, metric, margin, failed, missing
        self.draw = np.random.default_rng(seed)
        self.main = "tuned" if trials else "given"
        self.settings = (self.main, "untuned") if trials and untuned else (self.main,)
        self.rows: dict[str, list[dict[str, Any]]] = {
            name: []
            for name in (
                "runs",
                "evaluations",
                "studies",
                "trials",
                "trial_parameters",
                "timings",
                "cost",
                "finals",
                "summary",
                "comparisons",
            )
        }
        self.planned = 0
        for problem in problems:
            luck = self.draw.normal(0, 0.002, replicates)
            for at, arm in enumerate(arms):
                for replicate in range(replicates):
                    self.replicate(problem, at, arm, replicate, luck[replicate])
                self.cost(problem, arm)
            for setting in self.settings:
                for arm in arms:
                    self.summarise(problem, arm, setting)
                for arm in arms[1:]:
                    self.compare(problem, arm, arms[0], setting)
            # The leading arm against the arms that are not the baseline, as the verdicts do.
            for rival in arms[1:-1]:
                self.compare(problem, arms[-1], rival, self.main)

    def replicate(self, problem: str, at: int, arm: str, replicate: int, luck: float) -> None:
        skill = 0.962 + 0.011 * (1 - 0.5 ** min(at, 3)) + 0.0004 * (at % 5) + luck
        if self.trials:
            self.study(problem, at, arm, replicate, skill)
        for setting in self.settings:
            self.planned += 1
            if (arm, replicate) in self.missing:
                continue
            level = skill - (0.012 if setting == "untuned" else 0) + self.draw.normal(0, 0.0011)
            self.final(problem, arm, setting, replicate, level)

    def study(self, problem: str, at: int, arm: str, replicate: int, skill: float) -> None:
        study, values = f"{problem}/{arm}/{replicate}", []
        for trial in range(self.trials):
            self.planned += 1
            lr = float(10 ** self.draw.uniform(-4, -0.5))
            best_lr = (0.1, 0.03, 0.002)[at % 3]
            value = skill + 0.003 - 0.018 * abs(np.log10(lr / best_lr)) ** 1.5 + self.draw.normal(0, 0.001)
            state = "failed" if at == 2 and lr > 0.2 else "complete"
            values.append(value if state == "complete" else -np.inf)
            shown = self.show(value) if state == "complete" else np.nan
            self.rows["trials"].append(
                {
                    "study_id": study,
                    "trial": trial,
                    "batch": trial,
                    "state": state,
                    "value": shown,
                    "told": shown,
                    "pruned_epoch": np.nan,
                    "run_ids": f"{trial:064x}",
                    "reason": None if state == "complete" else "loss is nan",
                }
            )
            self.parameter(study, trial, "optimizer.lr", lr, None, 1e-4, 0.3162, True)
            self.parameter(
                study, trial, "batch_size", float(self.draw.choice([32, 64, 128])), None, np.nan, np.nan, False
            )
            if at % 3 == 1:
                self.parameter(
                    study, trial, "optimizer.nesterov", np.nan, str(bool(trial % 2)).lower(), np.nan, np.nan, False
                )
            self.run(problem, arm, "tuned", replicate, "tune", trial, "ok" if state == "complete" else "diverged")
        best = int(np.argmax(values))
        self.rows["studies"].append(
            {
                "study_id": study,
                "problem": problem,
                "arm": arm,
                "replicate": replicate,
                "sampler": "tpe",
                "pruner": "none",
                "metric": self.metric,
                "direction": "maximize",
                "trials": self.trials,
                "complete": int(np.isfinite(values).sum()),
                "pruned": 0,
                "failed": int((~np.isfinite(values)).sum()),
                "batch": 1,
                "repeats": 1,
                "dimensions": 2,
                "space_hash": "0" * 12,
                "space": "{}",
                "best_trial": best,
                "best_value": self.show(values[best]),
                "final_value": self.show(values[best] - 0.0015),
                "optimism": 0.0015 if self.metric == "accuracy" else 0.005,
                "edges": 0,
            }
        )

    def parameter(
        self, study: str, trial: int, name: str, value: float, text: str | None, low: float, high: float, log: bool
    ) -> None:
        edge = bool(np.isfinite(low) and (value < low * 1.5 or value > high / 1.5))
        self.rows["trial_parameters"].append(
            {
                "study_id": study,
                "trial": trial,
                "name": name,
                "value": value,
                "text": text,
                "low": low,
                "high": high,
                "log": log,
                "on_edge": edge,
            }
        )

    def final(self, problem: str, arm: str, setting: str, replicate: int, level: float) -> None:
        bad = (arm, replicate) in self.failed and setting == self.main
        run_id = self.run(problem, arm, setting, replicate, "final", None, "diverged" if bad else "ok")
        value = np.nan if bad else self.show(level)
        counted = (0.1 if self.metric == "accuracy" else np.nan) if bad else value
        self.rows["finals"].append(
            {
                "problem": problem,
                "arm": arm,
                "setting": setting,
                "replicate": replicate,
                "metric": self.metric,
                "value": value,
                "counted": counted,
                "status": "diverged" if bad else "ok",
                "reason": "loss is nan at step 17" if bad else None,
                "run_id": run_id,
                "weights_hash": run_id,
                "n_examples": 10000,
            }
        )
        for epoch in range(1, self.epochs + 1):
            for split in ("train", "validation", *(("test",) if epoch == self.epochs else ())):
                if bad:
                    continue
                accuracy = level - 0.05 * 0.45**epoch - (0.004 if split == "train" else 0) + self.draw.normal(0, 5e-4)
                for metric, shown in (("accuracy", accuracy), ("loss", 3.2 * (1 - accuracy))):
                    self.rows["evaluations"].append(
                        {
                            "run_id": run_id,
                            "epoch": float(epoch),
                            "step": epoch * 94,
                            "examples": epoch * 6000,
                            "split": split,
                            "metric": metric,
                            "value": shown,
                            "n_examples": 5000,
                            "selected": epoch == self.epochs,
                        }
                    )

    def run(
        self, problem: str, arm: str, setting: str, replicate: int, phase: str, trial: int | None, status: str
    ) -> str:
        run_id = f"{len(self.rows['runs']) + 4096:064x}"[::-1]
        self.rows["runs"].append(
            {
                "run_id": run_id,
                "phase": phase,
                "problem": problem,
                "arm": arm,
                "replicate": replicate,
                "setting": setting,
                "trial": trial,
                "repeat": 0,
                "status": status,
                "reason": None if status == "ok" else "loss is nan at step 17",
                "epochs": float(self.epochs),
                "steps": 94 * self.epochs,
                "examples": 6000 * self.epochs,
                "selected_epoch": float(self.epochs),
                "epoch_rule": "best_validation",
                "hyperparameters": json.dumps({"optimizer.lr": 0.01}),
                "parameters": 421642,
                "trainable_parameters": 421642,
            }
        )
        seconds = float(np.round(2.4 + 0.3 * self.arms.index(arm) + self.draw.normal(0, 0.05), 3))
        self.rows["timings"].append(
            {
                "run_id": run_id,
                "attempt": 1,
                "train_seconds": seconds,
                "evaluate_seconds": 0.4,
                "data_seconds": 0.0,
                "total_seconds": seconds + 0.6,
                "peak_memory_mb": 310.0,
                "overlapped": False,
                "environment": "e1",
            }
        )
        return run_id

    def cost(self, problem: str, arm: str) -> None:
        seconds = 2.4 + 0.3 * self.arms.index(arm)
        tune = seconds * self.trials * self.replicates
        self.rows["cost"].append(
            {
                "problem": problem,
                "arm": arm,
                "tune_seconds": tune,
                "train_seconds_median": seconds,
                "target_seconds_median": np.nan,
                "peak_memory_mb": 310.0,
                "comparable": True,
            }
        )

    def show(self, accuracy: float) -> float:
        return float(accuracy if self.metric == "accuracy" else 3.2 * (1 - accuracy))

    def values(self, problem: str, arm: str, setting: str) -> pd.DataFrame:
        rows = pd.DataFrame(self.rows["finals"], columns=["problem", "arm", "setting", "replicate", "value", "counted"])
        return rows[(rows.problem == problem) & (rows.arm == arm) & (rows.setting == setting)].set_index("replicate")

    def summarise(self, problem: str, arm: str, setting: str) -> None:
        rows = self.values(problem, arm, setting)
        counted, ok = rows["counted"].to_numpy(float), rows["value"].dropna().to_numpy(float)
        lo, hi = interval(counted)
        self.rows["summary"].append(
            {
                "problem": problem,
                "arm": arm,
                "setting": setting,
                "metric": self.metric,
                "split": "test",
                "epoch_rule": "best_validation",
                "unit": "replicate",
                "n": len(rows),
                "n_ok": len(ok),
                "mean": counted.mean() if len(counted) else np.nan,
                "mean_ok": ok.mean() if len(ok) else np.nan,
                "sd": counted.std(ddof=1) if len(counted) > 1 else np.nan,
                "median": np.median(counted) if len(counted) else np.nan,
                "min": counted.min(initial=np.inf),
                "max": counted.max(initial=-np.inf),
                "lo": lo,
                "hi": hi,
                "level": 0.95,
                "method": "t",
            }
        )

    def compare(self, problem: str, arm: str, baseline: str, setting: str) -> None:
        a, b = self.values(problem, arm, setting), self.values(problem, baseline, setting)
        primary = setting == self.main and baseline == self.arms[0]
        sign = 1 if self.metric == "accuracy" else -1
        d = (sign * (a["counted"] - b["counted"])).dropna().to_numpy(float)
        lo, hi = interval(d)
        verdict = "not_compared" if not np.isfinite(lo) else word(lo, hi, self.margin)
        delta = float(d.mean()) if len(d) else np.nan
        self.rows["comparisons"].append(
            {
                "question": "",
                "kind": "pair",
                "primary": primary,
                "family_size": len(self.arms) - 1 if primary else 1,
                "problem": problem,
                "arm": arm,
                "baseline": baseline,
                "metric": self.metric,
                "split": "test",
                "setting": setting,
                "claim": "method",
                "paired": True,
                "paired_on": "split init order augmentation noise",
                "n": len(d),
                "failed_arm": int(a["value"].isna().sum()),
                "failed_baseline": int(b["value"].isna().sum()),
                "delta": delta,
                "sd": float(d.std(ddof=1)) if len(d) > 1 else np.nan,
                "lo": lo,
                "hi": hi,
                "level": 0.95,
                "method": "paired t",
                "p_t": 0.0139,
                "p_holm": 0.0278,
                "p_signflip": 0.0625,
                "p_floor": 0.0625,
                "p_tost": 0.4,
                "wins": int((d > 0).sum()),
                "wins_n": len(d),
                "wins_lo": 0.478,
                "wins_hi": 1.0,
                "p_superior": 0.9,
                "margin": np.nan if self.margin is None else self.margin,
                "mde80": 0.0041,
                "more": 3,
                "more_lo": 1,
                "more_hi": 14,
                "agree": 5,
                "analyses": 6,
                "verdict": verdict,
                "sentence": f"On {problem}, {arm} against {baseline} ({setting}): {verdict}, mean difference "
                f"{100 * delta:.2f} pp [{100 * lo:.2f}, {100 * hi:.2f}] (95 % t-interval, "
                f"{len(d)} paired replicates). Covers split, initialisation and order.",
            }
        )


def interval(values: np.ndarray) -> tuple[float, float]:
    if len(values) < 3 or not np.isfinite(values).all():
        return np.nan, np.nan
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)


def word(lo: float, hi: float, margin: float | None) -> str:
    margin = margin or 0.0
    if lo > margin:
        return "better"
    if hi < -margin:
        return "worse"
    if margin and -margin < lo and hi < margin:
        return "equivalent"
    return "better_small" if lo > 0 else "worse_small" if hi < 0 else "undecided"


def findings(
    *,
    arms: tuple[str, ...] = DEFAULT_ARMS,
    problems: tuple[str, ...] = ("mnist-cnn",),
    replicates: int = 5,
    trials: int = 6,
    epochs: int = 3,
    metric: str = "accuracy",
    margin: float | None = 0.002,
    failed: frozenset[tuple[str, int]] = frozenset(),
    missing: frozenset[tuple[str, int]] = frozenset(),
    untuned: bool = True,
    seed: int = 3,
    remarks: tuple[Any, ...] | None = None,
    question: str = "Tuned alike, which optimizer trains the article's CNN best on MNIST?",
    headline: str = "On mnist-cnn, momentum and adam are better than sgd in test accuracy.",
    reason: str | None = None,
) -> Findings:
    """A finished suite by default; `failed` and `missing` name (arm, replicate) of final runs."""
    world = World(
        arms=arms,
        problems=problems,
        replicates=replicates,
        trials=trials,
        epochs=epochs,
        metric=metric,
        margin=margin,
        failed=failed,
        missing=missing,
        untuned=untuned,
        seed=seed,
    )
    tables = {name: frame(name, rows) for name, rows in world.rows.items() if name != "finals"}
    tables["metrics"] = frame("metrics", [ACCURACY, LOSS] if metric == "accuracy" else [LOSS, ACCURACY])
    if reason is not None and len(tables["runs"]):
        tables["runs"]["reason"] = tables["runs"]["reason"].where(tables["runs"]["reason"].isna(), reason)
    for name in ("summary", "comparisons"):
        if not len(tables[name]):
            del tables[name]
    done = len(tables["runs"])
    bad = int((tables["runs"]["status"] != "ok").sum()) if done else 0
    if remarks is None:
        remarks = (
            remark(
                "H004",
                "W",
                "momentum: the chosen optimizer.lr lies on the edge of its space in 3 of 5 replicates",
                "widen the space and run again",
            ),
            remark(
                "H011",
                "N",
                "validation accuracy still rises at the last epoch",
                "the answer holds for this training budget only",
            ),
        )
    return Findings(
        suite=suite(world, question),
        headline=headline,
        tables=tables,
        finals=pd.DataFrame(world.rows["finals"], columns=FINALS),
        remarks=remarks,
        counts={
            "planned": world.planned,
            "ok": done - bad,
            "pruned": 0,
            "failed": bad,
            "missing": world.planned - done,
        },
        environment={
            "python": "3.13.1",
            "torch": "2.14.1",
            "optuna": "5.0.0",
            "harness": "0.1.0",
            "platform": "Linux x86_64",
            "cpu capability": "AVX512",
            "device": "cpu",
            "threads": 1,
        },
        parts=[
            ("dataset", "mnist", "harness 0.1.0", "8c1f0a2b3c4d"),
            ("model", "cnn", "harness 0.1.0", "77aa0a2b3c4d"),
            *(("optimizer", arm, "harness 0.1.0", "5e1f0a2b3c4d") for arm in arms),
        ],
        command="harness run suites/optimizers.toml",
    )


FINALS = [
    "problem",
    "arm",
    "setting",
    "replicate",
    "metric",
    "value",
    "counted",
    "status",
    "reason",
    "run_id",
    "weights_hash",
    "n_examples",
]


def remark(code: str, level: Literal["W", "N"], message: str, remedy: str) -> Remark:
    return Remark(code, level, message, remedy)


def suite(world: World, question: str) -> Suite:
    space = {"optimizer.lr": Float(1e-4, 0.3162, log=True), "batch_size": Choice(32, 64, 128)}
    extra = {"direction": "maximize", "unit": "fraction"}
    if world.metric == "loss":
        extra = {"direction": "minimize", "unit": "nats"}
    return Suite(
        path=Path("optimizers.toml"),
        name="optimizers",
        text="",
        question=question,
        seed=0,
        schema=1,
        problems=world.problems,
        arms=world.arms,
        settings=tuple(
            Setting(problem, arm, values(arm, world.epochs), space, {})
            for problem in world.problems
            for arm in world.arms
        ),
        tuning=Tuning(trials=world.trials),
        compare=Compare(
            metric=world.metric,
            baseline=world.arms[0],
            replicates=world.replicates,
            margin=world.margin,
            untuned=len(world.settings) > 1,
            primary=world.arms[1:],
        ),
        execution=Execution(),
        metric=PartInfo("metric", world.metric, Origin("harness", "0.1.0", "metrics", "", ""), extra=extra),
    )


def values(arm: str, epochs: int) -> dict[str, Any]:
    return {
        "dataset": {"use": "mnist", "normalize": "symmetric"},
        "model": {"use": "cnn", "activation": "relu"},
        "loss": {"use": "cross_entropy"},
        "optimizer": {"use": arm, "lr": 0.01},
        "schedule": {"use": "constant"},
        "strategy": {"use": "full"},
        "train_examples": 6000,
        "validation_examples": 5000,
        "epochs": epochs,
        "steps": None,
        "batch_size": 64,
        "precision": "fp32",
    }
