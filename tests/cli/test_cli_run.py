"""`harness run`: its options and streams, its exit codes, and the folders that it refuses to write into."""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import session
from harness.errors import SuiteError
from tests.conftest import SUITE, changed, to_toml

SMALL = {"tuning": None, "compare.replicates": 2}
"""Four runs."""
BROKEN = """
import torch
import harness

class Broken(torch.optim.SGD):
    calls = 0

    def step(self, closure=None):
        Broken.calls += 1
        if torch.are_deterministic_algorithms_enabled() and Broken.calls > 0:
            raise RuntimeError("no such luck\\x1b[31m")

@harness.hookimpl
def harness_optimizers():
    return [harness.Optimizer("broken", build=Broken)]
"""


def small(look, **changes):
    return look.suite(to_toml(changed(SUITE, {**SMALL, **changes})))


def test_results_go_to_stdout_and_progress_to_stderr(look):
    folder = look.own / "results"
    result = look.run("run", small(look), "--results", str(folder))
    assert result.code == 0
    answer, where = result.out.splitlines()
    assert answer.startswith("Nothing can be said yet: only 2 replicates are done")
    assert where == f"report: {folder / 'report' / 'report.html'}"
    assert re.match(r"0 of 4 runs done, 4 to do, about \d+ s\n", result.err)
    assert re.search(r"\n4 runs done in \d+ s: 4 of 4 ok, 0 failed, 0 missing\n$", result.err)


def test_quiet_leaves_only_the_answer(look):
    result = look.run("run", small(look), "-q", "--results", str(look.own / "results"))
    assert (result.code, result.err, len(result.out.splitlines())) == (0, "", 2)


def test_results_may_be_a_relative_path(look):
    relative = Path(os.path.relpath(look.own)) / "deep/down"
    result = look.run("run", small(look), "--results", str(relative))
    assert result.out.splitlines()[1] == f"report: {relative}/report/report.html"
    assert (look.own / "deep/down/plan.json").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--executor", "dsk"], "no executor named 'dsk' (known: dask, process, serial); did you mean 'dask'?"),
        (["--scheduler", "tcp://a:1"], "executor 'serial' has no scheduler"),
        (["--scheduler", "tcp://a:1"], "write --executor dask with it"),
        (["--executor", "process", "--scheduler", "tcp://a:1"], "executor 'process' has no scheduler"),
    ],
)
def test_an_executor_that_is_not_there_or_a_scheduler_that_it_does_not_take_is_refused(look, words, says):
    result = look.run("run", small(look), *words, "--results", str(look.own / "results"))
    assert (result.code, result.out) == (2, "")
    assert says in result.err
    assert not (look.own / "results").exists()


def test_a_plugins_folder_of_the_command_line_is_used_and_told_in_the_report(look):
    more = look.own / "more"
    more.mkdir()
    (more / "rms.py").write_text(BROKEN.replace("Broken(torch.optim.SGD)", "Broken(torch.optim.RMSprop)")
                                 .replace("def step", "def never").replace('"broken"', '"rms"'))  # fmt: skip
    suite = small(look, **{"arms.optimizer": ["sgd", "rms"]})
    assert look.run("check", suite).code == 2
    result = look.run("run", suite, "--plugins", str(more), "--results", str(look.own / "results"))
    assert result.code == 0, result.err
    assert "rms" in result.out
    assert "more" in (look.own / "results/report/report.md").read_text()


def test_failed_runs_give_exit_code_1_and_status_tells_why(look):
    (look.own / "plug").mkdir()
    (look.own / "plug/broken.py").write_text(BROKEN)
    suite = small(look, **{"arms.optimizer": ["sgd", "broken"]})
    words = (suite, "--plugins", str(look.own / "plug"), "--results", str(look.own / "results"))
    result = look.run("run", *words)
    assert result.code == 1, result.err
    assert "2 of 4 ok, 2 failed, 0 missing" in result.err
    again = look.run("run", *words)
    assert (again.code, "nothing to run: 2 of 4 ok, 2 failed" in again.err) == (1, True)
    status = look.run("status", *words)
    assert status.code == 0
    assert (
        "failed: broken, replicate 1: error: RuntimeError: no such luck<U+001B>[31m (broken.py, line 11)\n"
        in status.out
    )
    assert "--rerun failed" in status.out.splitlines()[-1]
    assert "--rerun failed" in again.err.splitlines()[-1]
    failed = look.run("status", *words, "--json").json()["failed"]
    assert [(row["arm"], row["replicate"], row["status"]) for row in failed] == [("broken", r, "error") for r in (0, 1)]
    assert look.run("plan", *words).code == 0


def test_a_folder_that_another_process_holds_is_refused_with_its_id(look):
    folder = look.own / "results"
    shutil.copytree(look.folder / "results/suite", folder)
    hold = (
        "import sys, time, pathlib; from harness.store import Store\n"
        "with Store(pathlib.Path(sys.argv[1])).lock('suite'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        for name in ("run", "report"):
            result = look.run(name, "suite.toml", "--results", str(folder))
            assert result.code == 4
            assert f"{folder} is in use by process {holder.pid} on " in result.err
            assert "suite suite, since " in result.err
        assert look.run("status", "suite.toml", "--results", str(folder)).code == 0
        holder.communicate("")
    assert look.run("run", "suite.toml", "--results", str(folder)).code == 0


@pytest.mark.parametrize("results", ["/", "//", "/../"])
def test_the_root_of_the_disk_is_no_place_for_results(results):
    # Not by the command: were it not refused, it would write there.
    with pytest.raises(SuiteError, match="is the root of the disk"):
        session._check_path(Path(results))


def test_a_place_where_no_folder_can_be_made_is_one_clear_error(look):
    result = look.run("run", "suite.toml", "--results", "/proc/nope")
    assert (result.code, result.out) == (4, "")
    assert result.err.startswith("error: cannot write /proc/nope: no folder can be made there; ")
    assert "another folder with --results" in result.err


@pytest.mark.parametrize("results", ["~/results", "~root/x", "~"])
def test_a_literal_tilde_is_not_made_a_folder_of(look, results):
    result = look.run("run", "suite.toml", "--results", results)
    assert (result.code, result.err) == (
        2,
        f"error: --results {results}: '~' is not expanded here; write the path out\n",
    )
    assert not list(look.folder.glob("~*"))


def test_a_results_path_that_no_report_could_name_is_refused(look):
    result = look.run("run", "suite.toml", "--results", os.fsdecode(os.fsencode(look.own) + b"/r\xff"))
    assert result.code == 2
    assert "is not UTF-8; choose another name" in result.err


@pytest.mark.parametrize(
    ("results", "says"),
    [
        ("file", "cannot be a results folder: Not a directory"),
        ("file/below", "cannot be a results folder: Not a directory"),
        ("diary", "is no results folder: it has no plan.json, but 'monday.txt'"),
        (".", "is no results folder: it has no plan.json, but 'diary'"),
        ("suites", "is no results folder: it has no plan.json, but 'suite.toml'"),
        ("terraform", "is no results folder: it has no plan.json, but 'main.tf'"),
    ],
)
def test_a_folder_that_holds_anything_else_is_refused_and_left_as_it_is(look, results, says):
    for name, content in {
        "file": "", "diary/monday.txt": "", "suites/suite.toml": "another", "terraform/plan.json": "{}",
        "terraform/main.tf": "", ".precious.tmp": "",
    }.items():  # fmt: skip
        (look.own / name).parent.mkdir(exist_ok=True)
        (look.own / name).write_text(content)
    suite = small(look)
    before = look.files()
    result = look.run("run", suite, "--results", str(look.own / results))
    assert result.code == 4
    assert result.out == ""
    assert says in result.err
    assert "choose another folder with --results" in result.err
    assert look.files() == before


def test_a_killed_start_leaves_a_folder_that_the_same_command_takes(look):
    folder = look.own / "results"
    (folder / "runs").mkdir(parents=True)
    (folder / "lock").write_text("")
    (folder / ".plan.json.host.1.00000000.tmp").write_text("{")
    suite = small(look)
    (folder / "suite.toml").write_text(Path(suite).read_text())
    result = look.run("run", suite, "--results", str(folder))
    assert result.code == 0, result.err
    assert not list(folder.glob(".*"))


def test_a_results_folder_that_is_removed_under_the_command_is_not_reported_as_whole(look, monkeypatch):
    folder = look.own / "results"
    from harness.execute.serial import SerialExecutor

    wait = SerialExecutor.wait

    def removing(self, seconds):
        if (folder / "plan.json").exists():
            shutil.rmtree(folder)
        return wait(self, seconds)

    monkeypatch.setattr(SerialExecutor, "wait", removing)
    suite = small(look)
    result = look.run("run", suite, "--results", str(folder))
    assert result.code == 4
    assert result.out == ""
    assert f"{folder} was removed while its runs were done; the same command starts again" in result.err
    monkeypatch.undo()
    monkeypatch.chdir(look.folder)
    assert look.run("run", suite, "--results", str(folder)).code == 0


def _on_a_terminal(look, *words):
    """Everything that the command shows on a terminal, and its exit code."""
    shown, terminal = pty.openpty()
    command = [sys.executable, "-m", "harness", *words]
    process = subprocess.Popen(
        command, cwd=look.folder, stdin=terminal, stdout=terminal, stderr=terminal,
        env={**os.environ, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(terminal)
    said = b""
    try:
        while data := os.read(shown, 65536):
            said += data
    except OSError:  # what Linux says at the end of a terminal
        pass
    os.close(shown)
    return said.decode(), process.wait()


# Without colours, where the user wants none: tests/test_progress.py.
def test_a_terminal_gets_a_live_bar(look):
    suite = small(look)
    assert look.run("plan", suite).code == 0  # its answers are kept: the next command starts no child
    shown, code = _on_a_terminal(look, "run", suite, "--results", str(look.own / "a"))
    assert code == 0
    assert "4/4" in shown
    assert re.search(r"\x1b\[[0-9;]*3[0-9;]*m", shown)


def _children(pid):
    import psutil

    return psutil.Process(pid).children(recursive=True)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGKILL, -9)]
)
def test_a_command_that_waits_for_a_hanging_plugin_ends_when_asked_and_leaves_no_process(look, number, code):
    import psutil

    mark = look.own / "importing"
    (look.own / "hangs.py").write_text(
        f"import harness, pathlib, time\npathlib.Path({str(mark)!r}).touch()\nharness.hookimpl\ntime.sleep(600)\n"
    )
    process = look.start("plan", "suite.toml", "--plugins", str(look.own), start_new_session=True)
    deadline = time.monotonic() + 120
    while not mark.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = _children(process.pid)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    assert err.strip() == ("" if code == -9 else "interrupted; finished runs are kept, the same command goes on")
    assert children
    assert psutil.wait_procs(children, timeout=10)[1] == []
