"""What a worker of a cluster is asked about files that runs start from: the same bytes, in a folder it can write to."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from harness.execute import sharing
from harness.store import Store


def test_a_folder_with_the_mark_is_the_same_folder_and_nothing_is_left_in_it(tmp_path):
    mark = sharing.mark(tmp_path)
    assert sharing.unseen([mark], str(tmp_path)) == []
    sharing.take_away(mark)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_the_mark_is_another_folder(tmp_path):
    mark = sharing.mark(tmp_path)
    sharing.take_away(mark)
    assert sharing.unseen([mark], str(tmp_path)) == [
        f"{tmp_path}: not the folder that it is here (no such file or directory)"
    ]


def test_two_marks_are_never_alike(tmp_path):
    (tmp_path / "other").mkdir()
    mark, other = sharing.mark(tmp_path), sharing.mark(tmp_path / "other")
    Path(mark["path"]).write_bytes(Path(other["path"]).read_bytes())
    assert sharing.unseen([mark], str(tmp_path)) == [f"{tmp_path}: not the folder that it is here (another file)"]


def test_a_file_of_published_weights_is_named_with_what_is_the_matter(tmp_path):
    missing = {"path": str(tmp_path / "net.pth"), "sha256": "ab" * 32}
    assert sharing.unseen([missing], None) == [f"{tmp_path}/net.pth: no such file or directory there"]


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch):
    mark = sharing.mark(tmp_path)

    def refuse(path, flags, mode=0o777):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("harness.store.os.open", refuse)
    assert sharing.unseen([mark], str(tmp_path)) == [f"{tmp_path}: cannot be written to (read-only file system)"]


@pytest.mark.parametrize("leave", [sharing.mark, lambda folder: sharing._temporary(folder, "worker").touch()])
def test_what_a_killed_process_leaves_is_swept_as_any_temporary_file(tmp_path, leave):
    leave(tmp_path)
    assert Store(tmp_path).sweep() == 1
