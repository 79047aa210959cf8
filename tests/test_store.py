"""Records on disk: written whole or not at all, and never believed when damaged."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from harness import records
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


def of_schema(schema, record=None):
    """A record as a harness of that schema would seal it, by another route than the code's."""
    body = {**(record or a_record()), "schema": schema}
    del body["sha256"]
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**body, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def test_a_record_of_a_newer_harness_is_refused_with_both_versions(store):
    record = of_schema(999)
    store.path(record["id"]).parent.mkdir(parents=True)
    store.path(record["id"]).write_text(json.dumps(record))
    (store.folder / "environment.json").write_text('{"harness": "7.8"}')
    with pytest.raises(ResultsError, match=f"schema 999, this harness knows {SCHEMA}.*last used by harness 7.8"):
        store.read(record["id"])
    assert store.damaged == {}


def test_a_flipped_digit_of_the_schema_is_damage_and_no_newer_harness():
    record = {**a_record(), "schema": SCHEMA + 2}
    with pytest.raises(Damaged, match="checksum"):
        parse_record(json.dumps(record).encode(), expected_id=record["id"])


@pytest.mark.parametrize("schema", [0, -1, True])
def test_a_schema_that_never_was_is_damage(schema):
    record = of_schema(schema)
    with pytest.raises(Damaged, match="schema"):
        parse_record(json.dumps(record).encode(), expected_id=record["id"])


def test_an_older_record_is_converted_when_it_is_read_and_stays_as_it_is(store, monkeypatch):
    old = a_record(value=1)
    store.write(old)
    kept = store.path(old["id"]).read_bytes()

    def renamed(record):
        return {**record, "spec": {**record["spec"], "precision": "fp32"}, "result": {"status": "ok", "score": 1}}

    monkeypatch.setattr(records, "SCHEMA", SCHEMA + 1)
    monkeypatch.setattr(records, "CONVERTERS", {SCHEMA: renamed})
    now = digest({**SPEC, "precision": "fp32"})
    record = Store(store.folder).read(now)
    assert (record["id"], record["schema"], record["result"]) == (now, SCHEMA + 1, {"status": "ok", "score": 1})
    assert parse_record(json.dumps(record).encode(), expected_id=now) == record
    assert store.path(old["id"]).read_bytes() == kept


def test_a_converter_that_leaves_the_spec_alone_keeps_the_name(store, monkeypatch):
    old = a_record()
    store.write(old)
    monkeypatch.setattr(records, "SCHEMA", SCHEMA + 1)
    monkeypatch.setattr(records, "CONVERTERS", {SCHEMA: lambda record: {**record, "observed": {}}})
    record = Store(store.folder).read(old["id"])
    assert (record["schema"], record["observed"]) == (SCHEMA + 1, {})


def test_a_record_put_away_counts_as_never_done_and_says_why(store):
    record = a_record()
    store.write(record)
    store.put_away(record["id"], "for a test")
    assert store.read(record["id"]) is None
    (reason,) = (store.folder / "quarantine").glob("*.reason")
    assert reason.read_text() == "for a test\n"


def test_a_repetition_is_kept_beside_the_record(store):
    record, other = a_record(value=1), a_record(value=2)
    store.write(record)
    assert store.keep_repetition(other) == store.folder / "recheck" / f"{other['id']}.json"
    assert list(Store(store.folder).repetitions()) == [other]
    assert Store(store.folder).read(record["id"]) == record


def test_too_little_room_is_refused_with_what_is_free_and_needed(store, monkeypatch):
    real = os.statvfs("/")
    room = os.statvfs_result((real.f_bsize, 1000, 100, 100, 10, *tuple(real)[5:10]))
    store.write(a_record())
    store.require_space(10)
    monkeypatch.setattr(os, "statvfs", lambda path: room)
    free, needed = f"{10_000:,}", f"{10 * 16 * 1024 + 16 * 2**20:,}"
    with pytest.raises(ResultsError, match=f"{free} bytes free, about {needed} needed"):
        store.require_space(10)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO])
def test_every_way_a_disk_refuses_is_one_message_with_the_path(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ResultsError, match=f"cannot write .*kept.json: {os.strerror(number)}.*bytes free"):
        write_atomically(tmp_path / "kept.json", b"new")
    assert os.listdir(tmp_path) == []


def test_a_place_where_no_file_can_be_is_told_with_the_way_out(tmp_path):
    (tmp_path / "taken").write_text("a file")
    for path in (tmp_path / "taken" / "kept.json", tmp_path / "taken" / "deep" / "kept.json"):
        with pytest.raises(
            ResultsError, match=r"cannot write .*kept.json: a file is where a folder must be; .*--results"
        ):
            write_atomically(path, b"new")
    with pytest.raises(ResultsError, match=r"cannot write /proc/nope/a.json: no folder can be made there"):
        write_atomically(Path("/proc/nope/a.json"), b"new")


def test_a_folder_that_may_not_be_written_into_is_refused_before_anything_runs(store, monkeypatch):
    store.write(a_record())
    store.weights("a").parent.mkdir()
    store.require_writable()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: allowed(path, mode) and Path(path).name != "weights")
    with pytest.raises(ResultsError, match=r"cannot write .*weights: Permission denied; finished runs are kept"):
        store.require_writable()


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
