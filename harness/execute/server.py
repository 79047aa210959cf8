"""Preloaded into the server process that workers are forked from: torch, plugins and data, shared by all of them."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import warnings

from harness import interrupts

PRELOAD = "HARNESS_PRELOAD"
"""Environment variable: JSON list of the data sets to load."""
PLUGINS = "HARNESS_PRELOAD_PLUGINS"
"""Environment variable: JSON list of the origins of the plugins to import."""
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died in between
            os._exit(1)


def inherit_orphans() -> None:
    """Become the parent of whatever a descendant leaves behind, so that it can be found and ended (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


def keep_freed_memory() -> None:
    """Have glibc keep large freed blocks: giving them back at every step cost 15 to 50 % of training speed."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 256 * 2**20)


def preload() -> None:
    """Import torch and plugins and load the data; what fails here fails again, with its reason, in the run concerned.

    A file of a plugins folder is left to the runs that name it: what a file that somebody still writes does at import
    must reach no other run.
    """
    from harness.execute import work
    from harness.registry.catalog import Origin
    from harness.registry.describe import import_plugin
    from harness.train.device import make_deterministic

    make_deterministic(int(os.environ.get("OMP_NUM_THREADS", "1")))
    for origin in json.loads(os.environ.get(PLUGINS, "[]")):
        with contextlib.suppress(Exception, SystemExit):
            if not origin["local"]:
                import_plugin(Origin(**origin))
    for wanted in json.loads(os.environ[PRELOAD]):
        with contextlib.suppress(Exception):
            work.dataset(wanted["options"], Origin(**wanted["origin"]), wanted["root"])
    # Else the first collection of every worker goes through all of it, and has the kernel copy the pages that it marks.
    gc.collect()
    gc.freeze()


if PRELOAD in os.environ:
    for number in interrupts.HANDLED:  # the coordinator alone answers to Ctrl-C
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts.HANDLED)  # blocked since birth
    die_with_parent()
    inherit_orphans()
    # Orphans are buried by multiprocessing's server too, which warns of processes that it did not begin.
    warnings.filterwarnings("ignore", message="forkserver: waitpid returned unexpected pid")
    keep_freed_memory()
    preload()
