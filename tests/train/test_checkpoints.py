"""Checkpoints on disk: the newest good one is used, a damaged one never, and two are kept."""

from __future__ import annotations

import hashlib
import os
import random

import pytest

from harness.train import checkpoints


def made(tmp_path, text):
    source = tmp_path / "handed over"
    source.write_bytes(text)
    return source, hashlib.sha256(text).hexdigest()


def keep(folder, tmp_path, step, text):
    source, sha256 = made(tmp_path, text)
    return checkpoints.keep(folder, source, step=step, sha256=sha256)


@pytest.fixture
def folder(tmp_path):
    """Two checkpoints, after 10 and 20 steps."""
    folder = tmp_path / "checkpoints" / "run"
    keep(folder, tmp_path, 10, b"ten" * 20)
    keep(folder, tmp_path, 20, b"twenty" * 20)
    return folder


def test_the_newest_is_found_and_the_two_newest_are_kept(folder, tmp_path):
    assert checkpoints.newest(folder).read_bytes() == b"twenty" * 20
    keep(folder, tmp_path, 100, b"hundred")
    assert checkpoints.newest(folder).name == "100.safetensors"
    assert sorted(path.name for path in folder.iterdir()) == [
        "100.json", "100.safetensors", "20.json", "20.safetensors"
    ]  # fmt: skip


def test_there_is_none_without_a_folder(tmp_path):
    assert checkpoints.newest(tmp_path / "nowhere") is None
    checkpoints.drop(tmp_path / "nowhere")


def test_a_file_that_is_not_what_was_announced_is_not_kept(tmp_path):
    source, _ = made(tmp_path, b"one")
    assert not checkpoints.keep(tmp_path / "run", source, step=1, sha256="00" * 32)
    assert not checkpoints.keep(tmp_path / "run", tmp_path / "nowhere", step=1, sha256="00" * 32)
    os.symlink(source, tmp_path / "link")
    link = hashlib.sha256(b"one").hexdigest()
    assert not checkpoints.keep(tmp_path / "run", tmp_path / "link", step=1, sha256=link)
    assert checkpoints.newest(tmp_path / "run") is None


@pytest.mark.parametrize("name", ["20.safetensors", "20.json"])
def test_cut_anywhere_or_with_a_bit_flipped_anywhere_the_one_before_is_used(folder, name):
    path = folder / name
    whole, draws = path.read_bytes(), random.Random(0)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert checkpoints.newest(folder).name == "10.safetensors"
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << draws.randrange(8)
        path.write_bytes(flipped)
        found = checkpoints.newest(folder)
        assert found.name == "10.safetensors" or found.read_bytes() == b"twenty" * 20
    path.unlink()
    assert checkpoints.newest(folder).name == "10.safetensors"


def test_a_link_in_place_of_a_checkpoint_is_damage(folder):
    target = folder / "20.safetensors"
    target.rename(folder / "elsewhere")
    os.symlink(folder / "elsewhere", target)
    assert checkpoints.newest(folder).name == "10.safetensors"


def test_dropping_removes_the_runs_folder_and_follows_no_link(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    os.symlink(outside, folder.parent / "linked")
    checkpoints.drop(folder.parent / "linked")
    checkpoints.drop(folder)
    assert not folder.exists()
    assert (outside / "file").exists()
