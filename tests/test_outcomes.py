"""Which statuses are failures of a run."""

from __future__ import annotations

import pytest

from harness import outcomes


@pytest.mark.parametrize("status", ["ok", "pruned", "not_applicable"])
def test_a_run_that_did_what_it_could_is_no_failure(status):
    assert not outcomes.failed(status)


@pytest.mark.parametrize("status", ["diverged", "error", "bad_output", "timeout", "oom", "crashed", "killed"])
def test_every_other_status_of_the_table_runs_is_a_failure(status):
    assert outcomes.failed(status)
