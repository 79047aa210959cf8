"""The numeric environments that records were made in, so that another one is not mixed in unasked."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

from harness.errors import ResultsError

if TYPE_CHECKING:
    from harness.coordinator import Walk


class Environments:
    """Those of a walk's records and of the runs that are recorded after it."""

    def __init__(self, walk: Walk, *, mixed: bool = False) -> None:
        self._mixed = mixed
        self._known: list[dict[str, Any]] = []
        for entry in (*walk.sources, *walk.entries):
            self._add((entry.record or {}).get("environment", {}))

    def _add(self, environment: Mapping[str, Any]) -> None:
        numeric = _numeric(environment)
        if numeric and numeric not in self._known:
            self._known.append(numeric)

    def check_installed(self) -> None:
        """Refuse another torch than the records', as far as that can be told without importing it.

        Raises:
            ResultsError: both versions.
        """
        try:
            here = metadata.version("torch")
        except metadata.PackageNotFoundError:
            return
        known = {str(one["torch"]) for one in self._known if "torch" in one}
        if known and here.partition("+")[0] not in {one.partition("+")[0] for one in known}:
            self._refuse(f"torch {', '.join(sorted(known))}", f"torch {here}")

    def check(self, environment: Mapping[str, Any]) -> None:
        """Take note of where a run was made, before it is recorded.

        Raises:
            ResultsError: it is no environment of the records.
        """
        here = _numeric(environment)
        if here and self._known and here not in self._known:
            last = self._known[-1]
            names = [name for name in sorted(last.keys() | here.keys()) if last.get(name) != here.get(name)]
            self._refuse(*(", ".join(f"{name} {one.get(name)}" for name in names) for one in (last, here)))
        self._add(environment)

    def _refuse(self, recorded: str, here: str) -> None:
        if not self._mixed:
            raise ResultsError(
                f"the records were made with {recorded}, here it is {here}: numbers may differ between them; go back "
                "to the recorded one, choose another --results folder, or go on with --allow-mixed-environment, which "
                "the report will say"
            )


def _numeric(environment: Mapping[str, Any]) -> dict[str, Any]:
    """What numbers depend on besides the spec; the number of threads is in the spec."""
    return {name: value for name, value in environment.items() if name != "threads"}
