"""The station of a Dask worker: jobs of several threads on one executor, which ends when nobody wants it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.execute import Job, Outcome, Settings, station
from harness.execute.sameness import own_origin, source_of
from harness.execute.station import Station
from harness.registry.catalog import Origin
from harness.registry.discovery import Source

SETTINGS = Settings(2, 1, 600.0, "logs")


def job(name):
    return Job(name, {}, {}, "", "cpu")


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def never():
    return False


class Held:
    """An executor whose jobs end when `released` says so."""

    def __init__(self, settings):
        self.slots, self.under_way, self.closed = settings.workers, [], False
        self.most, self.released, self.threads = 0, threading.Event(), set()

    def submit(self, job, *, attempt):
        assert attempt == 3
        self.threads.add(threading.get_ident())
        self.under_way.append(job.id)
        self.most = max(self.most, len(self.under_way))

    def wait(self, seconds):
        if not self.released.wait(seconds):
            return []
        ended, self.under_way = self.under_way, []
        return [Outcome(name, {"status": "ok"}, {}) for name in ended]

    def close(self):
        self.closed = True


@pytest.fixture
def made(monkeypatch):
    """The executors that stations made."""
    found = []

    def make(settings):
        found.append(Held(settings))
        return found[-1]

    monkeypatch.setattr(station, "in_processes", make)
    return found


def released(made, opened, *names):
    """Outcomes of jobs that are handed in by a thread each."""
    with ThreadPoolExecutor(len(names)) as pool:
        futures = [pool.submit(opened.evaluate, job(name), cancelled=never) for name in names]
        wait_for(lambda: made)
        made[0].released.set()
        return [future.result(timeout=60) for future in futures]


def test_jobs_of_several_threads_get_their_own_outcomes_from_one_executor(made):
    opened = Station(SETTINGS)
    assert [one.id for one in released(made, opened, "a", "b", "c", "d")] == ["a", "b", "c", "d"]
    assert (len(made), len(made[0].threads)) == (1, 1)
    assert made[0].most <= 2
    assert opened.leave(60)
    assert made[0].closed


def test_a_job_that_is_taken_back_has_its_process_ended(made):
    opened = Station(SETTINGS)
    with pytest.raises(RuntimeError, match="cancelled"):
        opened.evaluate(job("a"), cancelled=lambda: bool(made and made[0].under_way))
    assert made[0].closed
    (found,) = released_again(made, opened)
    assert found.id == "b"
    assert opened.leave(60)


def released_again(made, opened):
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(opened.evaluate, job("b"), cancelled=never)
        wait_for(lambda: len(made) == 2)
        made[1].released.set()
        return [future.result(timeout=60)]


def test_a_station_that_nobody_needs_ends_by_itself(made, monkeypatch):
    monkeypatch.setattr(station, "_IDLE_SECONDS", 0.0)
    opened = Station(SETTINGS)
    opened._thread.join(60)
    assert not opened.is_open()
    with pytest.raises(RuntimeError, match="closed"):
        opened.evaluate(job("a"), cancelled=never)


def test_an_executor_that_breaks_is_told_to_all_who_wait(monkeypatch):
    def broken(settings):
        raise OSError("no more processes")

    monkeypatch.setattr(station, "in_processes", broken)
    opened = Station(SETTINGS)
    with pytest.raises(RuntimeError, match="no more processes"):
        opened.evaluate(job("a"), cancelled=never)
    assert not opened.is_open()


def test_a_run_is_refused_by_a_process_that_was_not_asked_first():
    with pytest.raises(station.NotLookedAt):
        station.run("{}", "{}")


def test_the_source_of_a_plugin_is_what_the_catalog_has_of_it(tmp_path):
    file = tmp_path / "lion.py"
    file.write_text("import harness\n")
    source = Source("plugins", "", "lion", file, tmp_path, local=True)
    local = Origin("plugins", "", "lion", str(file), source.sha256(), local=True)
    assert source_of(local) == {"version": "", "sha256": source.sha256()}
    file.write_text("import harness  # mended\n")
    assert source_of(local)["sha256"] != local.sha256
    file.unlink()
    assert source_of(local) is None
    assert source_of(Origin("nowhere", "1", "nowhere", "nowhere.py", "")) is None


def test_harness_itself_is_held_by_what_a_run_depends_on():
    own = own_origin()
    assert source_of(own) == {"version": own.version, "sha256": own.sha256}
