"""Folders of a user: where the environment says, else where the platform has them."""

from __future__ import annotations

from pathlib import Path

import platformdirs

from harness.locations import DOWNLOAD, cache_folder, data_root, may_download


def test_the_environment_decides(monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", "some/cache")
    monkeypatch.setenv("HARNESS_DATA", "some/data")
    assert (cache_folder(), data_root()) == (Path("some/cache"), Path("some/data"))


def test_data_lie_in_the_cache_unless_they_have_a_place_of_their_own(monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", "some/cache")
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    assert data_root() == Path("some/cache/data")


def test_without_a_word_the_platforms_cache_is_used_and_empty_is_no_word(monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", "")
    monkeypatch.setenv("HARNESS_DATA", "")
    expected = Path(platformdirs.user_cache_dir("harness"))
    assert (cache_folder(), data_root()) == (expected, expected / "data")
    assert not list(expected.parent.glob("some"))


def test_nothing_may_be_downloaded_unless_the_environment_says_so(monkeypatch):
    monkeypatch.delenv(DOWNLOAD, raising=False)
    assert not may_download()
    for value, due in (("", False), ("0", False), ("1", True)):
        monkeypatch.setenv(DOWNLOAD, value)
        assert may_download() == due
