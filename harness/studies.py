"""Tuning studies written into an Optuna storage, for optuna-dashboard, notebooks and Optuna's own plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import ResultsError

if TYPE_CHECKING:
    import optuna

    from harness.results import Results

MARK = "harness"
"""Attribute of a study that was written from here, with its id; one without it is somebody else's."""


@dataclass(frozen=True)
class Exported:
    """A study as it was written."""

    name: str
    """In the storage: suite/problem/arm/replicate."""
    trials: int
    best: float | None
    """The value of its best trial; None where no trial has one."""


def export(results: Results, url: str, *, suite: str) -> Iterator[Exported]:
    """Write every study into the storage of that URL, one after the other; those of an earlier export are replaced.

    Raises:
        ResultsError: nothing was tuned, the storage cannot be used, or one of its studies has the name of ours.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    studies = results.table("studies")
    if studies.empty:
        raise ResultsError(f"nothing was tuned in {results.folder}, so there is no study")
    storage = _open(url)
    try:
        there = set(optuna.get_all_study_names(storage))
        for row in studies.to_dict("records"):
            name = f"{suite}/{row['problem']}/{row['arm']}/{row['replicate']}"
            if name in there:
                _remove(name, storage, url)
            yield _write(results, row, name, storage)
    except optuna.exceptions.OptunaError as error:
        raise ResultsError(f"storage {url}: {_first_line(error)}") from error


def _open(url: str) -> optuna.storages.BaseStorage:
    from optuna.storages import get_storage

    try:
        return get_storage(url)
    except Exception as error:  # of the database's own driver, which raises what it likes
        raise ResultsError(f"storage {url} cannot be used: {type(error).__name__}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]


def _remove(name: str, storage: optuna.storages.BaseStorage, url: str) -> None:
    import optuna

    if MARK not in optuna.load_study(study_name=name, storage=storage).user_attrs:
        raise ResultsError(f"storage {url} has a study '{name}' that harness did not write; name another storage")
    optuna.delete_study(study_name=name, storage=storage)


def _write(results: Results, row: Mapping[str, Any], name: str, storage: optuna.storages.BaseStorage) -> Exported:
    import optuna

    study = results.study(row["arm"], row["replicate"], problem=row["problem"])
    trials = results.table("trials")
    run_ids = trials[trials["study_id"] == row["study_id"]].sort_values("trial")["run_ids"]
    written = optuna.create_study(storage=storage, study_name=name, direction=row["direction"])
    told = {key: row[key] for key in ("problem", "arm", "replicate", "metric", "sampler", "pruner")}
    for key, value in {MARK: row["study_id"], **told}.items():
        written.set_user_attr(key, value)
    for trial, ids in zip(study.trials, run_ids, strict=True):
        trial.set_user_attr("run_ids", ids)
        written.add_trial(trial)
    return Exported(name, len(study.trials), _best(study))


def _best(study: optuna.Study) -> float | None:
    try:
        return study.best_value
    except ValueError:  # no trial has a value
        return None
