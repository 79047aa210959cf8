"""One error class for each place where the reader must go."""

from __future__ import annotations

from typing import ClassVar


class HarnessError(Exception):
    """A mistake or a state of the world that a person can put right; shown without a traceback."""

    exit_code: ClassVar[int] = 70


class SuiteError(HarnessError):
    """The suite file (or an option that changes it) says something that cannot be run."""

    exit_code = 2


class PluginError(HarnessError):
    """A plugin is missing, broken, or breaks the contract of hookspecs."""

    exit_code = 2


class DataError(HarnessError):
    """A data set cannot be had, or is not what it was."""

    exit_code = 4


class ResultsError(HarnessError):
    """The results folder cannot be used."""

    exit_code = 4


class ClusterError(HarnessError):
    """The cluster that runs should happen on cannot be reached, or has no worker that may be used."""

    exit_code = 4
