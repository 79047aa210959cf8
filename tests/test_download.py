"""Downloads that are killed, and others that are under way at the same time."""

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.download import fetch
from harness.errors import DataError
from harness.hookspecs import Weights
from harness.locations import DOWNLOAD
from harness.published import find
from harness.store import sweep_abandoned

CONTENT = b"numbers" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = f"net-{SHA256[:8]}.pth"
HOST = socket.gethostname()
DAY_SECONDS = 86400
IN_A_PROCESS = """
import sys
from pathlib import Path
from harness.hookspecs import Weights
from harness.published import find
url, digest, root = sys.argv[1:]
find(Weights(url.rpartition("/")[2], 6, sha256_prefix=digest, url=url), root=Path(root))
"""


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    monkeypatch.setenv(DOWNLOAD, "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def halting():
    """A web server that sends the first half, and the rest when it is let: its address, and the event that lets it."""
    go, answering = threading.Event(), []

    def answer(connection):
        with connection, contextlib.suppress(OSError):
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT) + CONTENT[:3500])
            go.wait(60)
            connection.sendall(CONTENT[3500:])

    def listen(listening):
        with contextlib.suppress(OSError):
            while True:
                answering.append(threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True))
                answering[-1].start()

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        thread = threading.Thread(target=listen, args=(listening,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/{FILE}", go
        go.set()
        listening.shutdown(socket.SHUT_RDWR)
    for one in (thread, *answering):
        one.join(10)


@pytest.fixture
def started(tmp_path, halting):
    """Start a download in a process of its own; gives the process once its temporary file is there."""
    processes = []

    def start():
        known = set(temporary(tmp_path))
        command = [sys.executable, "-c", IN_A_PROCESS, halting[0], SHA256[:8], str(tmp_path)]
        processes.append(subprocess.Popen(command))
        deadline = time.monotonic() + 60
        while not (new := set(temporary(tmp_path)) - known):
            assert time.monotonic() < deadline
            assert processes[-1].poll() is None
            time.sleep(0.01)
        return processes[-1], new.pop()

    yield start
    for process in processes:
        process.kill()
        process.wait(10)


def temporary(root):
    return list((root / "weights").glob(".*.tmp"))


def test_a_killed_download_leaves_what_is_taken_for_no_file_and_the_next_removes_it_alone(
    tmp_path, monkeypatch, halting, started
):
    address, go = halting
    (killed, left), (alive, under_way) = started(), started()
    killed.kill()
    killed.wait(10)
    assert sorted(temporary(tmp_path)) == sorted([left, under_way])
    said = Weights(FILE, 6, sha256_prefix=SHA256[:8], url=address)
    with monkeypatch.context() as without:
        without.setenv(DOWNLOAD, "")
        with pytest.raises(DataError, match=f"no {FILE} in"):
            find(said, root=tmp_path)
    assert left.exists()  # without permission nothing is touched
    threading.Timer(0.2, go.set).start()
    assert find(said, root=tmp_path) == (tmp_path / "weights" / FILE, SHA256)
    assert not left.exists()
    assert alive.wait(30) == 0  # its file was left to it
    assert [path.name for path in (tmp_path / "weights").iterdir()] == [FILE]
    assert (tmp_path / "weights" / FILE).read_bytes() == CONTENT


def test_what_a_killed_download_left_goes_though_the_file_came_by_hand(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / FILE).write_bytes(CONTENT)
    (folder / f".other.pth.{HOST}.{gone()}.0123abcd.tmp").write_bytes(b"half")
    find(Weights(FILE, 6, sha256_prefix=SHA256[:8]), root=tmp_path)
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_any_download_removes_what_a_killed_one_left(tmp_path, halting):
    (tmp_path / f".images.tar.gz.{HOST}.{gone()}.0123abcd.tmp").write_bytes(b"half")
    halting[1].set()
    fetch(halting[0], tmp_path / FILE, digest=SHA256)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def gone():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait(10)
    return process.pid


def test_only_what_nobody_writes_any_more_is_removed(tmp_path):
    dead, fresh, old = gone(), time.time() - DAY_SECONDS, time.time() - 3 * DAY_SECONDS
    kept = {
        f".a.pth.{HOST}.{os.getpid()}.0123abcd.tmp": fresh,
        f".a.pth.elsewhere.{dead}.0123abcd.tmp": fresh,
        f".a.pth.not{HOST}.{dead}.0123abcd.tmp": fresh,
        f"a.pth.{HOST}.{dead}.0123abcd.tmp": old,
        f".a.pth.{HOST}.{dead}.0123abcd": old,
        f".a.pth.{HOST}.{dead}.tmp": old,
        ".notes.tmp": old,
        "a.pth": old,
    }
    removed = {
        f".a.pth.{HOST}.{dead}.0123abcd.tmp": fresh,
        f".b.safetensors.{HOST}.{dead}.fedc9876.tmp": fresh,
        f".a.pth.elsewhere.{dead}.fedc9876.tmp": old,
        f".a.pth.{HOST}.{os.getpid()}.fedc9876.tmp": old,
    }
    for name, modified in {**kept, **removed}.items():
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (modified, modified))
    folder = tmp_path / f".c.{HOST}.{dead}.0123abcd.tmp"
    link = tmp_path / f".d.{HOST}.{dead}.0123abcd.tmp"
    folder.mkdir()
    link.symlink_to(tmp_path / "a.pth")
    assert sweep_abandoned(tmp_path) == len(removed)
    assert {path.name for path in tmp_path.iterdir()} == {*kept, folder.name, link.name}
    assert sweep_abandoned(tmp_path / "nowhere") == 0


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_file_is_held_against_a_hash_of_the_kind_that_is_published(tmp_path, halting, algorithm):
    address, go = halting
    go.set()
    whole = hashlib.new(algorithm, CONTENT, usedforsecurity=False).hexdigest()
    assert fetch(address, tmp_path / FILE, digest=whole, algorithm=algorithm) == whole
    name, other = {"sha256": "SHA-256", "md5": "MD5"}[algorithm], "0" * len(whole)
    with pytest.raises(DataError, match=rf"its {name} must be {other}, got {whole}; the same command tries again, or"):
        fetch(address, tmp_path / "other", digest=other, algorithm=algorithm)
    with pytest.raises(DataError, match=rf"its {name} must begin with 00, got {whole}"):
        fetch(address, tmp_path / "other", digest="00", algorithm=algorithm)
    assert [path.name for path in Path(tmp_path).iterdir()] == [FILE]
