"""Data from the command line: found, downloaded where that is allowed, or refused with a reason in one line."""

import gzip
import hashlib
import json
import re
import struct
import urllib.request

import numpy as np
import pytest
from torchvision import datasets

from harness.locations import DOWNLOAD

BAD = """
import torch
import harness

def clouds(fault=""):
    labels = torch.arange(240) % 3
    inputs = torch.randn(240, 4, generator=torch.Generator().manual_seed(0)) + labels[:, None]
    return {"train": [inputs, labels], "test": [inputs[:60].clone(), labels[:60].clone()], "classes": 3}

def bad(root, *, fault="none"):
    made = clouds()
    train, test = made["train"], made["test"]
    if fault == "label beyond": train[1][7] = 3
    if fault == "label below": test[1][2] = -1
    if fault == "nan": train[0][5, 1] = float("nan")
    if fault == "infinite": test[0][9, 3] = float("inf")
    if fault == "class absent": test[1][test[1] == 1] = 0
    if fault == "labels are floats": train[1] = train[1].float()
    if fault == "labels are columns": train[1] = train[1][:, None]
    if fault == "another shape": test[0] = test[0][:, :3]
    if fault == "fewer labels": train[1] = train[1][:-1]
    if fault == "empty": made["test"] = [test[0][:0], test[1][:0]]
    if fault == "no data": raise harness.DataError("there is no such file")
    if fault == "raises": raise KeyError("labels")
    return harness.Splits(**{**made, "train": tuple(train), "test": tuple(made["test"])})

class Torn(torch.utils.data.Dataset):
    def __init__(self, split):
        self.inputs, self.labels = split

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        inputs = self.inputs[index].clone()
        if index > 0:
            inputs[0] = float("nan")
        return inputs, self.labels[index]

def torn(root):
    made = clouds()
    return harness.Splits(Torn(made["train"]), Torn(made["test"]), classes=3, fingerprints=("a", "b"))

@harness.hookimpl
def harness_datasets():
    return [harness.Dataset("bad", load=bad), harness.Dataset("torn", load=torn)]
"""


@pytest.fixture(autouse=True)
def _no_permission(monkeypatch):
    """As it is unless a test gives it; what a command sets is taken back."""
    monkeypatch.setenv(DOWNLOAD, "")
    monkeypatch.delenv("HARNESS_DATA", raising=False)


def suite(project, **changes):
    return project.plugin("bad", BAD).write(suite={"tuning": None, "compare.replicates": 1, **changes})


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("label beyond", "train split: the label of row 7 is 3, allowed are 0 to 2"),
        ("label below", "test split: the label of row 2 is -1, allowed are 0 to 2"),
        ("nan", "train split: the input of row 5 is not finite"),
        ("infinite", "test split: the input of row 9 is not finite"),
        ("class absent", "test split: class 1 of 3 has no example"),
        ("labels are floats", "train split: labels must be int64 (N,), got torch.float32 (240,)"),
        ("labels are columns", "train split: labels must be int64 (N,), got torch.int64 (240, 1)"),
        ("another shape", "test split: inputs (3,) differ in shape from the training split's"),
        ("fewer labels", "train split: 240 inputs for 239 targets"),
        ("empty", "test split: 0 inputs for 0 targets"),
        ("raises", "KeyError: 'labels' (bad.py, line "),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_bad_data_stop_everything_with_split_row_and_value(project, fault, says, command):
    result = suite(project, **{"problem.dataset": {"use": "bad", "fault": fault}}).run(command, "suite.toml")
    assert result.code == 2
    assert result.out == ""
    assert re.match(r"error: suite\.toml:\d+:11: dataset 'bad'", result.err)
    assert result.err.count("dataset 'bad'") == 1
    assert says in result.err
    assert "Traceback" not in result.err
    assert len(result.err.splitlines()) == 1
    assert not (project.folder / "results").exists()


def test_the_same_data_without_a_fault_run(project):
    result = suite(project, **{"problem.dataset": "bad"}).run("run", "suite.toml")
    assert result.code == 0, result.err


def test_nan_in_an_example_that_nobody_looked_at_fails_the_runs_that_meet_it(project):
    result = suite(project, **{"problem.dataset": "torn"}).run("run", "suite.toml")
    assert result.code == 1
    assert "0 of 2 ok, 2 failed" in result.err
    said = project.run("status", "suite.toml").out
    assert "diverged: the training loss was nan at step 1" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"classes": [0]}, "classes must be a list of at least two of the 10 classes, by number from 0 to 9"),
        ({"classes": [3, 3]}, "each once, got [3, 3]"),
        ({"classes": [0, 10]}, "each once, got [0, 10]"),
        ({"classes": 5}, "each once, got 5"),
        ({"half": 2}, "half must be 0 or 1, got 2"),
        ({"rotate": 45}, "rotate must be one of 0, 90, 180, 270 degrees, got 45"),
        ({"normalize": "zscore"}, "normalize must be one of symmetric, unit, standard, imagenet, got 'zscore'"),
        ({"normalise": "unit"}, "did you mean 'normalize'?"),
        ({"invert": "yes"}, "takes true or false"),
    ],
)
def test_options_of_images_that_make_no_sense_are_mistakes_of_the_suite(project, options, says):
    result = suite(project, **{"problem.dataset": {"use": "digits", **options}}).run("plan", "suite.toml")
    assert result.code == 2
    assert says in result.err
    assert "Traceback" not in result.err


def test_options_of_images_make_another_problem(project):
    changes = {"problem.dataset": {"use": "digits", "classes": [1, 7], "half": 0, "invert": True, "rotate": 90}}
    changes |= {"problem.model": "mlp", "problem.validation_examples": 20}
    project = suite(project, **changes, **{"problem.train_examples": 100})
    result = project.run("run", "suite.toml")
    assert result.code == 0, result.err
    plan = json.loads(project.read("results/suite/plan.json"))
    assert [setting["problem"] for setting in plan["settings"]] == ["digits-mlp"] * 2
    assert plan["settings"][0]["values"]["dataset"]["classes"] == [1, 7]


# Downloads -----------------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_named_with_the_flag_by_every_command_that_looks_at_data(project):
    suite(project, **{"problem.dataset": "kmnist", "problem.model": "mlp"})
    for command in ("plan", "run", "status", "report"):
        result = project.run(command, "suite.toml", "--data", "mine")
        assert result.code == 4
        assert re.match(
            r"error: suite\.toml:\d+:11: dataset 'kmnist': kmnist: no train-images-idx3-ubyte, ", result.err
        )
        assert f" in {project.folder}/mine/KMNIST/raw; put the files there" in result.err
        assert "--download" in result.err
        assert "Traceback" not in result.err
    assert project.run("check", "suite.toml").code == 0


def offered(monkeypatch):
    """Small files like KMNIST's, which come in place of every download; the addresses that were asked for."""
    packed, asked = {}, []
    for prefix in ("train", "t10k"):
        labels = np.arange(240, dtype=np.uint8) % 10
        images = (np.random.RandomState(0).randint(0, 60, (240, 28, 28)) + 19 * labels[:, None, None]).astype(np.uint8)
        for what, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            packed[f"{prefix}-{what}-ubyte.gz"] = gzip.compress(header + array.tobytes())
    md5 = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in packed.items()}
    monkeypatch.setattr(datasets.KMNIST, "resources", [(name, md5[name]) for name, _ in datasets.KMNIST.resources])

    class Answer:
        def __init__(self, request):
            asked.append(request.full_url)
            self.url, content = request.full_url, packed[request.full_url.rpartition("/")[2]]
            self.length, self._pieces = len(content), [content, b""]

        def read(self, size):
            return self._pieces.pop(0)

        def __enter__(self):
            return self

        def __exit__(self, *args):
            pass

    monkeypatch.setattr(urllib.request, "urlopen", Answer)
    return asked


def test_with_the_flag_it_is_downloaded_once_and_then_used_without(project, monkeypatch):
    asked = offered(monkeypatch)
    suite(project, **{"problem.dataset": "kmnist", "problem.model": {"use": "mlp", "hidden": [8]}})
    assert project.run("plan", "suite.toml", "--data", "mine").code == 4
    assert asked == []
    result = project.run("plan", "suite.toml", "--data", "mine", "--download")
    assert result.code == 0, result.err
    assert "data sets that are not found are downloaded into mine\n" in result.err
    assert asked != []
    assert all(address.startswith(datasets.KMNIST.mirrors[0]) for address in asked)
    asked.clear()
    monkeypatch.setenv(DOWNLOAD, "")
    result = project.run("run", "suite.toml", "--data", "mine")
    assert result.code == 0, result.err
    assert "2 of 2 ok" in result.err
    assert asked == []


def test_a_failed_download_is_one_line_with_its_reason(project, monkeypatch):
    def refuse(request):
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    suite(project, **{"problem.dataset": "cifar100", "problem.model": "mlp"})
    result = project.run("plan", "suite.toml", "--download")
    assert result.code == 4
    error = result.err.splitlines()[-1]
    assert "cifar100: cannot be downloaded into " in error
    assert "Connection reset by peer" in error
    assert "Traceback" not in result.err


# `exit` makes the fixture ask a child process.
ASKING = """
import torch
import harness
from harness.locations import may_download

def remote(root):
    if not may_download():
        raise harness.DataError("not here, and no exit but --download")
    labels = torch.arange(240) % 2
    both = (torch.randn(240, 4, generator=torch.Generator().manual_seed(0)) + labels[:, None], labels)
    return harness.Splits(train=both, test=both, classes=2)

@harness.hookimpl
def harness_datasets():
    return [harness.Dataset("remote", load=remote)]
"""


def test_the_permission_reaches_the_child_that_looks_and_the_workers_that_run(project):
    changes = {"problem.dataset": "remote", "tuning": None, "compare.replicates": 1}
    project.plugin("remote", ASKING).write(suite={**changes, "execution": {"workers": 1}})
    result = project.run("run", "suite.toml", "--download")
    assert result.code == 0, result.err
    assert "2 of 2 ok" in result.err


def test_a_download_gets_more_time_than_a_look(monkeypatch):
    from harness.registry import child

    assert child._deadline_seconds("data") == child.DEADLINES_SECONDS["data"]
    monkeypatch.setenv(DOWNLOAD, "1")
    assert child._deadline_seconds("data") == child.DOWNLOAD_SECONDS > 3600
    assert child._deadline_seconds("plugin") == child.DEADLINES_SECONDS["plugin"]
