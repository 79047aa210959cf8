"""The user's folder as fixture: a suite, plugins beside it, and the command line run in it."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import pytest

from tests.warm import Warm

TINY = '''
"""A problem that trains in milliseconds: two clouds of points, and a linear model."""

import torch
from torch import nn

import harness


def clouds(root, *, noise=1.0, examples=240, seed=0):
    """Two Gaussian clouds in four dimensions."""
    generator = torch.Generator().manual_seed(seed)

    def split(n):
        labels = torch.arange(n) % 2
        inputs = torch.randn(n, 4, generator=generator) * noise + labels[:, None] * 1.0
        return inputs, labels

    return harness.Splits(train=split(examples), test=split(100), classes=2)


def line(input_shape, outputs, *, width=8):
    """One hidden layer."""
    return nn.Sequential(nn.Linear(input_shape[0], width), nn.ReLU(), nn.Linear(width, outputs))


@harness.hookimpl
def harness_datasets():
    return [harness.Dataset("clouds", load=clouds)]


@harness.hookimpl
def harness_models():
    return [harness.Model("line", build=line)]
'''

SUITE: dict[str, Any] = {
    "question": "Which optimizer separates two clouds best?",
    "problem": {
        "dataset": "clouds",
        "model": "line",
        "train_examples": 120,
        "validation_examples": 80,
        "epochs": 2,
        "batch_size": 30,
    },
    "arms": {"optimizer": ["sgd", "adam"]},
    "tuning": {"trials": 2},
    "compare": {"metric": "accuracy", "baseline": "sgd", "replicates": 3, "margin": 0.01},
    "execution": {"executor": "serial"},
}


@dataclass(frozen=True)
class Result:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Project:
    """A folder with plugins and suites, as a user has it."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str] | None) -> None:
        self.folder = folder
        self._capfd = capfd

    def write(
        self, text: str | None = None, *, name: str = "suite.toml", suite: Mapping[str, Any] | None = None
    ) -> Project:
        """Write a suite: the given text, or the small one with some dotted keys changed (None drops the key)."""
        (self.folder / name).write_text(to_toml(changed(SUITE, suite or {})) if text is None else text)
        return self

    def plugin(self, name: str, text: str) -> Project:
        """Write `./plugins/NAME.py`."""
        (self.folder / "plugins").mkdir(exist_ok=True)
        (self.folder / "plugins" / f"{name}.py").write_text(text)
        return self

    def run(self, *arguments: str) -> Result:
        """Run `harness ARGUMENTS` in this process."""
        from harness.cli import main

        assert self._capfd is not None
        self._capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(list(arguments))
        said = self._capfd.readouterr()
        return Result(int(exit_.value.code or 0), said.out, said.err)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start `harness ARGUMENTS` in a process of its own."""
        command = [sys.executable, "-m", "harness", *arguments]
        return subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )

    def run_apart(self, *arguments: str) -> Result:
        """Run `harness ARGUMENTS` in a process of its own."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=240)
        return Result(process.returncode, out, err)

    def read(self, path: str) -> str:
        return (self.folder / path).read_text()


def changed(suite: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the suite with dotted keys set, or dropped where the value is None."""
    made = json.loads(json.dumps(suite))
    for dotted, value in changes.items():
        *path, last = dotted.split(".")
        table = made
        for key in path:
            table = table.setdefault(key, {})
        if value is None:
            table.pop(last, None)
        else:
            table[last] = copy.deepcopy(value)  # a later change may reach into it
    return made  # type: ignore[no-any-return]


def to_toml(suite: Mapping[str, Any]) -> str:
    """The suite as a TOML file would have it: top keys, then tables, then arrays of tables."""
    lines = [f"{key} = {inline(value)}" for key, value in suite.items() if not _is_table(value)]
    for key, value in suite.items():
        if isinstance(value, dict):
            lines += ["", f"[{key}]", *(f"{k} = {inline(v)}" for k, v in value.items())]
        elif _is_table(value):
            for item in value:
                lines += ["", f"[[{key}]]", *(f"{k} = {inline(v)}" for k, v in item.items())]
    return "\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def inline(value: Any) -> str:
    """A value as inline TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {inline(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value)


@pytest.fixture(scope="session", autouse=True)
def _hears_signals() -> None:
    """Tests and the commands that they start hear signals, also under `nohup` and in the background of a script."""
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    for number, default in defaults.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, default)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of this session's own, so that plugins are imported once and nobody's cache is touched."""
    before = {name: os.environ.get(name) for name in ("HARNESS_CACHE", "OMP_NUM_THREADS", "COLUMNS")}
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # one for all processes of a test run
    os.environ |= {"HARNESS_CACHE": str(shared / "cache"), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


WILD = re.compile(r"\bos\b|sleep|exit|Exit|thread|signal|while True|print\(")
"""What a plugin has in its source that may end, stop or disturb the process that it is imported into."""


def _ask_here(real: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """`child.ask` without the seconds that a child takes to import torch: for plugins that are no test of the child."""
    from harness.execute.serial import _unchanged_process
    from harness.registry import child, describe

    def tame(question: Mapping[str, Any]) -> bool:
        origins = [question["origin"]] if "origin" in question else list(question["origins"].values())
        files = {origin["file"] for origin in origins if origin["local"]}
        return not any(WILD.search(Path(file).read_text(errors="replace")) for file in files)

    def answer(question: Mapping[str, Any]) -> Any:
        try:
            with _unchanged_process():
                return json.loads(json.dumps(describe.answer(question), allow_nan=False))
        except Exception as error:
            known = isinstance(error, describe.HarnessError)
            return child.Failed(describe._reason(error), type(error).__name__ if known else "")

    def ask(questions: Sequence[Any], **options: Any) -> list[Any]:
        if questions and all(map(tame, questions)):
            return [answer(question) for question in questions]
        return real(questions, **options)

    return ask


@pytest.fixture(scope="session")
def _warm() -> Iterator[Warm]:
    """One process for all children of this session."""
    made = Warm()
    yield made
    made.close()


@pytest.fixture
def warm(_warm: Warm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children that answer questions have torch already, which else they take seconds to import."""
    from harness.registry import child

    monkeypatch.setattr(child, "subprocess", _warm)


@pytest.fixture
def blank_figures(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Reports of commands in this process have empty figures, unless the test is marked `draws`."""
    if request.node.get_closest_marker("draws") is None:
        from harness.report import chart

        monkeypatch.setattr(chart, "drawn", lambda *_, **__: '<svg xmlns="http://www.w3.org/2000/svg"/>')


@pytest.fixture
def project(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
    blank_figures: None,
) -> Project:
    """An empty folder with the plugin `tiny` in `./plugins`, and the command line at hand."""
    monkeypatch.chdir(tmp_path)
    if request.path.parent.name != "registry":  # which is about the child itself
        from harness.registry import child

        monkeypatch.setattr(child, "ask", _ask_here(child.ask))
        request.getfixturevalue("warm")
    return Project(tmp_path, capfd).plugin("tiny", TINY)


@pytest.fixture(scope="session")
def _finished_once() -> Path:
    """A folder in which the small suite was run, made once for all processes; tests get copies, or look at it.

    It stays where it was made, so that nobody who looks has to ask again what its plugins offer and cost.
    """
    folder = Path(os.environ["HARNESS_CACHE"]).parent / "finished"
    whole = folder.with_suffix(".whole")  # a process that was killed in the middle has not written it
    with filelock.FileLock(f"{folder}.lock"):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            result = Project(folder, None).plugin("tiny", TINY).write().run_apart("run", "suite.toml")
            assert result.code == 0, result.err
            whole.touch()
    return folder


@pytest.fixture
def finished(project: Project, _finished_once: Path) -> Project:
    """The folder of `project` after `harness run suite.toml`."""
    shutil.copytree(_finished_once, project.folder, dirs_exist_ok=True)
    return project
