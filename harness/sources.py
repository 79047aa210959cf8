"""Source runs of a plan: which are recorded with their weights, which lie beside it, and which must be done again."""

from __future__ import annotations

import os

from harness.errors import ResultsError
from harness.plan import Plan, Request
from harness.store import Record, Store, write_atomically
from harness.train.checkpoints import sha256_of


class Sources:
    """Weights that the plan's runs start from, in the store's folder or that of another suite beside it."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self.requests = plan.sources()
        self.store = store
        self._good: set[str] = set()

    def record(self, request: Request) -> Record | None:
        """The record of a source run, None where there is none."""
        return self.store.read(request.spec.id, spec=request.spec.payload)

    def failure(self, request: Request) -> str | None:
        """Why a recorded source run has no weights."""
        record = self.record(request)
        if record is None or record["result"]["status"] == "ok":
            return None
        return f"source_failed: {record['result']['status']}: {record['result']['reason']}"

    def ready(self, request: Request) -> bool:
        """Whether the weights lie there as they were recorded; a file is read once."""
        run_id = request.spec.id
        if run_id not in self._good and self._is_good(self.store, request):
            self._good.add(run_id)
        return run_id in self._good

    def check(self, request: Request) -> None:
        """Refuse to go on when the run that was just done left its weights somewhere else: it would be done for ever.

        Raises:
            ResultsError: where they should be.
        """
        if self.failure(request) is None and not self.ready(request):
            path = self.store.weights(request.spec.id)
            raise ResultsError(
                f"source run {request.spec.id[:12]} ended, and its weights are not in {path}: an executor must write "
                "them where the coordinator reads them; the same command goes on with --executor process"
            )

    def borrow(self, request: Request) -> None:
        """Take record and weights over from the results of another suite beside this one, where they are whole."""
        if self.record(request) is not None:
            return
        for folder in sorted(self.store.folder.absolute().parent.glob(f"*/weights/{request.spec.id}.safetensors")):
            other = Store(folder.parents[1])
            if self._is_good(other, request):
                record = other.read(request.spec.id)
                assert record is not None
                write_atomically(self.store.weights(request.spec.id), other.weights(request.spec.id).read_bytes())
                self.store.write(record)
                return

    def put_away(self, request: Request) -> str:
        """Move the record, and what is left of its weights, to quarantine: the run counts as never done; what to say.

        Raises:
            ResultsError: they cannot be moved.
        """
        run_id = request.spec.id
        found = "altered" if os.path.lexists(self.store.weights(run_id)) else "missing"
        self.store.put_away(run_id, f"its weights are {found}")
        return (
            f"weights of source run {run_id[:12]} are {found}: what is left of it moved to "
            f"{self.store.folder / 'quarantine'}; it is done again"
        )

    def _is_good(self, store: Store, request: Request) -> bool:
        record, path = store.read(request.spec.id), store.weights(request.spec.id)
        if record is None or record["result"]["status"] != "ok" or path.is_symlink() or not path.is_file():
            return False
        return bool(sha256_of(path) == record["result"]["weights_sha256"])
