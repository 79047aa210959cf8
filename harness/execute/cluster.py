"""The cluster that runs happen on: one that is made on this machine, or the one at an address."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from harness import interrupts
from harness.errors import ClusterError, PluginError

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

_CONNECT_SECONDS = 20.0
_CLOSE_SECONDS = 5.0
LOG = logging.getLogger("harness")

LOCAL_CONFIG = {
    # Workers of a nanny are daemons, which may have no processes of their own.
    "distributed.worker.daemon": False,
    # The coordinator counts attempts, not the scheduler.
    "distributed.scheduler.allowed-failures": 0,
    # Runs are not Dask's to stop for memory: they are processes of their own, with a watchdog.
    "distributed.worker.memory.terminate": False,
    "distributed.worker.memory.pause": False,
    # Dask would look at the stack of every worker a hundred times a second; runs happen elsewhere.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.limit": "1h",
    "distributed.scheduler.work-stealing": False,
}


class Cluster:
    """A client, and the cluster behind it where it was made here."""

    def __init__(self, client: Client, local: LocalCluster | None, stack: contextlib.ExitStack) -> None:
        self.client, self.local, self._stack = client, local, stack

    def close(self) -> None:
        """Leave the cluster, and end it where it was made here."""
        with contextlib.suppress(Exception):
            self.client.close(timeout=_CLOSE_SECONDS)
        if self.local is not None:
            with contextlib.suppress(Exception):
                self.local.close(timeout=_CLOSE_SECONDS)
        self._stack.close()


def need_distributed() -> None:
    """Refuse to go on without the extra.

    Raises:
        ClusterError: how to install it.
    """
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise ClusterError(f"executor 'dask' needs the extra: pip install 'harness[dask]' ({error})") from error


def connect(address: str) -> Cluster:
    """A client of the scheduler at the address.

    Raises:
        PluginError: no address.
        ClusterError: nobody answers there.
    """
    from distributed import Client

    if not re.match(r"(tcp|tls|ucx|ws|wss|inproc)://.", address):
        raise PluginError(f"scheduler must be an address like tcp://host:8786, got '{address}'")
    if not _is_safe(address):
        LOG.warning(
            "the scheduler at %s is not reached by tls://: whoever reaches its network can run code on its workers",
            address,
        )
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet())
        try:
            with interrupts.born_deaf():
                client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ClusterError(f"no Dask scheduler answers at {address}: {error}") from error
        return Cluster(client, None, stack.pop_all())


def _is_safe(address: str) -> bool:
    scheme, _, host = address.partition("://")
    here = re.match(r"(127\.\d+\.\d+\.\d+|localhost|\[::1\])(:\d+)?$", host)
    return scheme in ("tls", "wss", "inproc") or here is not None


def start(workers: int) -> Cluster:
    """A cluster on this machine, with one slot a worker, that no other machine reaches."""
    import dask
    from distributed import Client, LocalCluster

    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet())
        stack.enter_context(dask.config.set(LOCAL_CONFIG))
        # Started first: it unblocks signals in the thread that starts it.
        resource_tracker.ensure_running()
        with interrupts.held_back(), interrupts.born_deaf():
            local = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # it has a port for its metrics all the same
                memory_limit=None,
                silence_logs=logging.CRITICAL,
            )
            client = Client(local, set_as_default=False)
        return Cluster(client, local, stack.pop_all())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Dask tells of workers that come and go; what matters of that is told in the words of harness."""
    logger = logging.getLogger("distributed")
    before = logger.level
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    levels: dict[str, Any] = {name: logging.getLogger(name).level for name in names}
    for name in ("distributed", *names):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
