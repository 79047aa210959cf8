"""A small catalog in memory, so that tests of suites need no plugin and no torch."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.diagnostics import Mistake, MistakesError
from harness.hookspecs import Choice, Domain, Float, Int
from harness.registry.catalog import Broken, Catalog, Origin, PartInfo
from harness.suite import Suite, load

BUILTIN = Origin("harness-builtin", "0.1", "plugins", "plugins/all.py", "aa" * 32)
EXTRA = Origin("harness-extra", "0.2", "extra", "extra/all.py", "bb" * 32)


def part(
    kind: str,
    name: str,
    options: Mapping[str, Any] | None = None,
    space: Mapping[str, Domain] | None = None,
    *,
    origin: Origin = BUILTIN,
    required: tuple[str, ...] = (),
    open: bool = False,
    **extra: Any,
) -> PartInfo:
    return PartInfo(kind, name, origin, options or {}, required, open, space or {}, extra=extra)


LR = Float(1e-5, 0.1, log=True)
SGD = {"lr": 0.1, "momentum": 0, "weight_decay": 0.0}
PARTS = (
    part("dataset", "mnist", {"normalize": "symmetric"}),
    part("dataset", "fashion-mnist", {"normalize": "symmetric"}),
    part("model", "cnn", {"width": 32, "dropout": 0.0, "kernel": (3, 3)}),
    part("model", "mlp", {"width": 128, "layers": 2}, {"layers": Int(1, 4)}),
    part("model", "table", {"anything": None}, open=True),
    part("loss", "cross_entropy", {"label_smoothing": 0.0}),
    part("optimizer", "sgd", SGD, {"lr": LR}),
    part(
        "optimizer", "momentum", {**SGD, "momentum": 0.9, "nesterov": False}, {"lr": LR, "momentum": Float(0.5, 0.99)}
    ),
    part("optimizer", "adam", {"lr": 0.001, "betas": (0.9, 0.999), "amsgrad": False}, {"lr": LR}),
    part("optimizer", "adamw", {"lr": 0.001, "weight_decay": 0.01}, {"lr": LR}),
    part("optimizer", "twice", {"lr": 0.1}),
    part("optimizer", "twice", {"lr": 0.2}, origin=EXTRA),
    part("schedule", "constant"),
    part("schedule", "step", {"gamma": 0.1}, required=("every",)),
    part("schedule", "warm", {"share": 0.1}, {"share": Choice(0.1, "half")}),
    part("schedule", "plateau", {"factor": 0.1, "metric": "loss"}, watches="metric"),
    part("augmentation", "rotate", {"degrees": 15.0}),
    part("augmentation", "crop", {"padding": 4}),
    part("augmentation", "shear", required=("angle",), origin=EXTRA),
    part("strategy", "full", start="source"),
    part("strategy", "scratch", start="random"),
    part("strategy", "linear_probe"),
    part("strategy", "soft", {"alpha": 0.5}, hooks=["penalty"], weight_decay=False),
    part("strategy", "probe", {"lr": 0.5, "depth": 1, "mode": "mean"}, {"mode": Choice("mean", "max")}),
    part(
        "strategy", "weighed", {"r": 4, "weight": 0.1}, {"r": Int(1, 16, log=True), "weight": Float(0.01, 1, log=True)}
    ),
    part("strategy", "exact", {"l2": 1.0}, {"l2": Float(0.1, 10.0, log=True)}, hooks=["exact"]),
    part("executor", "process"),
    part("executor", "serial"),
    part("executor", "dask", {"scheduler": "", "resources": {}, "patience": 300.0, "allow_mixed_environment": False}),
    part("executor", "needy", required=("queue",), origin=EXTRA),
    part("metric", "accuracy", direction="maximize", unit="fraction", floor="chance", ceiling=1.0),
    part("metric", "loss", direction="minimize", unit="nats", floor=None, ceiling=None),
    part("metric", "f1", direction="maximize", unit="fraction", floor=0.0, ceiling=1.0),
    part("metric", "calibration", {"bins": 15}, direction="minimize", unit="fraction", floor=None, ceiling=None),
)
BROKEN = Broken("lion", "harness-lion", "0.3", "lion.py", "ModuleNotFoundError: no module named 'lion'", ("lion",))
CATALOG = Catalog(PARTS, (BROKEN,))

GOOD = """\
question = "Which optimizer trains the CNN best on MNIST?"

[problem]
dataset = "mnist"
model = "cnn"
train_examples = 6000
epochs = 2

[arms]
optimizer = ["sgd", "momentum", "adam"]

[tuning]
trials = 6
sampler = "tpe"

[tuning.space]
batch_size = [32, 64, 128]

[compare]
metric = "accuracy"
baseline = "sgd"
replicates = 5
margin = 0.002
"""


def read(tmp_path: Path, text: str | bytes, *overrides: str, name: str = "suite.toml") -> Suite:
    """The text as a suite, read from a file."""
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(path, CATALOG, overrides)


def mistakes(tmp_path: Path, text: str | bytes, *overrides: str, name: str = "suite.toml") -> tuple[Mistake, ...]:
    """All mistakes of the text, which must have some."""
    with pytest.raises(MistakesError) as caught:
        read(tmp_path, text, *overrides, name=name)
    assert str(caught.value).endswith("nothing was run")
    return caught.value.mistakes


def mistake(tmp_path: Path, text: str | bytes, *overrides: str, name: str = "suite.toml") -> Mistake:
    """The one mistake of the text."""
    found = mistakes(tmp_path, text, *overrides, name=name)
    assert len(found) == 1, [one.message for one in found]
    return found[0]


def good(old: str = "", new: str = "") -> str:
    """The valid suite with one passage changed."""
    assert GOOD.count(old) == 1 or not old
    return GOOD.replace(old, new) if old else GOOD


SHORT = 'question = "?"\n[problem]\ndataset = "mnist"\nmodel = "cnn"\n[compare]\nmetric = "accuracy"\n'
"""The shortest suite there is."""


def at(found: Mistake, number: int = 0) -> tuple[int, int, int]:
    place = found.places[number]
    return place.line, place.column, place.width


def spelled(*arms: str) -> str:
    """The shortest suite with these [[arm]] tables, the first the baseline."""
    name = tomllib.loads(arms[0]).get("name", "a") if arms else "a"
    return SHORT + f'baseline = "{name}"\n' + "".join(f"[[arm]]\n{arm}\n" for arm in arms)
