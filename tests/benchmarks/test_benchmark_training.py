"""What the harness's training step costs over the best bare loop of the same precision, in one process and one run."""

from __future__ import annotations

import time

import pytest
import torch
from torch.nn import functional

from harness.execute.server import keep_freed_memory
from harness.hookspecs import Splits
from harness.registry import load_catalog, load_part
from harness.train import device, training
from harness.train.parts import Parts
from tests.benchmarks import measured

STEPS, BATCH = 60, 64


@pytest.fixture(scope="module")
def work():
    """A spec of the built-in `cnn` on random images, its parts, and the images."""
    catalog = load_catalog()
    used = {
        "model": "cnn",
        "loss": "cross_entropy",
        "optimizer": "momentum",
        "schedule": "constant",
        "strategy": "full",
    }
    found = {kind: catalog.find(kind, name) for kind, name in used.items()}
    problem = {kind: {"use": info.name, **info.options} for kind, info in found.items()}
    problem |= {"dataset": {"use": "random"}, "train_examples": STEPS * BATCH, "validation_examples": 1}
    problem |= {"epochs": 1, "steps": None, "batch_size": BATCH}
    payload = {
        "problem": problem,
        "phase": "tune",
        "seeds": dict.fromkeys(("split", "init", "order", "augmentation", "noise"), 1),
        "metrics": {},
        "threads": 1,
    }
    parts = Parts(**{kind: load_part(kind, info.name, info.origin) for kind, info in found.items()}, metrics={})
    images = torch.randn(STEPS * BATCH + 1, 1, 28, 28), torch.randint(10, (STEPS * BATCH + 1,))
    device.make_deterministic(1)
    keep_freed_memory()  # as in the processes that runs are done in, and for the bare loop too
    yield payload, parts, Splits(images, images, 10)
    torch.use_deterministic_algorithms(False)


def _bare_seconds(parts, problem, images, precision):
    """The same steps by hand: resident data, index batches, channels-last."""
    inputs, labels = images
    torch.manual_seed(1)
    options = {name: value for name, value in problem["model"].items() if name != "use"}
    model = parts.model.build((1, 28, 28), 10, **options).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    batches = torch.randperm(STEPS * BATCH).split(BATCH)
    begun = time.perf_counter()
    for indices in batches:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = functional.cross_entropy(model(inputs[indices]), labels[indices])
        loss.backward()
        optimizer.step()
    return time.perf_counter() - begun


@pytest.mark.parametrize("precision", measured.precisions())
def test_a_training_step_against_the_bare_loop(benchmark, work, precision):
    payload, parts, splits = work
    payload = {**payload, "problem": {**payload["problem"], "precision": precision}}
    bare, ours = [], []

    def pair():
        bare.append(_bare_seconds(parts, payload["problem"], splits.train, precision))
        outcome = training.run(payload, parts, splits, device=torch.device("cpu"))
        ours.append(outcome["timings"]["train_seconds"])

    pair()
    bare.clear()
    ours.clear()
    benchmark.pedantic(pair, rounds=5, iterations=1)
    ratios = sorted(mine / theirs for mine, theirs in zip(ours, bare, strict=True))
    benchmark.extra_info["images a second"] = round(STEPS * BATCH / sorted(ours)[len(ours) // 2])
    benchmark.extra_info["times the bare loop"] = round(ratios[len(ratios) // 2], 3)
