"""A network of torchvision from a file of weights, as a user does it: fetched, fine-tuned, reported; and bad files."""

from __future__ import annotations

import copy
import csv
import hashlib
import http.server
import json
import os
import re
import threading
from typing import Any

import pytest
import torch
from torchvision import models

from harness import probe
from harness.locations import DOWNLOAD
from harness.registry import child
from harness.report import chart
from harness.train.loop import Training
from tests.conftest import Project, _ask_here

torch.set_num_threads(1)

HEAD = ("classifier.3.weight", "classifier.3.bias")
PLUGIN = '''
"""torchvision's smallest MobileNet, with weights of our own in the place of those that torchvision publishes."""

import dataclasses

import harness
from harness_plugins import torchvision_models


@harness.hookimpl
def harness_models():
    (part,) = [one for one in torchvision_models.harness_models() if one.name == "mobilenet_v3_small"]
    said = dataclasses.replace(part.weights["IMAGENET1K_V1"], file="FILE", sha256_prefix="PREFIX", url="URL")
    return [dataclasses.replace(part, name="mobilenet", weights={"IMAGENET1K_V1": said})]
'''
SUITE: dict[str, Any] = {
    "source": {"weights": "IMAGENET1K_V1"},
    "problem": {
        "dataset": {"use": "random", "shape": [3, 32, 32], "classes": 3, "train": 60, "test": 12},
        "model": "mobilenet",
        "optimizer": {"use": "momentum", "lr": 0.01},
        "labels_per_class": 4,
        "validation_examples": 6,
        "steps": 2,
        "batch_size": 6,
    },
    "arms": {"strategy": ["full", "linear_probe", "scratch"]},
    "tuning": None,
    "compare.baseline": "full",
    "compare.metric": "loss",  # differs between runs whatever they learnt
    "compare.margin": None,
}


class Published:
    """Weights under the name that torchvision would give them, and a web server that has them."""

    def __init__(self, folder, address, content):
        self.folder, self.address, self.sha256 = folder, address, hashlib.sha256(content).hexdigest()
        self.file = f"mobilenet_v3_small-{self.sha256[:8]}.pth"
        (folder / self.file).write_bytes(content)

    def plugin(self):
        text = PLUGIN.replace("FILE", self.file).replace("PREFIX", self.sha256[:8])
        return text.replace("URL", f"{self.address}{self.file}")


def saved(path, model):
    """The bytes that `torch.save` makes of a network's state dict."""
    torch.save(model.state_dict(), path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """A folder and the address under which a web server has it."""
    folder = tmp_path_factory.mktemp("web")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(folder), **kwargs)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def published(web, tmp_path_factory):
    """A network with statistics of its norms that no fresh one has."""
    torch.manual_seed(5)
    network = models.mobilenet_v3_small()
    with torch.no_grad():
        network.train()(torch.randn(4, 3, 32, 32) * 2 + 1)
    return Published(*web, saved(tmp_path_factory.mktemp("made") / "draft", network))


class Finished:
    """What the suite left behind, what each command said, and the networks at the start and the end of each run."""

    def __init__(self, folder, said, networks):
        self.folder, self.said, self.networks = folder, said, networks
        paths = sorted((folder / "results" / "suite" / "runs").glob("*/*.json"))
        self.records = [json.loads(path.read_text()) for path in paths]

    def of(self, strategy):
        return [network for network in self.networks if network[0] == strategy]

    def read(self, path):
        return (self.folder / "results" / "suite" / path).read_text()


@pytest.fixture(scope="module")
def finished(published, tmp_path_factory):
    """The suite from `check` to `report`, in this process, once for all that is to be seen of it."""
    folder, networks = tmp_path_factory.mktemp("finished"), []
    project = Project(folder, None).plugin("mobilenet", published.plugin()).write(suite=copy.deepcopy(SUITE))
    train = Training.train

    def watched(self):
        train(self)
        if self.payload["phase"] == "final":
            end = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
            networks.append((self.problem["strategy"]["use"], dict(self.transfer.start), end))

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TORCH_HOME", str(folder / "torch"))
        patch.setenv(DOWNLOAD, "")
        patch.setattr(child, "ask", _ask_here(child.ask))
        patch.setattr(probe, "_SECONDS", 0.0)  # nobody asks what a step costs
        patch.setattr(chart, "drawn", lambda *_, **__: '<svg xmlns="http://www.w3.org/2000/svg"/>')
        said = [_code("check", "suite.toml"), _code("run", "suite.toml", "--data", "data")]
        refused = (folder / "data").exists() or (folder / "results").exists()
        patch.setattr(Training, "train", watched)
        said += [_code("run", "suite.toml", "--data", "data", "--download"), _code("report", "suite.toml")]
    assert not refused
    return Finished(project.folder, said, networks)


def _code(*words):
    from harness.cli import main

    with pytest.raises(SystemExit) as exit_:
        main(list(words))
    return exit_.value.code or 0


def test_it_is_valid_waits_for_the_permission_to_download_and_runs_to_its_report(finished, published):
    assert finished.said == [0, 4, 0, 0]
    assert len(finished.records) == 9
    assert {record["result"]["status"] for record in finished.records} == {"ok"}
    assert os.listdir(finished.folder / "data" / "weights") == [published.file]


def test_a_frozen_backbone_ends_as_the_file_has_it_to_the_bit(finished, published):
    file = torch.load(published.folder / published.file, weights_only=True)
    assert len(finished.of("linear_probe")) == 3
    for _, _, end in finished.of("linear_probe"):
        assert end.keys() == {f"network.{name}" for name in file}
        moved = {name for name, tensor in file.items() if not torch.equal(end[f"network.{name}"], tensor)}
        assert moved == set(HEAD)
        assert end["network.classifier.3.weight"].shape == (3, 1024)


def test_all_but_scratch_begin_as_the_file_has_it_and_full_moves_away(finished, published):
    file = torch.load(published.folder / published.file, weights_only=True)
    backbone = [name for name in file if name not in HEAD]
    for strategy in ("full", "scratch"):
        for _, start, end in finished.of(strategy):
            equal = [name for name in backbone if torch.equal(start[f"network.{name}"], file[name])]
            assert (equal == backbone) == (strategy == "full")
            assert not torch.equal(end["network.features.0.0.weight"], start["network.features.0.0.weight"])


def test_records_name_the_file_and_what_stayed_as_it_was(finished, published):
    for record in finished.records:
        transfer, strategy = record["result"]["transfer"], record["spec"]["problem"]["strategy"]["use"]
        assert transfer["source_run"] is None
        if strategy == "scratch":
            assert record["spec"]["source"] == {"start": "random"}
            continue
        assert record["spec"]["source"] == {"weights": "IMAGENET1K_V1", "sha256": published.sha256}
        assert transfer["source_sha256"] == published.sha256
        assert transfer["frozen_intact"] is True
        assert (transfer["drift"] == 0) == (strategy == "linear_probe")


def test_nothing_is_said_of_forgetting_what_nobody_can_measure(finished):
    rows = list(csv.DictReader(finished.read("tables/runs.csv").splitlines()))
    assert len(rows) == 9
    for row in rows:
        assert (row["forgetting_kept"], row["forgetting_refit"]) == ("", "")
    for header, rows in tables(finished.read("report/report.md")):
        for place in [place for place, name in enumerate(header) if "forgetting" in name.lower()]:
            assert [row[place] for row in rows] == ["–"] * 3
    assert "figures/forgetting" not in finished.read("report/report.md")
    assert sum("Forgetting, kept head, pp" in header for header, _ in tables(finished.read("report/report.md"))) == 1


def tables(markdown):
    """Header and rows of each table."""
    for table in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        header, _, *rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()]
        yield header, rows


def test_what_is_said_holds_for_this_checkpoint_only(finished):
    for page in ("report/report.md", "report/report.html"):
        assert "from which all 3 replicates start: what is said holds for this checkpoint only" in finished.read(page)
    rows = list(csv.DictReader(finished.read("tables/comparisons.csv").splitlines()))
    assert {(row["arm"], row["baseline"]) for row in rows} >= {("linear_probe", "full"), ("scratch", "full")}
    for row in rows:
        assert row["n"] == "3"
        assert "for this source checkpoint only" in row["sentence"]
        assert row["sentence"] in finished.read("report/report.md")


# Bad files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def there(project, monkeypatch, tmp_path):
    """The user's folder with the suite."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv(DOWNLOAD, "")
    (project.folder / "data" / "weights").mkdir(parents=True)
    return project.write(suite=copy.deepcopy(SUITE))


def said(project, code, *words):
    """What one line says that ends a run before it begins."""
    result = project.run("run", "suite.toml", "--data", "data", *words)
    assert result.code == code, result.err
    (error,) = [line for line in result.err.splitlines() if not line.startswith("data sets that are not found are d")]
    assert error.startswith("error: ")
    assert not (project.folder / "results").exists()
    return error


def test_a_file_that_is_not_the_published_one_is_refused_by_its_hash(there, published):
    there.plugin("mobilenet", published.plugin())
    path = there.folder / "data" / "weights" / published.file
    whole = (published.folder / published.file).read_bytes()
    for content in (whole[:-1000], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        path.write_bytes(content)
        found = hashlib.sha256(content).hexdigest()
        due = (
            f"{path.relative_to(there.folder)} is not as published: its SHA-256 must begin with {published.sha256[:8]}"
        )
        assert f"{due}, got {found}; remove it, and have it downloaded by --download" in said(there, 4)
        assert path.read_bytes() == content


def test_a_download_of_something_else_is_refused_and_leaves_nothing(there, web, published):
    folder, address = web
    other = Published(folder, address, b"first as published")
    (folder / other.file).write_bytes(b"a page that asks for a password")
    there.plugin("mobilenet", other.plugin())
    text = said(there, 4, "--download")
    assert f"what came from {address}{other.file} is not as published: its SHA-256 must begin with" in text
    assert "the same command tries again" in text
    assert list((there.folder / "data" / "weights").iterdir()) == []


def test_another_network_whose_hash_is_right_is_refused_by_its_tensors(there, web, tmp_path):
    torch.manual_seed(0)
    other = Published(*web, saved(tmp_path / "draft", models.mobilenet_v3_large(num_classes=10)))
    (there.folder / "data" / "weights" / other.file).write_bytes((other.folder / other.file).read_bytes())
    there.plugin("mobilenet", other.plugin())
    assert f"{other.file} is of another model than 'mobilenet': " in said(there, 2)
