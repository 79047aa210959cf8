"""A damaged file is never read as good, and what was planted is never written through."""

from __future__ import annotations

import json
import random

import pytest

from harness.errors import ResultsError
from harness.records import Damaged, parse_record
from harness.store import Store


@pytest.fixture(scope="module")
def record(reference):
    """A record as it lies on the disk, with its id."""
    path = min((reference / "results" / "suite" / "runs").glob("*/*.json"), key=lambda path: path.stat().st_size)
    return path.stem, path.read_bytes()


def accepted(data: bytes, run_id: str) -> bool:
    try:
        parse_record(data, expected_id=run_id)
    except Damaged:
        return False
    return True  # any other exception is a traceback, and fails the test


def test_a_record_cut_at_any_byte_is_damage(record):
    run_id, data = record
    assert accepted(data, run_id)
    assert accepted(data[:-1], run_id)  # without its last line end it is whole
    assert [at for at in range(len(data) - 1) if accepted(data[:at], run_id)] == []


def test_a_record_with_a_bit_flipped_in_any_byte_is_damage(record):
    run_id, data = record
    chance = random.Random(0)
    flips = [(at, chance.randrange(8)) for at in range(len(data))]
    flipped = [(at, data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]) for at, bit in flips]
    assert len(flips) > 1000
    assert [at for at, bad in flipped if accepted(bad, run_id)] == []


def test_twenty_records_under_the_names_of_others_are_damage(folder, reference):
    paths = sorted((reference / "results" / "suite" / "runs").glob("*/*.json"))
    pairs = [(one, other) for one in paths for other in paths if one != other][:20]
    assert len(pairs) == 20
    for number, (one, other) in enumerate(pairs):
        store = Store(folder.path / str(number))
        target = store.path(other.stem)
        target.parent.mkdir(parents=True)
        target.write_bytes(one.read_bytes())
        assert store.read(other.stem) is None
        assert f"the record says {one.stem[:12]}" in store.damaged[other.stem]


DAMAGE = {
    "empty": lambda path, other: path.write_bytes(b""),
    "cut": lambda path, other: path.write_bytes(path.read_bytes()[:-20]),
    "flipped": lambda path, other: path.write_bytes(path.read_bytes().replace(b'"ok"', b'"Ok"')),
    "nan": lambda path, other: path.write_bytes(path.read_bytes().replace(b"1.0", b"NaN", 1)),
    "doubled": lambda path, other: path.write_bytes(path.read_bytes().replace(b"{", b'{"schema": 1,', 1)),
    "large": lambda path, other: path.write_bytes(path.read_bytes() + b" " * 2**22),
    "deep": lambda path, other: path.write_bytes(b"[" * 100_000),
    "of another run": lambda path, other: path.write_bytes(other.read_bytes()),
    "a folder": lambda path, other: (path.unlink(), path.mkdir()),
    "a link": lambda path, other: (path.unlink(), path.symlink_to(other)),
}


def test_damaged_records_are_put_away_with_their_reasons_and_their_runs_done_again(folder):
    assert folder.run().code == 0
    paths = sorted(folder.results.glob("runs/*/*.json"))
    for damage in [list(DAMAGE)[:4], list(DAMAGE)[4:7], list(DAMAGE)[7:]]:
        for path, name in zip(paths, damage, strict=False):
            DAMAGE[name](path, paths[-1])
        before = {path: path.read_bytes() for path in paths[len(damage) :]}
        ended = folder.run()
        assert ended.code == 0, ended.err
        assert f"{len(damage)} damaged records moved to results/suite/quarantine" in ended.err
        assert f"{len(damage)} runs done" in ended.err
        assert {path: path.read_bytes() for path in before} == before
        quarantine = folder.results / "quarantine"
        assert len(list(quarantine.glob("*.reason"))) == len(damage)
        assert all(one.read_text().strip() for one in quarantine.glob("*.reason"))
        for left in quarantine.iterdir():
            left.rmdir() if left.is_dir() else left.unlink()
        quarantine.rmdir()
        folder.assert_equal_to_uninterrupted("damage")


@pytest.mark.parametrize("name", ["runs", "tables", "report", "logs", "quarantine"])
def test_a_link_in_place_of_a_folder_is_refused_and_not_written_through(folder, name):
    elsewhere = folder.path.parent / "elsewhere"
    elsewhere.mkdir()
    folder.results.mkdir(parents=True)
    (folder.results / name).symlink_to(elsewhere)
    ended = folder.run()
    assert ended.code == 4
    assert f"results/suite/{name} must be a folder, and no link" in ended.err
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["plan.json", "suite.toml", "environment.json", "lock.json", "tables/runs.csv", "lock"]
)
def test_a_link_in_place_of_a_file_is_not_written_through(folder, name):
    assert folder.run().code == 0
    victim = folder.path.parent / "victim"
    victim.write_text("precious")
    path = folder.results / name
    path.unlink(missing_ok=True)
    path.symlink_to(victim)
    next(folder.results.glob("runs/*/*.json")).unlink()
    ended = folder.run()
    assert victim.read_text() == "precious"
    assert ended.code == (4 if name == "lock" else 0), ended.err
    if name != "lock":
        folder.assert_equal_to_uninterrupted(name)


def test_leftovers_of_a_killed_writer_are_swept_and_nothing_else(folder):
    folder.results.mkdir(parents=True)
    (folder.results / "runs" / "ab").mkdir(parents=True)
    left = [
        folder.results / ".plan.json.host.1.0123abcd.tmp",
        folder.results / "runs" / "ab" / ".x.host.2.0123abcd.tmp",
    ]
    for path in left:
        path.write_text("half")
    assert folder.run().code == 0
    assert not any(path.exists() for path in left)
    folder.assert_equal_to_uninterrupted("leftovers")


def test_a_folder_that_everybody_may_write_into_is_refused(folder):
    folder.results.mkdir(parents=True)
    folder.results.chmod(0o777)
    ended = folder.run()
    assert ended.code == 4
    assert "everybody may write into results/suite (mode 777); 'chmod o-w' it first" in ended.err
    folder.results.chmod(0o1777)
    assert folder.run().code == 0


def test_a_record_of_a_newer_harness_stops_the_command_and_is_left_alone(folder):
    assert folder.run().code == 0
    path = next(folder.results.glob("runs/*/*.json"))
    record = {**json.loads(path.read_text()), "schema": 999}
    from harness.records import _checksum

    path.write_text(json.dumps({**record, "sha256": _checksum(record)}))
    kept = path.read_bytes()
    ended = folder.run()
    assert ended.code == 4
    assert "has schema 999, this harness knows 1: it was written by a newer version" in ended.err
    assert path.read_bytes() == kept
    with pytest.raises(ResultsError):
        Store(folder.results).read(path.stem)
