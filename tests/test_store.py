"""Records on disk: written whole or not at all, and never believed when damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from harness.errors import ResultsError
from harness.spec import SCHEMA, digest
from harness.store import Damaged, Store, make_record, parse_record, write_atomically

SPEC = {"phase": "tune", "problem": {"optimizer": {"use": "sgd", "lr": 0.1}}, "seeds": {"split": 1}}


def a_record(**result):
    return make_record(
        SPEC, {"status": "ok", "reason": None, **result}, environment={"torch": "x"}, observed={"host": "h"}
    )


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def test_a_record_reads_back_as_it_was_written(store, tmp_path):
    record = a_record(evaluations=[[1.0, 4, 120, "validation", "accuracy", 0.875, 80]])
    store.write(record)
    assert Store(tmp_path / "results").read(record["id"]) == record
    assert record["id"] == digest(SPEC)
    assert list(store.ids()) == [record["id"]]


def test_a_record_that_is_read_for_a_spec_holds_that_very_spec(store, tmp_path):
    record = a_record()
    store.write(record)
    mine = {**SPEC}
    found = Store(tmp_path / "results").read(record["id"], spec=mine)
    assert found == record
    assert found["spec"] is mine


def test_a_record_with_another_spec_is_damaged_whatever_it_is_read_for():
    record = a_record()
    other = make_record({**SPEC, "phase": "final"}, record["result"], environment={}, observed={})
    forged = {**other, "id": record["id"]}
    body = {key: forged[key] for key in forged if key != "sha256"}
    forged["sha256"] = digest(body)
    for spec in (None, SPEC):
        with pytest.raises(Damaged, match="the spec is not the one"):
            parse_record(json.dumps(forged).encode(), expected_id=record["id"], spec=spec)


def test_a_run_that_was_never_done_has_no_record(store):
    assert store.read("0" * 64) is None
    assert store.damaged == {}


def test_no_cut_and_no_flipped_bit_is_ever_read_as_a_record():
    record = a_record()
    data = json.dumps(record, sort_keys=True, indent=1).encode() + b"\n"
    assert parse_record(data, expected_id=record["id"]) == record
    accepted = [
        (kind, at)
        for at in range(len(data) - 1)
        for kind, bad in (("cut", data[:at]), ("flip", data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]))
        if _accepts(bad, record)
    ]
    assert accepted == []


def _accepts(data, record):
    try:
        return parse_record(data, expected_id=record["id"]) is not None and json.loads(data) != record
    except (Damaged, ResultsError):
        return False


def test_a_record_under_the_name_of_another_is_damage(store):
    record = a_record()
    other = "f" * 64
    path = store.path(other)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record))
    assert store.read(other) is None
    assert "the file name says ffffffffffff" in store.damaged[other]


def test_a_spec_that_is_not_the_one_of_the_id_is_damage():
    record = dict(a_record())
    with pytest.raises(Damaged, match="checksum"):
        parse_record(json.dumps({**record, "spec": {**SPEC, "phase": "final"}}).encode(), expected_id=record["id"])


@pytest.mark.parametrize("text", ['{"schema": NaN}', '{"schema": 1, "schema": 1}', "[]", "", '{"schema": "1"}'])
def test_what_is_not_strict_json_is_damage(text):
    with pytest.raises(Damaged):
        parse_record(text.encode(), expected_id="0" * 64)


def test_a_record_of_a_newer_harness_is_refused_with_both_versions():
    with pytest.raises(ResultsError, match=f"schema {SCHEMA + 1}, this harness knows {SCHEMA}"):
        parse_record(json.dumps({"schema": SCHEMA + 1}).encode(), expected_id="0" * 64)


def test_a_link_in_place_of_a_record_is_not_followed(store, tmp_path):
    record = a_record()
    real = tmp_path / "elsewhere.json"
    real.write_text(json.dumps(record))
    store.path(record["id"]).parent.mkdir(parents=True)
    store.path(record["id"]).symlink_to(real)
    assert store.read(record["id"]) is None
    assert record["id"] in store.damaged


def test_quarantine_moves_damage_away_with_its_reason(store):
    record = a_record()
    store.write(record)
    store.path(record["id"]).write_text("{")
    fresh = Store(store.folder)
    assert fresh.read(record["id"]) is None
    moved = fresh.quarantine()
    assert list(moved) == [record["id"]]
    assert not fresh.path(record["id"]).exists()
    kept = sorted(path.suffix for path in (store.folder / "quarantine").iterdir())
    assert kept == [".json", ".reason"]


def test_reading_changes_nothing_on_disk(store):
    record = a_record()
    store.write(record)
    store.path(record["id"]).write_text("{")
    before = sorted(str(path) for path in store.folder.rglob("*"))
    Store(store.folder).read(record["id"])
    assert sorted(str(path) for path in store.folder.rglob("*")) == before


def test_leftovers_of_a_killed_writer_are_swept(store):
    store.write(a_record())
    left = store.folder / "runs" / "aa" / ".x.json.host.1.0123abcd.tmp"
    left.parent.mkdir()
    left.write_text("half")
    foreign = store.folder / "runs" / ".mine.tmp"
    foreign.write_text("somebody's")
    assert store.sweep() == 1
    assert not left.exists()
    assert foreign.exists()
    assert len(list(store.ids())) == 1


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch):
    path = tmp_path / "kept.json"
    write_atomically(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(
        ResultsError, match=r"cannot write .*kept.json: No space left on device \([\d,]+ bytes free, 3 needed"
    ):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["kept.json"]


def test_each_record_is_synced_before_and_its_folder_after_it_gets_its_name(store, monkeypatch):
    calls = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "replace", lambda *names: (calls.append("replace"), replace(*names))[1])
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor))[1])
    store.write(a_record())
    assert calls == ["fsync", "replace", "fsync"]


def test_a_second_writer_is_refused_with_the_first_ones_process(store):
    code = textwrap.dedent(
        f"""
        from pathlib import Path
        from harness.errors import ResultsError
        from harness.store import Store
        try:
            with Store(Path({str(store.folder)!r})).lock("other"):
                print("got it")
        except ResultsError as error:
            print(error)
        """
    )
    with store.lock("mine"):
        refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"is in use by process {os.getpid()}" in refused
    assert "suite mine" in refused
    given = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert given == "got it\n"


def test_the_lock_of_a_killed_process_is_free(store):
    code = (
        "import os, signal; from pathlib import Path; from harness.store import Store\n"
        f"with Store(Path({str(store.folder)!r})).lock('dead'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    with store.lock("alive"):
        assert "alive" in (store.folder / "lock.json").read_text()
