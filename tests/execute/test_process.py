"""Worker processes: whatever becomes of one, its run ends with a status, its reason, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import pickle
import signal
import tabnanny
import tempfile
import threading
import time
from multiprocessing import forkserver, reduction
from pathlib import Path

import psutil
import pytest
import torch
from safetensors import SafetensorError

from harness import interrupts
from harness.errors import ResultsError
from harness.execute import Job, cores, process, watch
from harness.execute.process import ATTEMPTS, ProcessExecutor
from harness.execute.serial import SerialExecutor
from harness.registry.catalog import Origin
from harness.spec import digest, run_seeds
from harness.train import data

PLUGIN = '''
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn

import harness


def clouds(root):
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(40, 3, generator=generator), torch.arange(40) % 2
    return harness.Splits(train=(inputs, labels), test=(inputs[:20], labels[:20]), classes=2)


def killed(folder, times):
    """Kill this process the first times."""
    counter = folder / "count"
    done = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(done + 1))
    if done < times:
        os.kill(os.getpid(), signal.SIGKILL)


def left_behind(folder, own_session=False):
    """A process that goes on after this one, and keeps its pipes."""
    child = os.fork()
    if child == 0:
        if own_session:
            os.setsid()
        time.sleep(600)
        os._exit(0)
    (folder / "child").write_text(str(child))


def daemon():
    """A process whose parent is gone, in a session of its own, before this run ends."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            Path(os.environ["DAEMON"]).write_text(str(os.getpid()))
            time.sleep(600)
        os._exit(0)


def wait_for(file):
    while not file.exists() or not file.read_text():
        time.sleep(0.01)
    return file.read_text()


def act(action, root):
    folder = Path(root)
    if action == "kill once":
        killed(folder, 1)
    elif action == "kill":
        killed(folder, 99)
    elif action == "exit":
        os._exit(0)
    elif action == "segfault":
        ctypes.string_at(0)
    elif action == "sleep":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        left_behind(folder)
        time.sleep(600)
    elif action == "leave a child":
        left_behind(folder)
    elif action == "leave a session":
        left_behind(folder, own_session=True)
    elif action == "leave a child and die":
        left_behind(folder)
        killed(folder, 99)
    elif action == "leave a program":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (folder / "child").write_text(str(child.pid))
    elif action == "leave a daemon":
        os.environ["DAEMON"] = str(folder / "pid")
        daemon()
        (folder / "child").write_text(wait_for(folder / "pid"))
    elif action == "eat":
        eaten = [torch.ones(5 * 2**18) for _ in range(2000) if not time.sleep(0.005)]
    elif action == "eat in a child":
        if os.fork() == 0:
            eaten = [torch.ones(5 * 2**18) for _ in range(2000) if not time.sleep(0.005)]
        time.sleep(600)
    elif action == "many threads":
        import threading

        for _ in range(300):
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        time.sleep(600)
    elif action == "chatter":
        while True:
            print("x" * 2**16)
            time.sleep(0.001)  # else it writes gigabytes before it is looked at
    elif action == "hang":
        re.match(r"(a+)+$", "a" * 64 + "b")
    elif action == "write here":
        Path("here").write_text(str(Path.cwd()))
        (folder / "where").write_text(str(Path.cwd()))
    elif action == "say what is imported":
        (folder / "imported").write_text(" ".join(n for n in sys.modules if n.endswith(("wave", "tabnanny"))))
    elif action == "print":
        print("from Python", flush=True)
        os.system("echo from a program >&2")
    elif action == "thread":
        import threading

        threading.Thread(target=time.sleep, args=(600,)).start()
    elif action == "raise":
        raise RuntimeError("no such luck")
    elif action == "threads":
        torch.set_num_threads(3)
    elif action == "dtype":
        torch.set_default_dtype(torch.float64)
    elif action == "determinism":
        torch.use_deterministic_algorithms(False)
    elif action == "reseed":
        torch.manual_seed(0)
    elif action == "exit politely":
        sys.exit(3)
    elif action == "memory":
        raise MemoryError
    elif action == "address":
        raise ValueError(f"cannot use {object()!r}")


def line(input_shape, outputs, *, action="", root=""):
    model = nn.Linear(input_shape[0], outputs)
    act(action, root)
    return model


@harness.hookimpl
def harness_datasets():
    return [harness.Dataset("clouds", load=clouds)]


@harness.hookimpl
def harness_models():
    return [harness.Model("line", build=line)]


@harness.hookimpl
def harness_optimizers():
    return [harness.Optimizer("sgd", build=torch.optim.SGD)]


@harness.hookimpl
def harness_losses():
    return [harness.Loss("cross_entropy", build=nn.CrossEntropyLoss)]


@harness.hookimpl
def harness_schedules():
    return [harness.Schedule("constant", build=lambda optimizer, steps, steps_per_epoch: None)]


@harness.hookimpl
def harness_strategies():
    return [harness.Strategy("full", phases=lambda t: [harness.Phase(lambda p: 1.0)])]


@harness.hookimpl
def harness_metrics():
    def accuracy(predictions):
        return (predictions.outputs.argmax(1) == predictions.targets).float().mean()

    return [harness.Metric("accuracy", apply=accuracy, direction="maximize")]
'''


def line_of(text):
    """Number of the plugin's line that has the text."""
    return next(number for number, line in enumerate(PLUGIN.splitlines(), start=1) if text in line)


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    file = tmp_path_factory.mktemp("plugins") / "acting.py"
    file.write_text(PLUGIN)
    return Origin("plugins", "", "acting", str(file), digest(PLUGIN), local=True)


def installed(module):
    """The origin of a module of an installed distribution."""
    return Origin("standard", "", module, "", "0" * 64).__dict__


@pytest.fixture(scope="module")
def executor(origin, tmp_path_factory):
    """One executor with one server, since that takes the time that importing torch takes."""
    preload = [{"options": {"use": "clouds"}, "origin": origin.__dict__, "root": ""}]
    # Of these only the first is there and counts as installed.
    plugins = [installed("wave"), {**installed("tabnanny"), "local": True, "file": tabnanny.__file__}, installed("no")]
    logs = tmp_path_factory.mktemp("logs")
    made = ProcessExecutor(2, threads=1, preload=preload, plugins=plugins, time_limit=120, logs=logs)
    yield made
    made.close()


@pytest.fixture
def job(origin, tmp_path):
    """A job whose model does something when it is built; what it needs to remember lies in `tmp_path`."""
    splits = data.load({"use": "clouds"}, origin, tmp_path)

    def make(action="", name="", **changed):
        parts = {kind: {"use": kind} for kind in ("dataset", "model", "loss", "optimizer", "schedule", "strategy")}
        named = {"dataset": "clouds", "model": "line", "optimizer": "sgd", "loss": "cross_entropy"}
        parts = {kind: {"use": {**named, "schedule": "constant", "strategy": "full"}[kind]} for kind in parts}
        parts["model"] |= {"action": action, "root": str(tmp_path)}
        parts["optimizer"] |= {"lr": 0.1}
        sizes = {"train_examples": 20, "validation_examples": 10, "epochs": 2, "steps": None, "batch_size": 8}
        payload = {
            "phase": "tune",
            "problem": {**parts, **sizes, "precision": "fp32", **changed},
            "data": {"train": data.fingerprint(splits.train)},
            "seeds": run_seeds(suite=0, dataset="clouds", replicate=0, phase="tune", repeat=0),
            "metrics": {"accuracy": {}},
            "threads": 1,
        }
        kinds = (*parts, "metric:accuracy")
        return Job(digest([payload, name]), payload, dict.fromkeys(kinds, origin.__dict__), "", "cpu")

    return make


def finish(executor, *jobs, seconds=60):
    """Outcomes of the jobs, in their order."""
    for one in jobs:
        executor.submit(one)
    outcomes, deadline = {}, time.monotonic() + seconds
    while len(outcomes) < len(jobs):
        assert time.monotonic() < deadline, "waited in vain"
        outcomes |= {outcome.id: outcome for outcome in executor.wait(1.0)}
    return [outcomes[one.id] for one in jobs]


def test_installed_plugins_are_there_before_a_run_and_files_of_a_folder_are_not(executor, job, tmp_path):
    (outcome,) = finish(executor, job("say what is imported"))
    assert outcome.result["status"] == "ok"
    assert (tmp_path / "imported").read_text() == "wave"


def log(executor, one):
    return executor._logs / f"{one.id}.log"


def is_gone(folder, seconds=10):
    """Whether the process whose id is in the folder has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        left = psutil.Process(int((folder / "child").read_text()))
        if left.status() != psutil.STATUS_ZOMBIE:
            psutil.wait_procs([left], timeout=seconds)
        return not left.is_running() or left.status() == psutil.STATUS_ZOMBIE
    return True


# Results -------------------------------------------------------------------------------------------------------------


def test_a_worker_gives_the_result_that_this_process_gives_bit_for_bit(executor, job):
    (outcome,) = finish(executor, one := job())
    serial = SerialExecutor()
    serial.submit(one)
    (expected,) = serial.wait(0)
    assert outcome.result == expected.result
    assert outcome.environment == expected.environment
    assert outcome.result["status"] == "ok"
    assert (outcome.id, outcome.observed["attempt"]) == (one.id, 1)
    assert outcome.observed["overlapped"] is (cores() < 2)


def test_two_workers_at_a_time_give_each_job_its_own_outcome(executor, job):
    jobs = [job(optimizer={"use": "sgd", "lr": lr}) for lr in (0.1, 0.2)]
    first, second = finish(executor, *jobs)
    assert (first.id, second.id) == (jobs[0].id, jobs[1].id)
    assert first.result["weights_hash"] != second.result["weights_hash"]
    assert finish(executor, jobs[1])[0].result == second.result


def test_an_outcome_is_plain_data(executor, job):
    (outcome,) = finish(executor, job())
    text = json.dumps([outcome.result, outcome.environment, outcome.observed], allow_nan=False)
    assert json.loads(text) == [outcome.result, outcome.environment, outcome.observed]


def test_waiting_for_nothing_ends_in_time(executor):
    assert executor.wait(0.01) == []


# Ends ----------------------------------------------------------------------------------------------------------------


def test_a_worker_killed_from_outside_is_begun_again(executor, job, tmp_path):
    (outcome,) = finish(executor, job("kill once"))
    assert outcome.result["status"] == "ok"
    assert outcome.observed["attempt"] == 2
    assert (tmp_path / "count").read_text() == "2"


def test_a_worker_that_is_killed_every_time_is_given_up_after_three_attempts(executor, job, tmp_path):
    (outcome,) = finish(executor, job("kill"))
    reason = f"ended without a result (signal SIGKILL) in {ATTEMPTS} attempts"
    assert outcome.result == {"status": "killed", "reason": reason, "evaluations": []}
    assert (outcome.observed["attempt"], (tmp_path / "count").read_text()) == (3, "3")


@pytest.mark.parametrize(("action", "how"), [("exit", "exit code 0"), ("segfault", "signal SIGSEGV")])
def test_an_end_without_a_result_is_a_crash_whatever_the_code(executor, job, action, how):
    (outcome,) = finish(executor, job(action))
    assert (outcome.result["status"], outcome.result["evaluations"]) == ("crashed", [])
    assert f"({how})" in outcome.result["reason"]


def test_a_failed_run_spoils_nothing_of_its_neighbour(executor, job):
    crashed, fine = finish(executor, job("exit"), good := job())
    assert (crashed.result["status"], fine.result["status"]) == ("crashed", "ok")
    assert finish(executor, good)[0].result == fine.result


def test_a_run_over_its_time_is_ended_with_all_that_it_began(executor, job, tmp_path, monkeypatch):
    monkeypatch.setattr(executor, "_time_limit", 1.5)
    monkeypatch.setattr(process, "_GRACE_SECONDS", 0.5)
    (outcome,) = finish(executor, job("sleep"))
    assert outcome.result == {"status": "timeout", "reason": "over the limit of 1.5 s", "evaluations": []}
    assert is_gone(tmp_path)


def test_a_run_that_hangs_in_c_with_the_interpreter_locked_is_ended_and_its_stack_kept(executor, job, monkeypatch):
    monkeypatch.setattr(executor, "_time_limit", 1.5)
    (outcome,) = finish(executor, job("hang"))
    assert outcome.result["status"] == "timeout"
    assert "acting.py" in outcome.observed["traceback"]
    assert " in act" in outcome.observed["traceback"]


@pytest.mark.parametrize("action", ["eat", "eat in a child"])
def test_a_run_over_its_memory_is_tried_three_times_and_ended_with_its_children(executor, job, monkeypatch, action):
    monkeypatch.setattr(executor, "_memory_limit", 60.0)
    monkeypatch.setattr(process, "_GRACE_SECONDS", 0.5)
    server = process._server_pid()
    (outcome,) = finish(executor, job(action))
    assert outcome.result == {"status": "oom", "reason": "over the limit of 60 MB of memory", "evaluations": []}
    assert outcome.observed["attempt"] == ATTEMPTS
    assert watch.children(server) == []


def test_memory_is_counted_above_what_the_server_holds(executor, job, monkeypatch):
    held = watch.usage(process._server_pid()).memory_mb
    monkeypatch.setattr(executor, "_memory_limit", held / 2)
    assert finish(executor, job())[0].result["status"] == "ok"
    assert held > 50


def test_memory_that_a_part_finds_missing_is_tried_again_too(executor, job):
    (outcome,) = finish(executor, job("memory"))
    assert (outcome.result["status"], outcome.observed["attempt"]) == ("oom", ATTEMPTS)


@pytest.mark.parametrize(
    ("action", "reason"),
    [("many threads", "over the limit of 256 threads"), ("chatter", "over the limit of 10 MB of log")],
)
def test_a_run_with_too_many_threads_or_words_is_ended(executor, job, monkeypatch, action, reason):
    monkeypatch.setattr(process, "_GRACE_SECONDS", 0.5)
    (outcome,) = finish(executor, job(action))
    assert outcome.result == {"status": "error", "reason": reason, "evaluations": []}


def test_the_server_has_one_thread_when_it_forks(executor, job):
    finish(executor, job())
    assert watch.usage(process._server_pid()).threads == 1


def test_a_run_works_in_a_folder_of_its_own_which_goes_with_it(executor, job, tmp_path):
    (outcome,) = finish(executor, job("write here"))
    where = Path((tmp_path / "where").read_text())
    assert outcome.result["status"] == "ok"
    assert where.parent == executor._scratch
    assert not where.exists()


def test_what_a_killed_coordinator_left_outside_the_results_is_removed_by_the_next():
    ended = multiprocessing.get_context("spawn").Process(target=int)
    ended.start()
    ended.join()
    base = Path(tempfile.gettempdir())
    dead, alive = base / f"harness-{ended.pid}-x", base / f"harness-{os.getpid()}-x"
    for folder in (dead, alive):
        folder.mkdir()
    made = process._scratch_folder()
    assert (dead.exists(), alive.exists(), made.exists()) == (False, True, True)
    for folder in (alive, made):
        folder.rmdir()


@pytest.mark.parametrize("action", ["leave a child", "leave a program", "leave a session", "leave a daemon"])
def test_what_a_run_leaves_behind_is_ended(executor, job, tmp_path, action):
    (outcome,) = finish(executor, job(action))
    assert outcome.result["status"] == "ok"
    assert is_gone(tmp_path)


def test_a_child_that_keeps_the_pipe_of_a_killed_worker_does_not_hide_its_end(executor, job, tmp_path):
    (outcome,) = finish(executor, job("leave a child and die"))
    assert outcome.result["status"] == "killed"
    assert is_gone(tmp_path)


def test_a_thread_that_goes_on_does_not_keep_the_worker(executor, job):
    (outcome,) = finish(executor, job("thread"), seconds=30)
    assert outcome.result["status"] == "ok"


# Messages and logs ---------------------------------------------------------------------------------------------------


def test_what_a_run_printed_is_kept_in_its_log(executor, job):
    finish(executor, one := job("print"))
    assert log(executor, one).read_text() == "from Python\nfrom a program\n"


def test_a_run_that_printed_nothing_leaves_no_log(executor, job):
    finish(executor, one := job())
    assert not log(executor, one).exists()


def test_a_link_or_a_fifo_in_the_place_of_a_log_is_not_written_through(executor, job, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("untouched")
    linked, piped = job("print", "linked"), job("print", "piped")
    log(executor, linked).parent.mkdir(parents=True, exist_ok=True)
    log(executor, linked).symlink_to(precious)
    os.mkfifo(log(executor, piped))
    assert [outcome.result["status"] for outcome in finish(executor, linked, piped)] == ["ok", "ok"]
    assert precious.read_text() == "untouched"
    assert all(log(executor, one).is_file() and not log(executor, one).is_symlink() for one in (linked, piped))


def test_the_log_of_a_crash_is_kept(executor, job):
    finish(executor, one := job("print", precision="no such precision", steps=0, epochs=None))
    assert log(executor, one).exists()


def test_of_a_log_without_end_only_the_end_is_read(tmp_path):
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.truncate(2**40)  # sparse; to read it all there is no memory
        file.seek(0, os.SEEK_END)
        file.write("größer".encode())
    assert process._end_of(log).lstrip("\0") == "größer"
    assert len(process._end_of(log)) == process._TAIL


@pytest.mark.parametrize(
    "sent",
    [b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93.", b"{", b"\xff", b"", b"x" * (process.LARGEST_MESSAGE + 1)],
)
def test_a_message_that_is_not_json_is_no_message_and_is_never_unpickled(sent, monkeypatch):
    monkeypatch.setattr(pickle, "loads", None)
    ours, theirs = multiprocessing.Pipe(duplex=False)
    writer = threading.Thread(target=_send, args=(theirs, sent))
    writer.start()
    assert process._receive(ours) is None
    ours.close()
    writer.join()
    theirs.close()


def _send(connection, sent):
    with contextlib.suppress(OSError):  # of one that is too long, the reader closes its end
        connection.send_bytes(sent)


def test_the_servers_environment_is_not_left_in_this_process(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("HARNESS_PRELOAD", raising=False)
    before = dict(os.environ)
    with process._server_environment(2, {"HARNESS_PRELOAD": json.dumps([{"options": {}}])}):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["HARNESS_PRELOAD"]) == ("2", '[{"options": {}}]')
    assert dict(os.environ) == before


# Signals -------------------------------------------------------------------------------------------------------------


def test_a_signal_in_the_middle_of_a_submission_waits_for_its_end_and_spares_the_server(executor, job, monkeypatch):
    finish(executor, job())
    send = reduction.sendfds

    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        send(*arguments)

    monkeypatch.setattr(reduction, "sendfds", interrupted)
    with interrupts.handled():
        with pytest.raises(interrupts.Interrupted):
            executor.submit(one := job())
        monkeypatch.undo()
        outcomes, deadline = [], time.monotonic() + 60
        while not outcomes:
            assert time.monotonic() < deadline, "waited in vain"
            outcomes = executor.wait(1.0)
    assert (outcomes[0].id, outcomes[0].result["status"]) == (one.id, "ok")


@pytest.mark.parametrize("number", interrupts.HANDLED)
def test_the_server_is_deaf_to_what_a_terminal_sends_to_all(executor, job, number):
    finish(executor, job())
    os.kill(forkserver._forkserver._forkserver_pid, number)
    assert finish(executor, job())[0].result["status"] == "ok"


# Closing --------------------------------------------------------------------------------------------------------------
# Last, since it ends the server, which is one for all executors of a process.


def test_closing_ends_what_is_under_way_and_keeps_nothing_of_it(origin, job, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_GRACE_SECONDS", 0.5)
    made = ProcessExecutor(1, threads=1, preload=[], time_limit=120, logs=tmp_path / "logs")
    made.submit(job("sleep"))
    deadline = time.monotonic() + 60
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    made.close()
    assert is_gone(tmp_path)
    assert made._running == []


def test_a_server_that_stands_still_is_ended_and_said(origin, job, tmp_path, monkeypatch):
    made = ProcessExecutor(1, threads=1, preload=[], time_limit=60, logs=tmp_path / "logs")
    try:
        assert finish(made, job())[0].result["status"] == "ok"
        os.kill(process._server_pid(), signal.SIGSTOP)
        monkeypatch.setattr(process, "ANSWER_SECONDS", 0.5)
        with pytest.raises(ResultsError, match=r"did not answer within 0\.5 s"):
            made.submit(job(name="another"))
    finally:
        made.close()


def test_a_process_that_a_run_left_in_a_session_of_its_own_does_not_keep_the_server(job, tmp_path, monkeypatch):
    """Even where nobody ended it: here the look at what is left behind is taken away."""
    made = ProcessExecutor(1, threads=1, preload=[], time_limit=120, logs=tmp_path / "logs")
    monkeypatch.setattr(made, "_end_orphans", lambda: None)
    (outcome,) = finish(made, job("leave a session"))
    closing = threading.Thread(target=made.close, daemon=True)
    closing.start()
    closing.join(20)
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
    assert not closing.is_alive()
    assert outcome.result["status"] == "ok"


# In this process -----------------------------------------------------------------------------------------------------


def serially(*jobs):
    serial, outcomes = SerialExecutor(), []
    for one in jobs:
        serial.submit(one)
        outcomes += serial.wait(0)
    return outcomes


@pytest.mark.parametrize(
    ("action", "status", "reason"),
    [
        ("raise", "error", f"RuntimeError: no such luck (acting.py, line {line_of('no such luck')})"),
        ("exit politely", "error", "SystemExit: 3"),
        ("memory", "oom", "MemoryError"),
        (
            "address",
            "error",
            f"ValueError: cannot use <object object at 0x...> (acting.py, line {line_of('{object()')})",
        ),
        ("threads", "bad_output", "a part changed threads 1 -> 3"),
        ("dtype", "bad_output", "a part changed the default dtype to torch.float64"),
        ("determinism", "bad_output", "a part changed the setting for deterministic algorithms"),
    ],
)
def test_whatever_goes_wrong_is_the_runs_own_result_and_changes_no_later_run(job, action, status, reason):
    before, spoilt, after = serially(good := job(), job(action), good)
    assert (spoilt.result["status"], spoilt.result["reason"]) == (status, reason)
    assert spoilt.result["evaluations"] == []
    assert after.result == before.result
    assert before.result["status"] == "ok"


def test_a_failure_keeps_its_traceback_apart_from_the_result(job):
    (outcome,) = serially(job("raise"))
    assert 'raise RuntimeError("no such luck")' in outcome.observed["traceback"]
    assert "traceback" not in outcome.result


def test_a_part_that_reseeds_changes_nothing_elsewhere(job):
    plain, reseeding = serially(job(), job("reseed"))
    assert plain.result == reseeding.result


def test_data_other_than_the_specs_are_refused(job):
    one = job()
    other = Job(one.id, {**one.payload, "data": {"train": "00" * 32}}, one.origins, one.root, one.device)
    (outcome,) = serially(other)
    assert outcome.result["status"] == "data_changed"
    assert "the train split of 'clouds' changed: it was 000000000000, it is " in outcome.result["reason"]


@pytest.mark.parametrize("action", ["", "raise", "threads", "dtype", "determinism", "reseed"])
def test_a_serial_run_leaves_the_global_state_of_torch_as_it_was(job, action, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    threads, generator = torch.get_num_threads(), torch.get_rng_state()
    try:
        serially(job(action))
        assert torch.equal(torch.get_rng_state(), generator)
        assert torch.get_num_threads() == threads
        assert torch.get_default_dtype() == torch.float32
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cudnn.benchmark
        assert torch.utils.deterministic.fill_uninitialized_memory
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_default_dtype(torch.float32)


def test_serial_jobs_are_done_one_by_one_when_they_are_waited_for(job):
    serial = SerialExecutor()
    assert serial.wait(0) == []
    serial.submit(job())
    serial.submit(job("raise"))
    assert [outcome.result["status"] for _ in range(2) for outcome in serial.wait(0)] == ["ok", "error"]
    serial.submit(job())
    serial.close()
    assert serial.wait(0) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")])
def test_a_checkpoint_that_finds_no_room_is_left_out_and_ends_no_run(tmp_path, monkeypatch, capsys, error):
    from harness.execute.worker import Assignment, _keeper
    from harness.train import snapshot

    def full(path, state):
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(snapshot, "save", full)
    ours, theirs = multiprocessing.Pipe()
    given = Assignment({}, "log", str(tmp_path), None, checkpoint_seconds=0.0, time_limit=60, loaders=0)
    _keeper(theirs, tmp_path, given)(7, dict)
    assert not ours.poll()
    assert not list(tmp_path.iterdir())
    assert "no checkpoint after step 7: " in capsys.readouterr().err
