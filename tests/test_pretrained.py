"""Published weights as the source of a suite: found, named in the specs, and refused where they do not fit."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

import pytest
import torch
from torch import nn

PLUGIN = '''
"""Images, and a network that was published for them."""

import torch
from torch import nn

import harness


def squares(root, *, channels=1, examples=60):
    generator = torch.Generator().manual_seed(3)

    def split(n):
        labels = torch.arange(n) % 3
        return torch.randn(n, channels, 6, 6, generator=generator) + labels[:, None, None, None], labels

    return harness.Splits(train=split(examples), test=split(30), classes=3)


def net(input_shape, outputs, *, width=4):
    layers = [nn.Conv2d(input_shape[0], width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(width * 16, outputs)]
    return nn.Sequential(*layers)


@harness.hookimpl
def harness_datasets():
    return [harness.Dataset("squares", load=squares)]


@harness.hookimpl
def harness_models():
    known = {"SHAPES_V1": harness.Weights("net-PREFIX.pth", 7, channels=1, sha256_prefix="PREFIX")}
    return [harness.Model("net", build=net, weights=known)]
'''
SUITE: dict[str, Any] = {
    "source": {"weights": "SHAPES_V1"},
    "problem": {
        "dataset": "squares",
        "model": "net",
        "labels_per_class": 5,
        "validation_examples": 12,
        "steps": 4,
        "batch_size": 6,
    },
    "arms": {"strategy": ["full", "linear_probe", "scratch"]},
    "tuning": None,
    "compare.baseline": "full",
    "compare.margin": None,
}


@pytest.fixture
def there(project, monkeypatch, tmp_path):
    """A folder with the suite, the plugin and the weights, and no torch hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HARNESS_DOWNLOAD", "")
    torch.manual_seed(1)
    made = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 7))
    folder = project.folder / "data" / "weights"
    folder.mkdir(parents=True)
    torch.save(made.state_dict(), folder / "net.pth")
    digits = hashlib.sha256((folder / "net.pth").read_bytes()).hexdigest()[:8]
    (folder / "net.pth").rename(folder / f"net-{digits}.pth")
    return project.plugin("net", PLUGIN.replace("PREFIX", digits)).write(suite=copy.deepcopy(SUITE))


def test_published_weights_are_a_checkpoint_that_every_replicate_starts_from(there):
    said = there.run("run", "suite.toml", "--data", "data")
    assert said.code == 0, said.err
    assert "9 of 9 ok" in said.err
    (file,) = (there.folder / "data" / "weights").iterdir()
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    started, hashes = [], set()
    for path in (there.folder / "results" / "suite" / "runs").glob("*/*.json"):
        record = json.loads(path.read_text())
        started.append(record["spec"]["source"])
        transfer = record["result"]["transfer"]
        assert transfer["forgetting_kept"] is None  # nothing of what they were trained on is here
        if "weights" in record["spec"]["source"]:
            assert transfer["source_sha256"] == sha256
            hashes.add(record["result"]["init_hash"])
    assert sorted(started, key=len) == [{"start": "random"}] * 3 + [{"weights": "SHAPES_V1", "sha256": sha256}] * 6
    assert len(hashes) == 1
    assert there.run("run", "suite.toml", "--data", "data").err.startswith("nothing to run")


def test_workers_find_weights_in_a_folder_that_was_named_from_here(there):
    there.write(suite={**copy.deepcopy(SUITE), "compare.replicates": 1})
    said = there.run("run", "suite.toml", "--data", "data", "--executor", "process", "--workers", "1")
    assert said.code == 0, said.err
    assert "3 of 3 ok" in said.err


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown name": ({"source": {"weights": "SHAPES_V2"}}, "= help: did you mean 'SHAPES_V1'?"),
    "another model": (
        {"problem.model": {"use": "net", "width": 5}},
        "another model than 'net': shape of 0.weight (4, 1, 3, 3) in place of (5, 1, 3, 3)",
    ),
    "other channels": (
        {"problem.dataset": {"use": "squares", "channels": 3}},
        "images of 1 channels, and the data's have the shape (3, 6, 6)",
    ),
    "too many labels": ({"problem.labels_per_class": 17}, "labels_per_class is 17, more than there are"),
}


@pytest.mark.parametrize(("change", "says"), UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_is_named_before_anything_runs(there, change, says):
    said = there.write(suite={**copy.deepcopy(SUITE), **change}).run("run", "suite.toml", "--data", "data")
    assert said.code in (2, 3), said.err
    assert says in said.err
    assert "Traceback" not in said.err
    assert not (there.folder / "results").exists()


@pytest.mark.parametrize("damage", ["gone", "altered"])
def test_weights_that_are_not_there_or_damaged_are_named_with_the_way_out(there, damage):
    (file,) = (there.folder / "data" / "weights").iterdir()
    file.unlink() if damage == "gone" else file.write_bytes(file.read_bytes()[:-3])
    said = there.run("run", "suite.toml", "--data", "data")
    assert said.code in (2, 3, 4), said.err
    assert file.name in said.err
    assert ("put the file there or name another folder by --data DIR" if damage == "gone" else "SHA-256") in said.err
    assert "Traceback" not in said.err
